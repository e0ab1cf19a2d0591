"""A customer's payments, as far as access depends on them. Stripe is asked only when a status calls for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from provisioner.billing import facts, taken_back
from provisioner.billing.gateway import BillingGateway, Document
from provisioner.billing.history import Dispute, DisputeStatus, OpenInvoice, PaymentHistory, Refund
from provisioner.billing.translate import SubscriptionState, SubscriptionStatus
from provisioner.registry.payment_cases import CaseKind
from provisioner.registry.tenants import TenantRecord

_OWING = (SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID)


async def history_of(
    gateway: BillingGateway,
    customer_id: str | None,
    states: Sequence[SubscriptionState],
    cases: Sequence[Mapping[str, Any]],
    refused_trials: frozenset[str] = frozenset(),
) -> PaymentHistory:
    """``cases``: the customer's rows of ``registry.payment_case``. Raises what the gateway raises."""
    disputes, refunds = _disputes(cases), _refunds(cases)
    if customer_id is None:
        return PaymentHistory(disputes=disputes, refunds=refunds, refused_trials=refused_trials)
    open_invoices: tuple[OpenInvoice, ...] = ()
    if any(state.status in _OWING for state in states):
        documents = await gateway.invoices_of(customer_id, "open")
        open_invoices = tuple(each for document in documents if (each := open_invoice(document)) is not None)
    paid: tuple[tuple[str, int], ...] = ()
    if refunds or any(dispute.status.lost for dispute in disputes):
        paid = _last_paid(await gateway.invoices_of(customer_id, "paid"))
    return PaymentHistory(open_invoices, disputes, refunds, paid, refused_trials)


def remembered(record: TenantRecord) -> PaymentHistory:
    """The history that a tenant's last decision saw: what a look at all tenants makes do with."""
    cases = record.payment_cases or ()
    return replace(facts.remembered(record.billing), disputes=_disputes(cases), refunds=_refunds(cases))


def open_invoice(document: Document) -> OpenInvoice | None:
    """None for an invoice of no subscription, and for one whose payment is not due yet."""
    subscription = taken_back.subscription_of(document)
    if subscription is None:
        return None
    transitions = document.get("status_transitions") or {}
    finalized = transitions.get("finalized_at") or document["created"]
    sent = document.get("collection_method") == "send_invoice"
    attempts = int(document.get("attempt_count") or 0)
    if not sent and attempts == 0:
        return None
    due = document.get("due_date") if sent else None
    return OpenInvoice(
        invoice_id=document["id"],
        subscription_id=subscription,
        owed_since=int(due or finalized),
        next_attempt_at=document.get("next_payment_attempt"),
        attempts=attempts,
    )


def _last_paid(documents: Sequence[Document]) -> tuple[tuple[str, int], ...]:
    """An invoice of nothing, and one that was marked as paid, brought no money."""
    paid: dict[str, int] = {}
    for document in documents:
        subscription = taken_back.subscription_of(document)
        at = (document.get("status_transitions") or {}).get("paid_at")
        if subscription is not None and isinstance(at, int) and document.get("amount_paid", 0) > 0:
            paid[subscription] = max(at, paid.get(subscription, 0))
    return tuple(sorted(paid.items()))


def _disputes(cases: Sequence[Mapping[str, Any]]) -> tuple[Dispute, ...]:
    return tuple(_dispute(case) for case in cases if case["kind"] == CaseKind.DISPUTE)


def _refunds(cases: Sequence[Mapping[str, Any]]) -> tuple[Refund, ...]:
    """A part that was given back takes nothing away."""
    return tuple(_refund(case) for case in cases if case["kind"] == CaseKind.REFUND and case["status"] == "full")


def _dispute(case: Mapping[str, Any]) -> Dispute:
    return Dispute(
        case["case_id"], DisputeStatus(case["status"]), _seconds(case["created_at"]), case["subscription_id"]
    )


def _refund(case: Mapping[str, Any]) -> Refund:
    ends = case["period_end"]
    return Refund(
        case["case_id"],
        _seconds(case["created_at"]),
        case["subscription_id"],
        None if ends is None else _seconds(ends),
    )


def _seconds(text: str) -> int:
    """Of a timestamp as PostgreSQL writes it in JSON."""
    return int(datetime.fromisoformat(text).timestamp())
