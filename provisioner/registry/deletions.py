"""Deletions: the end of a tenant's life, step by step, and the copies of its data that are still kept."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from provisioner.billing.terms import Deletion as Method
from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("deletions"))

#: What looks like a person's address in texts that stay; POSIX regular expression.
ADDRESS = r"[A-Za-z0-9._%+'-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"


class Cause(StrEnum):
    RETENTION = "retention"  #: the plan's days after the subscription's end are over
    OPERATOR = "operator"  #: `tenantry tenants destroy`
    ERASURE = "erasure"  #: `tenantry erase`: the customer asked to be forgotten


class Step(StrEnum):
    """What is done; each is written when it is."""

    REQUESTED = "requested"
    EXPORTED = "exported"  #: the final export is written, and kept if one is to be kept
    PURGED = "purged"  #: no file is left
    DESTROYED = "destroyed"  #: the stack is gone
    COMPLETE = "complete"  #: nothing was left over; the certificate is signed
    CALLED_OFF = "called_off"  #: a payment came before the destruction began


@dataclass(frozen=True)
class DeletionRecord:
    """A row of ``registry.deletion`` without its certificate; ``schema/40_deletion.sql`` describes the columns."""

    deletion_id: str
    tenant_id: str
    generation: int
    cause: str
    requested_by: str
    reason: str
    requested_at: datetime
    method: str
    forget_customer: bool
    step: str
    operation_mark: int
    tenant: dict[str, Any]
    export: dict[str, Any] | None
    copy_name: str | None
    copy_until: datetime | None
    copy_removed_at: datetime | None
    files: dict[str, int] | None
    resources: list[dict[str, str]] | None
    redacted: dict[str, int] | None
    destroyed_at: datetime | None
    completed_at: datetime | None
    created_at: datetime

    @property
    def archives(self) -> bool:
        return self.method == Method.ARCHIVE


async def open_one(connection: AsyncConnection, tenant_id: str, generation: int) -> DeletionRecord | None:
    """The one under way of this life of the id."""
    found = await _all(connection, "open", {"tenant_id": tenant_id, "generation": generation})
    return found[0] if found else None


async def of_tenant(connection: AsyncConnection, tenant_id: str) -> list[DeletionRecord]:
    """Newest first."""
    return await _all(connection, "of_tenant", {"tenant_id": tenant_id})


async def copies(connection: AsyncConnection, tenant_id: str | None = None) -> list[DeletionRecord]:
    """Those whose copy is kept still, the one that goes first first."""
    return await _all(connection, "copies", {"tenant_id": tenant_id})


async def copies_due(connection: AsyncConnection, now: datetime) -> list[DeletionRecord]:
    """Those whose copy is to be deleted: its days are over, or the deletion was called off."""
    return await _all(connection, "copies_due", {"now": now})


async def begin(
    connection: AsyncConnection,
    *,
    deletion_id: str,
    tenant_id: str,
    generation: int,
    cause: Cause,
    requested_by: str,
    reason: str,
    requested_at: datetime,
    method: Method,
    forget_customer: bool,
    tenant: Mapping[str, Any],
) -> None:
    await connection.execute(
        _sql("begin"),
        {
            "deletion_id": deletion_id,
            "tenant_id": tenant_id,
            "generation": generation,
            "cause": cause,
            "requested_by": requested_by,
            "reason": reason,
            "requested_at": requested_at,
            "method": method,
            "forget_customer": forget_customer,
            "tenant": Jsonb(dict(tenant)),
        },
    )


async def operation_mark(connection: AsyncConnection, tenant_id: str) -> int:
    """The last operation that may have let somebody write: one that comes later outdates a final export."""
    cursor = await connection.execute(_sql("operation_mark"), {"tenant_id": tenant_id})
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def call_off(connection: AsyncConnection, deletion_id: str) -> None:
    await connection.execute(_sql("call_off"), {"deletion_id": deletion_id})


async def name_copy(connection: AsyncConnection, deletion_id: str, name: str, until: datetime) -> None:
    """Before the copy is made: whatever becomes of it, it will be found and deleted."""
    await connection.execute(_sql("naming_copy"), {"deletion_id": deletion_id, "copy_name": name, "copy_until": until})


async def record_export(
    connection: AsyncConnection,
    deletion_id: str,
    *,
    mark: int,
    export: Mapping[str, Any],
    copy_name: str | None,
    copy_until: datetime | None,
) -> None:
    await connection.execute(
        _sql("exported"),
        {
            "deletion_id": deletion_id,
            "operation_mark": mark,
            "export": Jsonb(dict(export)),
            "copy_name": copy_name,
            "copy_until": copy_until,
        },
    )


async def record_opened(connection: AsyncConnection, deletion_id: str) -> None:
    """The stack lets its files be read for the export."""
    await connection.execute(_sql("opened"), {"deletion_id": deletion_id})


async def erase_instead(
    connection: AsyncConnection,
    deletion_id: str,
    *,
    requested_by: str,
    reason: str,
    requested_at: datetime,
    forget_customer: bool,
) -> None:
    """A deletion under way becomes an erasure: no copy is kept of what was to be archived."""
    await connection.execute(
        _sql("erase_instead"),
        {
            "deletion_id": deletion_id,
            "requested_by": requested_by,
            "reason": reason,
            "requested_at": requested_at,
            "forget_customer": forget_customer,
        },
    )


async def record_found(
    connection: AsyncConnection, deletion_id: str, *, files: Mapping[str, int], resources: Sequence[Mapping[str, str]]
) -> None:
    """What there was before anything was removed; the first answer stays, since a repeated look sees less."""
    await connection.execute(
        _sql("found"),
        {
            "deletion_id": deletion_id,
            "files": Jsonb(dict(files)),
            "resources": Jsonb([dict(each) for each in resources]),
        },
    )


async def record_purged(connection: AsyncConnection, deletion_id: str) -> None:
    await connection.execute(_sql("purged"), {"deletion_id": deletion_id})


async def record_destroyed(connection: AsyncConnection, deletion_id: str, at: datetime) -> datetime:
    """Returns when it was recorded first."""
    cursor = await connection.execute(_sql("destroyed"), {"deletion_id": deletion_id, "at": at})
    row = await cursor.fetchone()
    assert row is not None
    found = row[0]
    assert isinstance(found, datetime)
    return found


async def complete(
    connection: AsyncConnection,
    deletion_id: str,
    *,
    completed_at: datetime,
    certificate: bytes,
    redacted: Mapping[str, int],
) -> None:
    await connection.execute(
        _sql("complete"),
        {
            "deletion_id": deletion_id,
            "completed_at": completed_at,
            "certificate": certificate,
            "redacted": Jsonb(dict(redacted)),
        },
    )


async def record_copy_removed(connection: AsyncConnection, deletion_id: str, at: datetime) -> None:
    await connection.execute(_sql("copy_removed"), {"deletion_id": deletion_id, "at": at})


async def end_copies(connection: AsyncConnection, tenant_id: str, at: datetime) -> int:
    """Have every copy of former lives deleted from ``at`` on; returns how many that concerns."""
    cursor = await connection.execute(_sql("end_copies"), {"tenant_id": tenant_id, "at": at})
    return cursor.rowcount


async def certificate(connection: AsyncConnection, tenant_id: str, generation: int | None = None) -> bytes | None:
    """The file as it was signed, of the last deletion or of that of one life."""
    cursor = await connection.execute(_sql("certificate"), {"tenant_id": tenant_id, "generation": generation})
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])


#: Statements that take personal data out of other topics' tables, in any order.
_REDACTIONS = (
    *("redact_signup", "redact_cancellation", "redact_cancellation_detail", "redact_trial", "redact_notification"),
    *("redact_profile", "remove_offers", "remove_checkout", "remove_storage_usage"),
)


async def redact(connection: AsyncConnection, tenant_id: str, customer_id: str | None) -> dict[str, int]:
    """Take personal data out of what stays: bodies of events, addresses in the timeline, who signed up, who got
    messages, what they said when they left. Returns rows changed: {events, timeline, others}.

    An event keeps its id, type, time and object, and the SHA-256 of what was signed. A message that is still to be
    sent keeps its recipient until it was: ``redact_late``.
    """
    parameters = {"tenant_id": tenant_id, "customer_id": customer_id, "address": ADDRESS}
    events = await connection.execute(_sql("redact_events"), parameters)
    timeline = await connection.execute(_sql("redact_timeline"), parameters)
    others = 0
    for name in _REDACTIONS:
        others += (await connection.execute(_sql(name), parameters)).rowcount
    return {"events": events.rowcount, "timeline": timeline.rowcount, "others": others}


async def redact_late(connection: AsyncConnection) -> int:
    """Of tenants that are deleted: messages that were sent, and events that came, after their end. Returns how many."""
    messages = await connection.execute(_sql("redact_late_messages"))
    events = await connection.execute(_sql("redact_late_events"))
    return messages.rowcount + events.rowcount


async def _all(connection: AsyncConnection, name: str, parameters: dict[str, Any]) -> list[DeletionRecord]:
    async with connection.cursor(row_factory=class_row(DeletionRecord)) as cursor:
        await cursor.execute(_sql(name), parameters)
        return await cursor.fetchall()
