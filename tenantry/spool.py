"""Usage on this machine's disk until the control plane has it: append-only segments, one writer each.

A record is on disk, in the operating system's hands, when ``append`` returns: the process may be killed then. A second
later it is synced, and survives the machine. A segment is written by one process, which holds a lock on it, and sealed
by being renamed; what a dead process left is free to be shipped by any other. Once sealed, its content never changes:
what is made of it is the same every time, and so are the idempotency keys of that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tenantry.errors import SpoolFull

OPEN, SEALED, REFUSED = ".open", ".sealed", ".refused"
SEPARATOR = "\t"


@dataclass
class Summary:
    """What a segment says of one tenant, meter and hour, or of one idempotency key."""

    key: str
    tenant_id: str
    meter: str
    records: int = 0
    total: int = 0
    last: int = 0
    at: float = field(default=float("-inf"))  #: of the last value, Unix seconds

    def add(self, value: int, at: float) -> None:
        self.records += 1
        self.total += value
        if at >= self.at:
            self.last, self.at = value, at


def line(tenant_id: str, meter: str, value: int, at: float, key: str) -> bytes:
    return f"{tenant_id}\t{meter}\t{value}\t{at:.3f}\t{key}\n".encode()


def summarise(segment: str, content: bytes) -> tuple[list[Summary], list[bytes]]:
    """Of a segment's content: what it records, and the lines that can't be read. ``segment`` is its name.

    A last line without its end was never acknowledged: its process died in the middle of the write.
    """
    found: dict[tuple[str, str, str], Summary] = {}
    damaged = []
    for raw in content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]:
        try:
            tenant_id, meter, value, at, key = raw.decode("utf-8").split(SEPARATOR)
            number, moment = int(value), float(at)
        except ValueError:
            damaged.append(raw)
            continue
        # what has no key of its own is summed up by hour, under a key that the segment gives
        name = f"key/{key}" if key else f"{segment}/{int(moment // 3600)}"
        summary = found.get((tenant_id, meter, name))
        if summary is None:
            summary = found[(tenant_id, meter, name)] = Summary(key or name, tenant_id, meter)
        elif key:
            continue  # the same key again counts once
        summary.add(number, moment)
    return list(found.values()), damaged


class Spool:
    """Thread-safe; a forked child writes to a segment of its own. Nothing is made before the first ``append``."""

    def __init__(self, directory: Path, *, max_bytes: int, segment_bytes: int = 1 << 20) -> None:
        self.directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._file: int | None = None
        self._path: Path | None = None
        self._written = 0
        self._dirty = False
        self._waiting = 0  #: bytes of sealed segments and of other processes, as ``measure`` last saw them
        self._measured = False
        os.register_at_fork(after_in_child=self._forked)

    def append(self, record: bytes) -> None:
        """Write one line. ``SpoolFull`` if it does not fit, or the disk does not take it."""
        with self._lock:
            if self._file is None:
                self._begin()
            if self._waiting + self._written + len(record) > self._max_bytes:
                raise SpoolFull(
                    f"the usage spool {self.directory} holds {self._max_bytes} bytes that were not delivered",
                    hint="is the control plane reachable? Usage beyond is not recorded: spool_max_bytes sets the limit",
                )
            assert self._file is not None
            try:
                done = os.write(self._file, record)
                if done != len(record):
                    raise OSError(28, "No space left on device")
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._written)
                raise SpoolFull(
                    f"the usage spool {self.directory} can't be written: {error.strerror}", hint="free its disk"
                ) from None
            self._written += len(record)
            self._dirty = True
            if self._written >= self._segment_bytes:
                self._seal()

    def sync(self) -> None:
        """Make what was appended survive the machine."""
        with self._lock:
            if self._file is None or not self._dirty:
                return
            self._dirty = False
            path = self._path
        assert path is not None
        # By its name and without the lock: nobody who records waits for the disk, and a copy of the descriptor would
        # share the segment's lock, so that a segment sealed meanwhile could not be taken.
        for name in (path, path.with_suffix(SEALED)):
            with contextlib.suppress(FileNotFoundError):
                file = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
                return

    def seal(self) -> None:
        """End the present segment, so that it can be shipped."""
        with self._lock:
            self._seal()

    def close(self) -> None:
        self.seal()

    def measure(self) -> int:
        """Bytes that wait in all segments of the directory; the limit counts them."""
        waiting = 0
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.directory):
                with contextlib.suppress(FileNotFoundError):
                    if entry.name.endswith((OPEN, SEALED)) and entry.path != str(self._path):
                        waiting += entry.stat().st_size
        with self._lock:
            self._waiting = waiting
            return waiting + self._written

    @contextlib.contextmanager
    def taken(self) -> Iterator[list[Segment]]:
        """The segments that nobody writes or ships, oldest first, locked until the block ends."""
        segments = []
        try:
            with contextlib.suppress(FileNotFoundError):
                for path in sorted(self.directory.iterdir()):
                    if path.suffix in (OPEN, SEALED) and path != self._path:
                        segment = Segment.take(path)
                        if segment is not None:
                            segments.append(segment)
            yield segments
        finally:
            for segment in segments:
                segment.release()

    def refuse(self, segment: str, lines: list[bytes]) -> None:
        """Keep what the control plane can't take, for a person."""
        with open(self.directory / f"{segment}{REFUSED}", "ab") as file:
            file.write(b"\n".join(lines) + b"\n")

    def _begin(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._measured:
                self._measured = True
                self._waiting = sum(
                    path.stat().st_size for path in self.directory.iterdir() if path.suffix in (OPEN, SEALED)
                )
            name = f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(8)}"
            path = self.directory / f"{name}{OPEN}"
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise SpoolFull(
                f"the usage spool {self.directory} can't be written: {error.strerror}",
                hint="set TENANTRY_SPOOL_DIR to a directory of this process's user",
            ) from None
        self._file, self._path, self._written = file, path, 0

    def _seal(self) -> None:
        if self._file is None or self._path is None:
            return
        file, path = self._file, self._path
        self._file = self._path = None
        self._waiting, self._written = self._waiting + self._written, 0
        os.rename(path, path.with_suffix(SEALED))
        os.close(file)

    def _forked(self) -> None:
        """In a child: the segment, and its lock, are the parent's."""
        self._lock = threading.Lock()
        if self._file is not None:
            os.close(self._file)  # the lock stays with the parent's descriptor
        self._file = self._path = None
        self._written = 0


class Segment:
    """A segment that this process alone may ship."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file

    @property
    def name(self) -> str:
        return self.path.stem

    @classmethod
    def take(cls, path: Path) -> Segment | None:
        """None if a process writes or ships it, or it is gone."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # renamed or delivered between the listing and the lock
            if os.stat(path).st_ino != os.fstat(file).st_ino:
                raise FileNotFoundError
        except OSError:
            os.close(file)
            return None
        return cls(path, file)

    def read(self) -> bytes:
        """The content, on disk for good: what is delivered is not to vanish here and be recorded again."""
        os.fsync(self._file)
        return self.path.read_bytes()

    def delivered(self) -> None:
        self.path.unlink(missing_ok=True)

    def release(self) -> None:
        os.close(self._file)
