"""Invoices: drafted, finalized, charged to the customer's test card."""

from __future__ import annotations

from localcloud.stripe.account import Account
from localcloud.stripe.cards import Refusal, card_of
from localcloud.stripe.due import DAY
from localcloud.stripe.errors import invalid
from localcloud.stripe.ids import new_id
from localcloud.stripe.payments import charging, disputing
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import discounts, totals
from localcloud.stripe.subscriptions.pricing import Part, cost, parts

#: nothing to charge
NO_CARD = Refusal("generic_decline")
DEFAULT_DUNNING = {"retry_days": [3, 5, 7], "then": "cancel"}


def lines_for(
    account: Account, subscription: Object, item: Object, period: tuple[int, int], quantity: int
) -> list[Object]:
    """The invoice lines of one item of a subscription over ``period``: one a part of its price."""
    price = account.find("price", item["price"])
    return [
        _line(account, subscription, item, price, period, part.amount, part=part) for part in parts(price, quantity)
    ]


def proration_line(
    account: Account, subscription: Object, item: Object, period: tuple[int, int], amount: int, description: str
) -> Object:
    """A credit or charge for the rest of a period. Discounts are in its amount already."""
    price = account.find("price", item["price"])
    entry = _line(account, subscription, item, price, period, amount)
    entry.update(description=description, discountable=False)
    details = entry["parent"]["subscription_item_details"]
    details.update(proration=True, proration_details={"credited_items": None})
    return entry


