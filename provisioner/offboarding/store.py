"""Where final exports and archives are kept: a directory, or a prefix of an S3 bucket."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from components.spec import Environment
from provisioner.errors import ConfigurationInvalid, NotFound
from provisioner.offboarding.errors import CopyUnavailable
from provisioner.purge import purge_prefix
from provisioner.quotas.aws import AwsClients, error_code

_S3 = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")


class Store(Protocol):
    """Names are relative, with ``/`` between. All methods block, and raise CopyUnavailable."""

    def put(self, name: str, content: IO[bytes]) -> None:
        """Keep what is read from ``content``, whole or not at all; an earlier one is replaced.

        ``content.read(n)`` returns fewer than n bytes at its end only."""
        ...

    def open(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Raises NotFound if there is none."""
        ...

    def delete(self, name: str) -> None:
        """With every version of it; nothing happens if there is none."""
        ...

    def exists(self, name: str) -> bool: ...

    def where(self, name: str) -> str:
        """For people: a path or an ``s3://`` address."""
        ...


@dataclass(frozen=True)
class Directory:
    root: Path

    def put(self, name: str, content: IO[bytes]) -> None:
        path = self.root / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            try:
                with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    shutil.copyfileobj(content, file)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise CopyUnavailable(
                f"{path} can't be written: {error.strerror}", hint="check TENANTRY_EXPORT_STORE"
            ) from error

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        path = self.root / name
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise NotFound(f"{path} is not there", hint="it was removed past Tenantry") from None
        except OSError as error:
            raise CopyUnavailable(f"{path} can't be read: {error.strerror}") from error
        with file:
            yield file

    def delete(self, name: str) -> None:
        path = self.root / name
        try:
            path.unlink(missing_ok=True)
            for partial in path.parent.glob(f".{path.name}.*"):  # of a process that was killed
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise CopyUnavailable(f"{path} can't be deleted: {error.strerror}") from error

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def where(self, name: str) -> str:
        return str(self.root / name)


@dataclass(frozen=True)
class Bucket:
    """``prefix`` is "" or ends in ``/``."""

    bucket: str
    prefix: str
    region: str
    clients: AwsClients

    def put(self, name: str, content: IO[bytes]) -> None:
        try:
            # In parts; what fails half-way is aborted. A short read would count as the end: see ``Store.put``.
            self._s3.upload_fileobj(content, self.bucket, self.prefix + name)
        except OSError as error:
            raise CopyUnavailable(f"{self.where(name)} can't be written: {error.strerror}") from error
        except (ClientError, BotoCoreError) as error:
            raise self._failed("written", name, error) from error

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            body: Any = self._s3.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"]
        except (ClientError, BotoCoreError) as error:
            if error_code(error) in ("NoSuchKey", "404"):
                raise NotFound(f"{self.where(name)} is not there", hint="it was removed past Tenantry") from None
            raise self._failed("read", name, error) from error
        with contextlib.closing(body):
            yield body

    def delete(self, name: str) -> None:
        purge_prefix(self._s3, self.bucket, self.prefix + name, whole_key=True)

    def exists(self, name: str) -> bool:
        try:
            self._s3.head_object(Bucket=self.bucket, Key=self.prefix + name)
        except (ClientError, BotoCoreError) as error:
            if error_code(error) in ("404", "NoSuchKey", "NotFound"):
                return False
            raise self._failed("looked up", name, error) from error
        return True

    def where(self, name: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{name}"

    @property
    def _s3(self) -> Any:
        return self.clients("s3", self.region)

    def _failed(self, done: str, name: str, error: ClientError | BotoCoreError) -> CopyUnavailable:
        return CopyUnavailable(
            f"{self.where(name)} can't be {done}: {error_code(error)}",
            hint="check TENANTRY_EXPORT_STORE and what the worker's role may do there",
        )


def open_store(
    configured: str | None, *, home: Path, environment: Environment, region: str, clients: AwsClients
) -> Store:
    """``configured``: a directory or ``s3://bucket/prefix``; a laptop's default is its home."""
    if configured is None:
        if environment is not Environment.DEVELOPMENT:
            raise ConfigurationInvalid(
                "final exports have no place: TENANTRY_EXPORT_STORE is not set",
                hint="name a bucket of your own, s3://BUCKET/PREFIX, that no stack of a tenant owns",
            )
        return Directory(home / "exports")
    if "://" not in configured:
        return Directory(Path(configured))
    found = _S3.fullmatch(configured)
    if found is None:
        raise ConfigurationInvalid(
            "TENANTRY_EXPORT_STORE is neither a directory nor s3://BUCKET/PREFIX", hint="correct it"
        )
    prefix = (found[2] or "").strip("/")
    return Bucket(found[1], f"{prefix}/" if prefix else "", region, clients)
