"""What our own sales keep: sign-ups, checkouts, planned changes, cancellations, trials: ``25_storefront.sql``."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg import AsyncConnection, errors
from psycopg.rows import class_row

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("storefront"))

LOCK_WAIT = "10s"


@asynccontextmanager
async def one_at_a_time(connection: AsyncConnection, tenant_id: str) -> AsyncIterator[bool]:
    """Nobody else sells to the tenant inside; False (and no lock) if somebody did so for ``LOCK_WAIT``.

    ``connection`` commits every statement by itself: what is written inside outlives a failure.
    """
    assert connection.autocommit
    await connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_WAIT])
    try:
        await connection.execute(_sql("lock"), {"tenant_id": tenant_id})
    except errors.LockNotAvailable:
        yield False
        return
    try:
        yield True
    finally:
        if not connection.closed:  # a connection that broke has lost its locks
            await connection.execute(_sql("unlock"), {"tenant_id": tenant_id})


@dataclass(frozen=True)
class Signup:
    """``lapsed``: the reservation is over. ``key_forgotten``: Stripe may not know the idempotency key any more."""

    tenant_id: str
    reference: str
    email: str
    name: str | None
    idempotency_key: UUID
    stripe_customer_id: str | None
    reserved_until: datetime
    created_at: datetime
    lapsed: bool
    key_forgotten: bool


async def reserve(
    connection: AsyncConnection, tenant_id: str, *, reference: str, email: str, name: str | None, hold: timedelta
) -> bool:
    """Reserve the id, or hold it for longer; False if somebody else has it."""
    cursor = await connection.execute(
        _sql("reserve"),
        {"tenant_id": tenant_id, "reference": reference, "email": email, "name": name, "hold": hold},
    )
    return cursor.rowcount == 1


async def signup(connection: AsyncConnection, tenant_id: str) -> Signup | None:
    async with connection.cursor(row_factory=class_row(Signup)) as cursor:
        await cursor.execute(_sql("signup"), {"tenant_id": tenant_id})
        return await cursor.fetchone()


async def record_customer(connection: AsyncConnection, tenant_id: str, customer_id: str) -> None:
    await connection.execute(_sql("record_customer"), {"tenant_id": tenant_id, "customer_id": customer_id})


async def record_contact(connection: AsyncConnection, tenant_id: str, *, email: str, name: str | None) -> None:
    await connection.execute(_sql("record_contact"), {"tenant_id": tenant_id, "email": email, "name": name})


async def release_signup(connection: AsyncConnection, tenant_id: str) -> None:
    """Forget a reservation that has lapsed."""
    await connection.execute(_sql("release_signup"), {"tenant_id": tenant_id})


async def checkout_key(connection: AsyncConnection, tenant_id: str, fingerprint: str) -> UUID:
    """The idempotency key for a checkout: that of the last one if it was the same and its answer never came."""
    await connection.execute(_sql("record_checkout"), {"tenant_id": tenant_id, "fingerprint": fingerprint})
    cursor = await connection.execute(_sql("checkout_key"), {"tenant_id": tenant_id})
    row = await cursor.fetchone()
    assert row is not None
    key: UUID = row[0]
    return key


async def answer_checkout(connection: AsyncConnection, tenant_id: str, session_id: str) -> None:
    await connection.execute(_sql("answer_checkout"), {"tenant_id": tenant_id, "session_id": session_id})


async def forget_checkout(connection: AsyncConnection, tenant_id: str) -> None:
    """Stripe refused it: the next one, though the same, is another request."""
    await connection.execute(_sql("forget_checkout"), {"tenant_id": tenant_id})


@dataclass(frozen=True)
class PlannedChange:
    """A row of ``registry.planned_change``."""

    tenant_id: str
    subscription_id: str
    plan: str
    interval: str
    seats: int | None
    schedule_id: str | None
    requested_at: datetime


async def plan_change(
    connection: AsyncConnection, tenant_id: str, subscription_id: str, *, plan: str, interval: str, seats: int | None
) -> None:
    """Before Stripe is told: what the subscription becomes when its period ends, instead of what was planned before."""
    await connection.execute(
        _sql("plan_change"),
        {
            "tenant_id": tenant_id,
            "subscription_id": subscription_id,
            "plan": plan,
            "interval": interval,
            "seats": seats,
        },
    )


async def planned_change(connection: AsyncConnection, tenant_id: str) -> PlannedChange | None:
    async with connection.cursor(row_factory=class_row(PlannedChange)) as cursor:
        await cursor.execute(_sql("planned_change"), {"tenant_id": tenant_id})
        return await cursor.fetchone()


async def record_schedule(connection: AsyncConnection, tenant_id: str, schedule_id: str) -> None:
    await connection.execute(_sql("record_schedule"), {"tenant_id": tenant_id, "schedule_id": schedule_id})


async def drop_planned_change(connection: AsyncConnection, tenant_id: str) -> None:
    await connection.execute(_sql("drop_planned_change"), {"tenant_id": tenant_id})


async def untold_changes(connection: AsyncConnection, *, older: timedelta) -> list[str]:
    """Tenants whose planned change Stripe may not know of."""
    cursor = await connection.execute(_sql("untold_changes"), {"older": older})
    return [str(row[0]) for row in await cursor.fetchall()]


async def add_cancellation(
    connection: AsyncConnection,
    tenant_id: str,
    subscription_id: str,
    *,
    plan: str,
    at_period_end: bool,
    feedback: str | None,
    comment: str | None,
) -> None:
    await connection.execute(
        _sql("add_cancellation"),
        {
            "tenant_id": tenant_id,
            "subscription_id": subscription_id,
            "plan": plan,
            "at_period_end": at_period_end,
            "feedback": feedback,
            "comment": comment,
        },
    )


async def resume_cancellation(connection: AsyncConnection, subscription_id: str) -> None:
    await connection.execute(_sql("resume_cancellation"), {"subscription_id": subscription_id})


async def cancellation_reasons(connection: AsyncConnection, *, since: datetime) -> list[tuple[str, str, int, int]]:
    """(feedback, plan, cancellations, those of them that were taken back), most frequent first."""
    cursor = await connection.execute(_sql("cancellation_reasons"), {"since": since})
    return [(str(row[0]), str(row[1]), int(row[2]), int(row[3])) for row in await cursor.fetchall()]


# -- trials


@dataclass(frozen=True)
class Trial:
    """A row of ``registry.trial``, with what is known of its subscription if it is the tenant's present one."""

    subscription_id: str
    tenant_id: str
    customer_id: str
    identity: str | None
    started_at: datetime
    ends_at: datetime
    refused: bool
    allowed_by: str | None
    subscription_status: str | None
    plan: str | None


