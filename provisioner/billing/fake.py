"""A gateway without Stripe, for tests: it passes the same contract tests as ``StripeGateway``."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from provisioner.billing.gateway import Document
from provisioner.errors import NotFound, StripeUnavailable

_NOW = 1_790_000_000
_MONTH = 30 * 86400


class FakeGateway:
    """Holds documents; ``unavailable = True`` makes every call fail as a network failure would."""

    def __init__(self, *, livemode: bool = False) -> None:
        self.unavailable = False
        self._livemode = livemode
        self._customers: dict[str, Document] = {}
        self._subscriptions: dict[str, Document] = {}
        self._events: dict[str, Document] = {}
        self._prices: dict[str, Document] = {}
        self._products: dict[str, Document] = {}
        self._invoices: dict[str, Document] = {}
        self._disputes: dict[str, Document] = {}
        self._charges: dict[str, Document] = {}
        self._refunds: dict[str, Document] = {}
        self._payments: dict[str, str] = {}
        self._test_clocks: dict[str, int] = {}
        self.time: datetime | None = None  #: billing time; None: this machine's

    @property
    def livemode(self) -> bool:
        return self._livemode

    # -- what a test puts in

    def put_subscription(self, document: Document) -> None:
        """Add or replace; ``customer`` is an id or the expanded customer."""
        stored = copy.deepcopy(document)
        if isinstance(stored["customer"], str):
            stored["customer"] = customer_document(stored["customer"])
        self._customers[stored["customer"]["id"]] = stored["customer"]
        self._subscriptions[stored["id"]] = stored

    def put_customer(self, document: Document) -> None:
        """A customer that need not have a subscription."""
        self._customers[document["id"]] = copy.deepcopy(document)

    def delete_customer(self, customer_id: str) -> None:
        """What Stripe shows of it afterwards. End its subscriptions yourself."""
        gone = {"id": customer_id, "object": "customer", "deleted": True}
        self._customers[customer_id] = gone
        for subscription in self._subscriptions.values():
            if subscription["customer"]["id"] == customer_id:
                subscription["customer"] = gone

    def remove_subscription(self, subscription_id: str) -> None:
        del self._subscriptions[subscription_id]

    def clear(self) -> None:
        """Forget customers, subscriptions and events."""
        self._customers.clear()
        self._subscriptions.clear()
        self._events.clear()

    def put_event(self, document: Document) -> None:
        self._events[document["id"]] = copy.deepcopy(document)

    def put_price(self, document: Document) -> None:
        """``product`` is an id or the expanded product."""
        stored = copy.deepcopy(document)
        if isinstance(stored["product"], str):
            stored["product"] = {"id": stored["product"], "object": "product", "active": True, "metadata": {}}
        self._prices[stored["id"]] = stored
        self._products[stored["product"]["id"]] = stored["product"]

    def put_invoice(self, document: Document, *, payment_intent: str | None = None) -> None:
        """``payment_intent``: what paid it."""
        self._invoices[document["id"]] = copy.deepcopy(document)
        if payment_intent is not None:
            self._payments[payment_intent] = document["id"]

    def put_charge(self, document: Document) -> None:
        self._charges[document["id"]] = copy.deepcopy(document)

    def put_dispute(self, document: Document) -> None:
        """``charge`` is the id of a charge that was put in."""
        self._disputes[document["id"]] = copy.deepcopy(document)

    def put_refund(self, document: Document) -> None:
        self._refunds[document["id"]] = copy.deepcopy(document)

    def put_test_clock(self, clock_id: str, frozen_time: int) -> None:
        self._test_clocks[clock_id] = frozen_time

    # -- BillingGateway

    async def now(self, test_clock: str | None = None) -> datetime:
        if test_clock is not None and not self._livemode:
            self._reach()
            if test_clock not in self._test_clocks:
                raise NotFound(f"Stripe has no such object: No such test clock: '{test_clock}'")
            return datetime.fromtimestamp(self._test_clocks[test_clock], UTC)
        return self.time if self.time is not None and not self._livemode else datetime.now(UTC)

    async def invoices_of(self, customer_id: str, status: str) -> list[Document]:
        self._get(self._customers, customer_id, "customer")
        return [
            copy.deepcopy(found)
            for found in self._newest(self._invoices)
            if found["customer"] == customer_id and found["status"] == status
        ]

    async def dispute(self, dispute_id: str) -> Document:
        return self._with_charge(self._get(self._disputes, dispute_id, "dispute"))

    async def charge(self, charge_id: str) -> Document:
        return self._get(self._charges, charge_id, "charge")

    async def invoice_of_payment(self, payment_intent: str) -> Document | None:
        self._reach()
        invoice = self._payments.get(payment_intent)
        return None if invoice is None else copy.deepcopy(self._invoices[invoice])

    async def disputes(self, *, since: int) -> AsyncIterator[Document]:
        self._reach()
        for found in self._newest(self._disputes):
            if found["created"] >= since:
                yield self._with_charge(copy.deepcopy(found))

    async def refunds(self, *, since: int) -> AsyncIterator[Document]:
        self._reach()
        for found in self._newest(self._refunds):
            if found["created"] >= since:
                yield copy.deepcopy(found)

    def _with_charge(self, dispute: Document) -> Document:
        return {**dispute, "charge": copy.deepcopy(self._charges[dispute["charge"]])}

    async def subscription(self, subscription_id: str) -> Document:
        return self._get(self._subscriptions, subscription_id, "subscription")

    async def subscriptions_of(self, customer_id: str) -> list[Document]:
        self._get(self._customers, customer_id, "customer")
        return [
            copy.deepcopy(found)
            for found in self._newest(self._subscriptions)
            if found["customer"]["id"] == customer_id
        ]

    async def subscriptions(self) -> AsyncIterator[Document]:
        self._reach()
        for found in self._newest(self._subscriptions):
            yield copy.deepcopy(found)

    async def events(
        self, *, since: int, types: Sequence[str] = (), undelivered_only: bool = False
    ) -> AsyncIterator[Document]:
        self._reach()
        for found in self._newest(self._events):
            wanted = not types or any(_matches(pattern, found["type"]) for pattern in types)
            undelivered = found.get("pending_webhooks", 0) > 0
            if found["created"] >= since and wanted and (undelivered or not undelivered_only):
                yield copy.deepcopy(found)

    async def event(self, event_id: str) -> Document:
        return self._get(self._events, event_id, "event")

    async def prices(self, lookup_keys: Sequence[str]) -> Mapping[str, Document]:
        self._reach()
        return {
            price["lookup_key"]: copy.deepcopy(price)
            for price in self._prices.values()
            if price["lookup_key"] in lookup_keys
        }

    async def product(self, product_id: str) -> Document:
        return self._get(self._products, product_id, "product")

    async def close(self) -> None:
        """Nothing is open."""

    def _reach(self) -> None:
        if self.unavailable:
            raise StripeUnavailable("Stripe could not be reached (a fake that was told to fail)")

    def _get(self, documents: dict[str, Document], identifier: str, noun: str) -> Document:
        self._reach()
        if identifier not in documents:
            raise NotFound(f"Stripe has no such object: No such {noun}: '{identifier}'")
        return copy.deepcopy(documents[identifier])

    def _newest(self, documents: dict[str, Document]) -> list[Document]:
        newest_first = list(documents.values())
        newest_first.reverse()
        return sorted(newest_first, key=lambda found: -int(found["created"]))


def _matches(pattern: str, kind: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern


# -- documents in the shape of the pinned API version, with what this service reads


def customer_document(customer_id: str, metadata: dict[str, str] | None = None) -> Document:
    return {"id": customer_id, "object": "customer", "livemode": False, "metadata": metadata or {}}


def price_document(lookup_key: str | None, price_id: str | None = None, **changes: Any) -> Document:
    identifier = price_id or f"price_{lookup_key}"
    return {
        "id": identifier,
        "object": "price",
        "active": True,
        "lookup_key": lookup_key,
        "metadata": {},
        "product": f"prod_{identifier}",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
        **changes,
    }


def subscription_document(
    subscription_id: str,
    tenant_id: str | None,
    lookup_key: str,
    *,
    customer: str | Document = "cus_1",
    status: str = "active",
    created: int = _NOW,
    **changes: Any,
) -> Document:
    """A subscription with one item at ``lookup_key``."""
    return {
        "id": subscription_id,
        "object": "subscription",
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "created": created,
        "customer": customer,
        "ended_at": None,
        "items": {
            "object": "list",
            "data": [
                {
                    "id": f"si_{subscription_id}",
                    "object": "subscription_item",
                    "current_period_end": created + _MONTH,
                    "current_period_start": created,
                    "price": price_document(lookup_key),
                    "quantity": 1,
                }
            ],
            "has_more": False,
        },
        "livemode": False,
        "metadata": {} if tenant_id is None else {"tenant_id": tenant_id},
        "pause_collection": None,
        "status": status,
        "trial_end": None,
        **changes,
    }


def event_document(event_id: str, type: str, subject: Document, *, created: int = _NOW, **changes: Any) -> Document:
    """An event as a webhook carries it; sign ``json.dumps`` of it."""
    return {
        "id": event_id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": created,
        "data": {"object": subject},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type,
        **changes,
    }
