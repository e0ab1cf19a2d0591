"""Updates of a standing subscription: items, trial, cancellation, pauses, and what they bill."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import ENDED
from localcloud.stripe.errors import declined, invalid, not_implemented
from localcloud.stripe.fields import assign, merge_metadata, none_if_empty
from localcloud.stripe.store import Object, copy_of
from localcloud.stripe.subscriptions import discounts, entitlements, invoices, taxes
from localcloud.stripe.subscriptions.cancellation import plan_cancellation
from localcloud.stripe.subscriptions.items import apply_changes, join_cycle, keep_for_next_invoice, prorations
from localcloud.stripe.subscriptions.lifecycle import (
    UPDATED,
    collect,
    cycle_lines,
    set_status,
    start_cycle,
    take_pending_lines,
)
from localcloud.stripe.subscriptions.trials import check_trial_end


def update_subscription(account: Account, subscription: Object, params: dict[str, Any]) -> None:
    """Apply an update as one change: one ``customer.subscription.updated`` (and the invoices it brings)."""
    invoice = apply_update(account, subscription, params)
    if invoice is not None:
        _collect(account, subscription, invoice, params.get("payment_behavior", "allow_incomplete"))


def apply_update(account: Account, subscription: Object, params: dict[str, Any]) -> Object | None:
    """The update without its payment: returns the draft that is to be paid, if there is one."""
    if subscription["status"] in ENDED:
        allowed = {"metadata", "cancellation_details"}
        if set(params) - allowed:
            raise invalid("A canceled subscription can only update its cancellation_details and metadata.")
    if params.get("payment_behavior") == "pending_if_incomplete":
        raise not_implemented("payment_behavior")
    if subscription["schedule"] is not None and {"cancel_at", "cancel_at_period_end"} & set(params):
        raise invalid(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead.",
            param="cancel_at_period_end" if "cancel_at_period_end" in params else "cancel_at",
        )
    now = account.now(subscription["test_clock"])
    before = copy_of(subscription["items"]["data"])
    was_trialing = subscription["status"] == "trialing"
    invoice: Object | None = None
    with account.updating(subscription, UPDATED):
        _plain(account, subscription, params)
        _discounts(account, subscription, params)
        _tax(account, subscription, params)
        _pause(subscription, params)
        _trial(account, subscription, params, now)
        if "items" in params:
            apply_changes(account, subscription, params["items"], now)
            _periods(account, subscription, before, params, now)
        elif _restarts(params):
            start_cycle(account, subscription, now)
        plan_cancellation(subscription, params, now)
        invoice = _bill(account, subscription, before, params, now, was_trialing)
    entitlements.refresh(account, subscription["customer"])
    return invoice


def _collect(account: Account, subscription: Object, invoice: Object, behavior: str) -> None:
    invoices.finalize(account, invoice)
    if invoice["status"] != "open" or subscription["collection_method"] != "charge_automatically":
        return
    if behavior == "default_incomplete":  # the caller's customer is to confirm the payment
        if subscription["status"] == "active":
            set_status(account, subscription, "past_due")
    elif (refusal := collect(account, invoice)) is not None and behavior == "error_if_incomplete":
        raise declined(refusal.code, refusal.decline_code)


def _restarts(params: dict[str, Any]) -> bool:
    return (params.get("billing_cycle_anchor") or {}).get("type") == "now"


def _plain(account: Account, subscription: Object, params: dict[str, Any]) -> None:
    assign(subscription, params, "description", "days_until_due", "collection_method")
    if "default_payment_method" in params:
        value = none_if_empty(params["default_payment_method"])
        if value is not None:
            method = account.find("payment_method", value, param="default_payment_method")
            if method["customer"] != subscription["customer"]:
                raise invalid(
                    f"The customer does not have a payment method with the ID {value}.",
                    param="default_payment_method",
                    code="resource_missing",
                )
        subscription["default_payment_method"] = value
    behavior = ((params.get("trial_settings") or {}).get("end_behavior") or {}).get("missing_payment_method")
    if behavior:
        subscription["trial_settings"]["end_behavior"]["missing_payment_method"] = behavior
    subscription["payment_settings"].update(params.get("payment_settings") or {})
    subscription["metadata"] = merge_metadata(subscription["metadata"], params.get("metadata"))
    for name, value in (params.get("cancellation_details") or {}).items():
        subscription["cancellation_details"][name] = none_if_empty(value)


def _discounts(account: Account, subscription: Object, params: dict[str, Any]) -> None:
    """``discounts`` replaces what the subscription holds; what is named again stays."""
    if "discounts" not in params:
        return
    customer = account.find("customer", subscription["customer"])
    given = none_if_empty(params["discounts"]) or []
    kept = [entry["discount"] for entry in given if "discount" in entry]
    for identifier in [held for held in subscription["discounts"] if held not in kept]:
        discounts.take_away(account, subscription, identifier, subscription["test_clock"])
    subscription["discounts"] = discounts.redeem(
        account, given, customer, subscription["currency"], subscription=subscription["id"]
    )


def _tax(account: Account, subscription: Object, params: dict[str, Any]) -> None:
    if "automatic_tax" not in params:
        return
    enabled = params["automatic_tax"]["enabled"]
    if enabled:
        taxes.check_location(account.find("customer", subscription["customer"]))
    subscription["automatic_tax"].update(enabled=enabled, liability={"type": "self"} if enabled else None)


def _pause(subscription: Object, params: dict[str, Any]) -> None:
    if "pause_collection" in params:
        given = none_if_empty(params["pause_collection"])
        subscription["pause_collection"] = given and {
            "behavior": given["behavior"],
            "resumes_at": given.get("resumes_at"),
        }


def _trial(account: Account, subscription: Object, params: dict[str, Any], now: int) -> None:
    if "trial_end" not in params:
        return
    if subscription["status"] == "paused":
        raise invalid("A paused subscription is resumed, not put on trial.", param="trial_end")
    end = params["trial_end"]
    if end == "now":
        if subscription["status"] == "trialing":
            subscription.update(status="active", trial_end=now)
            start_cycle(account, subscription, now)
        return
    check_trial_end(end, now)
    subscription["_trial_noticed"] = False
    subscription.update(
        status="trialing",
        trial_start=subscription["trial_start"] or now,
        trial_end=end,
        billing_cycle_anchor=end,
    )
    for item in subscription["items"]["data"]:
        item.update(current_period_start=now, current_period_end=end)


def _periods(account: Account, subscription: Object, before: list[Object], params: dict[str, Any], now: int) -> None:
    """New items join the cycle; a changed interval, or ``billing_cycle_anchor=now``, starts a new one."""
    items = subscription["items"]["data"]
    if subscription["status"] == "trialing":
        for item in items:
            item["current_period_end"] = subscription["trial_end"]
        return
    intervals = {_interval(account, item) for item in before}
    if _restarts(params) or any(_interval(account, item) not in intervals for item in items):
        start_cycle(account, subscription, now)
        return
    known = {item["id"] for item in before}
    for item in items:
        if item["id"] not in known:
            join_cycle(account, subscription, item, now)


def _interval(account: Account, item: Object) -> tuple[str, int]:
    recurring = account.find("price", item["price"])["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _bill(
    account: Account,
    subscription: Object,
    before: list[Object],
    params: dict[str, Any],
    now: int,
    was_trialing: bool,
) -> Object | None:
    """Prorations, kept or invoiced, and the first invoice of a cycle that this update started."""
    if subscription["status"] in (*ENDED, "trialing", "paused", "incomplete"):
        return None
    behavior = params.get("proration_behavior", "create_prorations")
    moment = _proration_date(params, before, now)
    restarted = was_trialing or (
        subscription["billing_cycle_anchor"] == now and min(item["current_period_start"] for item in before) != now
    )
    lines: list[Object] = []
    if behavior != "none" and not was_trialing:
        lines = prorations(account, subscription, before, moment)
        if restarted:  # the new cycle is billed whole: only the credit for the old one remains
            lines = [entry for entry in lines if entry["amount"] < 0]
    if restarted:
        lines = take_pending_lines(account, subscription) + lines
        lines += cycle_lines(account, subscription, subscription["items"]["data"])
        reason = "subscription_cycle" if was_trialing else "subscription_update"
        return invoices.draft(account, subscription, lines, reason, (now, now))
    if lines and behavior == "always_invoice":
        return invoices.draft(account, subscription, lines, "subscription_update", (now, now))
    keep_for_next_invoice(account, subscription, lines)
    return None


def _proration_date(params: dict[str, Any], before: list[Object], now: int) -> int:
    moment = int(params.get("proration_date", now))
    start = min(item["current_period_start"] for item in before)
    end = max(item["current_period_end"] for item in before)
    if moment != now and not start <= moment <= end:
        raise invalid("proration_date must lie in the current period.", param="proration_date")
    return moment
