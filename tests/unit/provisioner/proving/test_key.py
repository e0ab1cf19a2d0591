"""Where the signing key comes from, and what is refused."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from components.spec import Environment
from isolation.evidence.signing import SigningKey
from provisioner.errors import ConfigurationInvalid
from provisioner.proving.key import EvidenceKeyUnavailable, signing_key
from provisioner.settings import Settings

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:evidence-AbCdEf"


def configured(home: Path, **changes: Any) -> Settings:
    values = {"database_url": "postgresql://x", "home": home, "environment": Environment.DEVELOPMENT}
    return Settings(**{**values, **changes})


class Secrets:
    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.region = ""

    def __call__(self, region: str) -> Secrets:
        self.region = region
        return self

    def get_secret_value(self, SecretId: str) -> dict[str, str]:
        assert SecretId == ARN
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"SecretString": self.answer}


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "GetSecretValue")


def test_a_laptops_key_is_made_once_for_all_who_ask_at_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        found = {key.public.key_id for key in threads.map(lambda _: signing_key(settings), range(16))}
    assert len(found) == 1
    [path] = (tmp_path / "evidence").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("environment", [Environment.PRODUCTION, Environment.STAGING])
def test_elsewhere_none_is_made_up(tmp_path: Path, environment: Environment) -> None:
    with pytest.raises(ConfigurationInvalid, match="TENANTRY_EVIDENCE_KEY is not set") as refusal:
        signing_key(configured(tmp_path, environment=environment))
    assert "openssl genpkey -algorithm ed25519" in refusal.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_taken_unless_everybody_may_read_it(tmp_path: Path) -> None:
    key, path = SigningKey.generate(), tmp_path / "key.pem"
    path.write_bytes(key.pem())
    os.chmod(path, 0o640)
    settings = configured(tmp_path, evidence_key=str(path), environment=Environment.PRODUCTION)
    assert signing_key(settings).public == key.public
    os.chmod(path, 0o644)
    with pytest.raises(ConfigurationInvalid, match="everybody on this machine may use it"):
        signing_key(settings)
    os.chmod(path, 0o600)
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigurationInvalid, match="no private key in PEM"):
        signing_key(settings)
    path.unlink()
    with pytest.raises(ConfigurationInvalid, match="can't be read: No such file"):
        signing_key(settings)


def test_a_secret_is_read_in_its_own_region(tmp_path: Path) -> None:
    key = SigningKey.generate()
    secrets = Secrets(key.pem().decode())
    settings = configured(tmp_path, evidence_key=ARN, environment=Environment.PRODUCTION)
    assert signing_key(settings, client=secrets).public == key.public
    assert secrets.region == "eu-west-1"


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (refused("AccessDeniedException"), ConfigurationInvalid, "AccessDeniedException"),
        (refused("ResourceNotFoundException"), ConfigurationInvalid, "ResourceNotFoundException"),
        (refused("ThrottlingException"), EvidenceKeyUnavailable, "ThrottlingException"),
        (EndpointConnectionError(endpoint_url="https://x"), EvidenceKeyUnavailable, "EndpointConnectionError"),
        ("nonsense", ConfigurationInvalid, "no private key"),
    ],
)
def test_a_secret_that_cannot_be_had_says_why(
    tmp_path: Path, answer: str | Exception, expected: type[Exception], words: str
) -> None:
    with pytest.raises(expected, match=words):
        signing_key(configured(tmp_path, evidence_key=ARN), client=Secrets(answer))


def test_another_services_arn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="is no secret's ARN"):
        signing_key(configured(tmp_path, evidence_key="arn:aws:kms:us-east-1:123456789012:key/x"))
