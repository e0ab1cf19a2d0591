"""Deferring jobs on the caller's connection, so that a job and the rows it is about are one transaction."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("jobs"))


class Priority(IntEnum):
    """A new payment never waits behind an old retry, nor a retry behind a sweep."""

    SWEEP = -20
    RETRY = -10
    EVENT = 0
    OPERATOR = 10


async def defer_events(connection: AsyncConnection, event_ids: Iterable[str]) -> None:
    args = [{"event_id": event_id} for event_id in event_ids]
    if args:
        await connection.execute(
            _sql("defer"),
            {"queue": "events", "task": "handle_event", "priority": int(Priority.EVENT), "args": Jsonb(args)},
        )


async def defer_reconcile(
    connection: AsyncConnection, tenant_ids: Sequence[str], *, reason: str, priority: Priority
) -> int:
    """Queue a reconcile of each tenant that has none waiting; returns how many were queued.

    One that waits will load everything anew when it starts, so a second would find nothing to do.
    """
    cursor = await connection.execute(
        _sql("defer_reconcile"), {"tenant_ids": list(tenant_ids), "priority": int(priority), "reason": reason}
    )
    row = await cursor.fetchone()
    return 0 if row is None or row[0] is None else len(row[0])


async def defer_platform(connection: AsyncConnection, cell: str, *, reason: str) -> None:
    """Queue the update of a cell's platform stack, unless one waits. Tenants of the cell may wait for it."""
    await connection.execute(
        _sql("defer_platform"), {"cell": cell, "priority": int(Priority.OPERATOR), "reason": reason}
    )


async def defer_proof(connection: AsyncConnection, tenant_id: str, cell: str) -> None:
    """Queue the fast proof of a tenant that was just changed, unless one waits: it will see this change as well."""
    await connection.execute(
        _sql("defer_proof"),
        {
            "tenant_id": tenant_id,
            "cell": cell,
            "trigger": "operation",
            "subject": f"tenant:{tenant_id}",
            "priority": int(Priority.EVENT),
            "unless_running": False,
        },
    )


async def defer_cell_proof(connection: AsyncConnection, cell: str, *, nightly: bool) -> bool:
    """Queue the proof of all tenants of a cell: nightly, unless one waits or runs; or because what they share changed,
    unless one waits. Whether it was queued."""
    cursor = await connection.execute(
        _sql("defer_proof"),
        {
            "tenant_id": None,
            "cell": cell,
            "trigger": "nightly" if nightly else "operation",
            "subject": f"cell:{cell}",
            "priority": int(Priority.SWEEP),
            "unless_running": nightly,
        },
    )
    return cursor.rowcount == 1


async def is_reconciling(connection: AsyncConnection) -> bool:
    """Whether any tenant or platform waits for a worker, or is being changed."""
    cursor = await connection.execute(_sql("is_reconciling"))
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def is_busy(connection: AsyncConnection, tenant_id: str) -> bool:
    """Whether a reconcile of the tenant waits or runs."""
    cursor = await connection.execute(_sql("is_busy"), {"tenant_id": tenant_id})
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def depth(connection: AsyncConnection) -> list[tuple[str, str, int, float]]:
    """(queue, status, jobs, age of the oldest in seconds)."""
    cursor = await connection.execute(_sql("queue"))
    return [(str(row[0]), str(row[1]), int(row[2]), float(row[3])) for row in await cursor.fetchall()]


async def prune(connection: AsyncConnection, *, hours: int = 24) -> int:
    """Delete finished jobs older than ``hours``."""
    cursor: Any = await connection.execute(_sql("prune"), {"hours": hours})
    return int(cursor.rowcount)
