"""What selling asks of Stripe beside reading: customers, checkout and portal sessions, subscriptions and schedules.

Documents are plain JSON in the pinned API version. Every method may raise what ``BillingGateway``'s do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import stripe

from provisioner.billing.errors import translated
from provisioner.billing.gateway import Document
from provisioner.billing.gateway_stripe import LOOKUP_KEYS_PER_REQUEST, StripeGateway, _part
from provisioner.errors import Reject


class PaymentFailed(Reject):
    """The customer's payment method was declined, or its bank wants to ask the customer. Nothing was changed."""

    code = "payment_failed"


class StripeSales(StripeGateway):
    """Belongs to the event loop that first uses it. ``close`` it there."""

    def __init__(
        self, api_key: str, api_base: str | None = None, *, timeout_s: float = 10.0, max_retries: int = 2
    ) -> None:
        super().__init__(api_key, api_base, timeout_s=timeout_s, max_retries=max_retries)

    # -- customers

    async def customer(self, customer_id: str) -> Document:
        with translated(f"loading customer {customer_id}"):
            return await self._get(f"/v1/customers/{_part(customer_id)}", {})

    async def create_customer(self, params: Document, *, key: str) -> Document:
        """``key``: the same one gives the same customer, for at least 24 hours."""
        return await self._post("creating a customer", "/v1/customers", params, key=key)

    async def update_customer(self, customer_id: str, params: Document) -> Document:
        return await self._post(f"changing customer {customer_id}", f"/v1/customers/{_part(customer_id)}", params)

    async def customers_with_email(self, email: str) -> list[Document]:
        """At most a hundred, newest first. The search would lag behind by up to a minute."""
        with translated("looking customers up"):
            page = await self._get("/v1/customers", {"email": email, "limit": 100})
        found: list[Document] = page["data"]
        return found

    async def delete_customer(self, customer_id: str) -> None:
        with translated(f"deleting customer {customer_id}"):
            await self._send("delete", f"/v1/customers/{_part(customer_id)}", {})

    # -- what is sold

    async def priced(self, lookup_keys: Sequence[str]) -> Mapping[str, Document]:
        """lookup key -> active price with its tiers; a key without one is absent."""
        found: dict[str, Document] = {}
        for start in range(0, len(lookup_keys), LOOKUP_KEYS_PER_REQUEST):
            wanted = list(lookup_keys[start : start + LOOKUP_KEYS_PER_REQUEST])
            params = {"lookup_keys": wanted, "active": True, "expand": ["data.tiers"]}
            with translated("looking prices up"):
                async for price in self._list("/v1/prices", params):
                    found[price["lookup_key"]] = price
        return found

    # -- checkout

    async def create_checkout(self, params: Document, *, key: str) -> Document:
        return await self._post("opening a checkout", "/v1/checkout/sessions", params, key=key)

    async def checkout(self, session_id: str) -> Document:
        with translated("loading a checkout"):
            return await self._get(f"/v1/checkout/sessions/{_part(session_id)}", {})

    async def open_checkouts(self, customer_id: str) -> list[Document]:
        """The customer's sessions that can still be completed, newest first; at most a hundred."""
        with translated(f"listing checkouts of {customer_id}"):
            page = await self._get("/v1/checkout/sessions", {"customer": customer_id, "status": "open", "limit": 100})
        found: list[Document] = page["data"]
        return found

    async def expire_checkout(self, session_id: str) -> Document:
        return await self._post("closing a checkout", f"/v1/checkout/sessions/{_part(session_id)}/expire", {})

    # -- portal

    async def portal_configurations(self) -> list[Document]:
        """The active ones, newest first; at most a hundred."""
        with translated("listing portal configurations"):
            page = await self._get("/v1/billing_portal/configurations", {"active": True, "limit": 100})
        found: list[Document] = page["data"]
        return found

    async def create_portal(self, params: Document) -> Document:
        return await self._post("opening the customer portal", "/v1/billing_portal/sessions", params)

    # -- subscriptions

    async def scheduled_subscriptions_of(self, customer_id: str) -> list[Document]:
        """All of a customer's subscriptions, newest first, with customer and schedule expanded."""
        params = {"customer": customer_id, "status": "all", "expand": ["data.customer", "data.schedule"]}
        with translated(f"listing subscriptions of {customer_id}"):
            return [await self._complete(found) async for found in self._list("/v1/subscriptions", params)]

    async def update_subscription(self, subscription_id: str, params: Document) -> Document:
        return await self._post(
            f"changing subscription {subscription_id}", f"/v1/subscriptions/{_part(subscription_id)}", params
        )

    async def cancel_subscription(self, subscription_id: str, params: Document) -> Document:
        with translated(f"cancelling subscription {subscription_id}"):
            return await self._send("delete", f"/v1/subscriptions/{_part(subscription_id)}", params)

    async def resume_subscription(self, subscription_id: str, params: Document) -> Document:
        path = f"/v1/subscriptions/{_part(subscription_id)}/resume"
        return await self._post(f"resuming subscription {subscription_id}", path, params)

    async def preview(self, params: Document) -> Document:
        return await self._post("previewing an invoice", "/v1/invoices/create_preview", params)

    # -- schedules

    async def create_schedule(self, subscription_id: str) -> Document:
        """A schedule over the subscription as it is: by itself it changes nothing."""
        params = {"from_subscription": subscription_id}
        return await self._post(f"scheduling subscription {subscription_id}", "/v1/subscription_schedules", params)

    async def update_schedule(self, schedule_id: str, params: Document) -> Document:
        path = f"/v1/subscription_schedules/{_part(schedule_id)}"
        return await self._post(f"changing schedule {schedule_id}", path, params)

    async def release_schedule(self, schedule_id: str) -> Document:
        """The subscription stays as it is, for good."""
        path = f"/v1/subscription_schedules/{_part(schedule_id)}/release"
        return await self._post(f"releasing schedule {schedule_id}", path, {})

    async def _post(self, doing: str, path: str, params: Document, *, key: str | None = None) -> Document:
        with _charged(doing):
            return await self._send("post", path, params if key is None else {**params, "idempotency_key": key})

    async def _send(self, method: str, path: str, params: Document) -> Document:
        answer = await self._client.raw_request_async(method, path, **params)
        document: dict[str, Any] = json.loads(answer.body)
        return document


@contextmanager
def _charged(doing: str) -> Iterator[None]:
    """As ``translated``, but a declined payment is the customer's matter, not an operator's."""
    with translated(doing):
        try:
            yield
        except stripe.CardError as error:
            raise PaymentFailed(
                f"the payment failed: {error.user_message or 'the bank declined it'}",
                hint="let the customer correct the payment method in the portal (flow payment_method_update), "
                "then ask again",
            ) from error
