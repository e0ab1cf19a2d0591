"""The file that an export is: a ZIP with a manifest that says what every member is, and its SHA-256.

``docs/offboarding.md`` describes the layout. Members are named by number, never by what a tenant calls its files: no
name can lead out of the directory that the file is unpacked in.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT: Literal["tenantry-export/1"] = "tenantry-export/1"
MANIFEST = "manifest.json"
FILES_INDEX = "files/index.ndjson"
MAX_MANIFEST = 64 * 1024 * 1024  #: bytes; one of 100,000 tables is smaller
CHUNK = 1024 * 1024
#: What the standard library raises for files that are damaged; an encrypted member is a RuntimeError.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, RuntimeError)
_STORED_FROM = 64  #: bytes: below, compression gains nothing

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Model):
    name: str
    type: str = Field(description="as PostgreSQL writes it")
    nullable: bool
    generated: bool = Field(description="computed from other columns: not to be loaded")


class TableEntry(_Model):
    """``rows`` of ``columns`` in the CSV member ``member``."""

    schema_name: str
    name: str
    member: str
    rows: Count
    columns: tuple[Column, ...]


class Member(_Model):
    name: str
    size: Count = Field(description="bytes")
    sha256: Digest


class LeftOut(_Model):
    """What stands and is not in the export, and why."""

    what: str
    why: str


class Database(_Model):
    server_version: str
    snapshot_at: datetime = Field(description="the moment that all tables are of")
    tables: tuple[TableEntry, ...]


class Files(_Model):
    """``index`` names for every file its key, member, size and SHA-256."""

    index: str = FILES_INDEX
    count: Count
    size: Count = Field(description="bytes")


class Manifest(_Model):
    """``manifest.json``, the last member that is written."""

    format: Literal["tenantry-export/1"] = FORMAT
    installation: str
    tenant_id: str
    generation: int
    tier: str
    plan: str | None
    purpose: str = Field(description="request, or final: before everything is deleted")
    started_at: datetime
    ended_at: datetime
    database: Database
    files: Files
    registry: dict[str, Count] = Field(description="rows of each member under registry/")
    left_out: tuple[LeftOut, ...]
    members: tuple[Member, ...] = Field(description="all but this one and the files that the index names")

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.database.tables)


@dataclass
class MemberWriter:
    """A member while it is written."""

    name: str
    _file: IO[bytes]
    _hash: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def line(self, document: Mapping[str, Any]) -> None:
        """One JSON object, as a line."""
        self.write(json.dumps(document, default=as_text, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")

    @property
    def sha256(self) -> str:
        return str(self._hash.hexdigest())


class ExportWriter:
    """Writes members one after the other; what is in memory does not grow with what is in them."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=6)
        self._members: list[Member] = []

    @contextmanager
    def member(self, name: str, *, listed: bool = True, size: int | None = None) -> Iterator[MemberWriter]:
        """``listed``: in the manifest; a tenant's files are in their index. ``size``: if it is known before."""
        info = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
        info.compress_type = zipfile.ZIP_STORED if size is not None and size < _STORED_FROM else zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as file:
            writer = MemberWriter(name, file)
            yield writer
        if listed:
            self._members.append(Member(name=name, size=writer.size, sha256=writer.sha256))

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(self._members)

    def close(self, manifest: Manifest) -> None:
        with self.member(MANIFEST, listed=False) as file:
            file.write(manifest.model_dump_json(indent=2).encode())
        self._zip.close()

    def abandon(self) -> None:
        self._zip.close()


def as_text(value: Any) -> Any:
    """For JSON: what it has no form for."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value)


@dataclass(frozen=True)
class Verification:
    """``manifest`` is there if it could be read; the file is whole and unchanged only if ``valid``."""

    manifest: Manifest | None
    problems: tuple[str, ...]
    files: int = 0

    @property
    def valid(self) -> bool:
        return self.manifest is not None and not self.problems


def verify(path: Path) -> Verification:
    """Check that every member is there, as long as it must be, with its digest, and that there is no other."""
    problems: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive)
            found = _Checked(archive, problems)
            for member in manifest.members:
                found.check(member.name, member.size, member.sha256)
            files = _check_files(found, manifest)
            found.no_other()
    except (*_DAMAGE, _Unreadable) as error:
        return Verification(None, (f"the file can't be read: {error or type(error).__name__}",))
    return Verification(manifest, tuple(problems), files)


class _Unreadable(Exception):
    pass


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    try:
        info = archive.getinfo(MANIFEST)
    except KeyError:
        raise _Unreadable(f"it has no {MANIFEST}: it is no export, or was cut off") from None
    if info.file_size > MAX_MANIFEST:
        raise _Unreadable(f"{MANIFEST} has {info.file_size} bytes")
    try:
        return Manifest.model_validate_json(archive.read(info))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _Unreadable(f"{MANIFEST}: {where}: {first['msg']}") from None


@dataclass
class _Checked:
    archive: zipfile.ZipFile
    problems: list[str]
    seen: set[str] = field(default_factory=lambda: {MANIFEST})

    def check(self, name: str, size: int, sha256: str) -> None:
        if name in self.seen:
            self.problems.append(f"{name}: it is listed twice")
            return
        self.seen.add(name)
        try:
            found = self.archive.open(name)
        except KeyError:
            self.problems.append(f"{name}: it is missing")
            return
        except _DAMAGE as error:
            self.problems.append(f"{name}: it is damaged: {error}")
            return
        digest, length = hashlib.sha256(), 0
        try:
            with found:
                # A member that unpacks to more than it may is not read to its end.
                while length <= size and (chunk := found.read(CHUNK)):
                    digest.update(chunk)
                    length += len(chunk)
        except _DAMAGE as error:
            self.problems.append(f"{name}: it is damaged: {error}")
            return
        if length != size:
            self.problems.append(
                f"{name}: it has {'more than ' if length > size else ''}{min(length, size)} bytes of {size}"
            )
        elif digest.hexdigest() != sha256:
            self.problems.append(f"{name}: its SHA-256 is {digest.hexdigest()}, stated is {sha256}")

    def no_other(self) -> None:
        names = self.archive.namelist()
        if len(names) != len(set(names)):
            self.problems.append("a member is there twice")
        for name in sorted(set(names) - self.seen)[:5]:
            self.problems.append(f"{name}: no manifest lists it")


def _check_files(found: _Checked, manifest: Manifest) -> int:
    if manifest.files.index not in found.seen:
        if manifest.files.count:
            found.problems.append(f"{manifest.files.index}: it is not listed")
        return 0
    count = size = 0
    try:
        with found.archive.open(manifest.files.index) as index:
            for number, line in enumerate(index, 1):
                try:
                    entry = json.loads(line)
                    name, length, digest = str(entry["member"]), int(entry["size"]), str(entry["sha256"])
                except (ValueError, KeyError, TypeError):
                    found.problems.append(f"{manifest.files.index}: line {number} can't be read")
                    return count
                found.check(name, length, digest)
                count, size = count + 1, size + length
    except KeyError:
        return 0  # told already
    if (count, size) != (manifest.files.count, manifest.files.size):
        found.problems.append(f"{manifest.files.index}: it does not have the files that the manifest counts")
    return count


def sha256_of(path: Path) -> str:
    """Of a whole file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
