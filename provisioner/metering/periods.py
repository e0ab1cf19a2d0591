"""The billing periods of tenants that use something: usage is counted and billed by them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import structlog

from provisioner.billing.gateway import BillingGateway, Document
from provisioner.errors import NotFound
from provisioner.operate import Pool
from provisioner.registry import metering as ledger

log = structlog.get_logger(__name__)


async def refresh(pool: Pool, gateway: BillingGateway, now: datetime) -> int:
    """Read the periods that are unknown or over; how many there were. ``StripeUnavailable``: the next run goes on."""
    async with pool.connection() as connection:
        stale = await ledger.stale_periods(connection, now=now)
    for tenant in stale:
        try:
            subscription = await gateway.subscription(tenant.subscription_id)
        except NotFound as error:
            log.warning("usage.no_period", tenant_id=tenant.tenant_id, message=error.message)
            continue
        found = period_of(subscription)
        if found is None:
            continue
        async with pool.connection() as connection:
            await ledger.put_period(connection, tenant.tenant_id, tenant.stripe_customer_id, *found, now=now)
    return len(stale)


def period_of(subscription: Document) -> tuple[datetime, datetime, str] | None:
    """(begin, end, interval) of the period that usage is billed by: that of a metered item, else of the first."""
    items: list[dict[str, Any]] = subscription["items"]["data"]
    metered = [item for item in items if _recurring(item).get("usage_type") == "metered"]
    for item in metered or items:
        starts, ends = (
            datetime.fromtimestamp(item[name], UTC) for name in ("current_period_start", "current_period_end")
        )
        return starts, ends, str(_recurring(item).get("interval", "month"))
    return None


def _recurring(item: dict[str, Any]) -> dict[str, Any]:
    return (item.get("price") or {}).get("recurring") or {}
