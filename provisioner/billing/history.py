"""What became of a customer's payments, as far as access depends on it. Frozen values; times are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class OpenInvoice:
    """An invoice of a subscription whose payment failed and that is still owed."""

    invoice_id: str
    subscription_id: str
    owed_since: int  #: when it was finalized, or due if it is sent to the customer
    next_attempt_at: int | None  #: Stripe's ``next_payment_attempt``; None: it tries no more
    attempts: int = 0


class DisputeStatus(StrEnum):
    """https://docs.stripe.com/api/disputes/object#dispute_object-status

    An inquiry (``warning_*``) takes nothing away.
    """

    WARNING_NEEDS_RESPONSE = "warning_needs_response"
    WARNING_UNDER_REVIEW = "warning_under_review"
    WARNING_CLOSED = "warning_closed"
    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    PREVENTED = "prevented"

    @property
    def open(self) -> bool:
        return self in (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW)

    @property
    def lost(self) -> bool:
        return self is DisputeStatus.LOST


@dataclass(frozen=True)
class Dispute:
    """``subscription_id``: what the disputed payment was for; None: unknown, it counts for all of the customer's."""

    dispute_id: str
    status: DisputeStatus
    created: int
    subscription_id: str | None = None


@dataclass(frozen=True)
class Refund:
    """A payment that was given back in full. ``period_end``: of what it had paid for; None: unknown."""

    charge_id: str
    refunded_at: int
    subscription_id: str | None = None
    period_end: int | None = None


@dataclass(frozen=True)
class PaymentHistory:
    """``last_paid_at``: subscription -> when an invoice of it was last paid with money. ``refused_trials``:
    subscriptions whose trial is not the first of their customer or domain."""

    open_invoices: tuple[OpenInvoice, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    refunds: tuple[Refund, ...] = ()
    last_paid_at: tuple[tuple[str, int], ...] = ()
    refused_trials: frozenset[str] = frozenset()


NO_HISTORY = PaymentHistory()
