"""The status machine of a subscription: first payment, trial, renewal, dunning, resumption.

Every function is one step that Stripe takes at a moment of the account's time; ``schedule`` calls those that are due.
"""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.cards import Refusal
from localcloud.stripe.due import ENDED, HOUR
from localcloud.stripe.metering import usage
from localcloud.stripe.store import Object, subscription_of
from localcloud.stripe.subscriptions import entitlements, invoices
from localcloud.stripe.subscriptions.cancellation import cancel_now
from localcloud.stripe.subscriptions.periods import period_after

UPDATED = "customer.subscription.updated"


def cycle_lines(account: Account, subscription: Object, items: list[Object]) -> list[Object]:
    """Lines for the present period of licensed items; metered ones are billed when their period has ended."""
    lines = []
    for item in items:
        if account.find("price", item["price"])["recurring"]["usage_type"] == "licensed":
            period = (item["current_period_start"], item["current_period_end"])
            lines += invoices.lines_for(account, subscription, item, period, item["quantity"])
    return lines


def metered_lines(account: Account, subscription: Object, items: list[Object]) -> list[Object]:
    """Lines for the usage of the periods that end now."""
    lines = []
    for item in items:
        recurring = account.find("price", item["price"])["recurring"]
        if recurring["usage_type"] == "metered":
            period = (item["current_period_start"], item["current_period_end"])
            quantity = usage(account, recurring["meter"], subscription["customer"], period)
            lines += invoices.lines_for(account, subscription, item, period, quantity)
    return lines


def take_pending_lines(account: Account, subscription: Object) -> list[Object]:
    """The prorations that wait for the next invoice; they wait no longer."""
    lines = []
    for pending in account.store.where("_pending_line", "subscription", subscription["id"]):
        lines.append(pending["line"])
        account.store.remove(pending)
    return lines


def set_status(account: Account, subscription: Object, status: str, **changes: Any) -> None:
    """Change the status, announce it, and bring the customer's entitlements in line."""
    with account.updating(subscription, UPDATED):
        subscription.update(status=status, **changes)
    entitlements.refresh(account, subscription["customer"])


def collect(account: Account, invoice: Object, method: Object | None = None) -> Refusal | None:
    """Charge an open invoice and let its subscription follow: active when paid, past due and further when not.

    Returns why the payment failed; None: it is paid.
    """
    subscription = _subscription(account, invoice)
    if subscription is None:
        return invoices.charge(account, invoice, method)
    refusal = invoices.charge(account, invoice, method or invoices.payment_method_of(account, subscription))
    if refusal is None:
        after_payment(account, subscription, invoice)
    elif subscription["status"] not in (*ENDED, "incomplete", "paused"):
        _after_failure(account, subscription, invoice)
    return refusal


def after_payment(account: Account, subscription: Object, invoice: Object) -> None:
    """A settled invoice makes its subscription active again when it is the latest one, or nothing else is owed."""
    if subscription["status"] == "paused":
        if subscription.get("_resumption") == invoice["id"]:
            finish_resumption(account, subscription)
    elif subscription["status"] == "incomplete" or (
        subscription["status"] in ("past_due", "unpaid")
        and not [
            owed
            for owed in invoices.of_subscription(account, subscription, "open")
            if owed["attempted"] and owed["id"] == subscription["latest_invoice"]
        ]
    ):
        set_status(account, subscription, "active")


def _after_failure(account: Account, subscription: Object, invoice: Object) -> None:
    if invoice["next_payment_attempt"] is not None:
        if subscription["status"] == "active":
            set_status(account, subscription, "past_due")
        return
    then = account.setting("dunning", invoices.DEFAULT_DUNNING)["then"]
    if then == "cancel":
        cancel_now(account, subscription, reason="payment_failed")
    elif then == "mark_unpaid":
        set_status(account, subscription, "unpaid")
    elif subscription["status"] == "active":
        set_status(account, subscription, "past_due")


def _subscription(account: Account, invoice: Object) -> Object | None:
    identifier = subscription_of(invoice)
    return None if identifier is None else account.store.get("subscription", identifier)


