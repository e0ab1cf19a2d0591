"""Subscription schedules: phases that follow one another, each with its own items and terms."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import ENDED
from localcloud.stripe.errors import invalid
from localcloud.stripe.fields import none_if_empty
from localcloud.stripe.store import Object, copy_of
from localcloud.stripe.subscriptions.cancellation import cancel_now
from localcloud.stripe.subscriptions.change import update_subscription
from localcloud.stripe.subscriptions.creation import create_subscription
from localcloud.stripe.subscriptions.items import price_of
from localcloud.stripe.subscriptions.periods import add_interval

UPDATED = "subscription_schedule.updated"
MAX_PHASES = 10


def from_params(account: Account, given: list[dict[str, Any]], start: int) -> list[Object]:
    """Phase documents, one after the other from ``start`` (Unix seconds)."""
    if not 1 <= len(given) <= MAX_PHASES:
        raise invalid(f"A schedule has from 1 to {MAX_PHASES} phases.", param="phases")
    made = []
    for index, entry in enumerate(given):
        where = f"phases[{index}]"
        if index and entry.get("start_date", start) != start:
            raise invalid("A phase starts when the former ends.", param=f"{where}[start_date]")
        phase = _from_params(account, entry, start, where)
        if phase["end_date"] <= start:
            raise invalid("A phase ends after it starts.", param=f"{where}[end_date]")
        made.append(phase)
        start = phase["end_date"]
    return made


def _from_params(account: Account, given: dict[str, Any], start: int, where: str) -> Object:
    items = [_item(account, entry, f"{where}[items][{index}]") for index, entry in enumerate(given["items"])]
    if not items:
        raise invalid("A phase has at least one item.", param=f"{where}[items]")
    if "end_date" in given and "duration" in given:
        raise invalid("You cannot set both end_date and duration.", param=f"{where}[end_date]")
    end = given.get("end_date")
    if end is None:
        recurring = account.find("price", items[0]["price"])["recurring"]
        duration = given.get("duration") or recurring
        end = add_interval(start, duration["interval"], duration.get("interval_count", 1))
    trial_end = end if given.get("trial") else given.get("trial_end")
    if trial_end is not None and not start < trial_end <= end:
        raise invalid("A trial ends within its phase.", param=f"{where}[trial_end]")
    tax = given.get("automatic_tax")
    days = (given.get("invoice_settings") or {}).get("days_until_due")
    return {
        "_discounts": none_if_empty(given.get("discounts")),
        "add_invoice_items": [],
        "application_fee_percent": None,
        **(
            {}
            if tax is None
            else {
                "automatic_tax": {
                    "disabled_reason": None,
                    "enabled": tax["enabled"],
                    "liability": {"type": "self"} if tax["enabled"] else None,
                }
            }
        ),
        "billing_cycle_anchor": given.get("billing_cycle_anchor"),
        "billing_thresholds": None,
        "collection_method": given.get("collection_method"),
        "currency": account.find("price", items[0]["price"])["currency"],
        "default_payment_method": given.get("default_payment_method"),
        "default_tax_rates": [],
        "description": none_if_empty(given.get("description")),
        "discounts": [
            {name: entry.get(name) for name in ("coupon", "discount", "promotion_code")}
            for entry in none_if_empty(given.get("discounts")) or []
        ],
        "end_date": end,
        "invoice_settings": None
        if days is None
        else {"account_tax_ids": None, "custom_fields": None, "days_until_due": days, "issuer": None},
        "items": items,
        "metadata": given.get("metadata") or {},
        "on_behalf_of": None,
        "proration_behavior": given.get("proration_behavior", "create_prorations"),
        "start_date": start,
        "transfer_data": None,
        "trial_end": trial_end,
    }


def _item(account: Account, given: dict[str, Any], where: str) -> Object:
    price = price_of(account, given, where)
    item: Object = {
        "billing_thresholds": None,
        "discounts": [
            {name: entry.get(name) for name in ("coupon", "discount", "promotion_code")}
            for entry in none_if_empty(given.get("discounts")) or []
        ],
        "metadata": given.get("metadata") or {},
        "price": price["id"],
        "quantity": given.get("quantity", 1),
        "tax_rates": [],
    }
    if price["recurring"]["usage_type"] == "metered":
        del item["quantity"]
    return item


def of_subscription(subscription: Object) -> Object:
    """The phase that a subscription is in: its items until the end of its period."""
    items = subscription["items"]["data"]
    trial = subscription["trial_end"] if subscription["status"] == "trialing" else None
    return {
        "_discounts": None,
        "add_invoice_items": [],
        "application_fee_percent": None,
        "automatic_tax": copy_of(subscription["automatic_tax"]),
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": subscription["collection_method"],
        "currency": subscription["currency"],
        "default_payment_method": subscription["default_payment_method"],
        "default_tax_rates": [],
        "description": subscription["description"],
        "discounts": [
            {"coupon": None, "discount": identifier, "promotion_code": None} for identifier in subscription["discounts"]
        ],
        "end_date": min(item["current_period_end"] for item in items),
        "invoice_settings": None,
        "items": _items_of(subscription),
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "create_prorations",
        "start_date": min(item["current_period_start"] for item in items),
        "transfer_data": None,
        "trial_end": trial,
    }


def _items_of(subscription: Object) -> list[Object]:
    return [
        {
            "billing_thresholds": None,
            "discounts": [
                {"coupon": None, "discount": identifier, "promotion_code": None} for identifier in item["discounts"]
            ],
            "metadata": dict(item["metadata"]),
            "price": item["price"],
            **({"quantity": item["quantity"]} if "quantity" in item else {}),
            "tax_rates": [],
        }
        for item in subscription["items"]["data"]
    ]


def begin(account: Account, schedule: Object) -> None:
    """The first phase starts: its subscription is made."""
    phase = schedule["phases"][0]
    customer = account.find("customer", schedule["customer"])
    params = {
        "items": [_wanted(item) for item in phase["items"]],
        "metadata": phase["metadata"],
        "payment_behavior": "allow_incomplete",
        **_terms(phase, account.now(schedule["test_clock"])),
    }
    params.pop("billing_cycle_anchor", None)
    subscription = create_subscription(account, customer, params)
    account.store.edit(subscription)["schedule"] = schedule["id"]
    with account.updating(schedule, UPDATED):
        schedule.update(status="active", subscription=subscription["id"], current_phase=_bounds(phase))


def advance(account: Account, schedule: Object) -> None:
    """The current phase is over: the next one's terms reach the subscription, or the schedule ends as it says."""
    now = account.now(schedule["test_clock"])
    following = [phase for phase in schedule["phases"] if phase["start_date"] >= schedule["current_phase"]["end_date"]]
    if not following:
        _finish(account, schedule, now)
        return
    phase = following[0]
    with account.updating(schedule, UPDATED):
        schedule["current_phase"] = _bounds(phase)
    apply(account, schedule, phase, phase["proration_behavior"])


