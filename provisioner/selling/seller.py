"""What an application may ask for on behalf of a tenant. The tenant's customer, prices and amounts are found here.

Changes of one tenant come one after the other, in all processes. What Stripe is about to be asked is written down
before, where a lost answer or a crash could do harm: ``customers``, ``checkout`` and ``schema/25_storefront.sql``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from psycopg import AsyncConnection

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import Document
from provisioner.billing.sales import StripeSales
from provisioner.billing.translate import SubscriptionStatus
from provisioner.errors import TenantryError
from provisioner.operate import Pool
from provisioner.registry import storefront
from provisioner.selling import change, customers
from provisioner.selling.change import Decision, Prices, When
from provisioner.selling.changes import Changes, tell
from provisioner.selling.checkout import Checkout, Pages, open_checkout
from provisioner.selling.errors import AlreadySubscribed, Busy
from provisioner.selling.portal import Flow, Portal
from provisioner.selling.return_urls import ReturnUrls
from provisioner.selling.standing import Selection, Standing, has_ended, require
from provisioner.selling.views import Preview, SubscriptionView, moment, preview_of, view

UNTOLD_AFTER = timedelta(minutes=2)  #: a request that still runs has told Stripe by then

log = structlog.get_logger(__name__)


class Feedback(StrEnum):
    """https://docs.stripe.com/api/subscriptions/object#subscription_object-cancellation_details-feedback"""

    CUSTOMER_SERVICE = "customer_service"
    LOW_QUALITY = "low_quality"
    MISSING_FEATURES = "missing_features"
    OTHER = "other"
    SWITCHED_SERVICE = "switched_service"
    TOO_COMPLEX = "too_complex"
    TOO_EXPENSIVE = "too_expensive"
    UNUSED = "unused"


@dataclass(frozen=True)
class Wanted:
    """A change that is asked for. ``plan`` and ``interval``: None for the present ones. ``used``: seats in use, as far
    as the application knows."""

    plan: str | None = None
    interval: str | None = None
    seats: int | None = None
    used: int | None = None
    when: When = When.AUTO


