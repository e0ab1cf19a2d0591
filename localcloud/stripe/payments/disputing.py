"""Disputes: a customer asks the bank for the money back, and the bank decides."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import DAY
from localcloud.stripe.errors import invalid
from localcloud.stripe.ids import new_id
from localcloud.stripe.store import Object

#: Days that a merchant has to answer with evidence.
ANSWER_DAYS = 9
CLOSED = ("won", "lost", "warning_closed", "prevented")

_EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
    "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
    "duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
    "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file",
    "uncategorized_text",
)  # fmt: skip


def open_dispute(account: Account, charge: Object, reason: str, amount: int | None = None) -> Object:
    """The customer's bank takes the money back and asks for evidence."""
    if charge["status"] != "succeeded" or charge["disputed"]:
        raise invalid(f"Charge {charge['id']} has failed or is disputed already.", param="charge")
    clock = charge["_clock"]
    now = account.now(clock)
    taken = amount if amount is not None else charge["amount"] - charge["amount_refunded"]
    if not 1 <= taken <= charge["amount"]:
        raise invalid(f"amount must be from 1 to {charge['amount']}", param="amount")
    dispute = account.store.add(
        {
            "id": new_id("dispute"),
            "object": "dispute",
            "_clock": clock,
            "amount": taken,
            "balance_transactions": [],
            "charge": charge["id"],
            "created": now,
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": {**dict.fromkeys(_EVIDENCE), "enhanced_evidence": {}},
            "evidence_details": {
                "due_by": now + ANSWER_DAYS * DAY,
                "enhanced_eligibility": {},
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
            },
            "is_charge_refundable": False,
            "livemode": False,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "reason": reason,
            "status": "needs_response",
        }
    )
    with account.updating(charge):
        charge["disputed"] = True
    account.emit("charge.dispute.created", dispute)
    account.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def add_evidence(account: Account, dispute: Object, evidence: dict[str, Any], *, submit: bool) -> None:
    """The merchant's side; submitted, it is the bank's turn."""
    _still_open(dispute)
    with account.updating(dispute, "charge.dispute.updated"):
        dispute["evidence"].update({name: value or None for name, value in evidence.items()})
        details = dispute["evidence_details"]
        details["has_evidence"] = any(value for name, value in dispute["evidence"].items() if name in _EVIDENCE)
        if submit:
            details["submission_count"] += 1
            dispute["status"] = "under_review"


def close(account: Account, dispute: Object, status: str) -> None:
    """``won``: the money comes back; ``lost``: it is gone, and the charge stays disputed."""
    _still_open(dispute)
    with account.updating(dispute, "charge.dispute.closed"):
        dispute["status"] = status
    if status == "won":
        account.emit("charge.dispute.funds_reinstated", dispute)


def _still_open(dispute: Object) -> None:
    if dispute["status"] in CLOSED:
        raise invalid(f"This dispute is already closed: {dispute['status']}.", param="dispute")
