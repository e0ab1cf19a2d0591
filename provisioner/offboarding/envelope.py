"""Encryption of exports that are kept: AWS's Encryption SDK, a data key a file, wrapped by the archive key in KMS.

The file's context (tenant, life, deletion) is authenticated: a copy of one tenant can't pass for another's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError

from components.spec import Environment
from provisioner.errors import ConfigurationInvalid
from provisioner.offboarding.errors import CopyUnavailable, ExportRefused
from provisioner.quotas.aws import AwsClients, error_code

FRAME = 64 * 1024  #: bytes that are authenticated together; what is in memory at a time


class Envelope:
    """``key_arn``: of a symmetric KMS key."""

    def __init__(self, key_arn: str) -> None:
        self.key_arn = key_arn

    @functools.cached_property
    def _sdk(self) -> tuple[Any, Any]:
        import aws_encryption_sdk as sdk  # type: ignore[import-untyped]

        client = sdk.EncryptionSDKClient(commitment_policy=sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
        return client, sdk.StrictAwsKmsMasterKeyProvider(key_ids=[self.key_arn])

    @contextmanager
    def encrypting(self, source: IO[bytes], context: Mapping[str, str]) -> Iterator[IO[bytes]]:
        """Read the ciphertext of ``source`` from it."""
        client, provider = self._sdk
        with (
            _translated(self.key_arn),
            client.stream(
                mode="e",
                source=source,
                key_provider=provider,
                encryption_context=dict(context),
                frame_length=FRAME,
            ) as stream,
        ):
            yield stream

    def decrypt(self, source: IO[bytes], context: Mapping[str, str], target: IO[bytes]) -> None:
        """Write the plaintext of ``source`` to ``target``; nothing in it may be used if this raises.

        Raises ExportRefused if it is not what was encrypted with ``context``.
        """
        from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError  # type: ignore[import-untyped]
        from cryptography.exceptions import InvalidTag

        client, provider = self._sdk
        try:
            with (
                _translated(self.key_arn),
                client.stream(mode="d", source=source, key_provider=provider) as stream,
            ):
                found = stream.header.encryption_context
                if any(found.get(name) != value for name, value in context.items()):
                    raise ExportRefused(
                        "the copy is another one's: it was encrypted for "
                        + ", ".join(f"{name} {found.get(name)}" for name in context),
                        hint="somebody moved or replaced it in the store",
                    )
                while block := stream.read(FRAME):
                    target.write(block)
        except (AWSEncryptionSDKClientError, InvalidTag) as error:
            raise ExportRefused(
                f"the copy can't be decrypted: {type(error).__name__}", hint="it was damaged or changed in the store"
            ) from error


@contextmanager
def _translated(key_arn: str) -> Iterator[None]:
    from aws_encryption_sdk.exceptions import DecryptKeyError, EncryptKeyError, GenerateKeyError

    try:
        yield
    except (ClientError, BotoCoreError, EncryptKeyError, GenerateKeyError, DecryptKeyError) as error:
        raise CopyUnavailable(
            f"the archive key {key_arn} can't be used: {type(error).__name__}",
            hint="the worker's role needs kms:GenerateDataKey and kms:Decrypt on it, and it must be enabled",
        ) from error


def archive_key(
    configured: str | None, *, installation: str, environment: Environment, region: str, clients: AwsClients
) -> str:
    """ARN of the key that wraps data keys; a laptop's is made when it is first needed.

    Raises ConfigurationInvalid, CopyUnavailable.
    """
    kms = clients("kms", region)
    alias = configured or f"alias/tenantry-{installation}-archive"
    try:
        return str(kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"])
    except (ClientError, BotoCoreError) as error:
        code = error_code(error)
        if code != "NotFoundException":
            raise CopyUnavailable(f"the archive key {alias} can't be looked up: {code}") from error
    if configured is not None:
        raise ConfigurationInvalid(
            f"there is no archive key {configured}", hint="TENANTRY_ARCHIVE_KEY names a KMS key by ARN or alias"
        )
    if environment is not Environment.DEVELOPMENT:
        raise ConfigurationInvalid(
            "exports and archives can't be encrypted: TENANTRY_ARCHIVE_KEY is not set",
            hint="make a symmetric KMS key that no stack of a tenant owns, and name its ARN or alias",
        )
    try:
        return _make(kms, alias, installation)
    except (ClientError, BotoCoreError) as error:
        raise CopyUnavailable(f"the archive key {alias} can't be made: {error_code(error)}") from error


def _make(kms: Any, alias: str, installation: str) -> str:
    made = kms.create_key(
        Description="Final exports and archives of tenants",
        Tags=[
            {"TagKey": name, "TagValue": value}
            for name, value in (("managed-by", "tenantry"), ("installation", installation), ("purpose", "archive"))
        ],
    )["KeyMetadata"]
    try:
        kms.create_alias(AliasName=alias, TargetKeyId=made["KeyId"])
    except ClientError as error:
        if error_code(error) != "AlreadyExistsException":
            raise
        kms.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=7)  # somebody else was first
        return str(kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"])
    return str(made["Arn"])
