"""Records of the local RDS instances: one JSON file each, which survives the provider that wrote it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from localcloud.locks import file_lock
from localcloud.postgres.tls import write_file

#: An instance that the API is about to be asked for. The others are RDS's own words.
REQUESTED = "requested"
CREATING = "creating"
AVAILABLE = "available"
MODIFYING = "modifying"
DELETING = "deleting"
FAILED = "failed"
STOPPING = "stopping"
STOPPED = "stopped"
STARTING = "starting"


@dataclass(frozen=True)
class Record:
    """What is known of an instance beyond moto's record of it. No password: a verifier at most."""

    name: str  #: of the server's directory
    identifier: str
    region: str
    port: int
    status: str
    since: float  #: of the status, Unix seconds
    resource_id: str = ""  #: ``db-...``; empty while requested
    username: str = ""
    verifier: str | None = None  #: None: the password is RDS's, in Secrets Manager
    database: str | None = None
    source: str | None = None  #: data directory of the snapshot it is restored from
    settings: dict[str, str] = field(default_factory=dict)
    force_ssl: bool = True
    final_snapshot: str | None = None  #: what a deletion leaves
    keep_backups: bool = False
    error: str | None = None  #: why it failed


class Records:
    """All records in ``directory``. Every change is a transition of one status to another, under a lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, record: Record) -> None:
        with self._locked():
            self._write(record)

    def find(self, *, resource_id: str) -> Record | None:
        """The record of the instance with this resource id."""
        return next((record for record in self if record.resource_id == resource_id), None)

    def of(self, identifier: str, region: str) -> Record | None:
        """The record of the instance that bears the identifier now; those on their way out don't count."""
        return next(
            (r for r in self if (r.identifier, r.region) == (identifier, region) and r.status != DELETING), None
        )

    def get(self, name: str) -> Record | None:
        try:
            document: dict[str, Any] = json.loads(self._path(name).read_text())
        except FileNotFoundError:
            return None
        return Record(**document)

    def change(self, name: str, expected: tuple[str, ...], **changes: Any) -> Record | None:
        """Apply ``changes`` if the status is one of ``expected``; the new record, or None if it wasn't."""
        with self._locked():
            record = self.get(name)
            if record is None or record.status not in expected:
                return None
            if changes.get("status", record.status) != record.status:
                changes = {"since": time.time(), "error": None, **changes}
            changed = replace(record, **changes)
            self._write(changed)
            return changed

    def remove(self, name: str) -> None:
        with self._locked():
            self._path(name).unlink(missing_ok=True)
            self.work_lock(name).unlink(missing_ok=True)

    def work_lock(self, name: str) -> Path:
        """Held by whoever carries out what the record's status announces."""
        return self._directory / f".{name}.lock"

    def __iter__(self) -> Iterator[Record]:
        for path in sorted(self._directory.glob("*.json")):
            record = self.get(path.stem)
            if record is not None:
                yield record

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _write(self, record: Record) -> None:
        write_file(self._path(record.name), json.dumps(asdict(record)).encode(), 0o600)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with file_lock(self._directory / ".records.lock"):
            yield


def new_name(identifier: str) -> str:
    """A server's name: an identifier may be used again while its former server is being removed."""
    return f"rds-{identifier}-{secrets.token_hex(3)}"
