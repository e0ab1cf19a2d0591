"""Updates of a standing subscription: items, trial, cancellation, pauses, and what they bill."""

from __future__ import annotations

import copy
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid
from localcloud.stripe.fields import assign, merge_metadata, none_if_empty
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import entitlements, invoices
from localcloud.stripe.subscriptions.cancellation import ENDED
from localcloud.stripe.subscriptions.items import apply_changes, join_cycle, keep_for_next_invoice, prorations
from localcloud.stripe.subscriptions.lifecycle import UPDATED, collect, cycle_lines, start_cycle, take_pending_lines


def update_subscription(account: Account, subscription: Object, params: dict[str, Any]) -> None:
    """Apply an update as one change: one ``customer.subscription.updated`` (and the invoices it brings)."""
    if subscription["status"] in ENDED:
        allowed = {"metadata", "cancellation_details"}
        if set(params) - allowed:
            raise invalid("A canceled subscription can only update its cancellation_details and metadata.")
    now = account.now(subscription["test_clock"])
    before = copy.deepcopy(subscription["items"]["data"])
    was_trialing = subscription["status"] == "trialing"
    invoice: Object | None = None
    with account.updating(subscription, UPDATED):
        _plain(account, subscription, params)
        _cancellation(subscription, params, now)
        _pause(subscription, params)
        _trial(account, subscription, params, now)
        if "items" in params:
            apply_changes(account, subscription, params["items"], now)
            _periods(account, subscription, before, params, now)
        elif params.get("billing_cycle_anchor") == "now":
            start_cycle(account, subscription, now)
        invoice = _bill(account, subscription, before, params, now, was_trialing)
    entitlements.refresh(account, subscription["customer"])
    if invoice is not None:
        invoices.finalize(account, invoice)
        if invoice["status"] == "open" and subscription["collection_method"] == "charge_automatically":
            paid = collect(account, invoice)
            if not paid and subscription["status"] == "active":
                with account.updating(subscription, UPDATED):
                    subscription["status"] = "past_due"


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
    subscription["metadata"] = merge_metadata(subscription["metadata"], params.get("metadata"))
    for name, value in (params.get("cancellation_details") or {}).items():
        subscription["cancellation_details"][name] = none_if_empty(value)


def _cancellation(subscription: Object, params: dict[str, Any], now: int) -> None:
    if "cancel_at" in params and params.get("cancel_at_period_end"):
        raise invalid("You cannot set both cancel_at and cancel_at_period_end.", param="cancel_at")
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    if "cancel_at_period_end" in params:
        wanted = params["cancel_at_period_end"]
        subscription["cancel_at_period_end"] = wanted
        subscription["cancel_at"] = min(ends) if wanted else None
    if "cancel_at" in params:
        value = none_if_empty(params["cancel_at"])
        if value in ("min_period_end", "max_period_end"):
            value = min(ends) if value == "min_period_end" else max(ends)
        if value is not None and value <= now:
            raise invalid("`cancel_at` must be a timestamp in the future", param="cancel_at")
        subscription["cancel_at"] = value
        subscription["cancel_at_period_end"] = False
    if "cancel_at" in params or "cancel_at_period_end" in params:
        leaving = subscription["cancel_at"] is not None
        subscription["canceled_at"] = now if leaving else None
        subscription["cancellation_details"]["reason"] = "cancellation_requested" if leaving else None


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
    end = params["trial_end"]
    if end == "now":
        if subscription["status"] == "trialing":
            subscription.update(status="active", trial_end=now)
            start_cycle(account, subscription, now)
        return
    if end <= now:
        raise invalid("Trial end must be in the future: use `now` to end the trial now", param="trial_end")
    notice = account.store.get("_trial_notice", subscription["id"])
    if notice is not None:
        account.store.remove(notice)
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
    if params.get("billing_cycle_anchor") == "now" or any(_interval(account, item) not in intervals for item in items):
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
    restarted = was_trialing or (
        subscription["billing_cycle_anchor"] == now and min(item["current_period_start"] for item in before) != now
    )
    lines: list[Object] = []
    if behavior != "none" and not was_trialing:
        lines = prorations(account, subscription, before, now)
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