def _line(
    account: Account,
    subscription: Object,
    item: Object,
    price: Object,
    period: tuple[int, int],
    amount: int,
    *,
    part: Part | None = None,
) -> Object:
    quantity = item.get("quantity") if part is None or price["transform_quantity"] else part.quantity
    return {
        "id": new_id("line_item"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": None if part is None else part.description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": discounts.expire(account, item, subscription["test_clock"]) if part is not None else [],
        "livemode": False,
        "metadata": dict(subscription["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": None,
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
            "unit_amount_decimal": price["unit_amount_decimal"] if part is None else f"{part.unit_amount:f}",
        },
        "quantity": quantity,
        "quantity_decimal": None if quantity is None else str(quantity),
        "subscription": subscription["id"],
        "subtotal": amount,
        "taxes": [],
    }


def paid_for(account: Account, subscription: Object, item: Object) -> int | None:
    """What an invoice took for an item's whole present period, discounts taken off; None: no invoice says so."""
    period = {"start": item["current_period_start"], "end": item["current_period_end"]}
    price = account.find("price", item["price"])
    for invoice in reversed(account.store.where("invoice", "subscription", subscription["id"])):
        if invoice["created"] < period["start"]:
            return None
        found = [
            line
            for line in invoice["lines"]["data"]
            if line["period"] == period
            and line["pricing"]["price_details"]["price"] == item["price"]
            and line["parent"]["subscription_item_details"]["subscription_item"] == item["id"]
            and not line["parent"]["subscription_item_details"]["proration"]
        ]
        if found and sum(line["amount"] for line in found) == cost(price, item.get("quantity") or 0):
            off = sum(entry["amount"] for line in found for entry in line["discount_amounts"])
            net: int = sum(line["amount"] for line in found) - off
            return net
    return None


def draft(account: Account, subscription: Object, lines: list[Object], reason: str, period: tuple[int, int]) -> Object:
    """A draft invoice of a subscription, stored and announced."""
    return record(account, subscription, build(account, subscription, lines, reason, period))


def build(account: Account, subscription: Object, lines: list[Object], reason: str, period: tuple[int, int]) -> Object:
    """The document of a draft with its discounts, taxes and sums (see ``totals``), for ``record`` to store."""
    customer = account.find("customer", subscription["customer"])
    identifier = new_id("invoice")
    for entry in lines:
        entry["invoice"] = identifier
    now = account.now(subscription["test_clock"])
    invoice: Object = {
        "id": identifier,
        "object": "invoice",
        "_days_until_due": subscription["days_until_due"],
        "account_country": "US",
        "account_name": "Local Stripe",
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": subscription["automatic_tax"]["enabled"],
            "liability": subscription["automatic_tax"]["liability"],
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
        "discounts": discounts.expire(account, account.store.edit(subscription), subscription["test_clock"]),
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
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": subscription["test_clock"],
        "threshold_reason": None,
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": now,
    }
    totals.compute(account, invoice)
    return invoice


def record(account: Account, subscription: Object, invoice: Object) -> Object:
    account.store.add(invoice)
    account.store.edit(subscription)["latest_invoice"] = invoice["id"]
    _use_up(account, subscription, invoice)
    account.emit("invoice.created", invoice)
    return invoice


def _use_up(account: Account, subscription: Object, invoice: Object) -> None:
    """What is given once is gone after the first invoice that it made smaller."""
    for entry in invoice["total_discount_amounts"]:
        if entry["amount"] and discounts.coupon_of(account, entry["discount"])["duration"] == "once":
            for holder in (subscription, *subscription["items"]["data"]):
                if entry["discount"] in holder["discounts"]:
                    discounts.take_away(account, holder, entry["discount"], subscription["test_clock"])


def finalize(account: Account, invoice: Object) -> None:
    """Draft to open: numbered and due."""
    if invoice["status"] != "draft":
        raise invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.", param="id")
    now = account.now(invoice["test_clock"])
    customer = account.store.edit(account.find("customer", invoice["customer"]))
    account.store.edit(invoice)
    totals.compute(account, invoice)  # the balance, the address or the rate may have changed since the draft
    totals.settle_balance(account, invoice, customer)
    if invoice["automatic_tax"]["status"] == "requires_location_inputs":
        invoice["automatic_tax"].update(enabled=False, disabled_reason="finalization_requires_location_inputs")
    invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
    customer["next_invoice_sequence"] += 1
    if customer["currency"] is None:
        customer["currency"] = invoice["currency"]
    invoice["status"] = "open"
    invoice["automatically_finalizes_at"] = None
    invoice["effective_at"] = invoice["status_transitions"]["finalized_at"] = now
    if invoice["collection_method"] == "send_invoice" and invoice["due_date"] is None:
        invoice["due_date"] = now + (invoice["_days_until_due"] or 30) * DAY
    if invoice["amount_due"] > 0:
        charging.open_intent(account, invoice)
    account.emit("invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        mark_paid(account, invoice)


def payment_method_of(account: Account, subscription: Object) -> Object | None:
    """The subscription's own default payment method, else the customer's."""
    customer = account.find("customer", subscription["customer"])
    identifier = subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    return None if identifier is None else account.store.get("payment_method", identifier)


def charge(account: Account, invoice: Object, method: Object | None) -> Refusal | None:
    """Try to collect an open invoice; why that failed, None when it is paid. Says nothing to the subscription."""
    if invoice["status"] == "paid":
        return None
    if invoice["status"] != "open":
        return NO_CARD
    account.store.edit(invoice)
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    invoice["next_payment_attempt"] = None
    usable = method is not None and method["customer"] is not None
    refusal = charging.attempt(account, invoice, method) if method is not None and usable else NO_CARD
    if refusal is None:
        mark_paid(account, invoice)
        if method is not None and (reason := card_of(method).dispute) is not None:
            _dispute(account, invoice, reason)
        return None
    _schedule_retry(account, invoice)
    account.emit("invoice.payment_failed", invoice)
    if refusal.code == "authentication_required":
        account.emit("invoice.payment_action_required", invoice)
    return refusal


def _dispute(account: Account, invoice: Object, reason: str) -> None:
    payment = account.store.where("invoice_payment", "invoice", invoice["id"])[-1]
    intent = account.find("payment_intent", payment["payment"]["payment_intent"])
    disputing.open_dispute(account, account.find("charge", intent["latest_charge"]), reason)


def _schedule_retry(account: Account, invoice: Object) -> None:
    days = account.setting("dunning", DEFAULT_DUNNING)["retry_days"]
    number = invoice["attempt_count"] - 1
    # A first payment is the customer's to make; what a standing subscription owes is tried again.
    if invoice["billing_reason"] != "subscription_create" and number < len(days):
        invoice["next_payment_attempt"] = account.now(invoice["test_clock"]) + days[number] * DAY


def mark_paid(account: Account, invoice: Object) -> None:
    """The invoice is settled: by its charge, by nothing being due, or outside of Stripe."""
    charging.cancel_intent(account, invoice)
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
    if status == "void":
        charging.cancel_intent(account, invoice, "void_invoice")
        totals.return_balance(account, invoice)
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
