"""What messages are decided on and filled with. Frozen; times are UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from components.spec import Access


@dataclass(frozen=True)
class Recipient:
    """Who is written to, as Stripe has it: nothing of it was checked."""

    email: str | None = None
    name: str | None = None
    locales: tuple[str, ...] = ()  #: ``preferred_locales``, best first: "de-AT"
    country: str | None = None  #: ISO 3166 two-letter code of the billing address
    time_zone: str | None = None  #: ``metadata.tz``: "Europe/Vienna"


@dataclass(frozen=True)
class Money:
    amount: int  #: in the currency's smallest unit
    currency: str  #: as Stripe writes it: "eur"


@dataclass(frozen=True)
class Card:
    """It can be used until the end of its month."""

    brand: str
    last4: str
    exp_month: int
    exp_year: int


@dataclass(frozen=True)
class Invoice:
    """One that is owed. ``action_required``: the bank waits for the customer."""

    invoice_id: str
    subscription_id: str | None
    owed_since: datetime
    amount: Money
    attempts: int = 0
    next_attempt_at: datetime | None = None
    url: str | None = None
    action_required: bool = False


@dataclass(frozen=True)
class Subscription:
    """The one that decides."""

    subscription_id: str
    status: str
    interval: str | None  #: ``month`` or ``year``
    period_end: datetime
    started: datetime | None = None
    trial_end: datetime | None = None
    cancel_at: datetime | None = None
    ended_at: datetime | None = None
    has_payment_method: bool = False
    card: Card | None = None
    renewal: Money | None = None  #: what the next period will cost, if that was asked for


@dataclass(frozen=True)
class Step:
    """An access that begins at a time unless a payment arrives."""

    access: Access
    at: datetime


@dataclass(frozen=True)
class Recovery:
    """A payment that was overdue and has arrived."""

    opened_at: datetime
    recovered_at: datetime


@dataclass(frozen=True)
class Facts:
    """``just_ready``, ``just_deleted``: since the tenant was last looked at. ``access_since``: None: since before
    anybody looked, and so no news. ``steps``: those still to come, in order."""

    tenant_id: str
    generation: int
    recipient: Recipient
    plan_title: str | None
    access: Access
    access_since: datetime | None = None
    overdue: bool = False  #: whether the access is less for want of a payment
    subscription: Subscription | None = None
    invoices: tuple[Invoice, ...] = ()
    steps: tuple[Step, ...] = ()
    recovery: Recovery | None = None
    retain_until: datetime | None = None
    just_ready: bool = False
    just_deleted: bool = False


@dataclass(frozen=True)
class Message:
    """Something to tell a tenant, once: there is one of each ``kind`` and ``occasion`` in a life of the tenant.

    ``send_after``: no sooner. ``expires_at``: from then on it is no use. ``fields``: what templates get, JSON values;
    times as ISO 8601 text, amounts as ``{"amount": 100, "currency": "eur"}``.
    """

    kind: str
    occasion: str
    send_after: datetime
    expires_at: datetime
    fields: dict[str, object] = field(default_factory=dict, hash=False)
