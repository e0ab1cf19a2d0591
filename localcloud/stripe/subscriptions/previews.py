"""Invoices that are not there yet: what a renewal or a change would bill, found out by doing it and undoing it.

So a preview can't differ from what the same change then really bills.
"""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import ENDED
from localcloud.stripe.errors import invalid
from localcloud.stripe.store import Object, copy_of
from localcloud.stripe.subscriptions import change, invoices, lifecycle
from localcloud.stripe.subscriptions.creation import create_subscription
from localcloud.stripe.subscriptions.items import prorations


def upcoming(account: Account, subscription: Object) -> Object | None:
    """The invoice of the next renewal, as it looks now; None: there will be none."""
    with account.imagining():
        found = _next(account, subscription)
        return None if found is None else _preview(found)


def of_change(account: Account, subscription: Object, params: dict[str, Any], *, recurring: bool = False) -> Object:
    """What an update with ``params`` bills: at once if it does, else with the next renewal.

    ``recurring`` leaves out everything that is billed only once.
    """
    if subscription["status"] in ENDED:
        raise _none()
    with account.imagining():
        if recurring:
            params = {**params, "proration_behavior": "none"}
            lifecycle.take_pending_lines(account, subscription)
        found = change.apply_update(account, subscription, params)
        if found is None or recurring:
            found = _next(account, subscription)
        if found is None:
            raise _none()
        return _preview(found)


def of_cancellation(account: Account, subscription: Object, *, prorate: bool) -> Object:
    """What ending it now with a last invoice bills: what waits for one, usage so far, credit for unused time."""
    now = account.now(subscription["test_clock"])
    with account.imagining():
        items = subscription["items"]["data"]
        lines = lifecycle.take_pending_lines(account, subscription)
        lines += lifecycle.metered_lines(account, subscription, items)
        if prorate:
            lines += prorations(account, {**subscription, "items": {"data": []}}, items, now)
        return _preview(invoices.build(account, subscription, lines, "upcoming", (now, now)))


def of_creation(account: Account, customer: Object, params: dict[str, Any], *, after_trial: bool = True) -> Object:
    """The first invoice of a subscription that isn't there; with a trial, the one that follows it if so wished."""
    with account.imagining():
        subscription = create_subscription(account, customer, {**params, "payment_behavior": "default_incomplete"})
        found: Object | None = account.find("invoice", subscription["latest_invoice"])
        if subscription["status"] == "trialing" and after_trial:
            found = _next(account, subscription)
        if found is None:
            raise _none()
        return _preview(found)


def _next(account: Account, subscription: Object) -> Object | None:
    if subscription["status"] in (*ENDED, "paused", "incomplete") or subscription["cancel_at_period_end"]:
        return None
    clock = subscription["test_clock"]
    end = min(item["current_period_end"] for item in subscription["items"]["data"])
    cancel_at = subscription["cancel_at"]
    if cancel_at is not None and cancel_at <= end:
        return None
    former = subscription["latest_invoice"]
    with account.at(clock, max(end, account.now(clock))):
        if subscription["status"] == "trialing":
            lifecycle.end_trial(account, subscription)
        else:
            lifecycle.renew(account, subscription)
    latest = subscription["latest_invoice"]
    return None if latest == former else account.find("invoice", latest)


def _preview(invoice: Object) -> Object:
    shown: Object = copy_of(invoice)
    shown["id"] = f"upcoming_{invoice['id']}"
    shown.update(
        auto_advance=False,
        amount_paid=0,
        amount_remaining=shown["amount_due"],
        attempted=False,
        attempt_count=0,
        effective_at=None,
        ending_balance=None,
        number=None,
        status="draft",
        webhooks_delivered_at=None,
    )
    shown["status_transitions"] = dict.fromkeys(shown["status_transitions"])
    shown["lines"]["url"] = f"/v1/invoices/{shown['id']}/lines"
    for line in shown["lines"]["data"]:
        line["invoice"] = shown["id"]
    return shown


def _none() -> Exception:
    return invalid(
        "No upcoming invoices for customer: the subscription ends, or is paused.", code="invoice_upcoming_none"
    )