def apply(account: Account, schedule: Object, phase: Object, proration_behavior: str) -> None:
    """Give a phase's items and terms to the subscription, as an update of it."""
    subscription = account.find("subscription", schedule["subscription"])
    if subscription["status"] in ENDED:
        return
    params = {
        "items": _changes(subscription, phase),
        "metadata": phase["metadata"],
        "proration_behavior": proration_behavior,
        **_terms(phase, account.now(schedule["test_clock"])),
    }
    if not params["items"]:
        del params["items"]
    update_subscription(account, subscription, params)


def _terms(phase: Object, now: int) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    for name in ("collection_method", "default_payment_method", "description"):
        if phase[name] is not None:
            terms[name] = phase[name]
    if phase["invoice_settings"] is not None:
        terms["days_until_due"] = phase["invoice_settings"]["days_until_due"]
    if "automatic_tax" in phase:
        terms["automatic_tax"] = {"enabled": phase["automatic_tax"]["enabled"]}
    if phase["_discounts"] is not None:
        terms["discounts"] = phase["_discounts"]
    if phase["trial_end"] is not None and phase["trial_end"] > now:
        terms["trial_end"] = phase["trial_end"]
    if phase["billing_cycle_anchor"] == "phase_start":
        terms["billing_cycle_anchor"] = {"type": "now"}
    return terms


def _wanted(item: Object) -> dict[str, Any]:
    wanted: dict[str, Any] = {"price": item["price"], "metadata": item["metadata"]}
    if "quantity" in item:
        wanted["quantity"] = item["quantity"]
    if item["discounts"]:
        wanted["discounts"] = [{k: v for k, v in entry.items() if v is not None} for entry in item["discounts"]]
    return wanted


def _changes(subscription: Object, phase: Object) -> list[dict[str, Any]]:
    """What turns the subscription's items into the phase's: items of the same price stay, others change their price."""
    present = list(subscription["items"]["data"])
    wanted = list(phase["items"])
    changes: list[dict[str, Any]] = []
    for item in list(wanted):
        same = next((held for held in present if held["price"] == item["price"]), None)
        if same is not None:
            present.remove(same)
            wanted.remove(item)
            if same.get("quantity") != item.get("quantity"):
                changes.append({"id": same["id"], "quantity": item["quantity"]})
    for item in wanted:
        if present:
            changes.append({"id": present.pop(0)["id"], **_wanted(item)})
        else:
            changes.append(_wanted(item))
    return changes + [{"id": held["id"], "deleted": True} for held in present]


def _finish(account: Account, schedule: Object, now: int) -> None:
    subscription = account.find("subscription", schedule["subscription"])
    if schedule["end_behavior"] == "cancel":
        account.store.edit(subscription)["schedule"] = None
        with account.updating(schedule, "subscription_schedule.completed"):
            schedule.update(status="completed", completed_at=now, current_phase=None)
        if subscription["status"] not in ENDED:
            cancel_now(account, subscription)
    else:
        release(account, schedule)


def release(account: Account, schedule: Object) -> None:
    """The subscription goes on without a schedule."""
    now = account.now(schedule["test_clock"])
    subscription = account.store.get("subscription", schedule["subscription"] or "")
    with account.updating(schedule, "subscription_schedule.released"):
        schedule.update(
            status="released",
            released_at=now,
            released_subscription=schedule["subscription"],
            subscription=None,
            current_phase=None,
        )
    if subscription is not None:
        with account.updating(subscription, "customer.subscription.updated"):
            subscription["schedule"] = None


def give_notice(account: Account, schedule: Object) -> None:
    """Seven days before the end of the last phase."""
    account.store.edit(schedule)["_expiry_told"] = schedule["phases"][-1]["end_date"]
    account.emit("subscription_schedule.expiring", schedule)


def follow(account: Account, subscription: Object) -> None:
    """A subscription that was changed by itself: the current phase of its schedule says so too."""
    schedule = account.store.get("subscription_schedule", subscription["schedule"] or "")
    if schedule is None or schedule["current_phase"] is None:
        return
    start = schedule["current_phase"]["start_date"]
    phase = next(phase for phase in schedule["phases"] if phase["start_date"] == start)
    items = _items_of(subscription)
    if phase["items"] != items:
        with account.updating(schedule, UPDATED):
            phase["items"] = items


def _bounds(phase: Object) -> Object:
    return {"start_date": phase["start_date"], "end_date": phase["end_date"]}
