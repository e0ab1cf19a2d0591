"""Secrets Manager and STS in memory, and placements to issue credentials for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from provisioner.broker import LIFETIME, BrokerPlacement

KEY = bytes(range(64))
PASSWORD = "the-password-nobody-may-see"
POOL = BrokerPlacement("acme", 1, 7, "full", "us-east-1", "arn:login", "arn:key", "arn:aws:iam::1:role/shared")
BRIDGE = replace(POOL, tenant_id="globex", login_secret_arn="arn:globex", token_secret_arn=None)


class FakeAws:
    """Secrets Manager and STS in memory; counts calls and can be told to fail."""

    def __init__(self) -> None:
        self.secrets: dict[str, Any] = {
            "arn:login": json.dumps({"username": "pool", "password": PASSWORD}),
            "arn:globex": json.dumps({"username": "t_globex", "password": PASSWORD}),
            "arn:key": json.dumps({"key": KEY.hex()}),
        }
        self.reads: list[str] = []
        self.assumed: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.now = 1_000_000.0

    def sts(self, region: str) -> Any:
        return self

    def secretsmanager(self, region: str) -> Any:
        return self

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:
        if self.error:
            raise self.error
        self.reads.append(SecretId)
        return {"SecretString": self.secrets[SecretId]}

    def assume_role(self, **arguments: Any) -> dict[str, Any]:
        if self.error:
            raise self.error
        self.assumed.append(arguments)
        return {
            "Credentials": {
                "AccessKeyId": f"AKIA{len(self.assumed)}",
                "SecretAccessKey": "s" * 40,
                "SessionToken": "t" * 40,
                "Expiration": datetime.fromtimestamp(self.now + LIFETIME, UTC),
            }
        }


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Op")
