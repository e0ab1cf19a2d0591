"""Deletes a destroyed tenant's files: every version, every delete marker, and every upload that was never completed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from components.spec import PlatformOutputs, TenantOutputs
from components.tiers import TIERS
from provisioner.errors import RetryLater

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = structlog.get_logger(__name__)

_NO_BUCKET = frozenset({"NoSuchBucket", "404"})


class PurgeFailed(RetryLater):
    """S3 did not delete every object."""

    code = "purge_failed"


@dataclass(frozen=True)
class Stored:
    """What a prefix holds. ``objects``: with a present version; ``versions`` counts these and all former ones."""

    objects: int = 0
    versions: int = 0
    delete_markers: int = 0
    uploads: int = 0

    @property
    def empty(self) -> bool:
        return not (self.versions or self.delete_markers or self.uploads)


async def purge(outputs: TenantOutputs, platform: PlatformOutputs) -> None:
    """All files of the tenant. ``PurgeFailed`` leaves the rest for the next try."""
    found = await asyncio.to_thread(_purge_tenant, outputs, platform.region)
    log.info("tenant.files_purged", versions=found.versions, markers=found.delete_markers, uploads=found.uploads)


async def stored(outputs: TenantOutputs, platform: PlatformOutputs) -> Stored:
    """What ``purge`` would delete."""
    return await asyncio.to_thread(lambda: count(_client(platform.region), outputs.bucket, outputs.prefix))


def _purge_tenant(outputs: TenantOutputs, region: str) -> Stored:
    own = TIERS[outputs.tier].own_bucket
    assert own or outputs.prefix.endswith("/"), "a shared bucket without a prefix would be emptied"
    return purge_prefix(_client(region), outputs.bucket, outputs.prefix)


def _client(region: str) -> S3Client:
    import boto3

    client: S3Client = boto3.session.Session(region_name=region).client("s3")
    return client


def count(s3: Any, bucket: str, prefix: str) -> Stored:
    """Nothing of a bucket that is gone. Raises PurgeFailed."""
    objects = versions = markers = 0
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            objects += sum(bool(each.get("IsLatest")) for each in page.get("Versions", ()))
            versions += len(page.get("Versions", ()))
            markers += len(page.get("DeleteMarkers", ()))
        return Stored(objects, versions, markers, sum(1 for _ in _uploads(s3, bucket, prefix)))
    except (ClientError, BotoCoreError) as error:
        if _code(error) in _NO_BUCKET:
            return Stored()
        raise PurgeFailed(f"the files of s3://{bucket}/{prefix} could not be listed: {_code(error)}") from error


def purge_prefix(s3: Any, bucket: str, prefix: str, *, whole_key: bool = False) -> Stored:
    """Delete everything under ``prefix``; with ``whole_key`` only what has exactly that key. Raises PurgeFailed."""
    objects = versions = markers = uploads = 0
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            old = [each for each in page.get("Versions", ()) if not whole_key or each["Key"] == prefix]
            marks = [each for each in page.get("DeleteMarkers", ()) if not whole_key or each["Key"] == prefix]
            found = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in (*old, *marks)]
            if not found:
                continue
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise PurgeFailed(f"an object of s3://{bucket}/{prefix} could not be deleted: {first.get('Code')}")
            objects += sum(bool(each.get("IsLatest")) for each in old)
            versions, markers = versions + len(old), markers + len(marks)
        for upload in list(_uploads(s3, bucket, prefix)):
            if not whole_key or upload["Key"] == prefix:
                s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                uploads += 1
    except (ClientError, BotoCoreError) as error:
        if _code(error) in _NO_BUCKET:
            return Stored()
        raise PurgeFailed(f"the files of s3://{bucket}/{prefix} could not be deleted: {_code(error)}") from error
    return Stored(objects, versions, markers, uploads)


def _uploads(s3: Any, bucket: str, prefix: str) -> Iterator[Any]:
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        # Some servers answer with all of a bucket's, whatever the prefix: another tenant's must not be aborted.
        yield from (each for each in page.get("Uploads", ()) if each["Key"].startswith(prefix))


def _code(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__
