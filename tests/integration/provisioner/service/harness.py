"""The service on a real PostgreSQL, with a Stripe of the test's own and no engine: stacks are only written down."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from components.spec import Environment, PlatformSpec
from localcloud.simulation.paper import PLATFORM as PLATFORM  # tests find it here
from localcloud.simulation.paper import PaperStacks
from provisioner.billing import catalogue as catalogues
from provisioner.billing import webhooks
from provisioner.billing.fake import FakeGateway, event_document
from provisioner.desired import Installation
from provisioner.errors import TenantryError
from provisioner.inbox import Inbox, classify
from provisioner.operate import Pool
from provisioner.reconcile import Outcome, Reconciler
from provisioner.registry import events, placements, platforms, tenants
from provisioner.registry.migrate import migrate
from provisioner.registry.tenants import TenantRecord
from provisioner.sweep import Sweep

ROOT = Path(__file__).parents[4]
CATALOGUE = catalogues.load(ROOT / "example" / "plans.toml")
APP_SCHEMA = ROOT / "example" / "app_schema"
INSTALLATION = Installation("test", Environment.DEVELOPMENT, 2)


@dataclass
class Service:
    pool: Pool
    gateway: FakeGateway
    stacks: PaperStacks
    inbox: Inbox
    reconciler: Reconciler
    sweep: Sweep
    _events: Any = field(default_factory=lambda: itertools.count(1))

    def event(self, type: str, subject: dict[str, Any], **changes: Any) -> dict[str, Any]:
        document = event_document(f"evt_{next(self._events)}", type, subject, **changes)
        self.gateway.put_event(document)
        return document

    async def deliver(self, event: dict[str, Any]) -> bool:
        """As the webhook stores it; False for a duplicate."""
        body = json.dumps(event).encode()
        async with self.pool.connection() as connection:
            return await events.store(connection, classify(webhooks.parse(body), body))

    async def work(self, *, limit: int = 1000) -> int:
        """Do what is queued, as workers would: by priority, then age. Returns how many jobs were done."""
        for done in range(limit):
            async with self.pool.connection() as connection:
                cursor = await connection.execute(
                    "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = (SELECT id FROM procrastinate_jobs "
                    "WHERE status = 'todo' ORDER BY priority DESC, id LIMIT 1) RETURNING id, task_name, args"
                )
                job = await cursor.fetchone()
            if job is None:
                return done
            arguments: dict[str, Any] = job[2]  # type: ignore[assignment]
            status = "succeeded"
            try:
                if job[1] == "handle_event":
                    await self.inbox.handle(arguments["event_id"])
                elif job[1] == "reconcile":
                    await self.reconciler.reconcile(**arguments)
            except TenantryError:
                status = "failed"
            async with self.pool.connection() as connection:
                await connection.execute(
                    "UPDATE procrastinate_jobs SET status = %s::procrastinate_job_status WHERE id = %s",
                    [status, job[0]],
                )
        raise AssertionError("the queue never empties")

    async def settle(self) -> None:
        """Sweep and work until nothing is behind; due retries don't wait for their time."""
        for _ in range(10):
            await self.work()
            async with self.pool.connection() as connection:
                await connection.execute("UPDATE registry.tenant SET next_attempt_at = NULL")
            result = await self.sweep.run()
            if not result.queued and not result.recovered_events and not await self.work():
                return
        raise AssertionError("the sweep never comes to rest")

    async def tenant(self, tenant_id: str) -> TenantRecord:
        async with self.pool.connection() as connection:
            record = await tenants.get(connection, tenant_id)
        assert record is not None
        return record

    async def placement(self, tenant_id: str) -> placements.PlacementRecord | None:
        async with self.pool.connection() as connection:
            return await placements.get(connection, tenant_id)

    async def reconcile(self, tenant_id: str) -> Outcome:
        return await self.reconciler.reconcile(tenant_id, "test")

    async def clear(self) -> None:
        """Forget everything but the platform."""
        self.stacks.stacks.clear()
        self.stacks.versions.clear()
        self.stacks.log.clear()
        async with self.pool.connection() as connection:
            for table in ("placement", "tenant", "event", "timeline"):  # a TRUNCATE takes longer than few rows do
                await connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("registry", table)))
            await connection.execute("DELETE FROM procrastinate_jobs")


@asynccontextmanager
async def open_service(database_url: str, gateway: FakeGateway | None = None) -> AsyncIterator[Service]:
    migrate(database_url, database_url)
    pool: Pool
    async with AsyncConnectionPool(database_url, min_size=1, max_size=4, open=False) as pool:
        async with pool.connection() as connection:
            await platforms.record_spec(
                connection, PlatformSpec(installation="test", environment=Environment.DEVELOPMENT, app_schema_version=2)
            )
            await platforms.record_outputs(connection, PLATFORM, "platform")
        gateway = gateway or FakeGateway()
        stacks = PaperStacks()
        inbox = Inbox(pool, gateway, CATALOGUE, "default")
        reconciler = Reconciler(
            pool,
            gateway,
            CATALOGUE,
            INSTALLATION,
            APP_SCHEMA,
            stacks,
            stacks,  # type: ignore[arg-type]
            stacks.purge,
            "rules 1",
        )
        yield Service(pool, gateway, stacks, inbox, reconciler, Sweep(pool, inbox, reconciler))


def rows(database_url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()
