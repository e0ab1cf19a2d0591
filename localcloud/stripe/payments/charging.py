"""A payment intent of an invoice, and the charges that its attempts make."""

from __future__ import annotations

from datetime import UTC, datetime

from localcloud.stripe.account import Account
from localcloud.stripe.cards import Refusal, refusal_of
from localcloud.stripe.ids import new_id
from localcloud.stripe.store import Object, copy_of


def open_intent(account: Account, invoice: Object) -> Object:
    """The intent to collect what an invoice says is due, and the invoice payment that ties the two together."""
    now = account.now(invoice["test_clock"])
    identifier = new_id("payment_intent")
    intent = account.store.add(
        {
            "id": identifier,
            "object": "payment_intent",
            "_clock": invoice["test_clock"],
            "amount": invoice["amount_due"],
            "amount_capturable": 0,
            "amount_received": 0,
            "automatic_payment_methods": None,
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": "automatic",
            "client_secret": f"{identifier}_secret_local",
            "confirmation_method": "automatic",
            "created": now,
            "currency": invoice["currency"],
            "customer": invoice["customer"],
            "customer_account": None,
            "description": invoice["description"],
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": {},
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_types": ["card"],
            "processing": None,
            "setup_future_usage": None,
            "status": "requires_payment_method",
            "transfer_data": None,
        }
    )
    account.emit("payment_intent.created", intent)
    account.store.add(
        {
            "id": new_id("invoice_payment"),
            "object": "invoice_payment",
            "_clock": invoice["test_clock"],
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": now,
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": identifier, "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )
    return intent


def intent_of(account: Account, invoice: Object) -> Object | None:
    """The intent that an open invoice waits for."""
    payment = _open_payment(account, invoice)
    return None if payment is None else account.find("payment_intent", payment["payment"]["payment_intent"])


def _open_payment(account: Account, invoice: Object) -> Object | None:
    payments = account.store.where("invoice_payment", "invoice", invoice["id"])
    return next((payment for payment in payments if payment["status"] == "open"), None)


def invoice_of(account: Account, intent: str) -> Object | None:
    """The invoice that an intent collects."""
    payments = account.store.where("invoice_payment", "payment_intent", intent)
    return account.store.get("invoice", payments[0]["invoice"]) if payments else None


def attempt(account: Account, invoice: Object, method: Object) -> Refusal | None:
    """Ask a card for what an open invoice is due; why it refused, or None when it paid."""
    intent = intent_of(account, invoice) or open_intent(account, invoice)
    refusal = refusal_of(method, datetime.fromtimestamp(account.now(intent["_clock"]), UTC))
    account.store.edit(intent)["payment_method"] = method["id"]
    if refusal is not None and refusal.code == "authentication_required":
        intent.update(status="requires_action", next_action={"type": "use_stripe_sdk", "use_stripe_sdk": {}})
        account.emit("payment_intent.requires_action", intent)
        return refusal
    charge = _charge(account, intent, method, refusal)
    intent["latest_charge"] = charge["id"]
    if refusal is not None:
        intent.update(status="requires_payment_method", payment_method=None)
        intent["last_payment_error"] = {
            "charge": charge["id"],
            "code": refusal.code,
            "decline_code": refusal.decline_code,
            "message": refusal.message,
            "type": "card_error",
        }
        account.emit("payment_intent.payment_failed", intent)
        return refusal
    intent.update(status="succeeded", amount_received=intent["amount"], last_payment_error=None, next_action=None)
    account.emit("payment_intent.succeeded", intent)
    payment = _open_payment(account, invoice)
    if payment is not None:
        account.store.edit(payment).update(status="paid", amount_paid=intent["amount"])
        payment["status_transitions"]["paid_at"] = account.now(intent["_clock"])
        account.emit("invoice_payment.paid", payment)
    return None


def cancel_intent(account: Account, invoice: Object, reason: str | None = None) -> None:
    """The invoice needs its intent no longer: it was voided, or paid in another way."""
    payment = _open_payment(account, invoice)
    if payment is None:
        return
    now = account.now(invoice["test_clock"])
    intent = account.store.edit(account.find("payment_intent", payment["payment"]["payment_intent"]))
    intent.update(status="canceled", canceled_at=now, cancellation_reason=reason, next_action=None)
    account.store.edit(payment)["status"] = "canceled"
    payment["status_transitions"]["canceled_at"] = now
    account.emit("payment_intent.canceled", intent)


def _charge(account: Account, intent: Object, method: Object, refusal: Refusal | None) -> Object:
    paid = refusal is None
    card = method["card"]
    charge = account.store.add(
        {
            "id": new_id("charge"),
            "object": "charge",
            "_clock": intent["_clock"],
            "amount": intent["amount"],
            "amount_captured": intent["amount"] if paid else 0,
            "amount_refunded": 0,
            "application": None,
            "application_fee": None,
            "application_fee_amount": None,
            "balance_transaction": new_id("balance_transaction") if paid else None,
            "billing_details": copy_of(method["billing_details"]),
            "calculated_statement_descriptor": "LOCAL STRIPE",
            "captured": paid,
            "created": account.now(intent["_clock"]),
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "disputed": False,
            "failure_balance_transaction": None,
            "failure_code": None if refusal is None else refusal.code,
            "failure_message": None if refusal is None else refusal.message,
            "fraud_details": {},
            "livemode": False,
            "metadata": {},
            "on_behalf_of": None,
            "outcome": {
                "advice_code": None,
                "network_advice_code": None,
                "network_decline_code": None if refusal is None else "05",
                "network_status": "approved_by_network" if refusal is None else "declined_by_network",
                "reason": None if refusal is None else refusal.decline_code,
                "risk_level": "normal",
                "seller_message": "Payment complete." if refusal is None else "The bank returned a decline.",
                "type": "authorized" if refusal is None else "issuer_declined",
            },
            "paid": paid,
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": {
                "card": {
                    name: card[name]
                    for name in ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
                },
                "type": "card",
            },
            "receipt_email": None,
            "receipt_number": None,
            "receipt_url": None,
            "refunded": False,
            "review": None,
            "shipping": None,
            "source_transfer": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "succeeded" if paid else "failed",
            "transfer_data": None,
            "transfer_group": None,
        }
    )
    account.emit("charge.succeeded" if paid else "charge.failed", charge)
    return charge
