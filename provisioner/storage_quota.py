"""What each tenant stores, measured once a day and told to its applications; alerts at 80 and 100 % of its limit.

It is measured as the tenant, through the SDK: what a session of the tenant can't see is not counted to it. In the pool
its rows are added up (their indexes and what was deleted and not yet vacuumed are everybody's), elsewhere its schema's
tables with all that belongs to them. Files are listed: one request a thousand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
import structlog
from botocore.exceptions import BotoCoreError, ClientError
from psycopg import AsyncConnection, sql

from provisioner.operate import Pool
from provisioner.periodic import Periodic
from provisioner.registry import storage, timeline
from provisioner.registry.storage import Measured
from provisioner.registry.timeline import EntryKind
from tenantry import Tenantry, TenantryError, TenantSession

log = structlog.get_logger(__name__)

THRESHOLDS = (80, 100)  #: per cent
MIB = 1024 * 1024
EVERY = timedelta(hours=24)
LONGEST_RUN_S = 50.0  #: then the other periodic work has its turn
LOOK_EVERY_S = 300.0
TOGETHER = 4  #: tenants measured at once
STATEMENT_TIMEOUT = "60s"  #: of one statement: a table too large to add up must not hold a connection

_TABLES = """
SELECT c.relname FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
 WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
   AND has_table_privilege(c.oid, 'SELECT')
 ORDER BY c.relname
"""
_SCHEMA_SIZE = """
SELECT coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c
 WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relkind IN ('r', 'm')
"""


@dataclass(frozen=True)
class StorageAlert:
    """``used`` of ``limit`` MiB: ``threshold`` per cent are passed. ``blocked``: more files are refused."""

    tenant_id: str
    threshold: int
    used: int
    limit: int
    blocked: bool


#: Tells the tenant, in the transaction that records the alert; the moment is billing time.
Notify = Callable[[AsyncConnection, StorageAlert, datetime], Awaitable[object]]


def measure(sdk: Tenantry, tenant_id: str) -> Measured:
    """What the tenant stores now. Blocks; raises TenantryError (the SDK's), psycopg.Error or botocore's errors."""
    placement = sdk.placement(tenant_id)
    with sdk.session(tenant_id) as session:
        session.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(STATEMENT_TIMEOUT)))
        database = _rows(session, placement.db_schema) if placement.pooled else _schema(session, placement.db_schema)
    files, size = 0, 0
    for each in sdk.files(tenant_id).list():
        files, size = files + 1, size + each.size
    return Measured(database, size, files)


def _rows(session: TenantSession, schema: str) -> int:
    total = 0
    for (table,) in session.execute(_TABLES, (schema,)).fetchall():
        statement = sql.SQL("SELECT coalesce(sum(pg_catalog.pg_column_size(t.*)), 0)::bigint FROM {} AS t")
        row = session.execute(statement.format(sql.Identifier(schema, table))).fetchone()
        assert row is not None
        total += int(row[0])
    return total


def _schema(session: TenantSession, schema: str) -> int:
    row = session.execute(_SCHEMA_SIZE, (schema,)).fetchone()
    assert row is not None
    return int(row[0])


@dataclass
class StorageQuotas:
    """``measure`` blocks, and is called in threads. A tenant that can't be measured keeps its last figures."""

    pool: Pool
    measure: Callable[[str], Measured]
    notify: Notify | None = None
    clock: Callable[[], float] = time.monotonic
    _failed: dict[str, float] = field(default_factory=dict)  # tenants that could not be measured, and when

    def work(self) -> tuple[Periodic, ...]:
        return (Periodic("storage", LOOK_EVERY_S, self.run_due),)

    async def run_due(self, now: datetime) -> list[StorageAlert]:
        """Measure who is due, for a while. Who is due is told by the database's clock: nothing is billed by it."""
        ends = self.clock() + LONGEST_RUN_S
        self._failed = {each: at for each, at in self._failed.items() if self.clock() - at < EVERY.total_seconds() / 24}
        raised: list[StorageAlert] = []
        while self.clock() < ends:
            async with self.pool.connection() as connection:
                due = await storage.due(connection, every=EVERY, but=self._failed, most=TOGETHER)
            if not due:
                break
            found = await asyncio.gather(*(self._one(tenant_id, generation, now) for tenant_id, generation in due))
            raised += [alert for alert in found if alert is not None]
        return raised

    async def _one(self, tenant_id: str, generation: int, now: datetime) -> StorageAlert | None:
        try:
            measured = await asyncio.to_thread(self.measure, tenant_id)
        except (TenantryError, psycopg.Error, ClientError, BotoCoreError, OSError) as error:
            self._failed[tenant_id] = self.clock()
            log.warning("storage.not_measured", tenant_id=tenant_id, error=type(error).__name__)
            return None
        async with self.pool.connection() as connection, connection.transaction():
            before = await storage.put(connection, tenant_id, generation, measured)
            if before is None:
                self._failed[tenant_id] = self.clock()  # that life of the tenant is over: not asked for at once again
                return None
            return await self._alert(connection, tenant_id, measured, before, now)

    async def _alert(
        self, connection: AsyncConnection, tenant_id: str, measured: Measured, before: int, now: datetime
    ) -> StorageAlert | None:
        limit, soft = await storage.limit(connection, tenant_id)
        used = -(-measured.bytes // MIB)
        passed = 0 if limit is None else max((each for each in THRESHOLDS if used * 100 >= each * limit), default=0)
        if passed != before:
            await storage.set_alerted(connection, tenant_id, passed)
        if limit is None or passed <= before:
            return None
        alert = StorageAlert(tenant_id, passed, used, limit, blocked=passed >= 100 and not soft)
        summary = f"{passed} % of the {limit} MiB that it may store are used: {used} MiB"
        detail = {"used_mib": used, "limit_mib": limit, "files": measured.files, "blocked": alert.blocked}
        await timeline.add(connection, tenant_id, EntryKind.USAGE, summary, detail=detail)
        if self.notify is not None:
            await self.notify(connection, alert, now)
        log.info("storage.alert", tenant_id=tenant_id, threshold=passed)
        return alert