class Seller:
    """``pool``: connections that commit every statement by itself; each is held while Stripe is asked."""

    def __init__(
        self, pool: Callable[[], Pool], sales: StripeSales, catalogue: Catalogue, return_urls: ReturnUrls
    ) -> None:
        self._pool = pool
        self._sales = sales
        self._catalogue = catalogue
        self._urls = return_urls
        self._portal = Portal(sales)
        self._changes = Changes(sales, catalogue)

    # -- new subscriptions

    async def sign_up(
        self, tenant_id: str, wanted: Wanted, pages: Pages, *, email: str, name: str | None, reference: str
    ) -> Checkout:
        """Reserve a new tenant's id for ``reference`` and open its checkout. ``TenantTaken``, ``AlreadySubscribed``."""
        self._check(pages)
        selection = self._selected(wanted)
        async with self._alone(tenant_id) as connection:
            customer_id = await customers.sign_up(
                connection, self._sales, tenant_id, reference=reference, email=email, name=name
            )
            return await self._checkout(connection, tenant_id, customer_id, selection, pages)

    async def checkout(self, tenant_id: str, wanted: Wanted, pages: Pages) -> Checkout:
        """A checkout for a tenant whose subscription has ended, or who signed up before. ``AlreadySubscribed``."""
        self._check(pages)
        selection = self._selected(wanted)
        async with self._alone(tenant_id) as connection:
            customer_id = await customers.of_tenant(connection, tenant_id)
            return await self._checkout(connection, tenant_id, customer_id, selection, pages)

    def _check(self, pages: Pages) -> None:
        self._urls.check(pages.success_url, "success_url")
        self._urls.check(pages.cancel_url, "cancel_url")

    def _selected(self, wanted: Wanted) -> Selection:
        assert wanted.plan is not None
        assert wanted.interval is not None
        plan = self._catalogue.plan(wanted.plan)
        plan.price(wanted.interval)
        return Selection(plan.name, wanted.interval, change.seats_for(plan, wanted.seats, used=wanted.used))

    async def _checkout(
        self, connection: AsyncConnection, tenant_id: str, customer_id: str, selection: Selection, pages: Pages
    ) -> Checkout:
        for document in await self._sales.subscriptions_of(customer_id):
            if not has_ended(document):
                raise AlreadySubscribed(
                    f"tenant {tenant_id} has a subscription already, which is {document['status']}",
                    hint="change its plan; if it is unpaid, send the customer to the portal to pay it",
                )
        customer = await customers.live(self._sales, tenant_id, customer_id)
        prices = await self._changes.prices(selection.plan)
        opened = await open_checkout(
            connection, self._sales, self._catalogue, prices, tenant_id, customer, selection, pages
        )
        log.info("selling.checkout", tenant_id=tenant_id, plan=selection.plan, trial_days=opened.trial_days)
        return opened

    async def portal(self, tenant_id: str, return_url: str, flow: Flow | None = None) -> str:
        """The URL of a session of Stripe's customer portal, good for some minutes."""
        self._urls.check(return_url, "return_url")
        async with self._pool().connection() as connection:
            customer_id = await customers.of_tenant(connection, tenant_id)
        await customers.live(self._sales, tenant_id, customer_id)
        subscription_id = None
        if flow is not None and flow is not Flow.PAYMENT_METHOD_UPDATE:
            found = require(await self._changes.standing(tenant_id, customer_id), tenant_id)
            subscription_id = found.subscription_id
        return await self._portal.open(customer_id, return_url, flow, subscription_id)

    # -- the subscription

    async def subscription(self, tenant_id: str) -> SubscriptionView | None:
        """What is in force, and what is planned; None if there is no subscription, or it has ended."""
        async with self._pool().connection() as connection:
            customer_id = await customers.of_tenant(connection, tenant_id)
        found = await self._changes.standing(tenant_id, customer_id)
        return None if found is None else view(found)

    async def preview(self, tenant_id: str, wanted: Wanted) -> Preview:
        """What a change would cost, and when. Nothing is changed."""
        async with self._pool().connection() as connection:
            customer_id = await customers.of_tenant(connection, tenant_id)
        found = require(await self._changes.standing(tenant_id, customer_id), tenant_id)
        decision, prices = await self._decided(found, wanted)
        currency = str(found.document["currency"])
        if decision.now == found.selection and decision.later in (None, found.selection):
            now = await self._sales.now(_test_clock(found))
            return Preview("none", now, currency, 0, ())
        if decision.now != found.selection:
            details = {
                "items": change.changed_items(found, decision.now, self._catalogue, prices),
                "proration_behavior": "none" if found.trialing else "always_invoice",
            }
            invoice = await self._sales.preview(
                {"subscription": found.subscription_id, "subscription_details": details}
            )
            now = await self._sales.now(_test_clock(found))
            # during a trial nothing is due before its end
            effective = moment(found.trial_end) if found.trialing and found.trial_end is not None else now
            return preview_of("now", effective, invoice)
        assert decision.later is not None
        items = change.later_items(found, decision.later, self._catalogue, prices)
        invoice = await self._sales.preview({"customer": found.customer_id, "subscription_details": {"items": items}})
        return preview_of("period_end", moment(found.period_end), invoice)

    async def change(self, tenant_id: str, wanted: Wanted) -> SubscriptionView:
        """Another plan, interval or number of seats. What is asked for and in force already changes nothing."""
        async with self._alone(tenant_id) as connection:
            customer_id = await customers.of_tenant(connection, tenant_id)
            found = require(await self._changes.standing(tenant_id, customer_id), tenant_id)
            decision, prices = await self._decided(found, wanted)
            await self._changes.apply(connection, tenant_id, found, decision, prices)
            return view(require(await self._changes.standing(tenant_id, customer_id), tenant_id))

    async def cancel(
        self,
        tenant_id: str,
        *,
        at_period_end: bool = True,
        feedback: Feedback | None = None,
        comment: str | None = None,
    ) -> SubscriptionView | None:
        """End the subscription when its period ends, or at once (then the answer is None). A planned change is off."""
        async with self._alone(tenant_id) as connection:
            customer_id = await customers.of_tenant(connection, tenant_id)
            found = require(await self._changes.standing(tenant_id, customer_id), tenant_id)
            found.require_own_schedule()
            details = {"feedback": feedback, "comment": comment}
            told = {"cancellation_details": {name: value for name, value in details.items() if value}}
            told = told if told["cancellation_details"] else {}
            await storefront.drop_planned_change(connection, tenant_id)
            if found.schedule is not None:
                await self._sales.release_schedule(found.schedule["id"])
            if at_period_end:
                news = not found.cancel_at_period_end
                await self._sales.update_subscription(found.subscription_id, {"cancel_at_period_end": True, **told})
            else:
                news = True
                # what was used and not billed yet is billed now
                await self._sales.cancel_subscription(
                    found.subscription_id, {"invoice_now": bool(found.metered), "prorate": False, **told}
                )
            if news:
                await storefront.add_cancellation(
                    connection,
                    tenant_id,
                    found.subscription_id,
                    plan=found.selection.plan,
                    at_period_end=at_period_end,
                    feedback=feedback,
                    comment=comment,
                )
                when = f"for {moment(found.period_end):%Y-%m-%d}" if at_period_end else "at once"
                await tell(connection, tenant_id, f"cancellation {when}: {feedback or 'no reason given'}")
            left = await self._changes.standing(tenant_id, customer_id)
            return None if left is None else view(left)

    async def resume(self, tenant_id: str) -> SubscriptionView:
        """Take a cancellation back before it takes effect, or go on after a trial that ended without a payment method.
        A subscription that renews anyway stays as it is."""
        async with self._alone(tenant_id) as connection:
            customer_id = await customers.of_tenant(connection, tenant_id)
            found = require(await self._changes.standing(tenant_id, customer_id), tenant_id)
            if found.cancel_at_period_end or found.cancel_at is not None:
                params: Document = {"cancel_at_period_end": False} if found.cancel_at_period_end else {"cancel_at": ""}
                await self._sales.update_subscription(found.subscription_id, params)
                await storefront.resume_cancellation(connection, found.subscription_id)
                await tell(connection, tenant_id, "the cancellation is taken back")
            elif found.status is SubscriptionStatus.PAUSED:
                await self._sales.resume_subscription(found.subscription_id, {})
                await tell(connection, tenant_id, "the paused subscription is resumed")
            return view(require(await self._changes.standing(tenant_id, customer_id), tenant_id))

    async def run_due(self, now: datetime) -> None:
        """Tell Stripe of planned changes that it may not know of, because a process died in between. Idempotent."""
        async with self._pool().connection() as connection:
            untold = await storefront.untold_changes(connection, older=UNTOLD_AFTER)
        for tenant_id in untold:
            try:
                await self._tell_planned(tenant_id)
            except TenantryError as error:
                log.warning("selling.planned_change", tenant_id=tenant_id, code=error.code, message=error.message)

    async def close(self) -> None:
        await self._sales.close()

    # -- how it is done

    async def _tell_planned(self, tenant_id: str) -> None:
        async with self._alone(tenant_id) as connection:
            planned = await storefront.planned_change(connection, tenant_id)
            if planned is None or planned.schedule_id is not None:
                return
            found = await self._changes.standing(tenant_id, await customers.of_tenant(connection, tenant_id))
            later = Selection(planned.plan, planned.interval, planned.seats)
            if (
                found is None
                or found.subscription_id != planned.subscription_id
                or found.selection == later
                or found.cancel_at is not None
                or planned.plan not in self._catalogue.plans
            ):
                await storefront.drop_planned_change(connection, tenant_id)
                return
            found.require_changeable()
            prices = await self._changes.prices(found.selection.plan, later.plan)
            await self._changes.schedule(connection, tenant_id, found, later, prices, found.schedule)

    async def _decided(self, found: Standing, wanted: Wanted) -> tuple[Decision, Prices]:
        found.require_changeable()
        present = found.selection
        plan = self._catalogue.plan(wanted.plan or present.plan)
        interval = wanted.interval or present.interval
        seats = change.seats_for(plan, wanted.seats, present=present.seats, used=wanted.used)
        target = Selection(plan.name, interval, seats)
        involved = {present.plan, plan.name} | ({found.pending.plan} if found.pending is not None else set())
        prices = await self._changes.prices(*sorted(involved & set(self._catalogue.plans)))
        if wanted.plan is None and wanted.interval is None and seats is not None:
            return change.set_seats(found, seats, wanted.when), prices
        plan.price(interval)
        return change.change_plan(found, target, self._catalogue, prices, wanted.when), prices

    @asynccontextmanager
    async def _alone(self, tenant_id: str) -> AsyncIterator[AsyncConnection]:
        async with (
            self._pool().connection() as connection,
            storefront.one_at_a_time(connection, tenant_id) as alone,
        ):
            if not alone:
                raise Busy(f"another change of tenant {tenant_id} is under way", hint="try again in a moment")
            yield connection


def _test_clock(found: Standing) -> str | None:
    clock = found.document.get("test_clock")
    return clock if isinstance(clock, str) else None
