"""Leases: who may change a stack. A session advisory lock says who has it now, a fencing number who had it last.

The advisory lock goes with the holder's connection, so a dead worker's lease is free at once; the number rises with
every acquisition, and Pulumi's state refuses writes under an older one (``provisioner/engine/fencing.sql``).
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
import structlog

from provisioner.engine.stack_locks import EngineOwner
from provisioner.errors import LeaseLost, RetryLater

log = structlog.get_logger(__name__)

HEARTBEAT_S = 3.0
_ACQUIRE = """
INSERT INTO registry.lease (stack_name, fencing, holder, host, pid)
VALUES (%(stack_name)s, 1, %(holder)s, %(host)s, %(pid)s)
ON CONFLICT (stack_name) DO UPDATE
   SET fencing = lease.fencing + 1, holder = excluded.holder, host = excluded.host, pid = excluded.pid,
       engine_pid = NULL, engine_started = NULL, acquired_at = now(), heartbeat_at = now(), released_at = NULL
RETURNING fencing
"""
_PREVIOUS = (
    "SELECT holder, host, engine_pid, engine_started, released_at FROM registry.lease WHERE stack_name = %s FOR UPDATE"
)
_BEAT = "UPDATE registry.lease SET heartbeat_at = now() WHERE stack_name = %s AND fencing = %s"
_ENGINE = (
    "UPDATE registry.lease SET engine_pid = %s, engine_started = %s, heartbeat_at = now() "
    "WHERE stack_name = %s AND fencing = %s"
)
_RELEASE = (
    "UPDATE registry.lease SET released_at = now(), engine_pid = NULL, engine_started = NULL "
    "WHERE stack_name = %s AND fencing = %s"
)


class LeaseBusy(RetryLater):
    """Somebody else changes the stack now."""

    code = "lease_busy"


@dataclass(frozen=True)
class Predecessor:
    """A holder that did not release: it died."""

    holder: str
    engine: EngineOwner | None  #: the engine that ran under its lease, if one did
    engine_killed: bool


def process_started(pid: int) -> float | None:
    """Unix seconds at which the process started; None if there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def kill_engine(pid: int, started: float) -> bool:
    """End an engine that outlived its worker; False if it is gone, or the pid is another process's by now."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - started) > 1.0:
            return False
        process.kill()
        process.wait(5)
    except psutil.NoSuchProcess:
        return False
    except psutil.TimeoutExpired:
        log.warning("lease.engine_unkillable", pid=pid)
        return False
    return True


class Lease:
    """Held by this process. ``on_lost`` is called once, from another thread, if it is lost."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        stack_name: str,
        number: int,
        holder: str,
        predecessor: Predecessor | None,
        on_lost: Callable[[], None],
        heartbeat_s: float,
    ) -> None:
        self.stack_name = stack_name
        self.number = number
        self.holder = holder
        self.predecessor = predecessor
        self._connection = connection
        self._on_lost = on_lost
        self._heartbeat_s = heartbeat_s
        self._use = threading.Lock()
        self._ended = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._beat, name=f"lease-{stack_name}", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        return self._lost

    def check(self) -> None:
        """Raises LeaseLost unless the lease is held still."""
        if self._lost or not self._execute(_BEAT, [self.stack_name, self.number]):
            raise LeaseLost(f"the lease of stack {self.stack_name} was lost", hint="another worker goes on")

    def record_engine(self, pid: int) -> None:
        """So that whoever takes over from a dead worker on this host can end its engine."""
        self._execute(_ENGINE, [pid, process_started(pid), self.stack_name, self.number])

    def release(self) -> None:
        self._ended.set()
        self._execute(_RELEASE, [self.stack_name, self.number])

    def _execute(self, statement: str, parameters: list[Any]) -> bool:
        try:
            with self._use:
                return self._connection.execute(statement.encode(), parameters).rowcount == 1
        except psycopg.Error as error:
            log.warning("lease.connection_lost", stack=self.stack_name, error=type(error).__name__)
            return False

    def _beat(self) -> None:
        while not self._ended.wait(self._heartbeat_s):
            if not self._execute(_BEAT, [self.stack_name, self.number]) and not self._ended.is_set():
                self._lost = True
                log.error("lease.lost", stack=self.stack_name, fencing=self.number)
                self._on_lost()
                return


@contextmanager
def hold(
    database_url: str,
    stack_name: str,
    *,
    on_lost: Callable[[], None],
    wait_s: float = 0.0,
    heartbeat_s: float = HEARTBEAT_S,
) -> Iterator[Lease]:
    """The lease of ``stack_name``, on a connection of its own; LeaseBusy if somebody holds it after ``wait_s``."""
    host = socket.gethostname()
    holder = f"{host}/{os.getpid()}/{secrets.token_hex(4)}"
    connection = psycopg.connect(
        database_url,
        autocommit=True,
        connect_timeout=10,
        application_name=f"tenantry-lease/{stack_name}",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )
    try:
        deadline = time.monotonic() + wait_s
        while not _lock(connection, stack_name):
            if time.monotonic() >= deadline:
                row = connection.execute(
                    "SELECT holder FROM registry.lease WHERE stack_name = %s", [stack_name]
                ).fetchone()
                raise LeaseBusy(
                    f"stack {stack_name} is being changed by {row[0] if row else 'another process'}",
                    hint="it is tried again when that is done",
                )
            time.sleep(0.2)
        predecessor, number = _take(connection, stack_name, holder, host)
        lease = Lease(connection, stack_name, number, holder, predecessor, on_lost, heartbeat_s)
        try:
            yield lease
        finally:
            lease.release()
    finally:
        connection.close()


def _lock(connection: psycopg.Connection[Any], stack_name: str) -> bool:
    # hashtextextended: 64 bits, so that two stacks never share a lock in practice; and if so, one merely waits
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtextextended('tenantry-lease/' || %s, 0))", [stack_name]
    ).fetchone()
    return row is not None and bool(row[0])


def _take(
    connection: psycopg.Connection[Any], stack_name: str, holder: str, host: str
) -> tuple[Predecessor | None, int]:
    with connection.transaction():
        row = connection.execute(_PREVIOUS, [stack_name]).fetchone()
        taken = connection.execute(
            _ACQUIRE, {"stack_name": stack_name, "holder": holder, "host": host, "pid": os.getpid()}
        ).fetchone()
    assert taken is not None
    if row is None or row[4] is not None:
        return None, int(taken[0])
    before, before_host, engine_pid, engine_started, _ = row
    # The number has risen: from here on the old engine can't write its state, whether or not it can be reached.
    killed = (
        before_host == host
        and engine_pid is not None
        and engine_started is not None
        and kill_engine(engine_pid, engine_started)
    )
    log.warning("lease.taken_over", stack=stack_name, before=before, engine_killed=killed, fencing=int(taken[0]))
    engine = None if engine_pid is None else EngineOwner(str(before_host), int(engine_pid))
    return Predecessor(str(before), engine, killed), int(taken[0])
