"""Subscription items from parameters, and what changing them in mid-period costs."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.fields import merge_metadata, none_if_empty
from localcloud.stripe.ids import new_id
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import discounts, invoices
from localcloud.stripe.subscriptions.periods import period_after
from localcloud.stripe.subscriptions.pricing import cost, rounded, share

MAX_ITEMS = 20


def price_of(account: Account, given: dict[str, Any], param: str) -> Object:
    """The price that ``price`` names or ``price_data`` describes; it must be recurring and active."""
    if "price_data" in given:
        from localcloud.stripe.resources import prices

        return prices.create(account, given["price_data"])
    if "price" not in given:
        raise missing_param(f"{param}[price]")
    price = account.find("price", given["price"], param=f"{param}[price]")
    if price["type"] != "recurring":
        raise invalid(
            f"The price specified is set to `type=one_time` but this field only accepts prices with "
            f"`type=recurring`. (`{price['id']}`)",
            param=f"{param}[price]",
        )
    if not price["active"]:
        raise invalid(
            "The price specified is inactive. This field only accepts active prices.", param=f"{param}[price]"
        )
    return price


def new_item(account: Account, given: dict[str, Any], subscription: str, now: int, param: str) -> Object:
    """An item document; its period is set by whoever starts or joins the cycle."""
    price = price_of(account, given, param)
    if given.get("quantity", 1) < 0:
        raise invalid("This value must be greater than or equal to 0.", param=f"{param}[quantity]")
    item: Object = {
        "id": new_id("subscription_item"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_trial": None,
        "current_period_end": now,
        "current_period_start": now,
        "discounts": [],
        "metadata": merge_metadata({}, given.get("metadata")),
        "price": price["id"],
        "quantity": given.get("quantity", 1),
        "subscription": subscription,
        "tax_rates": [],
    }
    if price["recurring"]["usage_type"] == "metered":
        if "quantity" in given:
            raise invalid("Quantity should not be specified where usage_type is `metered`.", param=f"{param}[quantity]")
        del item["quantity"]
    return item


def check(account: Account, items: list[Object], currency: str | None) -> str:
    """Whether these items may stand in one subscription; returns their currency."""
    if not items:
        raise invalid(
            "A subscription must have at least one active plan. To cancel, use cancel instead.", param="items"
        )
    if len(items) > MAX_ITEMS:
        raise invalid(f"A subscription can have at most {MAX_ITEMS} items", param="items")
    prices = [account.find("price", item["price"]) for item in items]
    ids = [price["id"] for price in prices if price["recurring"]["usage_type"] == "licensed"]
    if len(set(ids)) != len(ids):
        duplicate = next(identifier for identifier in ids if ids.count(identifier) > 1)
        raise invalid(f"Cannot add multiple subscription items with the same plan: {duplicate}", param="items")
    currencies = {price["currency"] for price in prices} | ({currency} if currency else set())
    if len(currencies) > 1:
        raise invalid(
            f"A subscription's prices and its customer have one currency, not {', '.join(sorted(currencies))}",
            param="currency",
        )
    return currencies.pop()


def apply_changes(account: Account, subscription: Object, changes: list[dict[str, Any]], now: int) -> None:
    """Add, change and delete items as an update's ``items`` says. Call inside ``account.updating``."""
    items = subscription["items"]["data"]
    for index, change in enumerate(changes):
        param = f"items[{index}]"
        if "id" not in change:
            items.append(new_item(account, change, subscription["id"], now, param))
            continue
        item = next((item for item in items if item["id"] == change["id"]), None)
        if item is None:
            raise invalid(f"No such subscription item: '{change['id']}'", param=f"{param}[id]", code="resource_missing")
        if change.get("deleted"):
            items.remove(item)
            continue
        if "price" in change or "price_data" in change:
            price = price_of(account, change, param)
            if price["id"] != item["price"]:
                item["price"] = price["id"]
                _reset_quantity(item, price)
        if "quantity" in change:
            if change["quantity"] < 0:
                raise invalid("This value must be greater than or equal to 0.", param=f"{param}[quantity]")
            item["quantity"] = change["quantity"]
        item["metadata"] = merge_metadata(item["metadata"], change.get("metadata"))
        if "discounts" in change:
            customer = account.find("customer", subscription["customer"])
            item["discounts"] = discounts.redeem(
                account,
                none_if_empty(change["discounts"]) or [],
                customer,
                subscription["currency"],
                param=f"{param}[discounts]",
                subscription=subscription["id"],
                item=item["id"],
            )
    check(account, items, subscription["currency"])


def _reset_quantity(item: Object, price: Object) -> None:
    """Another price starts with the quantity 1 (a metered one has none) unless the change gives one."""
    item.pop("quantity", None)
    if price["recurring"]["usage_type"] == "licensed":
        item["quantity"] = 1


def join_cycle(account: Account, subscription: Object, item: Object, now: int) -> None:
    """Give an item the period of the subscription's cycle that holds ``now``."""
    recurring = account.find("price", item["price"])["recurring"]
    item["current_period_start"], item["current_period_end"] = period_after(
        subscription["billing_cycle_anchor"], recurring["interval"], recurring["interval_count"], now
    )


def prorations(account: Account, subscription: Object, before: list[Object], now: int) -> list[Object]:
    """Lines for changed items: credit for the unused rest of the old, charge for the rest of the new."""
    lines = []
    old = {item["id"]: item for item in before}
    new = {item["id"]: item for item in subscription["items"]["data"]}
    for identifier in {**old, **new}:
        former, present = old.get(identifier), new.get(identifier)
        if (
            former
            and present
            and (former["price"], former.get("quantity"))
            == (
                present["price"],
                present.get("quantity"),
            )
        ):
            continue
        for item, sign in ((former, -1), (present, 1)):
            if item is not None:
                lines += _rest(account, subscription, item, sign, now)
    return lines


def _rest(account: Account, subscription: Object, item: Object, sign: int, now: int) -> list[Object]:
    price = account.find("price", item["price"])
    start, end = item["current_period_start"], item["current_period_end"]
    if price["recurring"]["usage_type"] == "metered" or end <= max(now, start):
        return []
    whole = invoices.paid_for(account, subscription, item) if sign < 0 else None
    if whole is None:
        whole = _discounted(account, subscription, item, price)
    amount = share(sign * whole, end - max(now, start), end - start)
    text = ("Unused time" if sign < 0 else "Remaining time") + f" on {price['id']}"
    return [invoices.proration_line(account, subscription, item, (now, end), amount, text)]


def _discounted(account: Account, subscription: Object, item: Object, price: Object) -> int:
    """The price of a whole period less the percentages of the discounts that hold now."""
    held = [*item["discounts"], *subscription["discounts"]]
    full = cost(price, item.get("quantity") or 0)
    return rounded(full * discounts.percent_left(account, held, price["product"])) if held else full


def keep_for_next_invoice(account: Account, subscription: Object, lines: list[Object]) -> None:
    """Prorations wait for the subscription's next invoice."""
    for entry in lines:
        account.store.add(
            {"object": "_pending_line", "id": entry["id"], "subscription": subscription["id"], "line": entry}
        )
