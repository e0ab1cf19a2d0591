"""The product as it runs, without its processes: the real inbox, reconciler and sweep on a real PostgreSQL, with stacks
on paper. What workers would do is done here, in the same order of urgency."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg_pool import AsyncConnectionPool

from components.spec import Environment, PlatformSpec
from localcloud.simulation.clock import DAY, VirtualClock
from localcloud.simulation.gateway import DirectGateway
from localcloud.simulation.paper import PLATFORM, PaperStacks
from provisioner.billing import webhooks
from provisioner.billing.catalogue import Catalogue
from provisioner.desired import Installation
from provisioner.errors import TenantryError
from provisioner.inbox import Inbox, classify
from provisioner.operate import Pool
from provisioner.reconcile import Reconciler
from provisioner.registry import events, platforms, queue, tenants
from provisioner.registry.migrate import migrate
from provisioner.registry.queue import Priority
from provisioner.sweep import Sweep

LATER = datetime(9999, 1, 1, tzinfo=UTC)  #: retries are planned in real time, and none is waited for
AT_ONCE = 6  #: jobs that run beside each other
STORED_AT_ONCE = 500
EVENTS_KEPT_S = 40 * DAY  #: longer than Stripe can send one again


@dataclass
class ControlPlane:
    pool: Pool
    clock: VirtualClock
    gateway: DirectGateway
    stacks: PaperStacks
    inbox: Inbox
    reconciler: Reconciler
    sweep: Sweep
    stored: int = 0  #: events, each once
    handled: int = 0
    reconciled: int = 0
    _failed: set[str] = field(default_factory=set)  #: events whose job is to be tried again

    async def receive(self, bodies: Sequence[bytes]) -> None:
        """As the webhook stores them."""
        new = [classify(webhooks.parse(body), body) for body in bodies]
        async with self.pool.connection() as connection:
            for start in range(0, len(new), STORED_AT_ONCE):
                self.stored += len(await events.store_all(connection, new[start : start + STORED_AT_ONCE]))

    async def work(self) -> None:
        """Until the queue is empty. Failed jobs wait for ``retry``."""
        while True:
            async with self.pool.connection() as connection:
                cursor = await connection.execute(
                    "DELETE FROM procrastinate_jobs WHERE status = 'todo' RETURNING task_name, args"
                )
                jobs = await cursor.fetchall()
            if not jobs:
                return
            names = [str(_of(args)["event_id"]) for task, args in jobs if task == "handle_event"]
            await self._all(self._handle(name) for name in await self._first_of_each(names))
            await self._all(self.reconciler.reconcile(**_of(args)) for task, args in jobs if task == "reconcile")
            self.handled += len(names)
            self.reconciled += sum(task == "reconcile" for task, _ in jobs)

    async def review(self) -> None:
        """What time alone has changed, and what failed and is due again."""
        async with self.pool.connection() as connection:
            due = await tenants.claim_review(connection, self.clock.moment)
            due += await tenants.claim_due(connection, LATER)
            await queue.defer_reconcile(connection, due, reason="a date was reached", priority=Priority.RETRY)
            await queue.defer_events(connection, sorted(self._failed))
            self._failed.clear()

    async def forget(self) -> None:
        """Delete events that can't come again: a simulation of years would fill the disk."""
        async with self.pool.connection() as connection:
            await connection.execute(
                "DELETE FROM registry.event WHERE created_at < to_timestamp(%s) AND status IN ('processed', 'ignored')",
                [self.clock.now - EVENTS_KEPT_S],
            )

    async def _first_of_each(self, names: list[str]) -> list[str]:
        """One event an object: its companions are answered with it."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT DISTINCT ON (coalesce(refetch_id, event_id)) event_id FROM registry.event "
                "WHERE event_id = ANY(%s) AND status = 'received' ORDER BY coalesce(refetch_id, event_id), event_id",
                [names],
            )
            return [str(row[0]) for row in await cursor.fetchall()]

    async def _handle(self, event_id: str) -> None:
        try:
            await self.inbox.handle(event_id)
        except TenantryError:
            self._failed.add(event_id)

    async def _all(self, work: Iterable[Awaitable[object]]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(task: Awaitable[object]) -> None:
            async with gate:
                await task

        await asyncio.gather(*(one(task) for task in work))


def _of(arguments: object) -> dict[str, Any]:
    assert isinstance(arguments, dict)
    return arguments


@asynccontextmanager
async def open_control_plane(
    database_url: str, clock: VirtualClock, gateway: DirectGateway, catalogue: Catalogue, app_schema: Path
) -> AsyncIterator[ControlPlane]:
    """On a database that holds nothing yet."""
    await asyncio.to_thread(migrate, database_url, database_url)
    environment = Environment.DEVELOPMENT
    pool: Pool
    async with AsyncConnectionPool(database_url, min_size=1, max_size=AT_ONCE + 2, open=False) as pool:
        async with pool.connection() as connection:
            await platforms.record_spec(
                connection, PlatformSpec(installation="simulated", environment=environment, app_schema_version=2)
            )
            await platforms.record_outputs(connection, PLATFORM, "platform")
        stacks = PaperStacks()
        inbox = Inbox(pool, gateway, catalogue, "default")
        reconciler = Reconciler(
            pool,
            gateway,
            catalogue,
            Installation("simulated", environment, 2),
            app_schema,
            stacks,
            stacks,  # type: ignore[arg-type]
            stacks.purge,
            "rules of the simulation",
        )
        sweep = Sweep(pool, inbox, reconciler)
        yield ControlPlane(pool, clock, gateway, stacks, inbox, reconciler, sweep)
