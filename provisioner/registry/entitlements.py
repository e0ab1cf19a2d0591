"""Exceptions to what a tenant's plan entitles it to, and what holds in the end. Changes are announced to the SDKs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("entitlements"))


class OverrideKind(StrEnum):
    FEATURE = "feature"
    LIMIT = "limit"
    RATE = "rate"


@dataclass(frozen=True)
class Override:
    """``granted``: of a feature. ``value``: of a limit, or the calls of a rate; None: unlimited."""

    kind: str
    name: str
    granted: bool | None
    value: int | None
    reason: str
    author: str
    created_at: datetime
    expires_at: datetime | None
    expired: bool | None


async def put(
    connection: AsyncConnection,
    tenant_id: str,
    kind: OverrideKind,
    name: str,
    *,
    granted: bool | None = None,
    value: int | None = None,
    reason: str,
    author: str,
    expires_at: datetime | None,
) -> bool:
    """Set or replace; False if there is no such tenant."""
    cursor = await connection.execute(
        _sql("put"),
        {
            "tenant_id": tenant_id,
            "kind": kind,
            "name": name,
            "granted": granted,
            "value": value,
            "reason": reason,
            "author": author,
            "expires_at": expires_at,
        },
    )
    return cursor.rowcount == 1


async def clear(connection: AsyncConnection, tenant_id: str, kind: OverrideKind, name: str) -> bool:
    cursor = await connection.execute(_sql("clear"), {"tenant_id": tenant_id, "kind": kind, "name": name})
    return cursor.rowcount == 1


async def of_tenant(connection: AsyncConnection, tenant_id: str) -> list[Override]:
    """Expired ones that nobody has removed yet too: they say so."""
    async with connection.cursor(row_factory=class_row(Override)) as cursor:
        await cursor.execute(_sql("of_tenant"), {"tenant_id": tenant_id})
        return await cursor.fetchall()


async def effective(connection: AsyncConnection, tenant_id: str) -> dict[str, Any] | None:
    """What the SDK is told: a row of ``tenantry_v1.entitlement``."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_sql("effective"), {"tenant_id": tenant_id})
        return await cursor.fetchone()


async def claim_expired(connection: AsyncConnection) -> list[tuple[str, Override]]:
    """Remove what has ended, and say whose it was. It has not counted since it ended."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_sql("claim_expired"))
        rows = await cursor.fetchall()
    return [(str(row.pop("tenant_id")), Override(**row)) for row in rows]


async def prune_windows(connection: AsyncConnection) -> int:
    """Forget the windows of rates that say nothing any more."""
    return (await connection.execute(_sql("prune_windows"))).rowcount
