"""What a request makes of a subscription: now, or when its period ends; and the items that say so to Stripe. Pure.

More is given at once, and the difference is paid at once. Less begins when the period that is paid for ends. What
is more is told by the amounts a month at the same interval; for equal amounts the longer interval is more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.errors import ConfigurationInvalid, NotFound
from provisioner.selling.amounts import monthly
from provisioner.selling.errors import NotChangeable, SeatsRefused
from provisioner.selling.standing import Selection, Standing

Prices = Mapping[str, Mapping[str, Any]]  #: lookup key -> Stripe's price, tiers expanded

_LENGTH = {"month": 1, "year": 12}


class When(StrEnum):
    AUTO = "auto"  #: more at once, less when the period ends
    NOW = "now"
    PERIOD_END = "period_end"


@dataclass(frozen=True)
class Decision:
    """``later``: what it becomes when the period ends; None: it stays."""

    now: Selection
    later: Selection | None = None


def seats_for(plan: Plan, wanted: int | None, *, present: int | None = None, used: int | None = None) -> int | None:
    """The seats to buy with a plan: those asked for, else the present ones. ``SeatsRefused`` with the bounds."""
    limit = None if "seats" in plan.soft_limits else plan.limits.get("seats")
    if not plan.per_seat:
        if wanted is not None:
            raise SeatsRefused(f"plan {plan.name} is not sold by the seat", hint="leave the number of seats out")
        if used is not None and limit is not None and used > limit:
            raise SeatsRefused(
                f"{used} seats are in use, and plan {plan.name} has {limit}",
                hint="free some seats, or take a larger plan",
            )
        return None
    seats = wanted if wanted is not None else present or max(used or 1, 1)
    if seats < 1:
        raise SeatsRefused(f"{seats} seats can't be bought", hint="at least one")
    if limit is not None and seats > limit:
        raise SeatsRefused(f"plan {plan.name} has at most {limit} seats, not {seats}", hint="take a larger plan")
    if used is not None and seats < used:
        raise SeatsRefused(f"{used} seats are in use, more than {seats}", hint="free some seats first")
    return seats


def change_plan(standing: Standing, target: Selection, catalogue: Catalogue, prices: Prices, when: When) -> Decision:
    """``prices``: of both plans. The plan in force ends whatever was planned."""
    present = standing.selection
    if target == present:
        return Decision(present)
    return _timed(standing, target, when, lambda: is_more(present, target, catalogue, prices))


def set_seats(standing: Standing, seats: int, when: When) -> Decision:
    """A planned change of plan stays planned, with the new number of seats if that plan is sold by the seat too."""
    present, pending = standing.selection, standing.pending
    target = replace(present, seats=seats)
    if pending is not None and pending.plan == present.plan and pending.interval == present.interval:
        pending = None  # fewer seats were planned: this is the newer word
    later = replace(pending, seats=seats) if pending is not None and pending.seats is not None else pending
    if target == present:
        return Decision(present, later)
    decided = _timed(standing, target, when, lambda: seats > (present.seats or 0))
    if later is not None:
        return replace(decided, later=later)
    return decided


def _timed(standing: Standing, target: Selection, when: When, more: Callable[[], bool]) -> Decision:
    # A trial has not been paid: there is nothing to keep until its end.
    if standing.trialing or when is When.NOW or (when is When.AUTO and more()):
        return Decision(target)
    if standing.cancel_at is not None:
        raise NotChangeable(
            "the subscription ends before the change would begin", hint="resume the subscription first, or change now"
        )
    return Decision(standing.selection, target)


def is_more(present: Selection, target: Selection, catalogue: Catalogue, prices: Prices) -> bool:
    """Whether ``target`` is worth more; see the module."""
    offered = _monthly(target, target.interval, catalogue, prices)
    paid = _monthly(present, target.interval, catalogue, prices)
    if offered != paid:
        return offered > paid
    return _LENGTH.get(target.interval, 0) >= _LENGTH.get(present.interval, 0)


def _monthly(selection: Selection, interval: str, catalogue: Catalogue, prices: Prices) -> Decimal:
    plan = catalogue.plan(selection.plan)
    try:
        wanted = plan.price(interval)
    except NotFound:  # not sold so: its own interval is the nearest there is
        wanted = plan.price(selection.interval)
    return monthly(price_of(prices, wanted.lookup_key), selection.seats or 1)


def price_of(prices: Prices, lookup_key: str) -> Mapping[str, Any]:
    found = prices.get(lookup_key)
    if found is None:
        raise ConfigurationInvalid(
            f"Stripe has no active price with lookup key {lookup_key}", hint="create it: tenantry catalogue push"
        )
    return found


def lookup_keys(catalogue: Catalogue, *plans: str) -> list[str]:
    return sorted({price.lookup_key for name in plans for price in catalogue.plan(name).prices})


def full_items(selection: Selection, catalogue: Catalogue, prices: Prices) -> list[dict[str, Any]]:
    """All items of a selection, for a checkout or a phase of a schedule. Metered ones have no quantity."""
    plan = catalogue.plan(selection.plan)
    base = price_of(prices, plan.price(selection.interval).lookup_key)
    metered = [price_of(prices, price.lookup_key) for price in plan.metered_prices(selection.interval)]
    return [{"price": base["id"], "quantity": selection.seats or 1}, *({"price": each["id"]} for each in metered)]


def changed_items(standing: Standing, target: Selection, catalogue: Catalogue, prices: Prices) -> list[dict[str, Any]]:
    """The items to update for ``target``. Within a plan and interval the price stays, a superseded one too."""
    present, quantity = standing.selection, target.seats or 1
    if (present.plan, present.interval) == (target.plan, target.interval):
        return [{"id": standing.base["id"], "quantity": quantity}]
    plan = catalogue.plan(target.plan)
    base = price_of(prices, plan.price(target.interval).lookup_key)
    items: list[dict[str, Any]] = [{"id": standing.base["id"], "price": base["id"], "quantity": quantity}]
    left = {_meter(item["price"]): item for item in standing.metered}
    for wanted in plan.metered_prices(target.interval):
        price = price_of(prices, wanted.lookup_key)
        item = left.pop(_meter(price), None)
        if item is None:
            items.append({"price": price["id"]})
        elif item["price"]["id"] != price["id"]:
            items.append({"id": item["id"], "price": price["id"]})
    items += [{"id": item["id"], "deleted": True} for item in left.values()]
    return items


def _meter(price: Mapping[str, Any]) -> str:
    return str(price["recurring"].get("meter") or price["id"])


def later_items(standing: Standing, target: Selection, catalogue: Catalogue, prices: Prices) -> list[dict[str, Any]]:
    """All items of ``target`` for a phase to come. Within a plan and interval the price stays, as above."""
    present = standing.selection
    if (present.plan, present.interval) != (target.plan, target.interval):
        return full_items(target, catalogue, prices)
    base, *metered = present_items(standing)
    return [{**base, "quantity": target.seats or 1}, *metered]


def present_items(standing: Standing) -> list[dict[str, Any]]:
    """All items as they are."""
    items = []
    for item in (standing.base, *standing.metered):
        entry: dict[str, Any] = {"price": item["price"]["id"]}
        if item.get("quantity") is not None and item not in standing.metered:
            entry["quantity"] = item["quantity"]
        if item.get("discounts"):
            entry["discounts"] = [{"discount": each} for each in _ids(item["discounts"])]
        if item.get("tax_rates"):
            entry["tax_rates"] = _ids(item["tax_rates"])
        items.append(entry)
    return items


def phases(
    standing: Standing, schedule: Mapping[str, Any], later: list[dict[str, Any]], interval: str
) -> list[dict[str, Any]]:
    """Of a schedule: as it is until the period ends, then ``later``, for one period; then the schedule lets go.

    Discounts are named in both: a phase that names none has none.
    """
    discounts = [{"discount": each} for each in _ids(standing.document.get("discounts") or ())]
    shared: dict[str, Any] = {"discounts": discounts} if discounts else {}
    rates = _ids(standing.document.get("default_tax_rates") or ())
    if rates:
        shared["default_tax_rates"] = rates
    if (standing.document.get("automatic_tax") or {}).get("enabled"):
        shared["automatic_tax"] = {"enabled": True}
    start = schedule["phases"][0]["start_date"]
    until = {**shared, "items": present_items(standing), "start_date": start, "end_date": standing.period_end}
    after = {
        **shared,
        "items": later,
        "duration": {"interval": interval, "interval_count": 1},
        "proration_behavior": "none",
    }
    return [until, after]


def _ids(values: Any) -> list[str]:
    return [each if isinstance(each, str) else str(each["id"]) for each in values]
