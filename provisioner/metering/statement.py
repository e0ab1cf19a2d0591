"""What a tenant used and what Stripe knows of it, for a person: ``tenantry usage``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.pricing import Aggregation
from provisioner.metering.alerts import allowance
from provisioner.metering.reconciliation import document as finding
from provisioner.metering.reporter import SETTLE
from provisioner.registry import metering as ledger
from provisioner.registry.metering import Used
from provisioner.registry.tenants import TenantRecord


@dataclass(frozen=True)
class MeterStatement:
    """Units from ``since`` to ``until``. ``reported``: Stripe took it; ``confirmed``: its totals say so, too;
    ``pending``: neither. ``included``: None where the range is no billing period, or the plan includes none."""

    meter: str
    title: str
    unit: str
    aggregation: str
    recorded: int
    records: int
    included: int | None
    overage: int | None
    reported: int
    confirmed: int
    pending: int
    refused: int
    late: int
    corrected: int


@dataclass(frozen=True)
class Statement:
    tenant_id: str
    plan: str | None
    since: datetime
    until: datetime
    billing_period: bool
    meters: tuple[MeterStatement, ...]
    quarantined: dict[str, int]  #: by reason, whenever it was recorded
    findings: tuple[ledger.Finding, ...]  #: hours in which Stripe's total differs


async def statement(
    connection: AsyncConnection,
    catalogue: Catalogue,
    tenant: TenantRecord,
    bounds: tuple[datetime, datetime] | None,
    now: datetime,
) -> Statement:
    """Of ``bounds``, else of the present billing period, else of the calendar month (UTC)."""
    period = await ledger.period(connection, tenant.tenant_id)
    interval = "month" if period is None else period[2]
    since, until = bounds or (period[:2] if period is not None else month_of(now))
    of_period = bounds is None or (period is not None and bounds == period[:2])
    used = await ledger.usage(connection, tenant.tenant_id, since, until)
    told: dict[str, dict[str, Decimal]] = {}
    for row in await ledger.reported(connection, tenant.tenant_id, since, until):
        told.setdefault(row["meter"], {})[row["state"]] = row["value"]
    extra: dict[str, dict[str, int]] = {}
    for row in await ledger.late(connection, tenant.tenant_id, since, until, SETTLE):
        extra.setdefault(row["meter"], {})[row["kind"]] = int(row["total"])
    meters = []
    for row in used:
        name, recorded = row["meter"], int(row["recorded"])
        included = _included(tenant, catalogue, name, interval, since, until, recorded) if of_period else None
        states = {state: int(value) for state, value in told.get(name, {}).items()}
        gauge = row["aggregation"] == Aggregation.LAST
        reported = _reported(states, gauge=gauge)
        meter = catalogue.meters.get(name)
        meters.append(
            MeterStatement(
                meter=name,
                title=name if meter is None else meter.title,
                unit="" if meter is None else meter.unit,
                aggregation=row["aggregation"],
                recorded=recorded,
                records=int(row["records"]),
                included=included,
                overage=None if included is None else max(0, recorded - included),
                reported=reported,
                confirmed=states.get("confirmed", 0),
                pending=recorded - reported - (0 if gauge else states.get("refused", 0)),
                refused=states.get("refused", 0),
                late=extra.get(name, {}).get("usage", 0),
                corrected=extra.get(name, {}).get("correction", 0),
            )
        )
    return Statement(
        tenant.tenant_id,
        tenant.plan,
        since,
        until,
        of_period and period is not None,
        tuple(meters),
        await ledger.count_quarantined(connection, tenant.tenant_id),
        tuple(await ledger.findings(connection, tenant.tenant_id)),
    )


def _included(
    tenant: TenantRecord,
    catalogue: Catalogue,
    meter: str,
    interval: str,
    since: datetime,
    until: datetime,
    recorded: int,
) -> int | None:
    if tenant.plan is None:
        return None
    used = Used(tenant.tenant_id, tenant.plan, meter, interval, since, until, tenant.limits, Decimal(recorded))
    return allowance(used, catalogue) or None


def _reported(states: dict[str, int], *, gauge: bool) -> int:
    if gauge:
        return states.get("sent", states.get("confirmed", 0))
    return states.get("sent", 0) + states.get("confirmed", 0)


def month_of(moment: datetime) -> tuple[datetime, datetime]:
    """The calendar month (UTC) that a moment is in."""
    first = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (
        first.replace(year=first.year + 1, month=1) if first.month == 12 else first.replace(month=first.month + 1)
    )
    return first, following


def document(found: Statement) -> dict[str, Any]:
    """For JSON."""
    return {
        **{name: value for name, value in vars(found).items() if name not in ("meters", "findings")},
        "meters": [vars(meter) for meter in found.meters],
        "findings": [finding(each) for each in found.findings],
    }
