"""Leases: who may change a stack. A session advisory lock says who has it now, a fencing number who had it last.

The advisory lock goes with the holder's connection, so a dead worker's lease is free at once; that of one which is
stopped or hangs is taken from it after ``SILENCE_S`` without a heartbeat. The number rises with every acquisition:
Pulumi's state refuses writes under an older one (``provisioner/engine/fencing.sql``), the registry's too (``require``).
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
import structlog
from psycopg import AsyncConnection

from provisioner.engine.stack_locks import EngineOwner
from provisioner.errors import LeaseLost, RetryLater

log = structlog.get_logger(__name__)

HEARTBEAT_S = 3.0
SILENCE_S = 12.0  #: a holder that wrote no heartbeat for so long has lost its lease to whoever asks for it
_EVICTION_S = 5.0  # how long an ended session may take to let its lock go
_KILL_S = 5.0  # how long a killed engine may take to end
_ACQUIRE = """
INSERT INTO registry.lease (stack_name, fencing, holder, host, pid)
VALUES (%(stack_name)s, 1, %(holder)s, %(host)s, %(pid)s)
ON CONFLICT (stack_name) DO UPDATE
   SET fencing = lease.fencing + 1, holder = excluded.holder, host = excluded.host, pid = excluded.pid,
       acquired_at = now(), heartbeat_at = now(), released_at = NULL
RETURNING fencing
"""
_PREVIOUS = """
SELECT holder, engine_host, engine_pid, engine_started, released_at FROM registry.lease WHERE stack_name = %s FOR UPDATE
"""
# The heartbeats go over the connection that holds the lock: both must be silent, or the holder has just begun.
_EVICT = """
SELECT pg_terminate_backend(a.pid)
  FROM pg_locks l JOIN pg_stat_activity a USING (pid) CROSS JOIN registry.lease r
 WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database() AND l.database = a.datid
   AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('tenantry-lease/' || %(stack_name)s, 0)
   AND r.stack_name = %(stack_name)s
   AND greatest(r.heartbeat_at, a.state_change) < clock_timestamp() - make_interval(secs => %(silence_s)s)
"""
_BEAT = "UPDATE registry.lease SET heartbeat_at = now() WHERE stack_name = %s AND fencing = %s"
_ENGINE = (
    "UPDATE registry.lease SET engine_host = %s, engine_pid = %s, engine_started = %s, heartbeat_at = now() "
    "WHERE stack_name = %s AND fencing = %s"
)
_RELEASE = "UPDATE registry.lease SET released_at = now() WHERE stack_name = %s AND fencing = %s"


class LeaseBusy(RetryLater):
    """Somebody else changes the stack now."""

    code = "lease_busy"


@dataclass(frozen=True)
class Predecessor:
    """A holder that did not release: it died, or is silent."""

    holder: str
    engine_killed: bool


def process_started(pid: int) -> float | None:
    """Unix seconds at which the process started; None if there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def kill_engine(pid: int, started: float) -> bool:
    """End an engine that outlived its worker, and the plugins it started; False if none of them was left.

    The engine leads a session of its own. A session id is given out again only when nobody is left in it, so members
    that are as old as the engine, or younger, under an id whose process is gone are the engine's.
    """
    members = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            age = process.create_time()
            if process.pid == pid and abs(age - started) > 1.0:
                return False  # the pid is another process's by now, and with it the session
            if os.getsid(process.pid) == pid and age >= started - 1.0 and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    for process in members:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + _KILL_S
    while alive := [process for process in members if _lives(process)]:
        if time.monotonic() > deadline:
            log.warning("lease.engine_unkillable", pids=[process.pid for process in alive])
            break
        time.sleep(0.02)
    return len(members) > len(alive)