async def record_trial(
    connection: AsyncConnection,
    subscription_id: str,
    *,
    tenant_id: str,
    customer_id: str,
    identity: str | None,
    started_at: datetime,
    ends_at: datetime,
) -> bool:
    """A trial that a subscription has or had; known ones may have got another end. Whether it was not known yet."""
    cursor = await connection.execute(
        _sql("record_trial"),
        {
            "subscription_id": subscription_id,
            "tenant_id": tenant_id,
            "customer_id": customer_id,
            "identity": identity,
            "started_at": started_at,
            "ends_at": ends_at,
        },
    )
    row = await cursor.fetchone()
    if identity is not None:
        await connection.execute(_sql("settle_trial_offer"), {"identity": identity, "tenant_id": tenant_id})
    return row is not None and bool(row[0])


async def trials_after(connection: AsyncConnection, subscription_id: str) -> list[str]:
    """Other tenants of the customer or company whose trials came later, and were taken for the first until now."""
    cursor = await connection.execute(_sql("trials_after"), {"subscription_id": subscription_id})
    return [str(row[0]) for row in await cursor.fetchall()]


async def refused_trials(connection: AsyncConnection, subscription_ids: Sequence[str]) -> frozenset[str]:
    """Those whose trial was not the first of their customer or company, and that nobody allowed."""
    cursor = await connection.execute(_sql("refused_trials"), {"subscription_ids": list(subscription_ids)})
    return frozenset(str(row[0]) for row in await cursor.fetchall())


async def use_trial_exception(connection: AsyncConnection, tenant_id: str, subscription_id: str) -> bool:
    """Whether an operator's exception is there to be used: it is then for this trial, and for no later one."""
    cursor = await connection.execute(
        _sql("use_trial_exception"), {"tenant_id": tenant_id, "subscription_id": subscription_id}
    )
    return cursor.rowcount == 1


async def mark_trials(
    connection: AsyncConnection, subscription_ids: Sequence[str], refused: frozenset[str]
) -> list[tuple[str, str, bool]]:
    """Record the verdict; (subscription, tenant, refused) of those for which it is another than before."""
    cursor = await connection.execute(
        _sql("mark_trials"), {"subscription_ids": list(subscription_ids), "refused": sorted(refused)}
    )
    return [(str(row[0]), str(row[1]), bool(row[2])) for row in await cursor.fetchall()]


async def earlier_trial(connection: AsyncConnection, customer_id: str, identity: str | None) -> str | None:
    """The tenant that had the first trial of this customer or company."""
    cursor = await connection.execute(_sql("earlier_trial"), {"customer_id": customer_id, "identity": identity})
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def has_trial_exception(connection: AsyncConnection, tenant_id: str) -> bool:
    cursor = await connection.execute(_sql("has_trial_exception"), {"tenant_id": tenant_id})
    return await cursor.fetchone() is not None


async def offer_trial(
    connection: AsyncConnection, identity: str, tenant_id: str, *, open_until: datetime, now: datetime
) -> bool:
    """Keep the company's trial for this tenant's checkout; False while another one's is open. Times are billing's."""
    cursor = await connection.execute(
        _sql("offer_trial"),
        {"identity": identity, "tenant_id": tenant_id, "open_until": open_until, "now": now},
    )
    return cursor.rowcount == 1


async def allow_trial(connection: AsyncConnection, tenant_id: str, *, by: str, reason: str) -> None:
    await connection.execute(_sql("allow_trial"), {"tenant_id": tenant_id, "by": by, "reason": reason})


async def move_trial_end(connection: AsyncConnection, subscription_id: str, ends_at: datetime) -> None:
    await connection.execute(_sql("move_trial_end"), {"subscription_id": subscription_id, "ends_at": ends_at})


async def trials(connection: AsyncConnection, *, now: datetime, ended: bool = False, limit: int = 1000) -> list[Trial]:
    """Trials that run at ``now`` (billing time), or all; the one that ends last comes first."""
    async with connection.cursor(row_factory=class_row(Trial)) as cursor:
        await cursor.execute(_sql("trials"), {"now": now, "ended": ended, "limit": limit})
        return await cursor.fetchall()


async def trials_of(connection: AsyncConnection, tenant_id: str) -> list[Trial]:
    """A tenant's, newest first."""
    async with connection.cursor(row_factory=class_row(Trial)) as cursor:
        await cursor.execute(_sql("trials_of"), {"tenant_id": tenant_id})
        return await cursor.fetchall()
