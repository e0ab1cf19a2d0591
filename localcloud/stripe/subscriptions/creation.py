"""The beginning of a subscription: its document, its trial or its first payment."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import DAY, DEFAULT_UPCOMING_DAYS, HOUR, TRIAL_NOTICE_S
from localcloud.stripe.errors import declined, invalid
from localcloud.stripe.fields import merge_metadata, none_if_empty
from localcloud.stripe.ids import new_id
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import discounts, entitlements, invoices, taxes
from localcloud.stripe.subscriptions.cancellation import plan_cancellation
from localcloud.stripe.subscriptions.items import check, join_cycle, new_item
from localcloud.stripe.subscriptions.lifecycle import UPDATED, cycle_lines, start_cycle
from localcloud.stripe.subscriptions.periods import add_interval
from localcloud.stripe.subscriptions.pricing import share
from localcloud.stripe.subscriptions.trials import trial_end_of


def create_subscription(account: Account, customer: Object, params: dict[str, Any]) -> Object:
    """A subscription in the status its trial or first payment gives it. 402 when that must succeed and fails."""
    now = account.now(customer["test_clock"])
    identifier = new_id("subscription")
    items = [
        new_item(account, given, identifier, now, f"items[{index}]")
        for index, given in enumerate(params.get("items") or [])
    ]
    currency = check(account, items, params.get("currency", customer["currency"]))
    trial_end = trial_end_of(params, now)
    subscription = _document(account, customer, params, identifier, items, currency, now)
    account.store.add(subscription)
    _redeem(account, subscription, customer, params)
    if (params.get("automatic_tax") or {}).get("enabled"):
        taxes.check_location(customer)
        subscription["automatic_tax"].update(enabled=True, liability={"type": "self"})
    anchor = params.get("billing_cycle_anchor")
    if anchor is not None:
        _check_anchor(account, items, anchor, now)
    if trial_end is not None:
        subscription.update(status="trialing", trial_start=now, trial_end=trial_end, billing_cycle_anchor=trial_end)
        for item in items:
            item.update(current_period_start=now, current_period_end=trial_end)
    elif anchor is not None:
        subscription["billing_cycle_anchor"] = anchor
        for item in items:
            join_cycle(account, subscription, item, now)
    else:
        start_cycle(account, subscription, now)
    plan_cancellation(subscription, params, now)
    _first_invoice(account, subscription, params, now)
    return subscription


def _redeem(account: Account, subscription: Object, customer: Object, params: dict[str, Any]) -> None:
    held = {"subscription": subscription["id"], "checkout": params.get("_checkout")}
    subscription["discounts"] = discounts.redeem(
        account, none_if_empty(params.get("discounts")) or [], customer, subscription["currency"], **held
    )
    for index, (item, given) in enumerate(zip(subscription["items"]["data"], params.get("items") or [], strict=True)):
        item["discounts"] = discounts.redeem(
            account,
            none_if_empty(given.get("discounts")) or [],
            customer,
            subscription["currency"],
            param=f"items[{index}][discounts]",
            item=item["id"],
            **held,
        )


def _document(
    account: Account,
    customer: Object,
    params: dict[str, Any],
    identifier: str,
    items: list[Object],
    currency: str,
    now: int,
) -> Object:
    method = params.get("default_payment_method")
    if method is not None:
        found = account.find("payment_method", method, param="default_payment_method")
        if found["customer"] != customer["id"]:
            raise invalid(
                f"The customer does not have a payment method with the ID {method}. The payment method must be "
                "attached to the customer.",
                param="default_payment_method",
                code="resource_missing",
            )
    billing = params.get("billing_mode") or {}
    mode = billing.get("type", "flexible")
    discounts = (billing.get("flexible") or {}).get("proration_discounts", "included")
    behavior = ((params.get("trial_settings") or {}).get("end_behavior") or {}).get("missing_payment_method")
    collection = params.get("collection_method", "charge_automatically")
    if collection == "send_invoice" and "days_until_due" not in params:
        raise invalid("You must specify `days_until_due` when using `collection_method=send_invoice`.")
    return {
        "id": identifier,
        "object": "subscription",
        "_upcoming_lead": account.setting("upcoming_days", DEFAULT_UPCOMING_DAYS) * DAY,
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {
            "flexible": {"proration_discounts": discounts} if mode == "flexible" else None,
            "type": mode,
        },
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "feedback_option": None, "reason": None},
        "collection_method": collection,
        "created": now,
        "currency": currency,
        "customer": customer["id"],
        "customer_account": None,
        "days_until_due": params.get("days_until_due"),
        "default_payment_method": method,
        "default_source": None,
        "default_tax_rates": [],
        "description": params.get("description") or None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": {
            "object": "list",
            "data": items,
            "has_more": False,
            "url": f"/v1/subscription_items?subscription={identifier}",
        },
        "latest_invoice": None,
        "livemode": False,
        "managed_payments": {"enabled": False},
        "metadata": merge_metadata({}, params.get("metadata")),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
            **(params.get("payment_settings") or {}),
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "presentment_details": None,
        "schedule": None,
        "start_date": now,
        "status": "incomplete",
        "status_details": None,
        "test_clock": customer["test_clock"],
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": behavior or "create_invoice"}},
        "trial_start": None,
    }


def _check_anchor(account: Account, items: list[Object], anchor: int, now: int) -> None:
    if anchor < now:
        raise invalid("billing_cycle_anchor must be in the future", param="billing_cycle_anchor")
    for item in items:
        recurring = account.find("price", item["price"])["recurring"]
        if anchor > add_interval(now, recurring["interval"], recurring["interval_count"]):
            raise invalid(
                "billing_cycle_anchor cannot be later than next natural billing date", param="billing_cycle_anchor"
            )


def _stub_lines(account: Account, subscription: Object, behavior: str, now: int) -> list[Object]:
    """The part of a period until a billing cycle that is anchored in the future."""
    anchor = subscription["billing_cycle_anchor"]
    lines = []
    for entry in cycle_lines(account, subscription, subscription["items"]["data"]):
        recurring = account.find("price", entry["pricing"]["price_details"]["price"])["recurring"]
        whole = anchor - add_interval(anchor, recurring["interval"], -recurring["interval_count"])
        amount = 0 if behavior == "none" else share(entry["amount"], anchor - now, whole)
        lines.append({**entry, "amount": amount, "subtotal": amount})
    return lines


def _first_invoice(account: Account, subscription: Object, params: dict[str, Any], now: int) -> None:
    trialing = subscription["status"] == "trialing"
    items = subscription["items"]["data"]
    if trialing:
        lines = []
    elif subscription["billing_cycle_anchor"] > now:
        lines = _stub_lines(account, subscription, params.get("proration_behavior", "create_prorations"), now)
    else:
        lines = cycle_lines(account, subscription, items)
    invoice = invoices.build(account, subscription, lines, "subscription_create", (now, now))
    automatic = subscription["collection_method"] == "charge_automatically"
    behavior = params.get("payment_behavior", "allow_incomplete")
    method = invoices.payment_method_of(account, subscription)
    if trialing or invoice["amount_due"] == 0 or not automatic:
        subscription["status"] = "trialing" if trialing else "active"
    elif method is None and behavior != "default_incomplete":
        raise invalid(
            "This customer has no attached payment source or default payment method. Please consider adding a "
            "default payment method. For more information, visit "
            "https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.",
            code="resource_missing",
        )
    account.emit("customer.subscription.created", subscription)
    invoices.record(account, subscription, invoice)
    if not automatic:
        account.store.edit(invoice).update(automatically_finalizes_at=now + HOUR)
    else:
        invoices.finalize(account, invoice)
        if invoice["status"] == "open" and behavior != "default_incomplete":
            refusal = invoices.charge(account, invoice, method)
            if refusal is not None and behavior == "error_if_incomplete":
                raise declined(refusal.code, refusal.decline_code)
    if subscription["status"] == "incomplete" and invoice["status"] == "paid":
        with account.updating(subscription, UPDATED):
            subscription["status"] = "active"
    if trialing and subscription["trial_end"] - now <= TRIAL_NOTICE_S:
        account.store.edit(subscription)["_trial_noticed"] = True
        account.emit("customer.subscription.trial_will_end", subscription)
    entitlements.refresh(account, subscription["customer"])
