"""Tenants whose instance is stopped, and what was last seen of it."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from components.tiers import TIERS
from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("hibernation"))


@dataclass(frozen=True)
class Sleeping:
    """A tenant whose stack has its instance stopped, and is to keep it so."""

    tenant_id: str
    generation: int
    region: str


@dataclass(frozen=True)
class HibernationRecord:
    """A row of ``registry.hibernation``. ``status`` as RDS says it; ``problem``: why it could not be stopped."""

    tenant_id: str
    generation: int
    identifier: str
    status: str
    stopped_again: int
    problem: str | None
    seen_at: datetime
    since: datetime


async def sleeping(connection: AsyncConnection) -> list[Sleeping]:
    tiers = [tier.value for tier, properties in TIERS.items() if properties.own_instance]
    async with connection.cursor(row_factory=class_row(Sleeping)) as cursor:
        await cursor.execute(_sql("sleeping"), {"tiers": tiers})
        return await cursor.fetchall()


async def forget_others(connection: AsyncConnection, tenant_ids: Collection[str]) -> None:
    """Tenants that woke, or are gone."""
    await connection.execute(_sql("forget"), {"tenant_ids": list(tenant_ids)})


async def record(
    connection: AsyncConnection,
    tenant: Sleeping,
    identifier: str,
    status: str,
    now: datetime,
    *,
    again: bool = False,
    problem: str | None = None,
) -> None:
    """``again``: it ran, and is being stopped again."""
    values = {"identifier": identifier, "status": status, "again": int(again), "problem": problem, "now": now}
    await connection.execute(_sql("seen"), {**values, "tenant_id": tenant.tenant_id, "generation": tenant.generation})


async def get(connection: AsyncConnection, tenant_id: str) -> HibernationRecord | None:
    async with connection.cursor(row_factory=class_row(HibernationRecord)) as cursor:
        await cursor.execute(_sql("get"), {"tenant_id": tenant_id})
        return await cursor.fetchone()


async def count(connection: AsyncConnection) -> list[tuple[str, int, int, int]]:
    """Status, instances, how often they were stopped again, and those that could not be."""
    cursor = await connection.execute(_sql("count"))
    return [(str(status), int(n), int(again), int(stuck)) for status, n, again, stuck in await cursor.fetchall()]
