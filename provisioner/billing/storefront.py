"""Selling plans through Stripe's API in test mode: what an application's own checkout does in production.

Used by ``tenantry stripe`` and the demo. Refuses live keys.
"""

from __future__ import annotations

from typing import Any

import stripe

from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.errors import translated
from provisioner.billing.gateway import Document
from provisioner.billing.gateway_stripe import LOOKUP_KEYS_PER_REQUEST, make_client
from provisioner.billing.pricing import PlanPrice
from provisioner.billing.translate import PLAN_KEY, TENANT_KEY
from provisioner.errors import ConfigurationInvalid, NotFound, Reject

#: A card that is charged without questions, and one that can be attached but never charged.
GOOD_CARD = "pm_card_visa"
FAILING_CARD = "pm_card_chargeCustomerFail"
ENDED = ("canceled", "incomplete_expired")


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
        """Create the products and prices of the catalogue that don't exist; change nothing that does.

        Returns a row a price: plan, lookup_key, price, product, created (whether it is new).
        """
        rows = []
        with translated("seeding products and prices"):
            for plan in self._catalogue.plans.values():
                product = self._product(plan)
                found = self._prices([price.lookup_key for price in plan.prices])
                for wanted in plan.prices:
                    price = found.get(wanted.lookup_key)
                    created = price is None
                    if price is None:
                        price = self._create_price(plan, wanted, product)
                    rows.append(
                        {
                            "plan": plan.name,
                            "lookup_key": wanted.lookup_key,
                            "price": price.id,
                            "product": str(price.product),
                            "created": created,
                        }
                    )
        return rows

    def _prices(self, lookup_keys: list[str]) -> dict[str, stripe.Price]:
        found = {}
        for start in range(0, len(lookup_keys), LOOKUP_KEYS_PER_REQUEST):
            wanted = lookup_keys[start : start + LOOKUP_KEYS_PER_REQUEST]
            for price in self._client.v1.prices.list({"lookup_keys": wanted, "limit": 100}).data:
                found[str(price.lookup_key)] = price
        return found

    def _product(self, plan: Plan) -> str:
        identifier = f"tenantry_{plan.name}"
        try:
            return self._client.v1.products.retrieve(identifier).id
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise
        created = self._client.v1.products.create(
            {"id": identifier, "name": plan.title, "metadata": {PLAN_KEY: plan.name}}
        )
        return created.id

    def _create_price(self, plan: Plan, wanted: PlanPrice, product: str) -> stripe.Price:
        if wanted.unit_amount is None:
            raise ConfigurationInvalid(
                f"plan {plan.name}: price {wanted.lookup_key} has no unit_amount",
                hint=f"Add unit_amount to it in {self._catalogue.source}, or create the price in Stripe yourself",
            )
        params: Any = {
            "product": product,
            "currency": wanted.currency,
            "unit_amount": int(wanted.unit_amount),
            "recurring": {"interval": wanted.interval},
            "lookup_key": wanted.lookup_key,
            "metadata": {PLAN_KEY: plan.name},
        }
        return self._client.v1.prices.create(params)

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
    ) -> Document:
        """A new subscription of a plan for a tenant, whose customer is made when there is none."""
        price = self._price(self._catalogue.plan(plan_name), interval)
        with translated(f"subscribing {tenant_id} to {plan_name}"):
            customer = self._customer(tenant_id, card, test_clock)
            standing = [item for item in self._subscriptions_of(customer) if item.status not in ENDED]
            if standing:
                raise Reject(
                    f"{tenant_id} has subscription {standing[0].id} ({standing[0].status}) already",
                    hint=f"To change its plan: tenantry stripe change {tenant_id} --plan {plan_name}",
                )
            params: Any = {
                "customer": customer.id,
                "items": [{"price": price.id}],
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
        item = found["items"]["data"][0]
        price = self._price(plan, interval or item["price"]["recurring"]["interval"])
        params: Any = {"items": [{"id": item["id"], "price": price.id}], "expand": ["customer"]}
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

    def _price(self, plan: Plan, interval: str) -> stripe.Price:
        key = plan.price(interval).lookup_key
        with translated(f"looking up price {key}"):
            found = self._client.v1.prices.list({"lookup_keys": [key], "active": True}).data
        if not found:
            raise NotFound(f"Stripe has no active price with lookup key {key}", hint="Create it: tenantry stripe seed")
        return found[0]

    def _customer(self, tenant_id: str, card: str, test_clock: str | None) -> stripe.Customer:
        found = None if test_clock else self._find_customer(tenant_id)
        if found is None:
            params: Any = {"name": tenant_id, "metadata": {TENANT_KEY: tenant_id}}
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
