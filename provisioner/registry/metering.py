"""Usage in the registry: meters, the ledger of entries, sums by hour, the ledger of reports. ``docs/metering.md``"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("metering"))

LARGEST = 10**15 - 1  #: of one report; what is beyond goes into the next


@dataclass(frozen=True)
class MeterRecord:
    name: str
    title: str
    aggregation: str
    unit: str
    active: bool


@dataclass(frozen=True)
class Claimed:
    """A report that is being sent now. ``attempts`` counts this one."""

    report_id: int
    tenant_id: str
    customer_id: str
    meter: str
    hour: datetime
    identifier: str
    value: Decimal
    at: datetime
    attempts: int


@dataclass(frozen=True)
class Stream:
    """A customer's usage of a meter."""

    tenant_id: str
    customer_id: str
    meter: str
    aggregation: str


@dataclass(frozen=True)
class LostHour:
    tenant_id: str
    customer_id: str
    meter: str
    aggregation: str
    hour: datetime


@dataclass(frozen=True)
class Told:
    """Of an hour (UTC) of events' timestamps: what Stripe was told, certainly and perhaps."""

    hour: datetime
    known: Decimal
    unknown: Decimal
    unknowns: int
    knowns: int
    last: Decimal | None  #: the latest value that is known to have been taken
    touched_at: datetime


@dataclass(frozen=True)
class Finding:
    tenant_id: str
    customer_id: str
    meter: str
    hour: datetime
    ours: Decimal
    stripe: Decimal
    found_at: datetime


@dataclass(frozen=True)
class Used:
    """``limits``: the tenant's own, overrides included. ``used``: since ``starts_at``."""

    tenant_id: str
    plan: str
    meter: str
    interval: str
    starts_at: datetime
    ends_at: datetime
    limits: dict[str, int]
    used: Decimal


@dataclass(frozen=True)
class StalePeriod:
    tenant_id: str
    stripe_customer_id: str
    subscription_id: str


async def sync_meters(connection: AsyncConnection, meters: Sequence[tuple[str, str, str, str]]) -> None:
    """``meters``: (name, title, aggregation, unit) of all that the catalogue has."""
    columns = [list(column) for column in zip(*meters, strict=True)] or [[], [], [], []]
    parameters = dict(zip(("names", "titles", "aggregations", "units"), columns, strict=True))
    await connection.execute(_sql("sync_meters"), parameters)


async def meters(connection: AsyncConnection) -> list[MeterRecord]:
    async with connection.cursor(row_factory=class_row(MeterRecord)) as cursor:
        await cursor.execute(_sql("meters"))
        return await cursor.fetchall()


async def plan(
    connection: AsyncConnection,
    *,
    now: datetime,
    settle: timedelta,
    oldest: datetime,
    final: datetime,
    salt: str,
    limit: int,
) -> int:
    """Make reports of what hours that have ended hold and no report says; how many.

    ``oldest``: events' timestamps are no older. ``final``: periods that began before it have their last invoice sent.
    """
    parameters = {"now": now, "settle": settle, "oldest": oldest, "final": final, "salt": salt, "limit": limit}
    return (await connection.execute(_sql("plan"), parameters | {"largest": LARGEST})).rowcount


async def claim(
    connection: AsyncConnection,
    *,
    now: datetime,
    recognised_since: datetime,
    retry_before: datetime,
    skipped: Sequence[str],
    limit: int,
) -> list[Claimed]:
    """Reports to be sent now, oldest first. Until they are settled nobody knows whether Stripe has them."""
    parameters = {
        "now": now,
        "recognised_since": recognised_since,
        "retry_before": retry_before,
        "skipped": list(skipped),
        "limit": limit,
    }
    async with connection.cursor(row_factory=class_row(Claimed)) as cursor:
        await cursor.execute(_sql("claim"), parameters)
        return sorted(await cursor.fetchall(), key=lambda claimed: claimed.report_id)


async def settle(connection: AsyncConnection, results: Sequence[tuple[int, str, str | None]], *, now: datetime) -> None:
    """``results``: (report, its new state, why)."""
    if results:
        ids, states, errors = (list(column) for column in zip(*results, strict=True))
        await connection.execute(_sql("settle"), {"ids": ids, "states": states, "errors": errors, "now": now})


async def lost(connection: AsyncConnection, *, recognised_since: datetime, visible_before: datetime) -> list[LostHour]:
    """Hours with reports whose identifiers Stripe may not recognise any more, by customer and meter."""
    async with connection.cursor(row_factory=class_row(LostHour)) as cursor:
        await cursor.execute(_sql("lost"), {"recognised_since": recognised_since, "visible_before": visible_before})
        return await cursor.fetchall()


async def told(
    connection: AsyncConnection, customer_id: str, meter: str, since: datetime, until: datetime
) -> dict[datetime, Told]:
    parameters = {"customer_id": customer_id, "meter": meter, "since": since, "until": until}
    async with connection.cursor(row_factory=class_row(Told)) as cursor:
        await cursor.execute(_sql("told"), parameters)
        return {row.hour: row for row in await cursor.fetchall()}


