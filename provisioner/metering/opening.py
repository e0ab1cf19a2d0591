"""Metering with its gateways, opened and closed; what a worker and the command line share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from psycopg import AsyncConnection

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import BillingGateway
from provisioner.billing.meters_stripe import StripeMeters
from provisioner.metering.alerts import Notify, UsageAlert
from provisioner.metering.service import Metering, make
from provisioner.notifications.service import Announcements, announcements
from provisioner.operate import Pool
from provisioner.settings import Settings


@asynccontextmanager
async def metering(
    settings: Settings, pool: Pool, billing: BillingGateway, catalogue: Catalogue
) -> AsyncIterator[Metering]:
    meters = StripeMeters(settings.stripe_api_key.get_secret_value(), settings.stripe_api_base)
    try:
        yield make(
            settings.database_url.get_secret_value(),
            pool,
            billing,
            meters,
            catalogue,
            installation=settings.installation,
            notify=telling(announcements(settings, catalogue)),
        )
    finally:
        await meters.close()


def telling(customers: Announcements) -> Notify:
    """A message to the tenant for each alert."""

    async def notify(connection: AsyncConnection, alert: UsageAlert, now: datetime) -> None:
        await customers.usage(
            connection,
            alert.tenant_id,
            meter=alert.meter,
            title=alert.title,
            percent=alert.threshold,
            used=alert.used,
            included=alert.included,
            period=alert.period_start.isoformat(),
            period_until=alert.period_end,
            billed=alert.billed,
            blocked=False,
            now=now,
        )

    return notify
