"""What nobody foresaw, and tenants that always fail: recorded, tried again, and in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from procrastinate.jobs import Job

from provisioner import jobs
from provisioner.billing.fake import subscription_document
from provisioner.errors import EngineFailed, LeaseLost, RetryLater
from provisioner.registry import queue, tenants
from provisioner.registry.queue import Priority
from tests.integration.provisioner.service.harness import Service, open_service


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@asynccontextmanager
async def selling(url: str, *names: str) -> AsyncIterator[Service]:
    """The service, with a paid subscription of each tenant whose event was delivered and not handled yet."""
    async with open_service(url) as service:
        for name in names:
            await buy(service, name)
        yield service


async def buy(service: Service, name: str, **changes: Any) -> None:
    document = subscription_document(f"sub_{name}", name, "starter_monthly", customer=f"cus_{name}", **changes)
    service.gateway.put_subscription(document)
    await service.deliver(service.event("customer.subscription.updated", document))


@pytest.mark.parametrize(
    "surprise", [KeyError("outputs"), psycopg.OperationalError("server closed the connection"), MemoryError()]
)
def test_an_unforeseen_failure_is_recorded_and_tried_again(
    database: str, runner: asyncio.Runner, surprise: Exception
) -> None:
    async def check() -> None:
        async with selling(database, "acme", "globex") as service:
            service.stacks.fail.append(surprise)  # type: ignore[arg-type]
            await service.work()
            poisoned, other = await service.tenant("acme"), await service.tenant("globex")
            assert other.state == "ready"
            assert poisoned.failure is not None
            assert poisoned.failure["class"] == "retry"
            assert type(surprise).__name__ in poisoned.failure["message"]
            assert poisoned.next_attempt_at is not None
            await service.settle()
            assert (await service.tenant("acme")).state == "ready"

    runner.run(check())


def test_a_subscription_that_breaks_the_program_is_a_recorded_failure(database: str, runner: asyncio.Runner) -> None:
    async def check() -> None:
        async with selling(database, "acme") as service:
            await service.work()

            async def broken(customer_id: str) -> list[dict[str, Any]]:
                raise AttributeError("items")

            service.gateway.subscriptions_of = broken  # type: ignore[method-assign]
            await service.reconcile("acme")
            record = await service.tenant("acme")
            assert record.failure is not None
            assert record.failure["message"] == "unexpected: AttributeError"
            assert record.next_attempt_at is not None

    runner.run(check())


def test_an_event_that_breaks_the_program_is_kept_for_an_operator(database: str, runner: asyncio.Runner) -> None:
    async def check() -> None:
        async with selling(database, "acme") as service:
            sound = service.gateway.subscription

            async def broken(subscription_id: str) -> dict[str, Any]:
                raise TypeError("NoneType")

            service.gateway.subscription = broken  # type: ignore[method-assign]
            await service.work()
            async with service.pool.connection() as connection:
                cursor = await connection.execute("SELECT event_id, status, reason FROM registry.event")
                ((event_id, status, reason),) = await cursor.fetchall()
            assert (status, reason) == ("quarantined", "unexpected: handling it failed with TypeError")
            service.gateway.subscription = sound  # type: ignore[method-assign]
            from provisioner import operator_tasks

            async with service.pool.connection() as connection:
                assert await operator_tasks.retry_events(connection, None) == [event_id]
            await service.work()
            assert (await service.tenant("acme")).state == "ready"

    runner.run(check())


def test_one_unreadable_tenant_does_not_keep_the_others_from_being_swept(database: str, runner: asyncio.Runner) -> None:
    async def check() -> None:
        async with selling(database, "acme", "globex") as service:
            await service.work()
            async with service.pool.connection() as connection:
                await connection.execute("""UPDATE registry.tenant SET spec = '{"tier": 7}' WHERE tenant_id = 'acme'""")
                await connection.execute("UPDATE registry.tenant SET fingerprint = NULL WHERE tenant_id = 'globex'")
            assert (await service.sweep.run()).queued == ["acme", "globex"]
            await service.work()
            assert (await service.tenant("globex")).fingerprint is not None
            record = await service.tenant("acme")
            assert record.failure is not None
            assert record.next_attempt_at is not None

    runner.run(check())


def test_a_failure_under_a_lost_lease_changes_nothing(database: str, runner: asyncio.Runner) -> None:
    async def check() -> None:
        async with selling(database, "acme") as service:
            await service.work()
            before = await service.tenant("acme")
            async with service.pool.connection() as connection:
                await connection.execute("UPDATE registry.tenant SET fingerprint = 'older'")
            service.stacks.fail.append(LeaseLost("another worker has it"))
            await service.reconcile("acme")
            record = await service.tenant("acme")
            assert (record.failure, record.attempts, record.state) == (None, 0, before.state)
            assert record.next_attempt_at is not None  # somebody looks whether it was finished

    runner.run(check())


def test_a_platform_that_breaks_the_program_is_tried_again(database: str, runner: asyncio.Runner) -> None:
    class Broken:
        async def converge(self, cell: str, reason: str) -> bool:
            raise KeyError("outputs")

    handlers = jobs.Handlers(inbox=None, reconciler=None, cells=Broken(), prover=None)  # type: ignore[arg-type]
    task = jobs.make_app(database, handlers).tasks["reconcile_platform"]
    with pytest.raises(RetryLater, match="KeyError") as raised:
        runner.run(task.func(cell="default", reason="test"))
    assert task.retry_strategy is not None
    attempt = Job(
        id=1,
        queue="reconcile",
        lock=None,
        queueing_lock=None,
        task_name="reconcile_platform",
        task_kwargs={},
        attempts=0,
    )
    assert task.get_retry_exception(raised.value, attempt) is not None


async def fetch(service: Service) -> str | None:
    """The tenant whose job the queue gives to a worker now, by Procrastinate's own rules."""
    async with service.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT args->>'tenant_id' FROM procrastinate_fetch_job_v2('{reconcile}', NULL)"
        )
        row = await cursor.fetchone()
    return None if row is None or row[0] is None else str(row[0])


def test_neither_retries_of_others_nor_its_own_hold_a_payment_back(database: str, runner: asyncio.Runner) -> None:
    async def check() -> None:
        poisoned = [f"poisoned{number}" for number in range(5)]
        async with selling(database, *poisoned, "acme") as service:
            service.stacks.fail.extend(EngineFailed("always") for _ in range(6))
            await service.work()  # every tenant fails
            service.stacks.fail.extend(EngineFailed("always") for _ in range(100))
            async with service.pool.connection() as connection:
                due = await tenants.claim_due(connection, datetime.now(UTC) + timedelta(hours=1))
                assert sorted(due) == ["acme", *poisoned]
                await queue.defer_reconcile(connection, due, reason="due", priority=Priority.RETRY)
            # One retry runs, and hangs; then acme pays, while its own retry waits behind four others.
            hanging = await fetch(service)
            await buy(service, "acme", status="active")
            async with service.pool.connection() as connection:
                cursor = await connection.execute("SELECT event_id FROM registry.event WHERE status = 'received'")
                ((event_id,),) = await cursor.fetchall()
            await service.inbox.handle(str(event_id))
            if hanging != "acme":
                assert await fetch(service) == "acme"
            # A retry that is planned, rather than queued, holds nothing at all: there is no job to wait for.
            async with service.pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT count(*) FROM procrastinate_jobs WHERE scheduled_at IS NOT NULL"
                )
                assert await cursor.fetchone() == (0,)

    runner.run(check())
