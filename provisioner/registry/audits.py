"""Audits: what the last one found, since when, and what an audit reads of the registry."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from psycopg import AsyncConnection
from psycopg.rows import class_row

from provisioner.registry.placements import PlacementRecord
from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("audits"))


class FindingRow(Protocol):
    """What ``record`` keeps of a finding."""

    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def tenant_id(self) -> str | None: ...
    @property
    def what(self) -> str: ...
    @property
    def fix(self) -> str: ...
    @property
    def fixable(self) -> bool: ...


async def of_one_moment(connection: AsyncConnection) -> None:
    """Have the transaction that begins with it see the registry as it is now, whatever is changed meanwhile."""
    await connection.execute(_sql("of_one_moment"))


async def open_events(connection: AsyncConnection) -> list[tuple[Any, ...]]:
    """(event_id, type, status, reason, received_at) of the first 1000 that are not handled."""
    cursor = await connection.execute(_sql("events"))
    return await cursor.fetchall()


async def running(connection: AsyncConnection) -> frozenset[str]:
    """Tenants whose reconcile waits or runs."""
    cursor = await connection.execute(_sql("running"))
    return frozenset(str(row[0]) for row in await cursor.fetchall())


async def placements(connection: AsyncConnection) -> dict[str, PlacementRecord]:
    async with connection.cursor(row_factory=class_row(PlacementRecord)) as cursor:
        await cursor.execute(_sql("placements"))
        return {record.tenant_id: record for record in await cursor.fetchall()}


async def record(
    connection: AsyncConnection,
    findings: Sequence[FindingRow],
    *,
    started_at: datetime,
    nightly: bool,
    tenants: int,
    complete: bool,
) -> None:
    """Keep what was found. What was found before and not now is resolved, if everything could be read."""
    columns: dict[str, list[Any]] = {
        name: [getattr(each, name) for each in findings]
        for name in ("kind", "subject", "tenant_id", "what", "fix", "fixable")
    }
    columns["kind"] = [str(kind) for kind in columns["kind"]]
    await connection.execute(_sql("record"), columns)
    if complete:
        await connection.execute(_sql("resolve"), {name: columns[name] for name in ("kind", "subject")})
    run = {
        "started_at": started_at,
        "nightly": nightly,
        "tenants": tenants,
        "findings": len(findings),
        "complete": complete,
    }
    await connection.execute(_sql("add_run"), run)
    await connection.execute(_sql("prune"))


async def ran_since(connection: AsyncConnection, since: datetime) -> bool:
    """Whether a nightly audit began at ``since`` or later."""
    cursor = await connection.execute(_sql("ran_since"), {"since": since})
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def last_run(connection: AsyncConnection) -> tuple[datetime, int, bool] | None:
    """When the last audit ended, how much it found, whether it could read everything."""
    cursor = await connection.execute(_sql("last_run"))
    row = await cursor.fetchone()
    return None if row is None else (row[0], int(row[1]), bool(row[2]))


async def count(connection: AsyncConnection) -> dict[str, int]:
    cursor = await connection.execute(_sql("count"))
    return {str(kind): int(number) for kind, number in await cursor.fetchall()}
