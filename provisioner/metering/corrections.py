"""An operator's corrections: new entries of the ledger, with who and why; nothing recorded is ever changed."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from psycopg import AsyncConnection

from provisioner.billing.pricing import Aggregation
from provisioner.errors import NotFound, Reject
from provisioner.metering.reporter import HOUR, OLDEST
from provisioner.operator_tasks import require
from provisioner.registry import metering as ledger
from provisioner.registry import timeline
from provisioner.registry.timeline import EntryKind


class CorrectionRefused(Reject):
    code = "correction_refused"


async def correct(
    connection: AsyncConnection,
    tenant_id: str,
    meter: str,
    *,
    by_units: int,
    at: datetime,
    by: str,
    reason: str,
    key: str | None = None,
) -> datetime:
    """Add ``by_units`` (negative: take away) to the usage of the hour of ``at``; that hour.

    Of a meter whose last value counts, ``by_units`` is the value as it should have been, as of ``at``. ``key`` makes a
    repetition of the same correction harmless. Raises NotFound and CorrectionRefused.
    """
    tenant = await require(connection, tenant_id)
    meters = {each.name: each for each in await ledger.meters(connection)}
    if meter not in meters:
        known = ", ".join(sorted(meters)) or "none"
        raise NotFound(f"there is no meter {meter!r}", hint=f"there are {known}")
    if tenant.stripe_customer_id is None:
        raise CorrectionRefused(f"tenant {tenant_id} has no Stripe customer", hint="nobody is billed for it")
    now = datetime.now(UTC)
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if not now - OLDEST < hour <= now:
        raise CorrectionRefused(
            f"usage of {at:%Y-%m-%d %H:%M} can't be corrected",
            hint="Stripe takes the last 34 days: correct a later hour, or issue a credit note in Stripe",
        )
    gauge = meters[meter].aggregation == Aggregation.LAST
    if gauge and by_units < 0:
        raise CorrectionRefused(f"{meter} can't be {by_units}", hint="give the value as it should have been")
    total = await _total(connection, tenant_id, meter, hour)
    if not gauge and total + by_units < 0:
        raise CorrectionRefused(
            f"the hour from {hour:%Y-%m-%d %H:%M} has {total} of {meter}: {-by_units} can't be taken away",
            hint=f"`tenantry usage {tenant_id} --hours` shows every hour",
        )
    counted = meters[meter].aggregation == Aggregation.COUNT
    entered = await ledger.correct(
        connection,
        tenant_id=tenant_id,
        customer_id=tenant.stripe_customer_id,
        meter=meter,
        hour=hour,
        key=f"correction/{key or secrets.token_hex(8)}",
        records=by_units if counted else 0,
        total=0 if gauge or counted else by_units,
        last_value=by_units if gauge else None,
        note=f"{by}: {reason}",
    )
    if entered:
        summary = f"{by} corrected {meter} by {by_units:+d}" if not gauge else f"{by} set {meter} to {by_units}"
        detail = {"meter": meter, "units": by_units, "hour": hour.isoformat(), "reason": reason}
        await timeline.add(connection, tenant_id, EntryKind.OPERATOR, f"{summary}: {reason}", detail=detail)
    return hour


async def _total(connection: AsyncConnection, tenant_id: str, meter: str, hour: datetime) -> int:
    found = await ledger.hours(connection, tenant_id, hour, hour + HOUR)
    return sum(int(row["quantity"]) for row in found if row["meter"] == meter)