def _hour(stream: Stream | LostHour, hour: datetime, now: datetime, **more: Any) -> dict[str, Any]:
    return {
        "tenant_id": stream.tenant_id,
        "customer_id": stream.customer_id,
        "meter": stream.meter,
        "since": hour,
        "until": hour + timedelta(hours=1),
        "now": now,
        **more,
    }


async def confirm(
    connection: AsyncConnection, stream: Stream | LostHour, hour: datetime, states: Sequence[str], *, now: datetime
) -> None:
    """Stripe has the hour's reports that are in ``states``."""
    await connection.execute(_sql("confirm"), _hour(stream, hour, now, states=list(states)))


async def abandon(
    connection: AsyncConnection,
    stream: Stream | LostHour,
    hour: datetime,
    states: Sequence[str],
    *,
    now: datetime,
    why: str,
) -> None:
    """Stripe has not got the hour's reports that are in ``states``: what they said is to be reported anew."""
    await connection.execute(_sql("abandon"), _hour(stream, hour, now, states=list(states), why=why))


async def observe(
    connection: AsyncConnection, stream: Stream | LostHour, hour: datetime, value: int, *, now: datetime, why: str
) -> bool:
    """Enter what Stripe has beyond (or short of) our reports of the hour; False when no report of ours is in it."""
    done = await connection.execute(_sql("observe"), _hour(stream, hour, now, value=value, why=why))
    return done.rowcount > 0


async def streams(
    connection: AsyncConnection, *, since: datetime, tenant_id: str | None, everything: bool
) -> list[tuple[Stream, datetime, datetime]]:
    """Those with reports that Stripe's totals have not confirmed (or, with ``everything``, all since then), and the
    timestamps of their first and last report."""
    parameters = {"since": since, "tenant_id": tenant_id, "everything": everything}
    cursor = await connection.execute(_sql("unconfirmed"), parameters)
    return [(Stream(row[0], row[1], row[2], row[3]), row[4], row[5]) for row in await cursor.fetchall()]


async def find(
    connection: AsyncConnection, stream: Stream | LostHour, hour: datetime, ours: int, stripe: int, *, now: datetime
) -> None:
    parameters = _hour(stream, hour, now, ours=ours, stripe=stripe)
    await connection.execute(_sql("find"), parameters)


async def unfind(
    connection: AsyncConnection, stream: Stream, since: datetime, until: datetime, *, but: Sequence[datetime]
) -> None:
    """Forget the findings of hours from ``since`` to ``until``."""
    parameters = {
        "customer_id": stream.customer_id,
        "meter": stream.meter,
        "since": since,
        "until": until,
        "except_": list(but),
    }
    await connection.execute(_sql("unfind"), parameters)


async def findings(connection: AsyncConnection, tenant_id: str | None = None) -> list[Finding]:
    async with connection.cursor(row_factory=class_row(Finding)) as cursor:
        await cursor.execute(_sql("findings"), {"tenant_id": tenant_id})
        return await cursor.fetchall()


async def refused(connection: AsyncConnection, tenant_id: str | None = None) -> list[dict[str, Any]]:
    return await _dicts(connection, "refused", {"tenant_id": tenant_id})


async def replan_refused(connection: AsyncConnection, tenant_id: str | None, *, now: datetime) -> None:
    """What Stripe refused is to be reported anew."""
    await connection.execute(_sql("replan_refused"), {"tenant_id": tenant_id, "ids": None, "now": now})


async def stale_periods(connection: AsyncConnection, *, now: datetime) -> list[StalePeriod]:
    """Tenants that used something in the last days and whose billing period is unknown, over, or read a day ago."""
    parameters = {
        "now": now,
        "active_since": now - timedelta(days=2),
        "read_before": now - timedelta(days=1),
        "ended_before": now - timedelta(minutes=5),
    }
    async with connection.cursor(row_factory=class_row(StalePeriod)) as cursor:
        await cursor.execute(_sql("stale_periods"), parameters)
        return await cursor.fetchall()


async def put_period(
    connection: AsyncConnection,
    tenant_id: str,
    customer_id: str,
    starts_at: datetime,
    ends_at: datetime,
    interval: str,
    *,
    now: datetime,
) -> None:
    parameters = {
        "tenant_id": tenant_id,
        "customer_id": customer_id,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "interval": interval,
        "now": now,
    }
    await connection.execute(_sql("put_period"), parameters)


async def period(connection: AsyncConnection, tenant_id: str) -> tuple[datetime, datetime, str] | None:
    """(begin, end, interval) of the present billing period."""
    row = await (await connection.execute(_sql("period"), {"tenant_id": tenant_id})).fetchone()
    return None if row is None else (row[0], row[1], row[2])


async def clock(connection: AsyncConnection) -> datetime:
    """The database's, which dates entries."""
    row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


async def used_in_period(connection: AsyncConnection, *, since: datetime | None) -> list[Used]:
    """Of tenants and meters with entries received after ``since`` (None: all), in their present billing periods."""
    async with connection.cursor(row_factory=class_row(Used)) as cursor:
        await cursor.execute(_sql("used_in_period"), {"since": since})
        return await cursor.fetchall()


