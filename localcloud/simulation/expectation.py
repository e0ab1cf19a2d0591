"""What each customer should be able to do, read off Stripe's own objects: an oracle written apart from the product.

It shares no code with ``provisioner.billing.verdict``: statuses, open invoices, disputes and dates as they lie in the
local Stripe's store, and the plan's terms as numbers of days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.simulation.clock import DAY
from localcloud.stripe.account import Account

Object = Mapping[str, Any]
LADDER = ("full", "grace", "throttled", "read_only", "suspended", "hibernated", "retained", "deleted")


@dataclass(frozen=True)
class Terms:
    """Of a plan, in days; None: the step is left out. A refund is taken to change nothing, as by default."""

    throttled: float | None
    read_only: float | None
    suspended: float | None
    hibernated: float | None
    retention: float
    dispute: str
    dispute_lost: str


def expected(account: Account, customer: str, terms: Mapping[str, Terms], now: int) -> str:
    """One of ``LADDER``; ``terms`` by the lookup key of a price."""
    found = [_of(account, each, terms, now) for each in account.store.where("subscription", "customer", customer)]
    return min(found, key=LADDER.index, default="retained")


def retained_until(account: Account, customer: str, terms: Mapping[str, Terms]) -> int | None:
    """When the last of the customer's subscriptions will have been over for the plan's days; None: one lives."""
    subscriptions = account.store.where("subscription", "customer", customer)
    if any(each["status"] not in ("canceled", "incomplete_expired") for each in subscriptions):
        return None
    ends = [
        int(each["ended_at"] + _terms(account, each, terms).retention * DAY)
        for each in subscriptions
        if each["status"] == "canceled"
    ]
    return max(ends, default=0)


def _of(account: Account, subscription: Object, by_key: Mapping[str, Terms], now: int) -> str:
    terms = _terms(account, subscription, by_key)
    status = subscription["status"]
    if status == "active":
        pause = subscription["pause_collection"]
        if pause is not None and pause["behavior"] == "void":
            return "suspended"
        return _taken_back(account, subscription, terms, "full", now)
    if status == "trialing":
        return _taken_back(account, subscription, terms, "full", now)
    if status == "past_due":
        step = _down(terms, _owed_since(account, subscription), now)
        return _taken_back(account, subscription, terms, step, now) if LADDER.index(step) < 4 else step
    if status == "unpaid":
        return max("suspended", _down(terms, _owed_since(account, subscription), now), key=LADDER.index)
    if status == "paused":
        trial_end = subscription["trial_end"]
        since = trial_end if trial_end is not None else _period_start(account, subscription)
        return max("suspended", _down(terms, since, now), key=LADDER.index)
    if status == "incomplete":
        return "suspended"
    return "deleted" if subscription["ended_at"] + terms.retention * DAY <= now else "retained"


def _down(terms: Terms, since: int, now: int) -> str:
    owed = (now - since) / DAY
    reached = "grace"
    for days, step in (
        (terms.throttled, "throttled"),
        (terms.read_only, "read_only"),
        (terms.suspended, "suspended"),
        (terms.hibernated, "hibernated"),
    ):
        if days is not None and owed >= days:
            reached = step
    return reached


def _owed_since(account: Account, subscription: Object) -> int:
    owed = [
        int(invoice["status_transitions"]["finalized_at"])
        for invoice in account.store.where("invoice", "subscription", subscription["id"])
        if invoice["status"] == "open" and invoice["attempt_count"] > 0
    ]
    return min(owed, default=_period_start(account, subscription))


def _period_start(account: Account, subscription: Object) -> int:
    return min(int(item["current_period_start"]) for item in _items(account, subscription))


def _taken_back(account: Account, subscription: Object, terms: Terms, step: str, now: int) -> str:
    paid = 0
    invoices = account.store.where("invoice", "subscription", subscription["id"])
    for invoice in invoices:
        if invoice["status"] == "paid" and invoice["amount_paid"] > 0:
            paid = max(paid, int(invoice["status_transitions"]["paid_at"]))
    for dispute in _disputes(account, invoices):
        if dispute["status"] in ("needs_response", "under_review"):
            step = max(step, terms.dispute, key=LADDER.index)
        elif dispute["status"] == "lost" and paid <= dispute["created"]:
            step = max(step, terms.dispute_lost, key=LADDER.index)
    return step


def _disputes(account: Account, invoices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the charges that paid these invoices."""
    store, found = account.store, []
    for invoice in invoices:
        for payment in store.where("invoice_payment", "invoice", invoice["id"]):
            intent = payment["payment"].get("payment_intent")
            for charge in store.where("charge", "payment_intent", intent) if intent else ():
                found += store.where("dispute", "charge", charge["id"])
    return found


def _items(account: Account, subscription: Object) -> list[Object]:
    return list(subscription["items"]["data"])


def _terms(account: Account, subscription: Object, by_key: Mapping[str, Terms]) -> Terms:
    for item in _items(account, subscription):
        price = item["price"]
        document = price if isinstance(price, Mapping) else account.store.get("price", price)
        assert document is not None
        if document["lookup_key"] in by_key:
            return by_key[document["lookup_key"]]
    raise AssertionError(f"subscription {subscription['id']} sells none of our plans")
