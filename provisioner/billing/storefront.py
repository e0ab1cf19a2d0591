"""Selling plans through Stripe's API in test mode: what an application's own checkout does in production.

Used by ``tenantry stripe`` and the demo. Refuses live keys.
"""

from __future__ import annotations

from typing import Any

import stripe

from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.errors import translated
from provisioner.billing.gateway import Document
from provisioner.billing.gateway_stripe import make_client
from provisioner.billing.stripe_catalogue import push, snapshot
from provisioner.billing.stripe_catalogue.api import CatalogueApi
from provisioner.billing.stripe_catalogue.changes import Action
from provisioner.billing.stripe_catalogue.differences import plan_changes
from provisioner.billing.stripe_catalogue.wanted import Kind, Ref
from provisioner.billing.translate import TENANT_KEY
from provisioner.errors import ConfigurationInvalid, NotFound, Reject

#: A card that is charged without questions, and one that can be attached but never charged.
GOOD_CARD = "pm_card_visa"
FAILING_CARD = "pm_card_chargeCustomerFail"
ENDED = ("canceled", "incomplete_expired")
_MAKES = (Action.CREATE, Action.SUPERSEDE)


class Storefront:
    """Synchronous: it serves people at a shell."""

    def __init__(self, api_key: str, api_base: str | None, catalogue: Catalogue, *, timeout_s: float = 20.0) -> None:
        if "_live_" in api_key[:8]:
            raise ConfigurationInvalid(
                "`tenantry stripe` creates test subscriptions and refuses a live mode key",
                hint='Use a key of test mode, or the local Stripe: eval "$(tenantry local env)"',
            )
        self._client = make_client(api_key, api_base, timeout_s=timeout_s, max_retries=2)
        self._catalogue = catalogue

    # -- catalogue

    def seed(self) -> list[Document]:
        """Make Stripe sell what the catalogue says: `tenantry catalogue push`, without asking.

        Returns a row a price: plan, lookup_key, price, product, created (whether it is new).
        """
        api = CatalogueApi(self._client, livemode=False)
        changes = plan_changes(self._catalogue, snapshot.read(api, self._catalogue))
        known = push.apply(api, changes, source=self._catalogue.source)
        made = {change.name for change in changes.changes if change.kind is Kind.PRICE and change.action in _MAKES}
        return [
            {
                "plan": plan.name,
                "lookup_key": price.lookup_key,
                "price": known[Ref(Kind.PRICE, price.lookup_key)],
                "product": changes.sold_as[price.lookup_key],
                "created": price.lookup_key in made,
            }
            for plan in self._catalogue.plans.values()
            for price in plan.prices
        ]

    # -- subscriptions

    def subscribe(
        self,
        tenant_id: str,
        plan_name: str,
        *,
        interval: str = "month",
        trial_days: int = 0,
        card: str = GOOD_CARD,
        test_clock: str | None = None,
        seats: int = 1,
        email: str | None = None,
    ) -> Document:
        """A new subscription of a plan for a tenant, whose customer is made when there is none. ``seats``: of a plan
        that is paid by the seat. ``email``: of a new customer; without it one of a domain that nobody can have, the
        tenant's own, since a company has one trial."""
        plan = self._catalogue.plan(plan_name)
        if seats != 1 and not plan.per_seat:
            raise Reject(f"plan {plan.name} isn't paid by the seat", hint="Leave --seats out")
        base, *use = self._plan_prices(plan, interval)
        with translated(f"subscribing {tenant_id} to {plan_name}"):
            address = email or f"billing@{tenant_id}.example"
            customer = self._customer(tenant_id, card, test_clock, address)
            standing = [item for item in self._subscriptions_of(customer) if item.status not in ENDED]
            if standing:
                raise Reject(
                    f"{tenant_id} has subscription {standing[0].id} ({standing[0].status}) already",
                    hint=f"To change its plan: tenantry stripe change {tenant_id} --plan {plan_name}",
                )
            params: Any = {
                "customer": customer.id,
                "items": [{"price": base, "quantity": seats}, *({"price": price} for price in use)],
                "metadata": {TENANT_KEY: tenant_id},
                "expand": ["customer"],
            }
            if trial_days:
                params["trial_period_days"] = trial_days
            return self._client.v1.subscriptions.create(params).to_dict()

    def change(self, tenant_id: str, plan_name: str, *, interval: str | None = None) -> Document:
        """Move a tenant's subscription to another plan; its interval stays unless one is given."""
        plan = self._catalogue.plan(plan_name)
        found = self._standing(tenant_id)
        items = found["items"]["data"]
        item = next((each for each in items if each["price"]["recurring"]["usage_type"] != "metered"), items[0])
        base, *use = self._plan_prices(plan, interval or item["price"]["recurring"]["interval"])
        quantity = {} if plan.per_seat else {"quantity": 1}
        held = {each["price"]["id"]: each["id"] for each in items if each is not item}
        params: Any = {
            "items": [
                {"id": item["id"], "price": base, **quantity},
                *({"id": identifier, "deleted": True} for price, identifier in held.items() if price not in use),
                *({"price": price} for price in use if price not in held),
            ],
            "expand": ["customer"],
        }
        with translated(f"changing {tenant_id} to {plan_name}"):
            return self._client.v1.subscriptions.update(found["id"], params).to_dict()

    def cancel(self, tenant_id: str, *, at_period_end: bool = False) -> Document:
        found = self._standing(tenant_id)
        with translated(f"cancelling the subscription of {tenant_id}"):
            if at_period_end:
                changed = self._client.v1.subscriptions.update(found["id"], {"cancel_at_period_end": True})
            else:
                changed = self._client.v1.subscriptions.cancel(found["id"])
        return changed.to_dict()

    def pay_with(self, tenant_id: str, card: str) -> Document:
        """Give a tenant's customer another card as the default; returns the customer."""
        with translated(f"changing the card of {tenant_id}"):
            customer = self._find_customer(tenant_id)
            if customer is None:
                raise NotFound(f"Stripe has no customer with metadata.{TENANT_KEY}={tenant_id}")
            return self._set_card(customer, card).to_dict()

    def pay(self, tenant_id: str) -> list[Document]:
        """Charge the card of a tenant's customer for its open invoices, 100 at most, oldest first; the paid invoices.

        The first charge that fails ends it, with ``OperatorNeeded``.
        """
        with translated(f"looking up the open invoices of {tenant_id}"):
            customer = self._find_customer(tenant_id)
            if customer is None:
                raise NotFound(f"Stripe has no customer with metadata.{TENANT_KEY}={tenant_id}")
            page = self._client.v1.invoices.list({"customer": customer.id, "status": "open", "limit": 100})
            owed = [found.id for found in page.data if found.id is not None]
        with translated(f"paying the invoices of {tenant_id}"):
            return [self._client.v1.invoices.pay(invoice).to_dict() for invoice in reversed(owed)]

    def of_tenant(self, tenant_id: str) -> list[Document]:
        """All subscriptions of a tenant's customer, newest first."""
        with translated(f"looking up {tenant_id}"):
            customer = self._find_customer(tenant_id)
            if customer is None:
                raise NotFound(
                    f"Stripe has no customer with metadata.{TENANT_KEY}={tenant_id}",
                    hint=f"Create one: tenantry stripe subscribe {tenant_id} --plan PLAN",
                )
            return [found.to_dict() for found in self._subscriptions_of(customer)]

    def subscriptions(self, *, ended: bool = False) -> list[Document]:
        with translated("listing subscriptions"):
            page = self._client.v1.subscriptions.list({"status": "all", "limit": 100, "expand": ["data.customer"]})
            return [found.to_dict() for found in page.auto_paging_iter() if ended or found.status not in ENDED]

    def events(self, *, limit: int = 20, undelivered_only: bool = False) -> list[Document]:
        params: Any = {"limit": min(limit, 100)}
        if undelivered_only:
            params["delivery_success"] = False
        found = []
        with translated("listing events"):
            for event in self._client.v1.events.list(params).auto_paging_iter():
                found.append(event.to_dict())
                if len(found) >= limit:
                    break
        return found

    def close(self) -> None:
        client: Any = self._client._requestor._client
        client.close()

    def _standing(self, tenant_id: str) -> Document:
        for found in self.of_tenant(tenant_id):
            if found["status"] not in ENDED:
                return found
        raise NotFound(f"{tenant_id} has no subscription that stands", hint="See: tenantry stripe list --ended")

    def _plan_prices(self, plan: Plan, interval: str) -> list[str]:
        """Ids of the prices that make a subscription of a plan: its own first, then those of use."""
        keys = [plan.price(interval).lookup_key, *(price.lookup_key for price in plan.metered_prices(interval))]
        with translated(f"looking up the prices of {plan.name}"):
            listed = self._client.v1.prices.list({"lookup_keys": keys, "active": True}).data
        found = {str(price.lookup_key): price.id for price in listed}
        for key in keys:
            if key not in found:
                hint = "Create it: tenantry stripe seed"
                raise NotFound(f"Stripe has no active price with lookup key {key}", hint=hint)
        return [found[key] for key in keys]

    def _customer(self, tenant_id: str, card: str, test_clock: str | None, email: str) -> stripe.Customer:
        found = None if test_clock else self._find_customer(tenant_id)
        if found is None:
            params: Any = {"name": tenant_id, "email": email, "metadata": {TENANT_KEY: tenant_id}}
            if test_clock is not None:
                params["test_clock"] = test_clock
            found = self._client.v1.customers.create(params)
        if found.invoice_settings is None or found.invoice_settings.default_payment_method is None:
            found = self._set_card(found, card)
        return found

    def _find_customer(self, tenant_id: str) -> stripe.Customer | None:
        # Stripe's search lags behind by up to a minute; the list doesn't.
        for customer in self._client.v1.customers.list({"limit": 100}).auto_paging_iter():
            if customer.metadata is not None and customer.metadata.to_dict().get(TENANT_KEY) == tenant_id:
                return customer
        return None

    def _set_card(self, customer: stripe.Customer, card: str) -> stripe.Customer:
        method = self._client.v1.payment_methods.attach(card, {"customer": customer.id})
        return self._client.v1.customers.update(
            customer.id, {"invoice_settings": {"default_payment_method": method.id}}
        )

    def _subscriptions_of(self, customer: stripe.Customer) -> list[stripe.Subscription]:
        page = self._client.v1.subscriptions.list(
            {"customer": customer.id, "status": "all", "limit": 100, "expand": ["data.customer"]}
        )
        return list(page.auto_paging_iter())
