"""What the worker that leads does about usage: every minute, and every night."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from psycopg import AsyncConnection

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import BillingGateway
from provisioner.billing.meters import MeterGateway
from provisioner.errors import ConfigurationInvalid, StripeUnavailable
from provisioner.metering import periods
from provisioner.metering.alerts import Alerts, Notify
from provisioner.metering.reconciliation import Reconciler
from provisioner.metering.reporter import Reporter
from provisioner.operate import Pool
from provisioner.periodic import Periodic
from provisioner.registry import metering as ledger

log = structlog.get_logger(__name__)

REPORT_EVERY_S = 60.0
RECONCILE_EVERY_S = 3600.0
KEYS_KEPT = timedelta(days=45)  #: beyond the 34 days for which usage is taken: a record that comes again is known
HOURS_KEPT = timedelta(days=400)  #: sums by hour, and what was reported of them
NIGHT = 3  #: hour (UTC) after which a day's reconciliation is due


@dataclass
class Metering:
    """``reporter`` has a connection of its own; everything is idempotent and may run in any worker."""

    pool: Pool
    billing: BillingGateway
    meters: MeterGateway
    catalogue: Catalogue
    reporter: Reporter
    alerts: Alerts
    reconciler: Reconciler
    _reconciled_on: datetime | None = field(default=None)

    def work(self) -> tuple[Periodic, ...]:
        return (
            Periodic("usage", REPORT_EVERY_S, self.run_due),
            Periodic("usage-nightly", RECONCILE_EVERY_S, self.run_nightly),
        )

    async def run_due(self, now: datetime) -> None:
        """Know the catalogue's meters and the tenants' periods, report what is due, raise alerts."""
        if await self.prepare(now):
            await self.alerts.run(now)
            await self.reporter.run(now)

    async def prepare(self, now: datetime) -> bool:
        """Know the catalogue's meters and the tenants' periods; False if nothing was ever metered."""
        async with self.pool.connection() as connection:
            await sync_meters(connection, self.catalogue)
            if not await ledger.meters(connection):
                return False
        try:
            await periods.refresh(self.pool, self.billing, now)
        except StripeUnavailable as error:
            log.warning("usage.periods_unknown", code=error.code)
        return True

    async def refused(self, tenant_id: str | None = None) -> list[dict[str, Any]]:
        """Reports that Stripe refused; a reconciliation with ``fix`` plans them anew."""
        async with self.pool.connection() as connection:
            return await ledger.refused(connection, tenant_id)

    async def run_nightly(self, now: datetime) -> None:
        """Once a day: gauges go on, totals are compared with Stripe's, what is old is deleted."""
        day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if now < day + timedelta(hours=NIGHT) or self._reconciled_on == day:
            return
        async with self.pool.connection() as connection:
            await ledger.carry_gauges(connection, day)
            present = datetime.now(UTC)  # the ledger's own dates are this installation's, not Stripe's
            await ledger.prune(
                connection, entries=present - KEYS_KEPT, hours=present - HOURS_KEPT, quarantine=present - HOURS_KEPT
            )
        if self.catalogue.meters:
            await self.reconciler.run(now)
        self._reconciled_on = day


def make(
    database_url: str,
    pool: Pool,
    billing: BillingGateway,
    meters: MeterGateway,
    catalogue: Catalogue,
    *,
    installation: str,
    notify: Notify | None = None,
) -> Metering:
    return Metering(
        pool,
        billing,
        meters,
        catalogue,
        Reporter(database_url, meters, installation),
        Alerts(pool, catalogue, notify),
        Reconciler(pool, meters),
    )


async def sync_meters(connection: AsyncConnection, catalogue: Catalogue) -> None:
    """The registry's meters become the catalogue's. ``ConfigurationInvalid`` when one is aggregated otherwise now."""
    wanted = [(meter.name, meter.title, meter.aggregation.value, meter.unit) for meter in catalogue.meters.values()]
    known = {meter.name: meter.aggregation for meter in await ledger.meters(connection)}
    changed = [name for name, _, aggregation, _ in wanted if known.get(name, aggregation) != aggregation]
    if changed:
        raise ConfigurationInvalid(
            f"{catalogue.source}: the aggregation of {', '.join(changed)} is not what it was",
            hint="a meter's aggregation can't be changed, in Stripe neither: give the new one another name",
        )
    await ledger.sync_meters(connection, wanted)
