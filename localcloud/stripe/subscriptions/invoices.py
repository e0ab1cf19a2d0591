"""Invoices: drafted, finalized, charged to the customer's test card."""

from __future__ import annotations

from localcloud.stripe.account import Account
from localcloud.stripe.cards import card_of
from localcloud.stripe.due import DAY
from localcloud.stripe.errors import invalid
from localcloud.stripe.ids import new_id
from localcloud.stripe.store import Object

DEFAULT_DUNNING = {"retry_days": [3, 5, 7], "then": "cancel"}


def line(
    subscription: Object, item: Object, price: Object, period: tuple[int, int], amount: int, *, proration: bool = False
) -> Object:
    """An invoice line for one item of a subscription over ``period``."""
    return {
        "id": new_id("line_item"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": None,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "livemode": False,
        "metadata": dict(subscription["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration,
                "proration_details": {"credited_items": None} if proration else None,
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"start": period[0], "end": period[1]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item.get("quantity"),
        "quantity_decimal": None if item.get("quantity") is None else str(item["quantity"]),
        "subscription": subscription["id"],
        "subtotal": amount,
        "taxes": [],
    }


def draft(account: Account, subscription: Object, lines: list[Object], reason: str, period: tuple[int, int]) -> Object:
    """A draft invoice of a subscription; negative totals become zero, as credit is left to the customer's balance."""
    customer = account.find("customer", subscription["customer"])
    identifier = new_id("invoice")
    for entry in lines:
        entry["invoice"] = identifier
    total = sum(entry["amount"] for entry in lines)
    due = max(0, total)
    now = account.now(subscription["test_clock"])
    invoice: Object = {
        "id": identifier,
        "object": "invoice",
        "_days_until_due": subscription["days_until_due"],
        "account_country": "US",
        "account_name": "Local Stripe",
        "account_tax_ids": None,
        "amount_due": due,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": due,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": subscription["collection_method"],
        "created": now,
        "currency": subscription["currency"],
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": {
            "object": "list",
            "data": lines,
            "has_more": False,
            "url": f"/v1/invoices/{identifier}/lines",
        },
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": period[1],
        "period_start": period[0],
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_details": None,
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "test_clock": subscription["test_clock"],
        "threshold_reason": None,
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": now,
    }
    account.store.add(invoice)
    account.store.edit(subscription)["latest_invoice"] = identifier
    account.emit("invoice.created", invoice)
    return invoice


def finalize(account: Account, invoice: Object) -> None:
    """Draft to open: numbered and due."""
    if invoice["status"] != "draft":
        raise invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.", param="id")
    now = account.now(invoice["test_clock"])
    customer = account.store.edit(account.find("customer", invoice["customer"]))
    account.store.edit(invoice)
    invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
    customer["next_invoice_sequence"] += 1
    if customer["currency"] is None:
        customer["currency"] = invoice["currency"]
    invoice["status"] = "open"
    invoice["automatically_finalizes_at"] = None
    invoice["effective_at"] = invoice["status_transitions"]["finalized_at"] = now
    if invoice["collection_method"] == "send_invoice" and invoice["due_date"] is None:
        invoice["due_date"] = now + (invoice["_days_until_due"] or 30) * DAY
    account.emit("invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        mark_paid(account, invoice)


def payment_method_of(account: Account, subscription: Object) -> Object | None:
    """The subscription's own default payment method, else the customer's."""
    customer = account.find("customer", subscription["customer"])
    identifier = subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    return None if identifier is None else account.store.get("payment_method", identifier)


def charge(account: Account, invoice: Object, method: Object | None) -> bool:
    """Try to collect an open invoice; whether it succeeded. Emits its events; says nothing to the subscription."""
    if invoice["status"] != "open":
        return bool(invoice["status"] == "paid")
    account.store.edit(invoice)
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    invoice["next_payment_attempt"] = None
    if method is not None and method["customer"] is not None and card_of(method).charges:
        mark_paid(account, invoice)
        return True
    _schedule_retry(account, invoice)
    account.emit("invoice.payment_failed", invoice)
    return False


def _schedule_retry(account: Account, invoice: Object) -> None:
    days = account.setting("dunning", DEFAULT_DUNNING)["retry_days"]
    number = invoice["attempt_count"] - 1
    # A first payment is the customer's to make; what a standing subscription owes is tried again.
    if invoice["billing_reason"] != "subscription_create" and number < len(days):
        invoice["next_payment_attempt"] = account.now(invoice["test_clock"]) + days[number] * DAY


def mark_paid(account: Account, invoice: Object) -> None:
    account.store.edit(invoice)
    invoice["status"] = "paid"
    invoice["amount_paid"] = invoice["amount_due"]
    invoice["amount_remaining"] = 0
    invoice["attempted"] = True
    invoice["next_payment_attempt"] = None
    invoice["auto_advance"] = False
    invoice["status_transitions"]["paid_at"] = account.now(invoice["test_clock"])
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)


def close(account: Account, invoice: Object, status: str) -> None:
    """Open or draft to ``void`` or ``uncollectible``."""
    account.store.edit(invoice)
    invoice["status"] = status
    invoice["next_payment_attempt"] = None
    invoice["automatically_finalizes_at"] = None
    invoice["auto_advance"] = False
    name = "voided_at" if status == "void" else "marked_uncollectible_at"
    invoice["status_transitions"][name] = account.now(invoice["test_clock"])
    account.emit("invoice.voided" if status == "void" else "invoice.marked_uncollectible", invoice)


def of_subscription(account: Account, subscription: Object, *statuses: str) -> list[Object]:
    """A subscription's invoices in one of ``statuses`` (any when none is given), oldest first."""
    return [
        invoice
        for invoice in account.store.where("invoice", "subscription", subscription["id"])
        if not statuses or invoice["status"] in statuses
    ]
