"""Events that come together are stored together: each once, none lost, and none answered before its commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from provisioner.inbox_writer import MAX_EVENTS, InboxWriter, NotStored
from provisioner.operate import Pool
from provisioner.registry.events import EventStatus, NewEvent
from provisioner.registry.migrate import migrate


def new(event_id: str, **changes: Any) -> NewEvent:
    fields: dict[str, Any] = {
        "event_id": event_id,
        "type": "customer.subscription.updated",
        "object_id": "sub_1",
        "api_version": None,
        "created": 1_700_000_000,
        "livemode": False,
        "body": b"\x00\xff{}",
        "status": EventStatus.RECEIVED,
    }
    return NewEvent(**{**fields, **changes})


def run(database: str, body: Callable[[InboxWriter], Coroutine[Any, Any, None]], *, wait_s: float = 10.0) -> None:
    async def inside() -> None:
        pool: Pool
        async with AsyncConnectionPool(
            database, kwargs={"autocommit": True}, min_size=1, max_size=3, timeout=1, open=False
        ) as pool:
            await body(InboxWriter(lambda: pool, wait_s=wait_s))

    asyncio.run(inside())


@pytest.fixture
def registry(database: str) -> str:
    migrate(database, database)
    return database


def stored(database: str) -> tuple[list[str], list[str]]:
    """Events, and events that jobs name."""
    with psycopg.connect(database) as connection:
        events = connection.execute("SELECT event_id FROM registry.event ORDER BY 1").fetchall()
        jobs = connection.execute("SELECT args->>'event_id' FROM procrastinate_jobs ORDER BY 1").fetchall()
    return [row[0] for row in events], [row[0] for row in jobs]


def test_a_burst_is_stored_whole_and_every_event_once(registry: str) -> None:
    names = [f"evt_{number:04}" for number in range(5 * MAX_EVENTS)]

    async def body(writer: InboxWriter) -> None:
        twice = [*names, *reversed(names)]
        answers = await asyncio.gather(*(writer.store(new(name)) for name in twice))
        assert sum(answers) == len(names)
        assert not await writer.store(new(names[0]))

    run(registry, body)
    assert stored(registry) == (names, names)


def test_a_body_is_stored_byte_for_byte_and_an_ignored_event_has_no_job(registry: str) -> None:
    async def body(writer: InboxWriter) -> None:
        both = [new("evt_a", body=bytes(range(256))), new("evt_b", status=EventStatus.IGNORED, object_id=None)]
        assert await asyncio.gather(*map(writer.store, both)) == [True, True]

    run(registry, body)
    assert stored(registry) == (["evt_a", "evt_b"], ["evt_a"])
    with psycopg.connect(registry) as connection:
        rows = connection.execute(
            "SELECT body, object_id, extract(epoch FROM created_at)::bigint, processed_at IS NULL "
            "FROM registry.event ORDER BY event_id"
        ).fetchall()
    assert rows == [(bytes(range(256)), "sub_1", 1_700_000_000, True), (b"\x00\xff{}", None, 1_700_000_000, False)]


def test_an_event_that_the_database_refuses_takes_no_other_with_it(registry: str) -> None:
    async def body(writer: InboxWriter) -> None:
        bad = new("evt_bad", object_id="half\x00")
        answers = await asyncio.gather(
            writer.store(new("evt_a")), writer.store(bad), writer.store(new("evt_c")), return_exceptions=True
        )
        assert answers[0] is True
        assert isinstance(answers[1], NotStored)
        assert answers[2] is True

    run(registry, body)
    assert stored(registry) == (["evt_a", "evt_c"], ["evt_a", "evt_c"])


def test_while_the_table_is_locked_nothing_is_answered(registry: str) -> None:
    async def body(writer: InboxWriter) -> None:
        async with await psycopg.AsyncConnection.connect(registry) as other:
            await other.execute("LOCK TABLE registry.event IN ACCESS EXCLUSIVE MODE")
            waiting = [asyncio.create_task(writer.store(new(f"evt_{number}"))) for number in range(50)]
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in waiting)
            await other.commit()
            assert all(await asyncio.gather(*waiting))

    run(registry, body)
    assert len(stored(registry)[0]) == 50


def test_what_waits_too_long_is_to_be_sent_again(registry: str) -> None:
    async def body(writer: InboxWriter) -> None:
        async with await psycopg.AsyncConnection.connect(registry) as other:
            await other.execute("LOCK TABLE registry.event IN ACCESS EXCLUSIVE MODE")
            answers = await asyncio.gather(*(writer.store(new(f"evt_{n}")) for n in range(9)), return_exceptions=True)
            assert all(isinstance(answer, NotStored) for answer in answers)
            await other.rollback()
        assert await writer.store(new("evt_later"))

    run(registry, body, wait_s=0.3)
    assert "evt_later" in stored(registry)[0]


def test_a_lost_connection_is_an_answer_and_the_next_event_is_stored(registry: str) -> None:
    async def body(writer: InboxWriter) -> None:
        assert await writer.store(new("evt_1"))
        with psycopg.connect(registry, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        for _ in range(20):
            try:
                assert await writer.store(new("evt_2"))
            except NotStored:
                await asyncio.sleep(0.1)
            else:
                return
        raise AssertionError("the writer never came back")

    run(registry, body)
    assert stored(registry) == (["evt_1", "evt_2"], ["evt_1", "evt_2"])
