"""The timeline of a tenant: what happened, why, and what was decided; never a secret."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("timeline"))


class EntryKind(StrEnum):
    EVENT = "event"
    BOUND = "bound"
    DECISION = "decision"
    OPERATION = "operation"
    FAILURE = "failure"
    RECOVERY = "recovery"
    OPERATOR = "operator"
    POLICY = "policy"
    PROOF = "proof"
    USAGE = "usage"
    MESSAGE = "message"  #: to the customer
    SALE = "sale"  #: what the application asked for on behalf of the tenant


@dataclass(frozen=True)
class Entry:
    entry_id: int
    tenant_id: str
    at: datetime
    kind: str
    summary: str
    event_id: str | None
    operation_id: int | None
    detail: dict[str, Any]


async def add(
    connection: AsyncConnection,
    tenant_id: str,
    kind: EntryKind,
    summary: str,
    *,
    event_id: str | None = None,
    operation_id: int | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    await connection.execute(
        _sql("add"),
        {
            "tenant_id": tenant_id,
            "kind": kind,
            "summary": summary,
            "event_id": event_id,
            "operation_id": operation_id,
            "detail": Jsonb(dict(detail or {})),
        },
    )


async def of_tenant(connection: AsyncConnection, tenant_id: str, *, limit: int = 200) -> list[Entry]:
    """The latest ``limit`` entries, oldest first."""
    async with connection.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(_sql("of_tenant"), {"tenant_id": tenant_id, "limit": limit})
        return list(reversed(await cursor.fetchall()))
