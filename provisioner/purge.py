"""Deletes a destroyed tenant's files from the shared bucket; an own bucket goes with its stack."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from components.spec import PlatformOutputs, TenantOutputs
from components.tiers import TIERS
from provisioner.errors import RetryLater

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = structlog.get_logger(__name__)


class PurgeFailed(RetryLater):
    """S3 did not delete every object."""

    code = "purge_failed"


async def purge(outputs: TenantOutputs, platform: PlatformOutputs) -> None:
    """Every version and delete marker under the tenant's prefix. ``PurgeFailed`` leaves the rest for the next try."""
    if TIERS[outputs.tier].own_bucket:
        return
    assert outputs.prefix.endswith("/"), "a shared bucket without a prefix would be emptied"
    deleted = await asyncio.to_thread(_purge, outputs.bucket, outputs.prefix, platform.region)
    log.info("tenant.files_purged", objects=deleted)


def _purge(bucket: str, prefix: str, region: str) -> int:
    import boto3

    s3: S3Client = boto3.session.Session(region_name=region).client("s3")
    deleted = 0
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            found: list[Any] = [
                {"Key": entry["Key"], "VersionId": entry["VersionId"]}
                for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            ]
            if not found:
                continue
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise PurgeFailed(f"an object of s3://{bucket}/{prefix} could not be deleted: {first.get('Code')}")
            deleted += len(found)
    except (ClientError, BotoCoreError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        raise PurgeFailed(f"the files of s3://{bucket}/{prefix} could not be deleted: {code}") from error
    return deleted
