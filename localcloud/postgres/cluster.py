"""One PostgreSQL server: created from the template, started, stopped, restarted, destroyed.

A cluster is a directory: ``cluster.json`` (port, settings), ``data/``, ``tls/``, ``socket/``, ``server.log``, ``lock``.
Its server is detached: it survives the process that started it, and any process of the same user manages it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg

from localcloud.locks import file_lock
from localcloud.postgres import binaries, configuration, processes
from localcloud.postgres.ports import free_port
from localcloud.postgres.template import SUPERUSER, template
from localcloud.postgres.tls import Authority, write_file
from provisioner.errors import OperatorNeeded

__all__ = ["SUPERUSER", "Cluster", "ClusterFailed", "connection_url", "reachable_directory"]

RECORD = "cluster.json"
START_SECONDS = 60.0
#: A fast stop writes a checkpoint; then the server is told to stop at once, then killed.
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.01
_REMOVE_SECONDS = 10.0
#: sockaddr_un's path without its closing NUL; the longest socket name in a directory is ``/.s.PGSQL.65535.lock``.
_SOCKET_PATH_BYTES = 107


class ClusterFailed(OperatorNeeded):
    """A server could not be started or stopped; the message ends with the tail of its log."""

    code = "postgres_failed"


def reachable_directory(preferred: Path, fallback_name: str) -> Path:
    """``preferred`` if the user that runs servers gets there, else ``/var/lib/tenantry/servers/<fallback_name>``.

    Root's data directory may lie where no other user gets (``/root``, a temporary directory with mode 0700), and its
    parents' modes are not ours to change. The directory is created, and left open for that user to pass through.
    """
    runner = binaries.account()
    preferred.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not runner.switch:
        return preferred
    _admit(preferred, runner)
    if runner.traverses(preferred):
        return preferred
    fallback = Path("/var/lib/tenantry/servers") / fallback_name
    for directory in (fallback.parent.parent, fallback.parent):
        directory.mkdir(exist_ok=True, mode=0o711)
    fallback.mkdir(exist_ok=True, mode=0o700)
    _admit(fallback, runner)
    return fallback


def _admit(directory: Path, runner: binaries.Account) -> None:
    os.chown(directory, 0, runner.gid)
    os.chmod(directory, 0o710)  # noqa: S103 - the servers' group passes through


@dataclass(frozen=True)
class Cluster:
    """The cluster in ``directory``, which :meth:`create` made. Holds no connection and no process."""

    directory: Path
    authority: Authority
    port: int
    socket_directory: Path

    @classmethod
    def create(
        cls,
        directory: Path,
        *,
        authority: Authority,
        settings: Mapping[str, str] | None = None,
        source: Path | None = None,
        force_ssl: bool = True,
        port: int | None = None,
    ) -> Cluster:
        """Make a stopped cluster in ``directory``, or return the one that is there.

        ``settings`` go into ``postgresql.conf``. ``port`` is a free one by default. ``source`` is a data directory of a
        cleanly stopped server to copy (a snapshot) instead of an empty one. What a crash left half made is made again.
        """
        directory.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(directory.parent / f".{directory.name}.create"):
            if not (directory / RECORD).exists():
                cls.discard(directory)
                _build(directory, authority, source, _new_record(port, settings or {}, force_ssl))
        return cls.load(directory, authority)

    @staticmethod
    def discard(directory: Path) -> None:
        """Remove what a crash left of a cluster that was being made in ``directory``."""
        for path in (*_partials(directory), directory):
            _remove(path)

    @classmethod
    def load(cls, directory: Path, authority: Authority) -> Cluster:
        """The existing cluster in ``directory``; ``FileNotFoundError`` when there is none."""
        record = json.loads((directory / RECORD).read_text())
        return cls(directory, authority, int(record["port"]), Path(record["socket_directory"]))

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def settings(self) -> dict[str, str]:
        """The settings asked for, without the defaults."""
        return dict(self._record()["settings"])

    @property
    def wanted(self) -> str:
        """``running`` or ``stopped``: what was last asked for. A crash doesn't change it."""
        return str(self._record()["wanted"])

    def configure(self, settings: Mapping[str, str], *, force_ssl: bool = True) -> None:
        """Replace the settings: those that PostgreSQL can reload apply at once, the others at the next start."""
        self._update(settings=dict(settings), force_ssl=force_ssl)
        with self._locked():
            self._write_configuration()
            pid = self.pid()
            if pid is not None:
                os.kill(pid, signal.SIGHUP)

    def pid(self) -> int | None:
        """Process id of the running server, verified to be this cluster's; ``None`` when it is down."""
        return processes.postmaster(self.data)

    def is_ready(self) -> bool:
        """Whether the server accepts connections."""
        return self.pid() is not None and processes.postmaster_status(self.data) == "ready"

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start the server unless it runs, and wait until it accepts connections. Cleans up after a crash.

        Raises :class:`ClusterFailed` with the tail of the log when it ends or isn't ready after ``timeout`` seconds.
        """
        with self._locked():
            self._update(wanted="running")
            self._start(timeout)

    def revive(self) -> bool:
        """Start the server if it should run and is down: it crashed. False, too, when somebody else sees to it."""
        try:
            with file_lock(self.directory / "lock", blocking=False):
                if self._record()["wanted"] != "running" or self.pid() is not None:
                    return False
                self._start(START_SECONDS)
                return True
        except (BlockingIOError, FileNotFoundError):
            return False

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop the server cleanly: sessions end, a checkpoint is written. After ``timeout`` seconds it is killed."""
        with self._locked():
            self._update(wanted="stopped")
            self._stop(timeout, signal.SIGINT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def destroy(self) -> None:
        """Stop the server at once and remove the cluster. What a crash left of its processes goes too."""
        if not self.directory.exists():
            return
        with self._locked():
            self._update(wanted="stopped")
            self._stop(5, signal.SIGQUIT)
            processes.end_orphans(self.data)
            processes.remove_shared_memory(self.data)
            if self.socket_directory.parent != self.directory:
                shutil.rmtree(self.socket_directory, ignore_errors=True)
            self.discard(self.directory)
        (self.directory.parent / f".{self.directory.name}.create").unlink(missing_ok=True)

    def copy_data(self, destination: Path) -> None:
        """Copy the data directory of the stopped server to ``destination``, which appears whole: a snapshot.

        A missing parent is created, for the servers' user to pass through.
        """
        with self._locked():
            if self.pid() is not None:
                raise ClusterFailed(f"PostgreSQL in {self.directory} must be stopped before its data is copied")
            parent = destination.parent
            if not parent.exists():
                parent.mkdir(mode=0o700)
                if binaries.account().switch:
                    _admit(parent, binaries.account())
            for left_over in _partials(destination):
                _remove(left_over)
            partial = _new_partial(destination)
            _copy(self.data, partial / "data")
            os.rename(partial / "data", destination)
            partial.rmdir()

    @contextmanager
    def admin(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """A connection of the superuser, in autocommit mode, over the unix socket."""
        connection = psycopg.connect(
            host=str(self.socket_directory),
            port=self.port,
            user=SUPERUSER,
            dbname=database,
            sslmode="disable",
            gssencmode="disable",
            connect_timeout=10,
            autocommit=True,
        )
        try:
            yield connection
        finally:
            connection.close()

    def url(self, user: str, password: str, database: str, **parameters: str) -> str:
        """A libpq URL over TLS with the server's certificate verified. It holds the password: don't log it."""
        return connection_url(self.authority, self.port, user, password, database, **parameters)

    def log_tail(self, lines: int = 15) -> str:
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - 16384))
                return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.directory / RECORD).read_text())
        return record

    def _update(self, **changes: Any) -> None:
        _write_record(self.directory, {**self._record(), **changes})

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with file_lock(self.directory / "lock"):
            yield

    def _prepare_socket_directory(self) -> None:
        """The directory in /tmp may have been cleaned away meanwhile."""
        if not self.socket_directory.exists():
            self.socket_directory.mkdir(mode=0o700)
            _hand_over(self.socket_directory)
        for left_over in self.socket_directory.iterdir():
            left_over.unlink()

    def _write_configuration(self) -> None:
        record = self._record()
        settings = configuration.server_settings(
            record["settings"],
            port=self.port,
            socket_directory=self.socket_directory,
            certificate=self.directory / "tls" / "server.crt",
            key=self.directory / "tls" / "server.key",
        )
        files = {
            "postgresql.conf": configuration.configuration_file(settings),
            "pg_hba.conf": configuration.host_based_authentication(force_ssl=record["force_ssl"]),
            "pg_ident.conf": configuration.identities(),
        }
        for name, content in files.items():
            write_file(self.data / name, content.encode(), 0o600)
            _hand_over(self.data / name)

    def _spawn(self) -> int:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return processes.spawn([binaries.bin_directory() / "postgres", "-D", self.data], log)
        finally:
            os.close(log)

    def _start(self, timeout: float) -> None:
        pid = self.pid()
        if pid is None:
            processes.end_orphans(self.data)
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            self._prepare_socket_directory()
            self._write_configuration()
            pid = self._spawn()
        deadline = time.monotonic() + timeout
        while processes.postmaster_status(self.data) != "ready":
            if not processes.is_alive(pid):
                raise ClusterFailed(f"PostgreSQL in {self.directory} ended while starting:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ClusterFailed(
                    f"PostgreSQL in {self.directory} is not ready after {timeout:.0f} s:\n{self.log_tail()}"
                )
            time.sleep(_POLL_SECONDS)

    def _stop(self, timeout: float, first: signal.Signals) -> None:
        for number, seconds in ((first, timeout), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            pid = self.pid()
            if pid is None:
                return
            with processes.vanishing():
                os.kill(pid, number)
                if processes.wait_until_gone(pid, seconds):
                    return
        raise ClusterFailed(f"PostgreSQL in {self.directory} can't be stopped:\n{self.log_tail()}")


def connection_url(authority: Authority, port: int, user: str, password: str, database: str, **parameters: str) -> str:
    """A libpq URL over TLS with the server's certificate verified. It holds the password: don't log it."""
    query = {"sslmode": "verify-full", "sslrootcert": str(authority.bundle), **parameters}
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"postgresql://{login}@127.0.0.1:{port}/{quote(database, safe='')}?{urlencode(query, safe='/')}"


def _new_record(port: int | None, settings: Mapping[str, str], force_ssl: bool) -> dict[str, Any]:
    return {"port": port or free_port(), "settings": dict(settings), "force_ssl": force_ssl, "wanted": "stopped"}


def _build(directory: Path, authority: Authority, source: Path | None, record: dict[str, Any]) -> None:
    runner = binaries.account()
    partial = _new_partial(directory)
    if not runner.traverses(partial):
        raise ClusterFailed(
            f"the user {runner.name}, which runs PostgreSQL, can't enter {directory.parent}",
            hint="Choose a data directory that other users can pass through (TENANTRY_HOME)",
        )
    _copy(source or template(), partial / "data")
    (partial / "tls").mkdir(mode=0o700)
    for name, content in zip(("server.crt", "server.key"), authority.issue(), strict=True):
        write_file(partial / "tls" / name, content, 0o600)
        _hand_over(partial / "tls" / name)
    _hand_over(partial / "tls")
    os.rename(partial, directory)
    _write_record(directory, {**record, "socket_directory": str(_socket_directory(directory))})


def _new_partial(path: Path) -> Path:
    """An empty directory beside ``path`` for what is to be renamed to it. Nobody else writes to it: the copying
    program of a process that was killed goes on for a while."""
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
    runner = binaries.account()
    if runner.switch:
        _admit(partial, runner)
    return partial


def _partials(path: Path) -> list[Path]:
    """What crashes left of making ``path``."""
    if not path.parent.exists():
        return []
    return [found for found in path.parent.iterdir() if found.name.startswith(f".{path.name}.partial-")]


def _remove(path: Path) -> None:
    """Remove a directory, even while the program of a killed process still copies into it: it fails and ends soon."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while path.exists():
        try:
            shutil.rmtree(path)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _copy(source: Path, destination: Path) -> None:
    """Copy a data directory; the copy belongs to the user that runs servers, with modes 0700 and 0600."""
    runner = binaries.account()
    destination.mkdir(mode=0o700)
    _hand_over(destination)
    done = runner.run(["cp", "-R", f"{source}/.", destination])
    if done.returncode != 0:
        raise ClusterFailed(f"copying {source} to {destination} failed: {done.stderr.strip()[-1000:]}")
    os.chmod(destination, 0o700)
    (destination / "postmaster.pid").unlink(missing_ok=True)


def _hand_over(path: Path) -> None:
    runner = binaries.account()
    if runner.switch:
        os.chown(path, runner.uid, runner.gid, follow_symlinks=False)


def _socket_directory(directory: Path) -> Path:
    """In the cluster's directory if the socket's path is short enough there, else in /tmp."""
    inside = directory / "socket"
    if len(os.fsencode(inside)) + len("/.s.PGSQL.65535.lock") <= _SOCKET_PATH_BYTES:
        inside.mkdir(mode=0o700)
        _hand_over(inside)
        return inside
    outside = Path(tempfile.mkdtemp(prefix="tenantry-", dir="/tmp"))
    _hand_over(outside)
    return outside


def _write_record(directory: Path, record: Mapping[str, Any]) -> None:
    write_file(directory / RECORD, json.dumps(record, indent=2).encode(), 0o600)
