"""The inbox: what Stripe sent, once each. Storing an event and deferring its job is one statement."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("events"))


class EventStatus(StrEnum):
    RECEIVED = "received"  #: stored, its job is queued
    IGNORED = "ignored"  #: of a type that changes no tenant
    PROCESSED = "processed"  #: its tenant's reconcile was queued
    QUARANTINED = "quarantined"  #: can't be trusted or understood; waits for an operator


@dataclass(frozen=True)
class EventRecord:
    """A row of ``registry.event``. ``body`` is what was signed, byte for byte."""

    event_id: str
    type: str
    object_id: str | None
    api_version: str | None
    created_at: datetime
    livemode: bool
    body: bytes
    status: str
    reason: str | None
    hint: str | None
    tenant_id: str | None
    received_at: datetime
    processed_at: datetime | None
    refetch_id: str | None = None
    companions: Sequence[str] = ()  #: of ``take``: other events that wait for the same object

    def summary(self) -> dict[str, Any]:
        """All but the body, which may hold a customer's personal data."""
        hidden = ("body", "refetch_id", "companions")
        return {name: value for name, value in vars(self).items() if name not in hidden}


@dataclass(frozen=True)
class NewEvent:
    event_id: str
    type: str
    object_id: str | None
    api_version: str | None
    created: int  #: Unix seconds
    livemode: bool
    body: bytes
    status: EventStatus  #: ``received`` or ``ignored``
    refetch_id: str | None = None  #: the object that its job loads anew


async def store(connection: AsyncConnection, event: NewEvent) -> bool:
    """Store the event and, unless it is to be ignored, defer its job; False if it was there already."""
    return event.event_id in await store_all(connection, [event])


async def store_all(connection: AsyncConnection, new: Sequence[NewEvent]) -> set[str]:
    """Store events, and defer the jobs of those that are not to be ignored, in one statement; ids that were new."""
    columns = {field.name: [getattr(event, field.name) for event in new] for field in fields(NewEvent)}
    cursor = await connection.execute(_sql("store"), columns)
    return {str(row[0]) for row in await cursor.fetchall()}


async def get(connection: AsyncConnection, event_id: str) -> EventRecord | None:
    async with connection.cursor(row_factory=class_row(EventRecord)) as cursor:
        await cursor.execute(_sql("get"), {"event_id": event_id})
        return await cursor.fetchone()


async def take(connection: AsyncConnection, event_id: str) -> EventRecord | None:
    """The event with its companions, if it still waits."""
    async with connection.cursor(row_factory=class_row(EventRecord)) as cursor:
        await cursor.execute(_sql("take"), {"event_id": event_id})
        return await cursor.fetchone()


async def process(connection: AsyncConnection, event_ids: Sequence[str], tenant_ids: Sequence[str]) -> list[str]:
    """Mark events as processed, on the timeline of each tenant that they are about; which of them still waited."""
    cursor = await connection.execute(_sql("process"), {"event_ids": list(event_ids), "tenant_ids": list(tenant_ids)})
    return [str(row[0]) for row in await cursor.fetchall()]


async def list_events(
    connection: AsyncConnection, *, status: str | None = None, tenant_id: str | None = None, limit: int = 100
) -> list[EventRecord]:
    """Newest first."""
    async with connection.cursor(row_factory=class_row(EventRecord)) as cursor:
        await cursor.execute(_sql("list"), {"status": status, "tenant_id": tenant_id, "limit": limit})
        return await cursor.fetchall()


async def settle(
    connection: AsyncConnection,
    event_id: str,
    status: EventStatus,
    *,
    reason: str | None = None,
    hint: str | None = None,
    tenant_id: str | None = None,
) -> None:
    await connection.execute(
        _sql("settle"),
        {"event_id": event_id, "status": status, "reason": reason, "hint": hint, "tenant_id": tenant_id},
    )


async def reopen(connection: AsyncConnection, event_ids: Sequence[str]) -> list[str]:
    """Mark quarantined events received again; the caller defers their jobs in the same transaction."""
    cursor = await connection.execute(_sql("reopen"), {"event_ids": list(event_ids)})
    return [str(row[0]) for row in await cursor.fetchall()]


async def quarantined(connection: AsyncConnection) -> list[str]:
    cursor = await connection.execute(_sql("quarantined"))
    return [str(row[0]) for row in await cursor.fetchall()]


async def stranded(connection: AsyncConnection, *, older_than_s: float) -> list[str]:
    """Events that wait without a job, as after a job that failed for good; the sweep queues them again."""
    cursor = await connection.execute(_sql("stranded"), {"older_than_s": older_than_s})
    return [str(row[0]) for row in await cursor.fetchall()]


async def count_by_status(connection: AsyncConnection) -> dict[str, int]:
    cursor = await connection.execute(_sql("count_by_status"))
    return {str(status): int(count) for status, count in await cursor.fetchall()}
