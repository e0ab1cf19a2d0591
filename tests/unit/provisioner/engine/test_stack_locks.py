"""Which locks are dead: only those are cleared."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from provisioner.engine.stack_locks import EngineOwner, clear_dead, is_dead, process_start
from provisioner.engine.state import StackLock

TAKEN = "2026-11-24T12:00:00.123456789Z"
TAKEN_S = 1795521600.123


def lock(pid: int = 10, hostname: str = "here", timestamp: str = TAKEN, key: str = "k") -> StackLock:
    return StackLock(key, hostname, pid, "user", timestamp)


class Processes:
    """pid to its start, seconds since the epoch."""

    def __init__(self, **started: float) -> None:
        self.started = {int(pid.removeprefix("p")): at for pid, at in started.items()}

    def __call__(self, pid: int) -> float | None:
        return self.started.get(pid)


@pytest.mark.parametrize(
    ("processes", "dead"),
    [
        (Processes(), True),
        (Processes(p10=TAKEN_S - 60), False),
        (Processes(p10=TAKEN_S), False),
        (Processes(p10=TAKEN_S + 1.5), False),  # clocks differ by that much
        (Processes(p10=TAKEN_S + 5), True),  # the number was given to a younger process
        (Processes(p11=TAKEN_S - 60), True),
    ],
)
def test_on_this_host_a_lock_lives_as_long_as_its_process(processes: Processes, dead: bool) -> None:
    assert is_dead(lock(), hostname="here", start_of=processes) is dead


def test_a_lock_of_another_host_counts_as_held() -> None:
    assert not is_dead(lock(hostname="there"), hostname="here", start_of=Processes())


def test_an_engine_that_was_fenced_off_holds_nothing_wherever_it_runs() -> None:
    fenced = [EngineOwner("there", 10)]
    assert is_dead(lock(hostname="there"), fenced_off=fenced, hostname="here", start_of=Processes(p10=0))
    assert not is_dead(lock(11, "there"), fenced_off=fenced, hostname="here", start_of=Processes())
    assert not is_dead(lock(), fenced_off=fenced, hostname="here", start_of=Processes(p10=0))


def test_a_lock_whose_time_cant_be_read_is_held_while_a_process_has_its_number() -> None:
    assert not is_dead(lock(timestamp="yesterday"), hostname="here", start_of=Processes(p10=TAKEN_S + 9999))
    assert is_dead(lock(timestamp="yesterday"), hostname="here", start_of=Processes())


def test_the_process_table_tells_the_living_from_the_dead() -> None:
    mine = process_start(os.getpid())
    assert mine is not None
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_start(child.pid) is None, "a zombie holds no lock"
    child.wait()
    assert process_start(child.pid) is None
    assert not is_dead(lock(os.getpid(), socket.gethostname(), "2036-01-01T00:00:00Z"))


class Store:
    def __init__(self, *locks: StackLock, gone: tuple[str, ...] = ()) -> None:
        self.held = list(locks)
        self.deleted: list[str] = []
        self._gone = gone

    def locks(self, stack_name: str) -> list[StackLock]:
        assert stack_name == "acme"
        return list(self.held)

    def delete_lock(self, lock: StackLock) -> bool:
        self.deleted.append(lock.key)
        return lock.key not in self._gone


def test_exactly_the_dead_locks_are_cleared() -> None:
    dead, live, foreign, raced = (
        lock(10, key="dead"),
        lock(11, key="live"),
        lock(12, "there", key="foreign"),
        lock(13, key="raced"),
    )
    store = Store(dead, live, foreign, raced, gone=("raced",))
    cleared = clear_dead(store, "acme", hostname="here", start_of=Processes(p11=TAKEN_S - 1))
    assert cleared == [dead]
    assert store.deleted == ["dead", "raced"]
