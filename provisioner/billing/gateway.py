"""What the control plane asks of Stripe: reading, nothing else. Documents are plain JSON in the pinned API version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

Document = dict[str, Any]


class BillingGateway(Protocol):
    """Every method may raise ``StripeUnavailable`` (try again), ``OperatorNeeded`` (key, permission, request) and,
    where an id is asked for, ``NotFound``. Subscriptions have their customer expanded and all their items."""

    @property
    def livemode(self) -> bool:
        """Whether the key is for live mode: objects of the other mode are not ours."""
        ...

    async def subscription(self, subscription_id: str) -> Document: ...

    async def subscriptions_of(self, customer_id: str) -> list[Document]:
        """All of a customer's subscriptions in every status, newest first. Those of a deleted customer have ended;
        ``NotFound`` is for a customer that this account never had: the key may be another account's."""
        ...

    def subscriptions(self) -> AsyncIterator[Document]:
        """Every subscription in every status, newest first; pages are fetched as they are consumed."""
        ...

    def events(
        self, *, since: int, types: Sequence[str] = (), undelivered_only: bool = False
    ) -> AsyncIterator[Document]:
        """Events created at ``since`` (Unix seconds) or later, newest first; Stripe keeps 30 days."""
        ...

    async def event(self, event_id: str) -> Document: ...

    async def prices(self, lookup_keys: Sequence[str]) -> Mapping[str, Document]:
        """lookup key -> price with its product expanded, active or not; a key nobody has is absent."""
        ...

    async def product(self, product_id: str) -> Document: ...

    async def now(self, test_clock: str | None = None) -> datetime:
        """Billing time. In live mode this machine's, ``ClockDiffers`` if Stripe's last answer was of another hour; in
        test mode Stripe's own, or that of a test clock: who moves it there moves every date that access depends on."""
        ...

    async def invoices_of(self, customer_id: str, status: str) -> list[Document]:
        """A customer's invoices of a status (``open``, ``paid``, ``uncollectible``, ...), newest first."""
        ...

    async def dispute(self, dispute_id: str) -> Document:
        """With its charge expanded."""
        ...

    async def charge(self, charge_id: str) -> Document:
        """With its refunds expanded."""
        ...

    async def invoice_of_payment(self, payment_intent: str) -> Document | None:
        """The invoice that a payment was for, if it was for one."""
        ...

    def disputes(self, *, since: int) -> AsyncIterator[Document]:
        """Disputes created at ``since`` or later, with their charges expanded, newest first."""
        ...

    def refunds(self, *, since: int) -> AsyncIterator[Document]:
        """Refunds created at ``since`` or later, newest first."""
        ...

    async def close(self) -> None: ...
