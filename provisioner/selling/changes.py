"""Makes a decision true in Stripe: the subscription's items now, a schedule for what begins when the period ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from psycopg import AsyncConnection

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import Document
from provisioner.billing.sales import PaymentFailed, StripeSales
from provisioner.errors import OperatorNeeded
from provisioner.registry import storefront, timeline
from provisioner.registry.timeline import EntryKind
from provisioner.selling import change
from provisioner.selling.change import Decision, Prices
from provisioner.selling.standing import (
    NEXT_INTERVAL,
    NEXT_PLAN,
    NEXT_SEATS,
    Selection,
    Standing,
    blank,
    require,
    standing,
)
from provisioner.selling.views import moment

log = structlog.get_logger(__name__)


class Changes:
    """The caller is the only one who sells to the tenant meanwhile; ``connection`` commits by itself."""

    def __init__(self, sales: StripeSales, catalogue: Catalogue) -> None:
        self._sales = sales
        self._catalogue = catalogue

    async def apply(
        self, connection: AsyncConnection, tenant_id: str, found: Standing, decision: Decision, prices: Prices
    ) -> None:
        present, schedule = found.selection, found.schedule
        if decision.later is None:
            await storefront.drop_planned_change(connection, tenant_id)
        elif decision == Decision(present, found.pending):
            return
        else:
            await self._plan(connection, tenant_id, found, decision.later)
        if schedule is not None and (decision.now != present or decision.later is None):
            await self._sales.release_schedule(schedule["id"])
            schedule = None
        if decision.now != present:
            try:
                await self._sales.update_subscription(found.subscription_id, self._update(found, decision.now, prices))
            except PaymentFailed:
                await self._restore(connection, tenant_id, found, prices)
                raise
            await tell(connection, tenant_id, f"{said(present)} becomes {said(decision.now)} at once")
        elif decision.later is None and found.pending is not None:
            await tell(connection, tenant_id, f"it stays {said(present)}: the change to come is off")
        if decision.later is not None:
            try:
                await self.schedule(connection, tenant_id, found, decision.later, prices, schedule)
            except OperatorNeeded:
                if decision.now == present:  # nothing was changed, and the application is told so
                    await storefront.drop_planned_change(connection, tenant_id)
                raise

    def _update(self, found: Standing, target: Selection, prices: Prices) -> Document:
        params: Document = {
            "items": change.changed_items(found, target, self._catalogue, prices),
            "proration_behavior": "none" if found.trialing else "always_invoice",
        }
        if found.document.get("collection_method") == "charge_automatically":
            # what can't be paid for is not given: the subscription stays as it was
            params["payment_behavior"] = "error_if_incomplete"
        return params

    async def _restore(self, connection: AsyncConnection, tenant_id: str, found: Standing, prices: Prices) -> None:
        """After a change at once that was refused: what was planned before is planned again."""
        if found.pending is None:
            await storefront.drop_planned_change(connection, tenant_id)
            return
        await self._plan(connection, tenant_id, found, found.pending)
        await self.schedule(connection, tenant_id, found, found.pending, prices, None)

    async def _plan(self, connection: AsyncConnection, tenant_id: str, found: Standing, later: Selection) -> None:
        await storefront.plan_change(
            connection,
            tenant_id,
            found.subscription_id,
            plan=later.plan,
            interval=later.interval,
            seats=later.seats,
        )

    async def schedule(
        self,
        connection: AsyncConnection,
        tenant_id: str,
        found: Standing,
        later: Selection,
        prices: Prices,
        schedule: Mapping[str, Any] | None,
    ) -> None:
        """``schedule``: the one that stands, to be used again if it still can."""
        if schedule is not None and not blank(schedule) and found.pending is None:
            await self._sales.release_schedule(schedule["id"])  # its last phase has begun
            schedule = None
        if schedule is None:
            schedule = await self._sales.create_schedule(found.subscription_id)
            # the items may just have changed
            documents = await self._sales.scheduled_subscriptions_of(found.customer_id)
            found = require(standing(tenant_id, documents, self._catalogue, livemode=self._sales.livemode), tenant_id)
        items = change.later_items(found, later, self._catalogue, prices)
        params = {
            "phases": change.phases(found, schedule, items, later.interval),
            "end_behavior": "release",
            "proration_behavior": "none",
            "metadata": {
                NEXT_PLAN: later.plan,
                NEXT_INTERVAL: later.interval,
                NEXT_SEATS: "" if later.seats is None else str(later.seats),
            },
        }
        updated = await self._sales.update_schedule(schedule["id"], params)
        await storefront.record_schedule(connection, tenant_id, updated["id"])
        at = moment(found.period_end)
        await tell(connection, tenant_id, f"{said(found.selection)} becomes {said(later)} on {at:%Y-%m-%d}")

    async def standing(self, tenant_id: str, customer_id: str) -> Standing | None:
        """The subscription as Stripe has it now."""
        documents = await self._sales.scheduled_subscriptions_of(customer_id)
        return standing(tenant_id, documents, self._catalogue, livemode=self._sales.livemode)

    async def prices(self, *plans: str) -> Prices:
        """The prices of these plans, by lookup key."""
        return await self._sales.priced(change.lookup_keys(self._catalogue, *plans))


async def tell(connection: AsyncConnection, tenant_id: str, summary: str) -> None:
    log.info("selling.changed", tenant_id=tenant_id, summary=summary)
    await timeline.add(connection, tenant_id, EntryKind.SALE, summary)


def said(selection: Selection) -> str:
    seats = "" if selection.seats is None else f", {selection.seats} seats"
    return f"{selection.plan} (a {selection.interval}{seats})"
