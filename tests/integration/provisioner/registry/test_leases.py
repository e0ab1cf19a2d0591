"""Leases on a real PostgreSQL: of the living, the dead and the silent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import psutil
import psycopg
import pytest

from provisioner.engine.stack_locks import EngineOwner
from provisioner.errors import LeaseLost
from provisioner.registry import leases
from provisioner.registry.leases import Lease, LeaseBusy
from provisioner.registry.migrate import migrate


@pytest.fixture
def url(database_url: str) -> str:
    # This directory's `database` is a URL of another server's.
    migrate(database_url, database_url)
    return database_url


@pytest.fixture
def database_url(database: str) -> str:
    return database


def hold(url: str, **options: Any) -> AbstractContextManager[Lease]:
    # The server may notice a moment later that a connection has ended.
    return leases.hold(url, "acme", **{"on_lost": lambda: None, "wait_s": 5.0, **options})


@contextmanager
def died(url: str) -> Iterator[Lease]:
    """A holder whose connection ends without a release, as when its process is killed."""
    context = hold(url)
    lease = context.__enter__()
    yield lease
    lease._ended.set()
    lease._connection.close()
    with suppress(LeaseLost):
        context.__exit__(None, None, None)


def require(url: str, number: int) -> None:
    async def ask() -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await leases.require(connection, "acme", number)

    asyncio.run(ask())


def test_the_number_rises_with_every_holder(url: str) -> None:
    numbers = []
    for _ in range(3):
        with hold(url) as lease:
            numbers.append(lease.number)
            assert lease.predecessor is None
    assert numbers == [1, 2, 3]


def test_a_holder_that_writes_heartbeats_is_left_alone(url: str) -> None:
    with hold(url, heartbeat_s=0.1) as lease:
        with pytest.raises(LeaseBusy, match=lease.holder), hold(url, wait_s=2, silence_s=0.8):
            pass
        lease.check()
        require(url, lease.number)


def test_a_silent_holder_loses_its_lease_and_can_write_nothing_more(url: str) -> None:
    lost: list[bool] = []
    with (
        hold(url, heartbeat_s=2.5, on_lost=lambda: lost.append(True)) as silent,
        hold(url, wait_s=10, silence_s=1) as successor,
    ):
        assert successor.number == silent.number + 1
        assert successor.predecessor is not None
        assert successor.predecessor.holder == silent.holder
        require(url, successor.number)
        with pytest.raises(LeaseLost):
            require(url, silent.number)
        with pytest.raises(LeaseLost):
            silent.check()
        with pytest.raises(LeaseLost):
            silent.record_engine(1)
        deadline = time.monotonic() + 10
        while not lost and time.monotonic() < deadline:
            time.sleep(0.05)
        assert lost == [True]
        successor.check()


def test_nobody_takes_over_while_a_write_is_under_way(url: str) -> None:
    """What was checked in a transaction holds until it ends."""
    with died(url) as lease:
        number = lease.number

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await leases.require(connection, "acme", number)
            taking = asyncio.create_task(asyncio.to_thread(take))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(taking), 0.5)
            await connection.commit()
            assert await taking == number + 1

    def take() -> int:
        with hold(url) as successor:
            return successor.number

    asyncio.run(write())


def test_an_engine_is_remembered_until_it_is_known_to_have_ended(url: str) -> None:
    with died(url) as first:
        first.record_engine(4_000_000)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE registry.lease SET engine_host = 'elsewhere'")
    with died(url) as second:  # dies before it has cleared the engine's lock
        assert second.fenced_off == (EngineOwner("elsewhere", 4_000_000),)
    with hold(url) as third:
        assert third.predecessor is not None
        assert third.predecessor.holder == second.holder
        assert third.fenced_off == (EngineOwner("elsewhere", 4_000_000),)
    with hold(url) as fourth:
        assert fourth.predecessor is None
        assert fourth.fenced_off == third.fenced_off
        fourth.record_engine(4_000_001)
        fourth.forget_engine()
    with hold(url) as fifth:
        assert fifth.fenced_off == ()


def test_the_successor_ends_the_engine(url: str) -> None:
    engine = subprocess.Popen(["sleep", "60"], start_new_session=True)
    with died(url) as lease:
        lease.record_engine(engine.pid)
    with hold(url) as successor:
        assert successor.predecessor is not None
        assert successor.predecessor.engine_killed
    # This process did not collect it yet, as a stopped worker would not.
    assert psutil.Process(engine.pid).status() == psutil.STATUS_ZOMBIE
    assert engine.wait(10) == -9


PLUGIN = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"


def test_the_plugins_of_an_engine_that_is_gone_are_ended_too() -> None:
    engine = subprocess.Popen([sys.executable, "-c", PLUGIN], stdout=subprocess.PIPE, text=True, start_new_session=True)
    started = psutil.Process(engine.pid).create_time()
    out, _ = engine.stdout, engine.wait(20)
    assert out is not None
    with out:
        plugin = psutil.Process(int(out.readline()))
    assert leases.kill_engine(engine.pid, started)
    psutil.wait_procs([plugin], timeout=10)
    assert not plugin.is_running() or plugin.status() == psutil.STATUS_ZOMBIE
    assert not leases.kill_engine(engine.pid, started)


def test_a_process_that_was_given_the_engines_pid_is_left_alone() -> None:
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        assert not leases.kill_engine(other.pid, psutil.Process(other.pid).create_time() - 100)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
