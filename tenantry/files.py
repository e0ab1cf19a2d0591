"""A tenant's files: names relative to what is its own, encrypted with its key under its encryption context."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from botocore.exceptions import ClientError

from tenantry.entry import read_only
from tenantry.errors import InvalidFileName
from tenantry.placement import Placement

ENCRYPTION_CONTEXT_KEY = "tenant_id"


@dataclass(frozen=True)
class FileInfo:
    """``size`` in bytes."""

    name: str
    size: int
    modified: datetime


def checked_name(placement: Placement, name: str) -> str:
    """The object key of ``name``. Raises InvalidFileName for what could be read as a path out of the prefix."""
    if not name or name.startswith("/") or "\\" in name or not name.isprintable():
        raise InvalidFileName(f"{name!r} is no file name", hint="use printable characters, relative, with / between")
    if any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
        raise InvalidFileName(f"{name!r} has an empty, '.' or '..' part", hint="name the file directly")
    try:
        key = placement.prefix + name
        length = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidFileName(f"{name!r} is not text", hint="no lone surrogates") from None
    if length > 1024:
        raise InvalidFileName(f"the name has {length} bytes with its prefix", hint="S3 allows 1,024")
    return key


def encryption_arguments(placement: Placement) -> dict[str, str]:
    """What makes S3 encrypt with the tenant's key, and KMS refuse that object's key to any other tenant."""
    context = json.dumps({ENCRYPTION_CONTEXT_KEY: placement.tenant_id}).encode()
    return {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": placement.kms_key_arn,
        "SSEKMSEncryptionContext": base64.b64encode(context).decode(),
    }


def size_of(body: bytes | IO[bytes]) -> int:
    """Bytes from the body's present position on; 0 if it can't be told beforehand."""
    if isinstance(body, bytes | bytearray | memoryview):
        return len(body)
    try:
        at = body.tell()
        end = body.seek(0, 2)
        body.seek(at)
    except (OSError, AttributeError, ValueError):
        return 0
    return end - at


class TenantFiles:
    """Thread-safe, as boto3's clients are. Errors of S3 are botocore's; a missing file is FileNotFoundError."""

    def __init__(self, client: Any, placement: Placement) -> None:
        self._client = client
        self._placement = placement
        #: told of the bytes that are about to be written; raises LimitExceeded
        self.allowance: Callable[[int], None] | None = None

    @property
    def bucket(self) -> str:
        return self._placement.bucket

    @property
    def prefix(self) -> str:
        """What every key begins with; ends in ``/``, or is empty where the bucket is the tenant's own."""
        return self._placement.prefix

    def put(self, name: str, body: bytes | IO[bytes], *, content_type: str = "application/octet-stream") -> None:
        """Write a whole file, at most 5 GiB.

        Raises LimitExceeded for more than the tenant may store, TenantReadOnly if it may only read.
        """
        key = checked_name(self._placement, name)
        self._require_writes()
        if self.allowance is not None:
            self.allowance(size_of(body))
        self._client.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=body,
            ContentType=content_type,
            **encryption_arguments(self._placement),
        )

    def get(self, name: str) -> bytes:
        """Read a whole file."""
        key = checked_name(self._placement, name)
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if self._is_missing(key, error.response["Error"]["Code"]):
                raise FileNotFoundError(f"tenant {self._placement.tenant_id!r} has no file {name!r}") from error
            raise
        with answer["Body"] as body:
            content: bytes = body.read()
        return content

    def _is_missing(self, key: str, code: str) -> bool:
        # S3 says AccessDenied of what isn't there to whoever may not list the whole bucket
        if code != "AccessDenied":
            return code == "NoSuchKey"
        try:
            page = self._client.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
        except ClientError:
            return False
        return not any(each["Key"] == key for each in page.get("Contents", ()))

    def list(self, under: str = "") -> Iterator[FileInfo]:
        """The files whose names begin with ``under``, in S3's order, fetched by the thousand."""
        prefix = checked_name(self._placement, under) if under else self.prefix
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            for each in page.get("Contents", ()):
                yield FileInfo(each["Key"].removeprefix(self.prefix), each["Size"], each["LastModified"])

    def delete(self, name: str) -> None:
        """Delete a file; one that does not exist is no error. Raises TenantReadOnly if the tenant may only read."""
        key = checked_name(self._placement, name)
        self._require_writes()
        self._client.delete_object(Bucket=self.bucket, Key=key)

    def _require_writes(self) -> None:
        """S3 would refuse it too, and not say why."""
        if not self._placement.writes:
            raise read_only(self._placement)


class AsyncTenantFiles:
    """``TenantFiles`` for asyncio: each call runs in a thread."""

    def __init__(self, files: TenantFiles) -> None:
        self._files = files
        self.bucket = files.bucket
        self.prefix = files.prefix

    async def put(self, name: str, body: bytes | IO[bytes], *, content_type: str = "application/octet-stream") -> None:
        await asyncio.to_thread(self._files.put, name, body, content_type=content_type)

    async def get(self, name: str) -> bytes:
        return await asyncio.to_thread(self._files.get, name)

    async def list(self, under: str = "") -> tuple[FileInfo, ...]:
        return await asyncio.to_thread(lambda: tuple(self._files.list(under)))

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self._files.delete, name)
