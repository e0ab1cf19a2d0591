"""Who has used 80 % of what its plan includes, and who all of it: said once a billing period each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from psycopg import AsyncConnection

from provisioner.billing.catalogue import Catalogue
from provisioner.operate import Pool
from provisioner.registry import metering as ledger
from provisioner.registry import timeline
from provisioner.registry.metering import Used
from provisioner.registry.timeline import EntryKind

log = structlog.get_logger(__name__)

THRESHOLDS = (80, 100)  #: per cent
OVERLAP = timedelta(minutes=5)  #: entries of transactions that were open when the last run looked


@dataclass(frozen=True)
class UsageAlert:
    """``used`` of ``included`` units of a meter in a billing period: ``threshold`` per cent are passed. ``billed``:
    what goes beyond costs; else the units are a limit."""

    tenant_id: str
    meter: str
    title: str
    unit: str
    threshold: int
    used: int
    included: int
    period_start: datetime
    period_end: datetime
    billed: bool


#: Tells the tenant, in the transaction that records the alert; the moment is billing time.
Notify = Callable[[AsyncConnection, UsageAlert, datetime], Awaitable[object]]


@dataclass
class Alerts:
    pool: Pool
    catalogue: Catalogue
    notify: Notify | None = None
    _looked_at: datetime | None = None  # by the database's clock, which dates the entries

    async def run(self, now: datetime) -> list[UsageAlert]:
        """The alerts that are new."""
        async with self.pool.connection() as connection:
            began = await ledger.clock(connection)
            since = None if self._looked_at is None else self._looked_at - OVERLAP
            used = await ledger.used_in_period(connection, since=since)
        raised = []
        for each in used:
            included = allowance(each, self.catalogue)
            for threshold in THRESHOLDS if included else ():
                alert = self._alert(each, threshold, included)
                if int(each.used) * 100 >= threshold * included and await self._raise(each, alert, now):
                    raised.append(alert)
        self._looked_at = began
        return raised

    def _alert(self, used: Used, threshold: int, included: int) -> UsageAlert:
        meter = self.catalogue.meters.get(used.meter)
        title, unit = (used.meter, "") if meter is None else (meter.title, meter.unit)
        plan = self.catalogue.plans.get(used.plan)
        billed = plan is not None and any(price.meter == used.meter for price in plan.prices)
        return UsageAlert(
            used.tenant_id,
            used.meter,
            title,
            unit,
            threshold,
            int(used.used),
            included,
            used.starts_at,
            used.ends_at,
            billed,
        )

    async def _raise(self, used: Used, alert: UsageAlert, now: datetime) -> bool:
        async with self.pool.connection() as connection, connection.transaction():
            if not await ledger.alert(connection, used, alert.threshold, alert.included):
                return False
            summary = f"{alert.threshold} % of the {alert.included} {alert.unit or 'units'} of {alert.meter} are used"
            detail = {"meter": alert.meter, "used": alert.used, "included": alert.included}
            await timeline.add(connection, alert.tenant_id, EntryKind.USAGE, summary, detail=detail)
            if self.notify is not None:
                await self.notify(connection, alert, now)
        log.info("usage.alert", tenant_id=alert.tenant_id, meter=alert.meter, threshold=alert.threshold)
        return True


def allowance(used: Used, catalogue: Catalogue) -> int:
    """Units that the period's price covers, or a limit of the meter's name; 0: none is set."""
    plan = catalogue.plans.get(used.plan)
    included: Mapping[str, int] = {} if plan is None else plan.included
    if used.meter in included:
        return included[used.meter] * (12 if used.interval == "year" else 1)
    return int(used.limits.get(used.meter) or 0)
