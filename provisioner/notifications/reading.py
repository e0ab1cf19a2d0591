"""From Stripe's documents to facts. Pure; whatever is missing or malformed is absent, never an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from components.spec import Access
from provisioner import payments
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.history import PaymentHistory
from provisioner.billing.translate import SubscriptionState
from provisioner.billing.verdict import Reason, Verdict, judge
from provisioner.notifications.facts import Card, Invoice, Money, Recipient, Step, Subscription
from provisioner.registry.dunning import Cancellation

#: Reasons that a payment ends.
OVERDUE = frozenset({Reason.PAYMENT_OVERDUE, Reason.PAYMENT_FAILED})
_STEPS_AHEAD = 6


def recipient_of(customer: object) -> Recipient | None:
    """None for a customer that was deleted, or is not expanded."""
    if not isinstance(customer, Mapping) or customer.get("deleted"):
        return None
    locales = customer.get("preferred_locales")
    address, metadata = customer.get("address"), customer.get("metadata")
    return Recipient(
        email=_text(customer.get("email")),
        name=_text(customer.get("name")),
        locales=tuple(each for each in locales[:5] if isinstance(each, str)) if isinstance(locales, list) else (),
        country=_text(address.get("country")) if isinstance(address, Mapping) else None,
        time_zone=_text(metadata.get("tz")) if isinstance(metadata, Mapping) else None,
    )


def recipient_document(recipient: Recipient) -> dict[str, Any]:
    return {
        "email": recipient.email,
        "name": recipient.name,
        "locales": list(recipient.locales),
        "country": recipient.country,
        "time_zone": recipient.time_zone,
    }


def recipient_from(document: Mapping[str, Any]) -> Recipient:
    """What ``recipient_document`` made."""
    locales = document.get("locales")
    return Recipient(
        email=_text(document.get("email")),
        name=_text(document.get("name")),
        locales=tuple(each for each in locales if isinstance(each, str)) if isinstance(locales, list) else (),
        country=_text(document.get("country")),
        time_zone=_text(document.get("time_zone")),
    )


def default_payment_method(subscription: Mapping[str, Any]) -> str | None:
    """The id of what the next invoice is charged to; ``customer`` is expanded."""
    own = _reference(subscription.get("default_payment_method"))
    if own is not None:
        return own
    customer = subscription.get("customer")
    settings = customer.get("invoice_settings") if isinstance(customer, Mapping) else None
    return _reference(settings.get("default_payment_method")) if isinstance(settings, Mapping) else None


def has_source(subscription: Mapping[str, Any]) -> bool:
    """Whether there is something to charge that is no payment method: sources of former times."""
    customer = subscription.get("customer")
    return bool(subscription.get("default_source")) or (
        isinstance(customer, Mapping) and bool(customer.get("default_source"))
    )


def card_of(payment_method: Mapping[str, Any]) -> Card | None:
    card = payment_method.get("card")
    if not isinstance(card, Mapping):
        return None
    month, year, last4 = card.get("exp_month"), card.get("exp_year"), card.get("last4")
    if not isinstance(month, int) or not isinstance(year, int) or not isinstance(last4, str):
        return None
    brand = _text(card.get("display_brand")) or _text(card.get("brand")) or "card"
    return Card(brand.replace("_", " ").title()[:20], last4[:4], month, year)


def subscription_of(
    state: SubscriptionState,
    document: Mapping[str, Any],
    *,
    card: Card | None,
    has_payment_method: bool,
    renewal: Mapping[str, Any] | None,
) -> Subscription:
    return Subscription(
        subscription_id=state.subscription_id,
        status=state.status.value,
        interval=_interval(document),
        period_end=_utc(state.current_period_end),
        started=_utc(state.created),
        trial_end=_optional(state.trial_end),
        # at the end of a period Stripe sets only the flag in older versions
        cancel_at=_optional(state.cancel_at or (state.current_period_end if state.cancel_at_period_end else None)),
        ended_at=_optional(state.ended_at),
        has_payment_method=has_payment_method,
        card=card,
        renewal=None if renewal is None else _money(renewal, "amount_due"),
    )


def invoices_of(documents: Sequence[Mapping[str, Any]], subscription_id: str) -> Iterator[Invoice]:
    """Those of the subscription that are owed."""
    for document in documents:
        owed = payments.open_invoice(dict(document))
        amount = _money(document, "amount_remaining") or _money(document, "amount_due")
        if owed is None or owed.subscription_id != subscription_id or amount is None:
            continue
        yield Invoice(
            invoice_id=owed.invoice_id,
            subscription_id=owed.subscription_id,
            owed_since=_utc(owed.owed_since),
            amount=amount,
            attempts=owed.attempts,
            next_attempt_at=_optional(owed.next_attempt_at),
            url=_text(document.get("hosted_invoice_url")),
        )


def waits_for_customer(payments_of_invoice: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a bank wants the customer to confirm one of the payments."""
    for each in payments_of_invoice:
        payment = each.get("payment")
        intent = payment.get("payment_intent") if isinstance(payment, Mapping) else None
        if isinstance(intent, Mapping) and intent.get("status") == "requires_action":
            return True
    return False


