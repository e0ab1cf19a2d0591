"""The end of a subscription: now, or later."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, not_implemented
from localcloud.stripe.fields import none_if_empty
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import entitlements, invoices


def plan_cancellation(subscription: Object, params: dict[str, Any], now: int) -> None:
    """Apply ``cancel_at`` and ``cancel_at_period_end``. Call when the items have their periods."""
    if "cancel_at" in params and params.get("cancel_at_period_end"):
        raise invalid("You cannot set both cancel_at and cancel_at_period_end.", param="cancel_at")
    if "cancel_at" not in params and "cancel_at_period_end" not in params:
        follow_period(subscription)
        return
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    if "cancel_at" in params:
        value = none_if_empty(params["cancel_at"])
        if value == "max_billed_until":
            raise not_implemented("cancel_at")
        if value in ("min_period_end", "max_period_end"):
            value = min(ends) if value == "min_period_end" else max(ends)
        if value is not None and value <= now:
            raise invalid("`cancel_at` must be a timestamp in the future", param="cancel_at")
        subscription.update(cancel_at=value, cancel_at_period_end=False)
    else:
        wanted = params["cancel_at_period_end"]
        subscription.update(cancel_at=min(ends) if wanted else None, cancel_at_period_end=wanted)
    leaving = subscription["cancel_at"] is not None
    subscription["canceled_at"] = now if leaving else None
    subscription["cancellation_details"]["reason"] = "cancellation_requested" if leaving else None


def follow_period(subscription: Object) -> None:
    """A cancellation at the period's end moves when the period does."""
    if subscription["cancel_at_period_end"]:
        ends = [item["current_period_end"] for item in subscription["items"]["data"]]
        subscription["cancel_at"] = min(ends)


def cancel_now(
    account: Account, subscription: Object, *, reason: str = "cancellation_requested", status: str = "canceled"
) -> None:
    """End it now. ``customer.subscription.deleted``, or ``updated`` for a first payment that never came."""
    now = account.now(subscription["test_clock"])
    if status == "incomplete_expired":
        with account.updating(subscription, "customer.subscription.updated"):
            subscription.update(status=status, canceled_at=None, ended_at=now)
        for invoice in invoices.of_subscription(account, subscription, "open", "draft"):
            invoices.close(account, invoice, "void")
        return
    account.store.edit(subscription)
    subscription.update(status=status, canceled_at=subscription["canceled_at"] or now, ended_at=now)
    subscription["cancellation_details"]["reason"] = reason
    for invoice in invoices.of_subscription(account, subscription, "draft"):
        account.store.edit(invoice).update(auto_advance=False, automatically_finalizes_at=None)
    for invoice in invoices.of_subscription(account, subscription, "open"):
        account.store.edit(invoice).update(next_payment_attempt=None, auto_advance=False)
    if subscription["schedule"] is not None:
        _end_schedule(account, subscription, reason, now)
    account.emit("customer.subscription.deleted", subscription)
    entitlements.refresh(account, subscription["customer"])


def _end_schedule(account: Account, subscription: Object, reason: str, now: int) -> None:
    schedule = account.find("subscription_schedule", subscription["schedule"])
    if schedule["status"] == "active":
        account.store.edit(schedule).update(status="canceled", canceled_at=now, current_phase=None)
        kind = "aborted" if reason == "payment_failed" else "canceled"
        account.emit(f"subscription_schedule.{kind}", schedule)
