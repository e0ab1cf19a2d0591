"""Money back: refunds of charges."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.store import Object


def refund(account: Account, charge: Object, params: dict[str, Any]) -> Object:
    """Give back ``amount`` of a charge (all that is left of it when none is given). 400 when that is too much."""
    left = charge["amount_captured"] - charge["amount_refunded"]
    if charge["status"] != "succeeded":
        raise invalid(f"Charge {charge['id']} has not succeeded: there is nothing to refund.", param="charge")
    if left == 0:
        raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if charge["disputed"]:
        raise invalid(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    amount = params.get("amount", left)
    if amount < 1:
        raise invalid(
            "This value must be greater than or equal to 1.", param="amount", code="parameter_invalid_integer"
        )
    if amount > left:
        raise invalid(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
            code="amount_too_large",
        )
    clock = charge["_clock"]
    made = account.store.add(
        {
            "id": new_id("refund"),
            "object": "refund",
            "_clock": clock,
            "amount": amount,
            "balance_transaction": new_id("balance_transaction"),
            "charge": charge["id"],
            "created": account.now(clock),
            "currency": charge["currency"],
            "customer": charge["customer"],
            "destination_details": {"card": {"type": "pending"}, "type": "card"},
            "metadata": merge_metadata({}, params.get("metadata")),
            "payment_intent": charge["payment_intent"],
            "reason": params.get("reason"),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }
    )
    account.emit("refund.created", made)
    with account.updating(charge, "charge.refunded"):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    return made


def fail(account: Account, made: Object, reason: str) -> None:
    """The bank sent a refund back: the charge is as if it had not been made."""
    with account.updating(made, "refund.failed"):
        made.update(status="failed", failure_reason=reason)
    charge = account.find("charge", made["charge"])
    with account.updating(charge):
        charge["amount_refunded"] -= made["amount"]
        charge["refunded"] = False
