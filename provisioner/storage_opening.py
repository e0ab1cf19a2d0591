"""The measuring of storage with its SDK, opened and closed with a worker."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from psycopg import AsyncConnection

from provisioner.billing.catalogue import Catalogue
from provisioner.notifications.service import Announcements, announcements
from provisioner.operate import Pool
from provisioner.periodic import Periodic
from provisioner.settings import Settings
from provisioner.storage_quota import Notify, StorageAlert, StorageQuotas, measure
from tenantry import Config, Tenantry

log = structlog.get_logger(__name__)


@asynccontextmanager
async def storage_work(settings: Settings, pool: Pool, catalogue: Catalogue) -> AsyncIterator[tuple[Periodic, ...]]:
    """The periodic work; none without an application token, by which tenants are measured as applications see them."""
    if not settings.application_tokens:
        log.info("storage.off", hint="set TENANTRY_APPLICATION_TOKENS for workers to measure what tenants store")
        yield ()
        return
    config = Config.from_env(
        database_url=settings.database_url.get_secret_value(),
        api_url=settings.api_url,
        application_token=settings.application_tokens[0].get_secret_value(),
        database_ca=None if settings.database_ca is None else str(settings.database_ca),
        entitlements_file=None,
        listen=False,
        placement_ttl=0.0,  # a tenant is measured once a day: what was known yesterday is of no use
    )
    sdk = Tenantry(config)
    try:
        yield StorageQuotas(pool, functools.partial(measure, sdk), telling(announcements(settings, catalogue))).work()
    finally:
        await asyncio.to_thread(sdk.close)


def telling(customers: Announcements) -> Notify:
    """A message to the tenant for each alert, once a month each."""

    async def notify(connection: AsyncConnection, alert: StorageAlert, now: datetime) -> None:
        await customers.usage(
            connection,
            alert.tenant_id,
            meter="storage_mib",
            title="Storage (MiB)",
            percent=alert.threshold,
            used=alert.used,
            included=alert.limit,
            period=f"{now.astimezone(UTC):%Y-%m}",
            period_until=None,
            billed=False,
            blocked=alert.blocked,
            now=now,
        )

    return notify
