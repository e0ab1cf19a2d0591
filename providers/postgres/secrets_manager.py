"""Secrets Manager: where logins' passwords and the pool's token key live. Nothing here enters Pulumi state."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from providers.postgres.errors import PostgresProviderError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_CLIENTS: dict[tuple[str, str], SecretsManagerClient] = {}
_CLIENTS_LOCK = threading.Lock()


@dataclass(frozen=True)
class Secret:
    """One version of a secret: a JSON object."""

    version_id: str
    value: dict[str, Any] = field(repr=False)


class Secrets:
    """The Secrets Manager of ``region``; ``AWS_ENDPOINT_URL`` is honoured."""

    def __init__(self, region: str) -> None:
        self.region = region

    def get(self, arn: str) -> Secret | None:
        """The current version of the secret, or None while it has none.

        :raises PostgresProviderError: the secret doesn't exist, may not be read, or isn't a JSON object.
        """
        try:
            answer = self._client().get_secret_value(SecretId=arn)
        except ClientError as error:
            if _is_secret_without_value(error):
                return None
            raise PostgresProviderError(f"cannot read secret {arn}: {_reason(error)}") from None
        except BotoCoreError as error:
            raise PostgresProviderError(f"cannot read secret {arn}: {error}") from None
        try:
            value = json.loads(answer["SecretString"])
        except (KeyError, ValueError):
            value = None
        if not isinstance(value, dict):
            raise PostgresProviderError(f"secret {arn} is not a JSON object; store one in RDS's form")
        return Secret(answer["VersionId"], value)

    def put(self, arn: str, value: dict[str, Any]) -> str:
        """Store ``value`` as the secret's current version and return the version's id."""
        try:
            answer = self._client().put_secret_value(SecretId=arn, SecretString=json.dumps(value))
        except ClientError as error:
            raise PostgresProviderError(f"cannot write secret {arn}: {_reason(error)}") from None
        except BotoCoreError as error:
            raise PostgresProviderError(f"cannot write secret {arn}: {error}") from None
        return answer["VersionId"]

    def _client(self) -> SecretsManagerClient:
        key = (self.region, os.environ.get("AWS_ENDPOINT_URL", ""))
        with _CLIENTS_LOCK:
            if key not in _CLIENTS:
                _CLIENTS[key] = boto3.session.Session().client(
                    "secretsmanager",
                    region_name=self.region,
                    config=Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 5, "mode": "standard"}),
                )
            return _CLIENTS[key]


def _is_secret_without_value(error: ClientError) -> bool:
    details = error.response["Error"]
    return details["Code"] == "ResourceNotFoundException" and "staging label" in details["Message"]


def _reason(error: ClientError) -> str:
    details = error.response["Error"]
    return f"{details['Code']}: {details['Message']}"