def steps_ahead(
    verdict: Verdict, states: Sequence[SubscriptionState], history: PaymentHistory, catalogue: Catalogue
) -> tuple[Step, ...]:
    """What time alone will take away, found by asking for the verdict of later: there is one set of rules."""
    steps: list[Step] = []
    while verdict.reason in OVERDUE and verdict.next_change_at is not None and len(steps) < _STEPS_AHEAD:
        at = _utc(verdict.next_change_at)
        following = judge(states, history, catalogue, at)
        if following.next_change_at is not None and following.next_change_at <= verdict.next_change_at:
            break
        if following.access is not verdict.access and following.reason in OVERDUE:
            steps.append(Step(following.access, at))
        verdict = following
    return tuple(steps)


def cancellation_of(state: SubscriptionState, document: Mapping[str, Any]) -> Cancellation | None:
    """Why a subscription ends or has ended, as far as it was told; None if it doesn't end."""
    ends = state.ended_at is not None or state.cancel_at is not None or state.cancel_at_period_end
    if not ends:
        return None
    details = document.get("cancellation_details")
    told = details if isinstance(details, Mapping) else {}
    comment = _text(told.get("comment"))
    return Cancellation(
        subscription_id=state.subscription_id,
        plan=state.plan,
        reason=_text(told.get("reason")),
        feedback=_text(told.get("feedback")),
        comment=None if comment is None else comment[:2000],
        canceled_at=_optional(state.canceled_at),
        ended_at=_optional(state.ended_at),
    )


def is_step_down(access: Access) -> bool:
    return access in (Access.GRACE, Access.THROTTLED, Access.READ_ONLY, Access.SUSPENDED, Access.HIBERNATED)


def _interval(document: Mapping[str, Any]) -> str | None:
    items = document.get("items")
    for item in (items.get("data") if isinstance(items, Mapping) else None) or []:
        price = item.get("price") if isinstance(item, Mapping) else None
        recurring = price.get("recurring") if isinstance(price, Mapping) else None
        if isinstance(recurring, Mapping) and recurring.get("usage_type") != "metered":
            return _text(recurring.get("interval"))
    return None


def _money(document: Mapping[str, Any], key: str) -> Money | None:
    amount, currency = document.get(key), document.get("currency")
    if not isinstance(amount, int) or isinstance(amount, bool) or not isinstance(currency, str):
        return None
    return Money(amount, currency)


def _reference(value: object) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("id")
    return _text(value)


def _text(value: object) -> str | None:
    """PostgreSQL keeps no NUL in text."""
    return value.replace("\0", "")[:500] if isinstance(value, str) and value else None


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _optional(seconds: int | None) -> datetime | None:
    return None if seconds is None else _utc(seconds)
