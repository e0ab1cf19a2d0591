"""The end of a subscription."""

from __future__ import annotations

from localcloud.stripe.account import Account
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import entitlements, invoices

ENDED = ("canceled", "incomplete_expired")


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
    account.emit("customer.subscription.deleted", subscription)
    entitlements.refresh(account, subscription["customer"])
