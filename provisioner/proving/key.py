"""The installation's signing key: a file, a secret in Secrets Manager, or a laptop's own."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from components.spec import Environment
from isolation.evidence.signing import KeyInvalid, SigningKey
from provisioner.errors import ConfigurationInvalid, RetryLater
from provisioner.settings import Settings

_HINT = (
    "make one: openssl genpkey -algorithm ed25519 -out evidence.pem; TENANTRY_EVIDENCE_KEY names the file (mode 0600), "
    "or the ARN of a Secrets Manager secret with that text"
)
_TRANSIENT = frozenset({"ThrottlingException", "InternalServiceError", "InternalFailure", "ServiceUnavailable"})


class EvidenceKeyUnavailable(RetryLater):
    """Secrets Manager could not be asked."""

    code = "evidence_key_unavailable"


def _secrets_manager(region: str) -> Any:
    return boto3.client("secretsmanager", region_name=region)


def signing_key(settings: Settings, *, client: Callable[[str], Any] = _secrets_manager) -> SigningKey:
    """The key; a laptop's is made when it is first asked for. Raises ConfigurationInvalid, EvidenceKeyUnavailable."""
    where = settings.evidence_key
    if where is None:
        if settings.environment is not Environment.DEVELOPMENT:
            raise ConfigurationInvalid("evidence can't be signed: TENANTRY_EVIDENCE_KEY is not set", hint=_HINT)
        path = settings.home / "evidence" / "key.pem"
        _make(path)
        return _of_file(path)
    if where.startswith("arn:"):
        return _of_secret(where, client)
    return _of_file(Path(where))


def _of_file(path: Path) -> SigningKey:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o007:
                raise ConfigurationInvalid(
                    f"evidence key {path}: everybody on this machine may use it", hint=f"chmod 0600 {path}"
                )
            return _parsed(file.read(), str(path))
    except OSError as error:
        raise ConfigurationInvalid(f"evidence key {path} can't be read: {error.strerror}", hint=_HINT) from None


def _of_secret(arn: str, client: Callable[[str], Any]) -> SigningKey:
    parts = arn.split(":")
    if len(parts) < 7 or parts[2] != "secretsmanager":
        raise ConfigurationInvalid(f"TENANTRY_EVIDENCE_KEY: {arn} is no secret's ARN", hint=_HINT)
    try:
        found = client(parts[3]).get_secret_value(SecretId=arn)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        problem = f"evidence key: Secrets Manager answers {code} for {arn}"
        if code in _TRANSIENT:
            raise EvidenceKeyUnavailable(problem) from None
        raise ConfigurationInvalid(
            problem, hint="the worker's role needs secretsmanager:GetSecretValue on it"
        ) from None
    except BotoCoreError as error:
        raise EvidenceKeyUnavailable(f"evidence key: {type(error).__name__} when {arn} was read") from None
    return _parsed(str(found.get("SecretString", "")).encode(), arn)


def _parsed(pem: bytes, where: str) -> SigningKey:
    try:
        return SigningKey.parse(pem)
    except KeyInvalid as error:
        raise ConfigurationInvalid(f"evidence key {where}: {error}", hint=_HINT) from None


def _make(path: Path) -> None:
    """Once, whoever comes first: a link is made whole or not at all."""
    if path.exists():
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(SigningKey.generate().pem())
            file.flush()
            os.fsync(file.fileno())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink()
    except OSError as error:
        raise ConfigurationInvalid(
            f"evidence key {path} can't be made: {error.strerror}", hint="check the directory, or set TENANTRY_HOME"
        ) from None
