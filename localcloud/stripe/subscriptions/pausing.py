"""Status ``paused`` on request, and the way out of it."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import FIRST_PAYMENT_S
from localcloud.stripe.errors import invalid
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import entitlements, invoices, lifecycle
from localcloud.stripe.subscriptions.items import join_cycle, keep_for_next_invoice, prorations
from localcloud.stripe.subscriptions.lifecycle import UPDATED


def pause(account: Account, subscription: Object, params: dict[str, Any]) -> None:
    """Pause now: credit for unused time and usage so far are invoiced, or wait for the next invoice."""
    if subscription["status"] not in ("active", "trialing", "past_due"):
        raise invalid(f"A subscription that is {subscription['status']} can't be paused.", param="id")
    now = account.now(subscription["test_clock"])
    bill_for = params.get("bill_for") or {}
    lines = _credit(account, subscription, (bill_for.get("unused_time_from") or {}).get("type", "now"), now)
    if (bill_for.get("outstanding_usage_through") or {}).get("type", "now") == "now":
        lines += lifecycle.metered_lines(account, subscription, subscription["items"]["data"])
    if params.get("invoicing_behavior") == "invoice" and lines:
        lines = lifecycle.take_pending_lines(account, subscription) + lines
        invoice = invoices.draft(account, subscription, lines, "subscription_update", (now, now))
        invoices.finalize(account, invoice)
        lifecycle.collect(account, invoice)
    else:
        keep_for_next_invoice(account, subscription, lines)
    lifecycle.pause(account, subscription, "pause_requested")
    entitlements.refresh(account, subscription["customer"])


def _credit(account: Account, subscription: Object, since: str, now: int) -> list[Object]:
    if since == "none" or subscription["status"] == "trialing":
        return []
    items = subscription["items"]["data"]
    lines = []
    for item in items:
        moment = item["current_period_start"] if since == "item_current_period_start" else now
        lines += prorations(account, {**subscription, "items": {"data": []}}, [item], moment)
    return lines


def resume(account: Account, subscription: Object, params: dict[str, Any]) -> None:
    """Out of ``paused``: at once when nothing is to be paid, else with the resumption invoice."""
    if subscription["status"] != "paused":
        raise invalid("Only subscriptions with status `paused` can be resumed.", param="id")
    if subscription["collection_method"] != "charge_automatically":
        raise invalid("Only subscriptions that are charged automatically can be resumed.", param="id")
    now = account.now(subscription["test_clock"])
    items = subscription["items"]["data"]
    behavior = params.get("proration_behavior", "create_prorations")
    unchanged = (params.get("billing_cycle_anchor") or {}).get("type") == "unchanged"
    lines: list[Object] = []
    entitlements.renew(account, subscription, items)
    with account.updating(subscription, UPDATED):
        if unchanged:
            for item in items:
                join_cycle(account, subscription, item, now)
            if behavior != "none":
                lines = prorations(account, subscription, [], now)
            if behavior == "create_prorations":
                keep_for_next_invoice(account, subscription, lines)
                lines = []
        else:
            lifecycle.start_cycle(account, subscription, now)
            lines = lifecycle.take_pending_lines(account, subscription)
            lines += lifecycle.cycle_lines(account, subscription, items)
    if not lines:
        lifecycle.finish_resumption(account, subscription)
        return
    invoice = invoices.draft(account, subscription, lines, "subscription_update", (now, now))
    account.store.edit(subscription)["_resumption"] = invoice["id"]
    invoices.finalize(account, invoice)
    if params.get("payment_behavior") == "resume_on_payment_success" and invoice["status"] == "open":
        account.store.edit(invoice)["_expires_at"] = now + FIRST_PAYMENT_S
        return
    paid = invoice["status"] == "paid" or lifecycle.collect(account, invoice) is None
    if subscription["status"] == "paused":  # not if the payment has resumed it
        lifecycle.finish_resumption(account, subscription)
    if not paid:
        lifecycle.set_status(account, subscription, "past_due")
