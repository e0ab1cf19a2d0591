"""Disputes and refunds: from Stripe's documents, in the pinned API version, to cases. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeGuard

from provisioner.billing.history import DisputeStatus
from provisioner.billing.webhooks import END_OF_TIME
from provisioner.errors import Quarantined
from provisioner.registry.payment_cases import CaseKind, PaymentCase


def payment_intent_of(document: Mapping[str, Any]) -> str | None:
    """Of a charge or a dispute; None for a payment without one."""
    return _reference(document.get("payment_intent"))


def of_dispute(document: Mapping[str, Any], invoice: Mapping[str, Any] | None) -> PaymentCase | None:
    """``document`` has its charge expanded; ``invoice``: what the payment was for. None: the payer is no customer.
    ``Quarantined`` when it can't be understood."""
    what = f"dispute {_text(document, 'id', 'a dispute')}"
    charge = document.get("charge")
    if not isinstance(charge, Mapping):
        _unreadable(what, "its charge is not expanded")
    customer = _reference(charge.get("customer"))
    if customer is None:
        return None
    status = _text(document, "status", what)
    if status not in {each.value for each in DisputeStatus}:
        _unreadable(what, f"its status {status[:40]!r} is unknown")
    return PaymentCase(
        case_id=str(document["id"]),
        kind=CaseKind.DISPUTE,
        customer_id=customer,
        subscription_id=subscription_of(invoice),
        status=status,
        amount=_amount(document, "amount", what),
        currency=_text(document, "currency", what),
        created=_time(document, "created", what),
        period_end=period_end_of(invoice),
    )


def of_charge(document: Mapping[str, Any], invoice: Mapping[str, Any] | None, now: int) -> PaymentCase | None:
    """What was refunded of a charge: nothing, if its refund failed. None if its payer is no customer. ``now``: when it
    was seen."""
    what = f"charge {_text(document, 'id', 'a charge')}"
    customer = _reference(document.get("customer"))
    refunded = _amount(document, "amount_refunded", what)
    if customer is None:
        return None
    part = "none" if refunded == 0 else "full" if document.get("refunded") is True else "partial"
    return PaymentCase(
        case_id=str(document["id"]),
        kind=CaseKind.REFUND,
        customer_id=customer,
        subscription_id=subscription_of(invoice),
        status=part,
        amount=refunded,
        currency=_text(document, "currency", what),
        created=_refunded_at(document, now),
        period_end=period_end_of(invoice),
    )


_UNDONE = ("failed", "canceled")


def _refunded_at(charge: Mapping[str, Any], now: int) -> int:
    refunds = charge.get("refunds")
    data = refunds.get("data") if isinstance(refunds, Mapping) else None
    made = [each for each in data or [] if isinstance(each, Mapping) and each.get("status") not in _UNDONE]
    times = [each.get("created") for each in made]
    return max((at for at in times if _is_time(at)), default=now)


def subscription_of(invoice: Mapping[str, Any] | None) -> str | None:
    parent = None if invoice is None else invoice.get("parent")
    details = parent.get("subscription_details") if isinstance(parent, Mapping) else None
    return _reference(details.get("subscription")) if isinstance(details, Mapping) else None


def period_end_of(invoice: Mapping[str, Any] | None) -> int | None:
    """The end of what the invoice paid for: the latest of its lines'."""
    lines = None if invoice is None else invoice.get("lines")
    data = lines.get("data") if isinstance(lines, Mapping) else None
    periods = [line.get("period") for line in data or [] if isinstance(line, Mapping)]
    ends = [period.get("end") for period in periods if isinstance(period, Mapping)]
    return max((end for end in ends if _is_time(end)), default=None)


def _reference(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and value else None


def _text(document: Mapping[str, Any], key: str, what: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        _unreadable(what, f"`{key}` is no text")
    return value


def _amount(document: Mapping[str, Any], key: str, what: str) -> int:
    value = document.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        _unreadable(what, f"`{key}` is no amount")
    return value


def _time(document: Mapping[str, Any], key: str, what: str) -> int:
    value = document.get(key)
    if not _is_time(value):
        _unreadable(what, f"`{key}` is no timestamp")
    return value


def _is_time(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < END_OF_TIME


def _unreadable(what: str, reason: str) -> NoReturn:
    error = Quarantined(f"{what} can't be understood: {reason}", hint="Look at it in Stripe's dashboard")
    error.code = "unreadable_object"
    raise error
