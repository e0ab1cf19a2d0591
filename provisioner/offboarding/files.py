"""A tenant's files, read as the tenant's own role: nobody else may read their content, the provisioner included."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from provisioner.offboarding.errors import ExportInterrupted, ExportRefused
from provisioner.offboarding.layout import CHUNK, FILES_INDEX, ExportWriter, Files, LeftOut
from provisioner.quotas.aws import AwsClients, error_code

SESSION_SECONDS = 3600  #: the most that a tenant role allows
_GONE = frozenset({"NoSuchKey", "404"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "InvalidAccessKeyId"})


@dataclass(frozen=True)
class Place:
    """Where the files are. ``prefix`` ends in ``/``, or is "" for a bucket of the tenant's own."""

    tenant_id: str
    bucket: str
    prefix: str
    region: str
    role_arn: str

    @property
    def where(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def tenant_session(place: Place, clients: AwsClients) -> Any:
    """A boto3 session of the tenant's role with the tag that says whose it is; renewed by botocore before it ends."""
    import boto3
    import botocore.session
    from botocore.credentials import RefreshableCredentials

    def assume() -> dict[str, str]:
        answer = clients("sts", place.region).assume_role(
            RoleArn=place.role_arn,
            RoleSessionName=f"tenantry-export-{place.tenant_id}",
            DurationSeconds=SESSION_SECONDS,
            Tags=[{"Key": "tenant_id", "Value": place.tenant_id}],
            TransitiveTagKeys=["tenant_id"],
        )
        issued = answer["Credentials"]
        expiry: datetime = issued["Expiration"]
        return {
            "access_key": issued["AccessKeyId"],
            "secret_key": issued["SecretAccessKey"],
            "token": issued["SessionToken"],
            "expiry_time": expiry.isoformat(),
        }

    inner = botocore.session.get_session()
    inner.set_config_variable("region", place.region)
    inner._credentials = RefreshableCredentials.create_from_metadata(  # type: ignore[attr-defined]  # botocore's only way in
        metadata=assume(), refresh_using=assume, method="tenantry-export"
    )
    return boto3.session.Session(botocore_session=inner)


def export(place: Place, clients: AwsClients, writer: ExportWriter) -> tuple[Files, list[LeftOut]]:
    """Write every file and the index. Raises ExportInterrupted, and ExportRefused when the role is closed."""
    try:
        from botocore.config import Config

        s3 = tenant_session(place, clients).client(
            "s3",
            config=Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 5, "mode": "standard"}),
        )
        return _export(place, s3, writer)
    except (ClientError, BotoCoreError) as error:
        code = error_code(error)
        if code in _DENIED:
            raise ExportRefused(
                f"the files of {place.where} could not be read as role {place.role_arn}: {code}",
                hint="the role must be open for its export, and let this process assume it: "
                "TENANTRY_BROKER_PRINCIPAL_ARNS names the worker's role too",
            ) from None
        raise ExportInterrupted(f"the files of {place.where} could not be exported: {code}") from error


def _export(place: Place, s3: Any, writer: ExportWriter) -> tuple[Files, list[LeftOut]]:
    count = size = 0
    left_out = []
    with tempfile.TemporaryFile() as index:
        for listed in _listed(s3, place):
            key = str(listed["Key"])
            entry = _copy(s3, place, key, f"files/{count + 1:08}", writer)
            if entry is None:
                left_out.append(LeftOut(what=f"file {key}", why="it was deleted while the export was written"))
                continue
            index.write(json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
            count, size = count + 1, size + int(entry["size"])
        index.seek(0)
        with writer.member(FILES_INDEX) as file:
            while block := index.read(CHUNK):
                file.write(block)
    return Files(count=count, size=size), left_out


def _listed(s3: Any, place: Place) -> Iterator[Any]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.prefix):
        yield from page.get("Contents", ())


def _copy(s3: Any, place: Place, key: str, member: str, writer: ExportWriter) -> dict[str, Any] | None:
    """None if the file is gone by now."""
    try:
        found = s3.get_object(Bucket=place.bucket, Key=key)
    except ClientError as error:
        if error_code(error) in _GONE:
            return None
        raise
    digest = hashlib.sha256()
    with writer.member(member, listed=False, size=int(found["ContentLength"])) as file:
        for block in found["Body"].iter_chunks(CHUNK):
            file.write(block)
            digest.update(block)
    if file.size != found["ContentLength"]:
        raise ExportInterrupted(f"{place.where}: {file.size} of {found['ContentLength']} bytes of a file came")
    return {
        "name": key.removeprefix(place.prefix),
        "member": member,
        "size": file.size,
        "sha256": digest.hexdigest(),
        "content_type": found.get("ContentType"),
        "last_modified": found["LastModified"].isoformat(),
        "version_id": found.get("VersionId"),
        "metadata": found.get("Metadata") or {},
    }