def _lives(process: psutil.Process) -> bool:
    """False as well for the remains that a stopped worker does not collect."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Lease:
    """Held by this process. ``on_lost`` is called once, from another thread, if it is lost."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        stack_name: str,
        number: int,
        holder: str,
        predecessor: Predecessor | None,
        fenced_off: EngineOwner | None,
        on_lost: Callable[[], None],
        heartbeat_s: float,
    ) -> None:
        self.stack_name = stack_name
        self.number = number
        self.holder = holder
        self.predecessor = predecessor
        #: The engine that ran last under an earlier lease: what it left locked is nobody's.
        self.fenced_off = () if fenced_off is None else (fenced_off,)
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
            self._lost = True
            raise _lost(self.stack_name)

    def record_engine(self, pid: int) -> None:
        """So that whoever takes over can end it, or at least knows its lock. LeaseLost unless it was recorded."""
        parameters = [socket.gethostname(), pid, process_started(pid), self.stack_name, self.number]
        if not self._execute(_ENGINE, parameters):
            self._lost = True
            raise _lost(self.stack_name)

    def forget_engine(self) -> None:
        """It ended as it should: it left neither a lock nor a process."""
        self._execute(_ENGINE, [None, None, None, self.stack_name, self.number])

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


def _lost(stack_name: str) -> LeaseLost:
    return LeaseLost(f"the lease of stack {stack_name} was lost", hint="another worker goes on")


async def require(connection: AsyncConnection, stack_name: str, number: int) -> None:
    """LeaseLost unless the lease's fencing number is ``number`` still; it stays so until the transaction ends."""
    cursor = await connection.execute(
        "SELECT fencing FROM registry.lease WHERE stack_name = %s FOR SHARE", [stack_name]
    )
    row = await cursor.fetchone()
    if row is None or row[0] != number:
        raise _lost(stack_name)


@contextmanager
def hold(
    database_url: str,
    stack_name: str,
    *,
    on_lost: Callable[[], None],
    wait_s: float = 0.0,
    heartbeat_s: float = HEARTBEAT_S,
    silence_s: float = SILENCE_S,
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
        deadline, evicted = time.monotonic() + wait_s, False
        while not _lock(connection, stack_name):
            if not evicted and _evict(connection, stack_name, silence_s):
                deadline, evicted = max(deadline, time.monotonic() + _EVICTION_S), True
            if time.monotonic() >= deadline:
                row = connection.execute(
                    "SELECT holder FROM registry.lease WHERE stack_name = %s", [stack_name]
                ).fetchone()
                raise LeaseBusy(
                    f"stack {stack_name} is being changed by {row[0] if row else 'another process'}",
                    hint="it is tried again when that is done",
                )
            time.sleep(0.2)
        predecessor, fenced_off, number = _take(connection, stack_name, holder, host)
        lease = Lease(connection, stack_name, number, holder, predecessor, fenced_off, on_lost, heartbeat_s)
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


def _evict(connection: psycopg.Connection[Any], stack_name: str, silence_s: float) -> bool:
    """End the session of a holder that is silent: stopped, or hung. Its advisory lock ends with it."""
    try:
        ended = connection.execute(_EVICT.encode(), {"stack_name": stack_name, "silence_s": silence_s}).rowcount > 0
    except psycopg.errors.InsufficientPrivilege:  # the holder logged in as somebody else
        return False
    if ended:
        log.warning("lease.evicted", stack=stack_name, silence_s=silence_s)
    return ended


def _take(
    connection: psycopg.Connection[Any], stack_name: str, holder: str, host: str
) -> tuple[Predecessor | None, EngineOwner | None, int]:
    with connection.transaction():
        row = connection.execute(_PREVIOUS.encode(), [stack_name]).fetchone()
        taken = connection.execute(
            _ACQUIRE, {"stack_name": stack_name, "holder": holder, "host": host, "pid": os.getpid()}
        ).fetchone()
    assert taken is not None
    number = int(taken[0])
    if row is None:
        return None, None, number
    before, engine_host, engine_pid, engine_started, released = row
    # The number has risen: from here on the old engine can't write its state, whether or not it can be reached. Its
    # record stays until the next engine's: this holder may die as well before it has cleared the old one's lock.
    engine = None if engine_host is None or engine_pid is None else EngineOwner(str(engine_host), int(engine_pid))
    here = engine is not None and engine.hostname == host and engine_started is not None
    killed = here and kill_engine(engine_pid, engine_started)
    if released is not None:
        return None, engine, number
    log.warning("lease.taken_over", stack=stack_name, before=before, engine_killed=killed, fencing=number)
    return Predecessor(str(before), killed), engine, number
