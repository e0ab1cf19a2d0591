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
from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from components.spec import DatabaseEndpoint, Environment, PlatformOutputs, PlatformSpec, TenantOutputs, TenantSpec
from components.tiers import TIERS
from provisioner.billing import catalogue as catalogues
from provisioner.billing import webhooks
from provisioner.billing.fake import FakeGateway, event_document
from provisioner.deployer import Operation, OperationResult
from provisioner.desired import Installation
from provisioner.errors import TenantryError
from provisioner.inbox import Inbox, classify
from provisioner.operate import Held, Operator, Pool
from provisioner.reconcile import Outcome, Reconciler
from provisioner.registry import events, placements, platforms, tenants
from provisioner.registry.migrate import migrate
from provisioner.registry.operations import OperationKind
from provisioner.registry.tenants import TenantRecord
from provisioner.stack_request import StackInputs
from provisioner.sweep import Sweep

ROOT = Path(__file__).parents[4]
CATALOGUE = catalogues.load(ROOT / "example" / "plans.toml")
APP_SCHEMA = ROOT / "example" / "app_schema"
INSTALLATION = Installation("test", Environment.DEVELOPMENT, 2)

PLATFORM = PlatformOutputs(
    cell="default",
    account_id="123456789012",
    region="us-east-1",
    vpc_id="vpc-1",
    private_subnet_ids=("subnet-1", "subnet-2"),
    db_subnet_group="group",
    db_parameter_group="parameters",
    app_security_group_id="sg-1",
    shared_instance_identifier="shared",
    shared_database=DatabaseEndpoint(address="127.0.0.1", port=5432, name="tenantry"),
    shared_master_secret_arn="arn:master",
    pool_login="pool_app",
    pool_login_secret_arn="arn:pool",
    pool_token_secret_arn="arn:token",
    shared_bucket="shared",
    platform_key_arn="arn:key",
    shared_role_arn="arn:role",
    permissions_boundary_arn="arn:boundary",
    alarm_topic_arn="arn:topic",
    app_schema_version=2,
)


class _OnPaper(Held):
    """Nobody else is there to take it over."""

    async def require(self, connection: AsyncConnection) -> None:
        return


@dataclass
class PaperStacks(Operator):
    """Takes down what the engine would be asked to do; ``fail`` is raised by the next operations instead."""

    stacks: dict[str, TenantSpec] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)  #: (stack, kind) of every operation that was begun
    fail: list[TenantryError] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    _counter: Any = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def hold(self, stack_name: str, *, wait_s: float = 0.0) -> AsyncIterator[Held]:
        yield _OnPaper(None, stack_name)  # type: ignore[arg-type]

    async def run(
        self,
        held: Held,
        operation: Operation,
        kind: OperationKind,
        inputs: StackInputs,
        *,
        tenant_id: str | None,
        reason: str,
        refresh: bool = False,
    ) -> OperationResult:
        self.log.append((held.stack_name, kind.value))
        if self.fail:
            raise self.fail.pop(0)
        spec = TenantSpec.model_validate_json(inputs.config["tenantry:spec"])
        self.versions[held.stack_name] = str(next(self._counter))
        if operation is Operation.DESTROY:
            assert not self.stacks[held.stack_name].protect, "a protected stack was to be destroyed"
            del self.stacks[held.stack_name], self.versions[held.stack_name]
            return OperationResult(held.stack_name, operation, {}, {"delete": 1}, 0.1, ())
        self.stacks[held.stack_name] = spec
        outputs = _outputs(spec).model_dump(mode="json")
        version = self.versions[held.stack_name]
        return OperationResult(
            held.stack_name, operation, {"tenant": outputs}, {"create": 1}, 0.1, (), checkpoint_version=version
        )

    # What the reconciler asks of the state store

    def checkpoint_version(self, stack_name: str) -> str | None:
        return self.versions.get(stack_name)

    def checkpoint_versions(self) -> dict[str, str]:
        return dict(self.versions)

    def deployment(self, stack_name: str) -> dict[str, Any] | None:
        spec = self.stacks.get(stack_name)
        return None if spec is None else {"resources": [{"urn": "urn", "protect": spec.protect}]}

    async def purge(self, outputs: TenantOutputs, platform: PlatformOutputs) -> None:
        self.purged.append(outputs.tenant_id)


def _outputs(spec: TenantSpec) -> TenantOutputs:
    own = TIERS[spec.tier]
    name = f"t_{spec.tenant_id}"
    return TenantOutputs(
        tenant_id=spec.tenant_id,
        generation=spec.generation,
        cell=spec.cell,
        tier=spec.tier,
        epoch=spec.epoch,
        access=spec.access,
        database=DatabaseEndpoint(address="127.0.0.1", port=5432, name=name if own.own_instance else "tenantry"),
        db_schema=name if own.own_schema else "pool",
        login=name if own.own_login else "pool_app",
        login_secret_arn=f"arn:{name}",
        bucket=name if own.own_bucket else "shared",
        prefix="" if own.own_bucket else f"{spec.tenant_id}/",
        kms_key_arn="arn:key",
        role_arn="arn:role",
        app_schema_version=spec.app_schema_version,
    )


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
async def open_service(database_url: str) -> AsyncIterator[Service]:
    migrate(database_url, database_url)
    pool: Pool
    async with AsyncConnectionPool(database_url, min_size=1, max_size=4, open=False) as pool:
        async with pool.connection() as connection:
            await platforms.record_spec(
                connection, PlatformSpec(installation="test", environment=Environment.DEVELOPMENT, app_schema_version=2)
            )
            await platforms.record_outputs(connection, PLATFORM, "platform")
        gateway = FakeGateway()
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