async def alert(connection: AsyncConnection, used: Used, threshold: int, included: int) -> bool:
    """Whether this is the first time in the period."""
    parameters = {
        "tenant_id": used.tenant_id,
        "meter": used.meter,
        "period_start": used.starts_at,
        "threshold": threshold,
        "used": used.used,
        "included": included,
    }
    return (await connection.execute(_sql("alert"), parameters)).rowcount == 1


async def carry_gauges(connection: AsyncConnection, day: datetime) -> int:
    """Enter the last value of every gauge for ``day`` again where nothing newer was recorded; how many."""
    row = await (await connection.execute(_sql("carry_gauges"), {"day": day})).fetchone()
    assert row is not None
    return int(row[0])


async def usage(connection: AsyncConnection, tenant_id: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
    return await _dicts(connection, "usage", {"tenant_id": tenant_id, "since": since, "until": until})


async def hours(connection: AsyncConnection, tenant_id: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
    return await _dicts(connection, "hours", {"tenant_id": tenant_id, "since": since, "until": until})


async def reported(
    connection: AsyncConnection, tenant_id: str, since: datetime, until: datetime
) -> list[dict[str, Any]]:
    return await _dicts(connection, "reported", {"tenant_id": tenant_id, "since": since, "until": until})


async def late(
    connection: AsyncConnection, tenant_id: str, since: datetime, until: datetime, settle: timedelta
) -> list[dict[str, Any]]:
    parameters = {"tenant_id": tenant_id, "since": since, "until": until, "settle": settle}
    return await _dicts(connection, "late", parameters)


async def quarantined(
    connection: AsyncConnection, tenant_id: str | None = None, *, limit: int = 100
) -> list[dict[str, Any]]:
    return await _dicts(connection, "quarantined", {"tenant_id": tenant_id, "limit": limit})


async def count_quarantined(connection: AsyncConnection, tenant_id: str | None = None) -> dict[str, int]:
    """By reason."""
    cursor = await connection.execute(_sql("quarantine_count"), {"tenant_id": tenant_id})
    return {str(row[0]): int(row[1]) for row in await cursor.fetchall()}


async def release(
    connection: AsyncConnection, tenant_id: str | None = None, keys: Sequence[str] | None = None
) -> tuple[int, int]:
    """Judge quarantined records again: (how many count now, how many were quarantined again)."""
    accepted, again, after = 0, 0, ("", "", "")
    while True:
        parameters = {
            "tenant_id": tenant_id,
            "keys": None if keys is None else list(keys),
            "after_tenant": after[0],
            "after_meter": after[1],
            "after_key": after[2],
            "limit": 5000,
        }
        row = await (await connection.execute(_sql("release"), parameters)).fetchone()
        if row is None or not row[0]:
            return accepted, again
        accepted, again, after = accepted + int(row[1]), again + int(row[3]), (row[4], row[5], row[6])


async def drop_quarantined(
    connection: AsyncConnection, tenant_id: str | None = None, keys: Sequence[str] | None = None
) -> int:
    parameters = {"tenant_id": tenant_id, "keys": None if keys is None else list(keys)}
    return (await connection.execute(_sql("drop_quarantined"), parameters)).rowcount


async def correct(
    connection: AsyncConnection,
    *,
    tenant_id: str,
    customer_id: str,
    meter: str,
    hour: datetime,
    key: str,
    records: int,
    total: int,
    last_value: int | None,
    note: str,
) -> bool:
    """Enter a correction of an hour, in either direction; False when the key was used before."""
    parameters = {
        "tenant_id": tenant_id,
        "customer_id": customer_id,
        "meter": meter,
        "hour": hour,
        "key": key,
        "records": records,
        "total": total,
        "last_value": last_value,
        "note": note,
    }
    row = await (await connection.execute(_sql("correct"), parameters)).fetchone()
    return row is not None and int(row[0]) == 1


async def state(connection: AsyncConnection) -> dict[str, Any]:
    return (await _dicts(connection, "state", {}))[0]


async def drifted(connection: AsyncConnection, *, since: datetime) -> list[dict[str, Any]]:
    """Hours whose sum is not that of their entries: there are none, unless somebody edited a table."""
    return await _dicts(connection, "drifted", {"since": since})


async def prune(connection: AsyncConnection, *, entries: datetime, hours: datetime, quarantine: datetime) -> None:
    """Delete what is older, in parts; what is still to be reported never."""
    for name, before in (("prune_entries", entries), ("prune_hours", hours), ("prune_reports", hours)):
        while (await connection.execute(_sql(name), {"before": before, "limit": 20_000})).rowcount == 20_000:
            pass
    await connection.execute(_sql("prune_quarantine"), {"before": quarantine})
    await connection.execute(_sql("prune_alerts"), {"before": hours})


async def _dicts(connection: AsyncConnection, name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_sql(name), parameters)
        return await cursor.fetchall()
