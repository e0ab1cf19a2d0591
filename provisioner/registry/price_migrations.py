"""Moves of subscribers from one price to another: which there were, and what became of each subscription."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("price_migrations"))


class MigrationStatus(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"  #: goes on when it is asked to
    FINISHED = "finished"


class ItemStatus(StrEnum):
    MOVING = "moving"  #: Stripe was about to be told
    MOVED = "moved"
    FAILED = "failed"  #: tried again by the next run
    SKIPPED = "skipped"  #: looked at again by the next run


@dataclass(frozen=True)
class Migration:
    """A row of ``registry.price_migration``."""

    migration_id: int
    from_price: str
    to_price: str
    plan: str
    effective: str
    proration_behavior: str
    status: str
    reason: str | None
    started_by: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Item:
    """A row of ``registry.price_migration_item``."""

    migration_id: int
    subscription_id: str
    tenant_id: str | None
    status: str
    wave: int
    schedule_id: str | None
    reason: str | None
    attempts: int
    updated_at: datetime


async def open_of(connection: AsyncConnection, from_price: str) -> Migration | None:
    """The one that isn't finished."""
    return await _migration(connection, "open_of", {"from_price": from_price})


async def begin(
    connection: AsyncConnection,
    *,
    from_price: str,
    to_price: str,
    plan: str,
    effective: str,
    proration_behavior: str,
    by: str,
) -> Migration:
    """``psycopg.errors.UniqueViolation`` if another of ``from_price`` isn't finished."""
    parameters = {
        "from_price": from_price,
        "to_price": to_price,
        "plan": plan,
        "effective": effective,
        "proration_behavior": proration_behavior,
        "by": by,
    }
    begun = await _migration(connection, "begin", parameters)
    assert begun is not None
    return begun


async def lock(connection: AsyncConnection, migration_id: int) -> bool:
    """Until ``unlock`` or the connection's end; False if another process has it."""
    cursor = await connection.execute(_sql("lock"), {"migration_id": migration_id})
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def unlock(connection: AsyncConnection, migration_id: int) -> None:
    await connection.execute(_sql("unlock"), {"migration_id": migration_id})


async def set_status(
    connection: AsyncConnection, migration_id: int, status: MigrationStatus, reason: str | None = None
) -> None:
    await connection.execute(_sql("set_status"), {"migration_id": migration_id, "status": status, "reason": reason})


async def items(connection: AsyncConnection, migration_id: int) -> list[Item]:
    async with connection.cursor(row_factory=class_row(Item)) as cursor:
        await cursor.execute(_sql("items"), {"migration_id": migration_id})
        return await cursor.fetchall()


async def put_item(
    connection: AsyncConnection,
    migration_id: int,
    subscription_id: str,
    status: ItemStatus,
    *,
    tenant_id: str | None,
    wave: int,
    schedule_id: str | None = None,
    reason: str | None = None,
) -> None:
    """What became of a subscription; a schedule that is known stays."""
    parameters = {
        "migration_id": migration_id,
        "subscription_id": subscription_id,
        "tenant_id": tenant_id,
        "status": status,
        "wave": wave,
        "schedule_id": schedule_id,
        "reason": reason,
    }
    await connection.execute(_sql("put_item"), parameters)


async def _migration(connection: AsyncConnection, name: str, parameters: dict[str, Any]) -> Migration | None:
    async with connection.cursor(row_factory=class_row(Migration)) as cursor:
        await cursor.execute(_sql(name), parameters)
        return await cursor.fetchone()
