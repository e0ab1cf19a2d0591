"""Our ledger of reports against Stripe's own totals, hour by hour; every night, and on an operator's request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import structlog
from psycopg import AsyncConnection

from provisioner.billing.meters import BilledMeter, MeterGateway
from provisioner.billing.pricing import Aggregation
from provisioner.errors import OperatorNeeded, Reject
from provisioner.metering.reporter import HOUR, OLDEST, VISIBLE
from provisioner.operate import Pool
from provisioner.registry import metering as ledger
from provisioner.registry.metering import Finding, Stream, Told

log = structlog.get_logger(__name__)


@dataclass
class Reconciliation:
    """``confirmed``: hours whose totals are the same. ``skipped``: customer -> why Stripe could not be asked."""

    confirmed: int = 0
    findings: list[Finding] = field(default_factory=list)
    fixed: int = 0  #: hours whose difference will be reported
    foreign: int = 0  #: hours in which Stripe has events, and none of them is ours
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reconciler:
    pool: Pool
    gateway: MeterGateway

    async def run(
        self, now: datetime, *, tenant_id: str | None = None, fix: bool = False, everything: bool = False
    ) -> Reconciliation:
        """Compare what was reported in the last 34 days and is not confirmed (``everything``: all of it).

        ``fix``: believe Stripe's totals, and have the difference to the ledger reported, in either direction.
        """
        result = Reconciliation()
        billed = await self.gateway.meters()
        async with self.pool.connection() as connection:
            streams = await ledger.streams(
                connection, since=now - OLDEST, tenant_id=tenant_id, everything=everything or fix
            )
        for stream, first, last in streams:
            if stream.meter not in billed:
                result.skipped[stream.customer_id] = f"Stripe has no meter {stream.meter}"
                continue
            try:
                await self._stream(now, stream, _hour(first), _hour(last) + HOUR, billed, result, fix=fix)
            except (OperatorNeeded, Reject) as error:  # a deleted customer, say: the others are compared all the same
                result.skipped[stream.customer_id] = error.message
                log.warning("usage.not_compared", customer_id=stream.customer_id, code=error.code)
        if fix:
            async with self.pool.connection() as connection:
                await ledger.replan_refused(connection, tenant_id, now=now)
        if result.findings:
            log.error("usage.differs", hours=len(result.findings), fixed=result.fixed)
        return result

    async def _stream(
        self,
        now: datetime,
        stream: Stream,
        since: datetime,
        until: datetime,
        billed: Mapping[str, BilledMeter],
        result: Reconciliation,
        *,
        fix: bool,
    ) -> None:
        counted = await self.gateway.hours(billed[stream.meter].meter_id, stream.customer_id, since, until)
        async with self.pool.connection() as connection:
            told = await ledger.told(connection, stream.customer_id, stream.meter, since, until)
            differing = []
            for hour in sorted({*counted, *told}):
                said = told.get(hour)
                if said is not None and (said.touched_at > now - VISIBLE or said.unknowns):
                    differing.append(hour)  # not to be judged yet: what was found before stands
                    continue
                ours, stripes = _ours(stream, said), counted.get(hour, 0)
                if ours == stripes:
                    await ledger.confirm(connection, stream, hour, ["sent"], now=now)
                    result.confirmed += 1
                    continue
                result.findings.append(
                    Finding(
                        *(stream.tenant_id, stream.customer_id, stream.meter, hour),
                        Decimal(ours),
                        Decimal(stripes),
                        now,
                    )
                )
                if said is None:
                    result.foreign += 1
                elif fix and await self._fix(connection, stream, hour, stripes - ours, now):
                    result.fixed += 1
                    continue
                differing.append(hour)
                await ledger.find(connection, stream, hour, ours, stripes, now=now)
            await ledger.unfind(connection, stream, since, until, but=differing)

    async def _fix(
        self, connection: AsyncConnection, stream: Stream, hour: datetime, difference: int, now: datetime
    ) -> bool:
        why = "Stripe's total of the hour differed"
        if stream.aggregation == Aggregation.LAST:
            await ledger.abandon(connection, stream, hour, ["sent", "confirmed"], now=now, why=why)
            return True
        return await ledger.observe(connection, stream, hour, difference, now=now, why=why)


def _ours(stream: Stream, told: Told | None) -> int:
    if told is None:
        return 0
    return int(told.last or 0) if stream.aggregation == Aggregation.LAST else int(told.known)


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def document(found: Finding) -> dict[str, Any]:
    """For JSON."""
    return {**vars(found), "ours": int(found.ours), "stripe": int(found.stripe)}
