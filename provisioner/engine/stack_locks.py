"""Tells a stack's lock whose owner is dead from one that is held, and clears the former.

Pulumi's lock names a host and a process and never expires, so a killed engine blocks its stack until somebody cancels.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from provisioner.engine.state import StackLock

#: Seconds by which clocks of a lock's writer and of the process table may differ.
_TOLERANCE = 2.0


@dataclass(frozen=True)
class EngineOwner:
    """An engine that ran under a lease that is gone: fenced off, it can't write, so its lock protects nothing."""

    hostname: str
    pid: int


class Locks(Protocol):
    def locks(self, stack_name: str) -> list[StackLock]: ...

    def delete_lock(self, lock: StackLock) -> bool: ...


def process_start(pid: int) -> float | None:
    """When the process began, seconds since the epoch; None if there is none, or only its remains."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_dead(
    lock: StackLock,
    *,
    fenced_off: Collection[EngineOwner] = (),
    hostname: str | None = None,
    start_of: Callable[[int], float | None] = process_start,
) -> bool:
    """Whether nobody holds ``lock`` any more. A lock of an unknown engine on another host counts as held."""
    if EngineOwner(lock.hostname, lock.pid) in fenced_off:
        return True
    if lock.hostname != (hostname or socket.gethostname()):
        return False
    started = start_of(lock.pid)
    if started is None:
        return True
    try:
        taken = datetime.fromisoformat(lock.timestamp).timestamp()
    except ValueError:
        return False
    return started > taken + _TOLERANCE  # the number belongs to a younger process now


def clear_dead(
    store: Locks,
    stack_name: str,
    *,
    fenced_off: Collection[EngineOwner] = (),
    hostname: str | None = None,
    start_of: Callable[[int], float | None] = process_start,
) -> list[StackLock]:
    """Delete the locks of dead owners; those that were deleted."""
    return [
        lock
        for lock in store.locks(stack_name)
        if is_dead(lock, fenced_off=fenced_off, hostname=hostname, start_of=start_of) and store.delete_lock(lock)
    ]
