"""The outbox of messages to customers, and when each tenant is looked at for new ones."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("notifications"))


class NotificationStatus(StrEnum):
    PENDING = "pending"  #: waits for its time, or its next attempt
    SENDING = "sending"  #: claimed by a process; free again when the claim ends
    SENT = "sent"
    REFUSED = "refused"  #: the mail server said that it never will (5xx)
    FAILED = "failed"  #: tried for days
    EXPIRED = "expired"  #: its time was over before it could be sent
    WITHDRAWN = "withdrawn"  #: what it was about was over before it could be sent
    QUARANTINED = "quarantined"  #: it can't be written: a template, an address; an operator may retry


#: What `tenantry notifications retry` may try again.
RETRIABLE = (NotificationStatus.REFUSED, NotificationStatus.FAILED, NotificationStatus.QUARANTINED)


@dataclass(frozen=True)
class NotificationRecord:
    """A row of ``registry.notification``; the columns are described in ``schema/50_notifications.sql``."""

    notification_id: int
    tenant_id: str
    generation: int
    kind: str
    occasion: str
    fields: dict[str, Any]
    recipient: dict[str, Any]
    status: str
    send_after: datetime
    expires_at: datetime
    attempts: int
    retry_at: datetime | None
    claim: uuid.UUID | None
    claimed_until: datetime | None
    attempted_at: datetime | None
    planned_at: datetime
    sent_at: datetime | None
    sent_at_billing: datetime | None
    message_id: str | None
    smtp_code: int | None
    reason: str | None

    def summary(self) -> dict[str, Any]:
        """Without whom it went to and what it said."""
        names = ("notification_id", "tenant_id", "generation", "kind", "occasion", "status", "send_after", "expires_at",
                 "attempts", "retry_at", "planned_at", "sent_at", "message_id", "smtp_code", "reason")  # fmt: skip
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class TenantView:
    """What the registry knows of a tenant that messages depend on. ``fresh``: it became ready within two days."""

    tenant_id: str
    generation: int
    state: str
    stripe_customer_id: str | None
    plan: str | None
    access: str
    access_since: datetime | None
    access_reason: str | None
    retain_until: datetime | None
    ready_at: datetime | None
    seen_generation: int | None
    seen_state: str | None
    seen_recipient: dict[str, Any] | None
    newest_entry: int
    fresh: bool


@dataclass(frozen=True)
class NewNotification:
    kind: str
    occasion: str
    fields: dict[str, Any]
    send_after: datetime
    expires_at: datetime


async def tenant(connection: AsyncConnection, tenant_id: str) -> TenantView | None:
    async with connection.cursor(row_factory=class_row(TenantView)) as cursor:
        await cursor.execute(_sql("tenant"), {"tenant_id": tenant_id})
        return await cursor.fetchone()


async def newest_entry(connection: AsyncConnection) -> int:
    """Of all timelines."""
    cursor = await connection.execute(_sql("newest_entry"))
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def to_look_at(connection: AsyncConnection, *, now: datetime, after: int, limit: int) -> list[str]:
    """Tenants that were never looked at, whose time has come, or whose timeline has grown. ``after``: timeline entries
    up to this one have been seen of all tenants."""
    cursor = await connection.execute(_sql("to_look_at"), {"now": now, "after": after, "limit": limit})
    return [str(row[0]) for row in await cursor.fetchall()]


async def lock_tenant(connection: AsyncConnection, tenant_id: str) -> None:
    """Until the transaction ends: two looks at one tenant come one after the other."""
    await connection.execute(_sql("lock_tenant"), {"tenant_id": tenant_id})


async def put_profile(
    connection: AsyncConnection,
    view: TenantView,
    recipient: dict[str, Any],
    *,
    now: datetime,
    look_at: datetime,
) -> None:
    await connection.execute(
        _sql("put_profile"),
        {
            "tenant_id": view.tenant_id,
            "generation": view.generation,
            "state": view.state,
            "recipient": Jsonb(recipient),
            "seen_entry": view.newest_entry,
            "now": now,
            "look_at": look_at,
        },
    )


async def record_failed_look(connection: AsyncConnection, tenant_id: str, failure: str, now: datetime) -> int:
    """Returns how many in a row have failed; the next is after 1, 2, 4, ... minutes, six hours at most."""
    cursor = await connection.execute(
        _sql("record_failed_look"), {"tenant_id": tenant_id, "failure": failure, "now": now}
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def put(
    connection: AsyncConnection,
    tenant_id: str,
    generation: int,
    recipient: dict[str, Any],
    message: NewNotification,
) -> bool:
    """Whether it is new, or back from having been withdrawn."""
    cursor = await connection.execute(
        _sql("put"),
        {
            "tenant_id": tenant_id,
            "generation": generation,
            "kind": message.kind,
            "occasion": message.occasion,
            "fields": Jsonb(message.fields),
            "recipient": Jsonb(recipient),
            "send_after": message.send_after,
            "expires_at": message.expires_at,
        },
    )
    return cursor.rowcount == 1


async def readdress(connection: AsyncConnection, tenant_id: str, recipient: dict[str, Any]) -> None:
    """What waits goes to the address that is known now."""
    await connection.execute(_sql("readdress"), {"tenant_id": tenant_id, "recipient": Jsonb(recipient)})


async def withdraw(
    connection: AsyncConnection,
    tenant_id: str,
    generation: int,
    *,
    conditional: Iterable[str],
    standing: Iterable[tuple[str, str]],
) -> int:
    """Take back what waits, is of a ``conditional`` kind, and whose (kind, occasion) is not ``standing`` any more."""
    pairs = list(standing)
    cursor = await connection.execute(
        _sql("withdraw"),
        {
            "tenant_id": tenant_id,
            "generation": generation,
            "conditional": list(conditional),
            "kinds": [kind for kind, _ in pairs],
            "occasions": [occasion for _, occasion in pairs],
        },
    )
    return cursor.rowcount


async def claim(
    connection: AsyncConnection, *, now: datetime, claim: uuid.UUID, claim_for: timedelta, per_minute: int
) -> NotificationRecord | None:
    """The next message to send; None if there is none, or ``per_minute`` (0: no limit) were tried in the last minute,
    by whatever process."""
    if per_minute:
        await connection.execute(_sql("lock_sending"))
        cursor = await connection.execute(_sql("attempts_in_a_minute"))
        row = await cursor.fetchone()
        if row is not None and row[0] >= per_minute:
            return None
    async with connection.cursor(row_factory=class_row(NotificationRecord)) as found:
        await found.execute(_sql("claim"), {"now": now, "claim": claim, "claim_for": claim_for})
        return await found.fetchone()


async def settle(
    connection: AsyncConnection,
    record: NotificationRecord,
    status: NotificationStatus,
    *,
    now: datetime,
    retry_at: datetime | None = None,
    reason: str | None = None,
    smtp_code: int | None = None,
    message_id: str | None = None,
) -> bool:
    """What became of a claimed message; False if the claim had ended and another process has it."""
    cursor = await connection.execute(
        _sql("settle"),
        {
            "notification_id": record.notification_id,
            "claim": record.claim,
            "status": status,
            "now": now,
            "retry_at": retry_at,
            "reason": reason,
            "smtp_code": smtp_code,
            "message_id": message_id,
        },
    )
    return cursor.rowcount == 1


async def list_notifications(
    connection: AsyncConnection,
    *,
    status: str | None = None,
    tenant_id: str | None = None,
    kind: str | None = None,
    limit: int = 50,
) -> list[NotificationRecord]:
    """The latest, newest first."""
    async with connection.cursor(row_factory=class_row(NotificationRecord)) as cursor:
        await cursor.execute(_sql("list"), {"status": status, "tenant_id": tenant_id, "kind": kind, "limit": limit})
        return await cursor.fetchall()


async def get(connection: AsyncConnection, notification_id: int) -> NotificationRecord | None:
    async with connection.cursor(row_factory=class_row(NotificationRecord)) as cursor:
        await cursor.execute(_sql("get"), {"notification_id": notification_id})
        return await cursor.fetchone()


async def retry(connection: AsyncConnection, ids: Sequence[int] | None, *, now: datetime) -> list[int]:
    """Try again what was given up (None: all of it); its tenants are looked at first, for addresses that were
    corrected. The ids of what waits now."""
    cursor = await connection.execute(_sql("retry"), {"ids": None if ids is None else list(ids), "now": now})
    found = await cursor.fetchall()
    await connection.execute(_sql("look_again"), {"tenant_ids": list({row[1] for row in found})})
    return sorted(int(row[0]) for row in found)


async def count(connection: AsyncConnection) -> list[tuple[str, str, int]]:
    """(kind, status, number)."""
    cursor = await connection.execute(_sql("count"))
    return [(str(kind), str(status), int(number)) for kind, status, number in await cursor.fetchall()]


async def oldest_waiting(connection: AsyncConnection) -> float:
    """Age of the oldest message that was tried and still waits, seconds; 0 if there is none."""
    cursor = await connection.execute(_sql("oldest_waiting"))
    row = await cursor.fetchone()
    return 0.0 if row is None or row[0] is None else float(row[0])


async def failed_looks(connection: AsyncConnection) -> int:
    """Tenants whose last look failed."""
    cursor = await connection.execute(_sql("failed_looks"))
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def redact(connection: AsyncConnection, tenant_id: str) -> int:
    """Erase whom a tenant's messages went to, what they said, and what it wrote on leaving. That there were messages
    stays; one that is still to be sent keeps its address. The number of messages."""
    cursor = await connection.execute(_sql("redact"), {"tenant_id": tenant_id})
    return cursor.rowcount


async def forget(connection: AsyncConnection, *, days: int) -> int:
    """Erase addresses and contents of messages that were done with ``days`` ago."""
    cursor = await connection.execute(_sql("forget"), {"days": days})
    return cursor.rowcount
