"""The beginning of a subscription: its document, its trial or its first payment."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import ApiError, invalid
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import entitlements, invoices
from localcloud.stripe.subscriptions.items import check, join_cycle, new_item
from localcloud.stripe.subscriptions.lifecycle import UPDATED, cycle_lines, start_cycle

DAY = 86400
MAX_TRIAL_DAYS = 730


def create_subscription(account: Account, customer: Object, params: dict[str, Any]) -> Object:
    """A subscription in the status its trial or first payment gives it. 402 when that must succeed and fails."""
    now = account.now(customer["test_clock"])
    identifier = new_id("subscription")
    items = [
        new_item(account, given, identifier, now, f"items[{index}]")
        for index, given in enumerate(params.get("items") or [])
    ]
    currency = check(account, items, customer["currency"])
    trial_end = _trial_end(params, now)
    subscription = _document(account, customer, params, identifier, items, currency, now)
    account.store.add(subscription)
    anchor = params.get("billing_cycle_anchor")
    if anchor is not None and anchor < now:
        raise invalid("billing_cycle_anchor must be in the future", param="billing_cycle_anchor")
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
    _first_invoice(account, subscription, params, now)
    return subscription


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
    mode = (params.get("billing_mode") or {}).get("type", "flexible")
    behavior = ((params.get("trial_settings") or {}).get("end_behavior") or {}).get("missing_payment_method")
    collection = params.get("collection_method", "charge_automatically")
    if collection == "send_invoice" and "days_until_due" not in params:
        raise invalid("You must specify `days_until_due` when using `collection_method=send_invoice`.")
    cancel_at = params.get("cancel_at")
    return {
        "id": identifier,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"} if mode == "flexible" else None,
            "type": mode,
        },
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": cancel_at if isinstance(cancel_at, int) else None,
        "cancel_at_period_end": params.get("cancel_at_period_end", False),
        "canceled_at": now if params.get("cancel_at_period_end") or cancel_at else None,
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
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "status": "incomplete",
        "test_clock": customer["test_clock"],
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": behavior or "create_invoice"}},
        "trial_start": None,
    }


def _trial_end(params: dict[str, Any], now: int) -> int | None:
    if "trial_end" in params and "trial_period_days" in params:
        raise invalid("You cannot set both trial_end and trial_period_days.", param="trial_end")
    if "trial_period_days" in params:
        days = params["trial_period_days"]
        if not 0 <= days <= MAX_TRIAL_DAYS:
            raise invalid(f"Trial periods can be 0 to {MAX_TRIAL_DAYS} days long.", param="trial_period_days")
        return now + days * DAY if days else None
    end = params.get("trial_end")
    if end is None or end == "now":
        return None
    if end <= now:
        raise invalid("Trial end must be in the future: use `now` to end the trial now", param="trial_end")
    if end > now + MAX_TRIAL_DAYS * DAY:
        raise invalid("Invalid trial_end: it can be at most two years from now", param="trial_end")
    return int(end)


def _first_invoice(account: Account, subscription: Object, params: dict[str, Any], now: int) -> None:
    trialing = subscription["status"] == "trialing"
    items = subscription["items"]["data"]
    lines = [] if trialing else cycle_lines(account, subscription, items)
    total = sum(entry["amount"] for entry in lines)
    automatic = subscription["collection_method"] == "charge_automatically"
    behavior = params.get("payment_behavior", "allow_incomplete")
    method = invoices.payment_method_of(account, subscription)
    if trialing or total == 0 or not automatic:
        subscription["status"] = "trialing" if trialing else "active"
    elif method is None and behavior != "default_incomplete":
        raise invalid(
            "This customer has no attached payment source or default payment method. Please consider adding a "
            "default payment method. For more information, visit "
            "https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.",
            code="resource_missing",
        )
    account.emit("customer.subscription.created", subscription)
    invoice = invoices.draft(account, subscription, lines, "subscription_create", (now, now))
    if not automatic:
        account.store.edit(invoice).update(automatically_finalizes_at=now + invoices.HOUR)
    else:
        invoices.finalize(account, invoice)
        if invoice["status"] == "open" and behavior != "default_incomplete":
            paid = invoices.charge(account, invoice, method)
            if not paid and behavior == "error_if_incomplete":
                raise ApiError(
                    402, "Your card was declined.", type="card_error", code="card_declined",
                    decline_code="generic_decline",
                )  # fmt: skip
    if subscription["status"] == "incomplete" and invoice["status"] == "paid":
        with account.updating(subscription, UPDATED):
            subscription["status"] = "active"
    if trialing and subscription["trial_end"] - now <= 3 * DAY:
        account.store.add({"object": "_trial_notice", "id": subscription["id"]})
        account.emit("customer.subscription.trial_will_end", subscription)
    entitlements.refresh(account, subscription["customer"])