def renew(account: Account, subscription: Object) -> None:
    """The period of at least one item has ended: cancel as was asked, or begin the next one and draft its invoice."""
    now = account.now(subscription["test_clock"])
    if subscription["cancel_at_period_end"]:
        cancel_now(account, subscription)
        return
    ending = [item for item in subscription["items"]["data"] if item["current_period_end"] <= now]
    previous = (
        min(item["current_period_start"] for item in ending),
        max(item["current_period_end"] for item in ending),
    )
    lines = take_pending_lines(account, subscription) + metered_lines(account, subscription, ending)
    entitlements.renew(account, subscription, ending)
    with account.updating(subscription, UPDATED):
        for item in ending:
            recurring = account.find("price", item["price"])["recurring"]
            item["current_period_start"], item["current_period_end"] = period_after(
                subscription["billing_cycle_anchor"], recurring["interval"], recurring["interval_count"], now
            )
        lines += cycle_lines(account, subscription, ending)
        invoice = invoices.draft(account, subscription, lines, "subscription_cycle", previous)
    collection = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or (collection and collection["behavior"] == "keep_as_draft"):
        account.store.edit(invoice)["auto_advance"] = False
    elif collection:
        behavior = collection["behavior"]
        invoices.close(account, invoice, "void" if behavior == "void" else "uncollectible")
    else:
        account.store.edit(invoice)["automatically_finalizes_at"] = now + HOUR
    entitlements.refresh(account, subscription["customer"])


def end_trial(account: Account, subscription: Object) -> None:
    """The trial is over: bill, or do what ``trial_settings`` says when there is no way to pay."""
    missing = invoices.payment_method_of(account, subscription) is None
    charged = subscription["collection_method"] == "charge_automatically"
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if subscription["cancel_at_period_end"] or (missing and charged and behavior == "cancel"):
        cancel_now(account, subscription)
    elif missing and charged and behavior == "pause":
        # No entitlement event: Stripe sends none for a trial that ends in `paused`.
        pause(account, subscription, "trial_end_without_payment_method")
        entitlements.refresh(account, subscription["customer"], announce=False)
    else:
        now = account.now(subscription["test_clock"])
        lines = take_pending_lines(account, subscription)
        entitlements.renew(account, subscription, subscription["items"]["data"])
        with account.updating(subscription, UPDATED):
            start_cycle(account, subscription, now)
            subscription["status"] = "active"
            items = subscription["items"]["data"]
            lines += cycle_lines(account, subscription, items)
            period = (items[0]["current_period_start"], items[0]["current_period_start"])
            invoice = invoices.draft(account, subscription, lines, "subscription_cycle", period)
            account.store.edit(invoice)["automatically_finalizes_at"] = now + HOUR
        entitlements.refresh(account, subscription["customer"])


def start_cycle(account: Account, subscription: Object, anchor: int) -> None:
    """Begin a billing cycle at ``anchor``: every item's period starts there. Announces nothing."""
    account.store.edit(subscription)["billing_cycle_anchor"] = anchor
    for item in subscription["items"]["data"]:
        recurring = account.find("price", item["price"])["recurring"]
        item["current_period_start"], item["current_period_end"] = period_after(
            anchor, recurring["interval"], recurring["interval_count"], anchor
        )


def finalize_due(account: Account, invoice: Object) -> None:
    """An hour after a draft was made, it is finalized and charged."""
    invoices.finalize(account, invoice)
    if invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        collect(account, invoice)
    elif invoice["status"] == "paid" and (subscription := _subscription(account, invoice)) is not None:
        after_payment(account, subscription, invoice)


def expire_first_payment(account: Account, subscription: Object) -> None:
    """23 hours without the first payment end a subscription that never began."""
    cancel_now(account, subscription, status="incomplete_expired")


def pause(account: Account, subscription: Object, reason: str) -> None:
    """To status ``paused``: no invoices, no new periods, until it is resumed."""
    with account.updating(subscription, UPDATED):
        subscription["status"] = "paused"
        subscription["status_details"] = {
            "paused": {
                "subscription": {"type": reason},
                "transitioned_at": account.now(subscription["test_clock"]),
                "type": "subscription",
            }
        }
    account.emit("customer.subscription.paused", subscription)


def finish_resumption(account: Account, subscription: Object) -> None:
    """From ``paused`` to ``active``: the resumption invoice was settled, or there was none."""
    account.store.edit(subscription).pop("_resumption", None)
    with account.updating(subscription, UPDATED):
        subscription.update(status="active", status_details=None)
    account.emit("customer.subscription.resumed", subscription)
    entitlements.refresh(account, subscription["customer"])


def expire_resumption(account: Account, invoice: Object) -> None:
    """23 hours without a payment attempt: the resumption invoice is voided, and the subscription stays paused."""
    invoices.close(account, invoice, "void")
    subscription = _subscription(account, invoice)
    if subscription is not None:
        account.store.edit(subscription).pop("_resumption", None)
