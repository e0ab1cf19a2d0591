"""Discounts: coupons that subscriptions, their items and invoices hold, and what they take off an invoice's lines."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, no_such
from localcloud.stripe.fields import coupon_is_valid
from localcloud.stripe.ids import new_id
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions.periods import add_interval
from localcloud.stripe.subscriptions.pricing import rounded


def redeem(
    account: Account,
    given: list[dict[str, Any]],
    customer: Object,
    currency: str | None,
    *,
    param: str = "discounts",
    subscription: str | None = None,
    item: str | None = None,
    invoice: str | None = None,
    checkout: str | None = None,
) -> list[str]:
    """The ids of the discounts that ``discounts`` asks for: new ones from coupons and promotion codes, or held ones."""
    found = []
    for index, entry in enumerate(given):
        where = f"{param}[{index}]"
        if "discount" in entry:
            found.append(account.find("discount", entry["discount"], param=f"{where}[discount]")["id"])
            continue
        promotion = None
        if "promotion_code" in entry:
            promotion = _promotion(account, entry["promotion_code"], customer, f"{where}[promotion_code]")
            coupon = account.find("coupon", promotion["promotion"]["coupon"])
        elif "coupon" in entry:
            coupon = account.find("coupon", entry["coupon"], param=f"{where}[coupon]")
        else:
            raise invalid("Each discount needs one of coupon, promotion_code, or discount.", param=where)
        found.append(
            _redeem(account, coupon, promotion, customer, currency, where, subscription, item, invoice, checkout)["id"]
        )
    return found


def _promotion(account: Account, identifier: str, customer: Object, param: str) -> Object:
    code = account.find("promotion_code", identifier, param=param, noun="promotion code")
    now = account.now(customer["test_clock"])
    uses = code["max_redemptions"]
    if (
        not code["active"]
        or (uses is not None and code["times_redeemed"] >= uses)
        or (code["expires_at"] is not None and code["expires_at"] <= now)
    ):
        raise invalid(
            "This promotion code is expired, used up or inactive.", param=param, code="promotion_code_invalid"
        )
    if code["customer"] not in (None, customer["id"]):
        raise invalid("This promotion code is another customer's.", param=param, code="promotion_code_invalid")
    if code["restrictions"]["first_time_transaction"] and any(
        invoice["status"] == "paid" and invoice["amount_paid"] > 0
        for invoice in account.store.where("invoice", "customer", customer["id"])
    ):
        raise invalid(
            "This promotion code cannot be redeemed because the associated customer has prior transactions.",
            param=param,
            code="customer_has_prior_transactions",
        )
    return code


def _redeem(
    account: Account,
    coupon: Object,
    promotion: Object | None,
    customer: Object,
    currency: str | None,
    param: str,
    subscription: str | None,
    item: str | None,
    invoice: str | None,
    checkout: str | None,
) -> Object:
    if coupon.get("deleted"):
        raise no_such("coupon", coupon["id"], param=param, status=400)
    if not coupon_is_valid(coupon, account.now()):
        raise invalid(f"Coupon expired: {coupon['id']}", param=param, code="coupon_expired")
    if coupon["amount_off"] is not None and currency is not None and coupon["currency"] != currency:
        raise invalid(
            f"This coupon takes an amount of {coupon['currency']} off, and the prices are in {currency}.", param=param
        )
    now = account.now(customer["test_clock"])
    months = coupon["duration_in_months"]
    discount = account.store.add(
        {
            "id": new_id("discount"),
            "object": "discount",
            "checkout_session": checkout,
            "customer": customer["id"],
            "customer_account": None,
            "end": add_interval(now, "month", months) if coupon["duration"] == "repeating" else None,
            "invoice": invoice,
            "invoice_item": None,
            "promotion_code": None if promotion is None else promotion["id"],
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": now,
            "subscription": subscription,
            "subscription_item": item,
        }
    )
    account.store.edit(coupon)["times_redeemed"] += 1
    if promotion is not None:
        account.store.edit(promotion)["times_redeemed"] += 1
    account.emit("customer.discount.created", discount, test_clock=customer["test_clock"])
    return discount


def expire(account: Account, holder: Object, clock: str | None) -> list[str]:
    """The ids of the discounts that a subscription or item holds now; ended ones are taken from it."""
    if not holder["discounts"]:
        return []
    now = account.now(clock)
    for identifier in list(holder["discounts"]):
        end = account.find("discount", identifier)["end"]
        if end is not None and end <= now:
            take_away(account, holder, identifier, clock)
    return list(holder["discounts"])


def take_away(account: Account, holder: Object, identifier: str, clock: str | None) -> None:
    """The holder loses a discount; invoices that have it keep it. Call when the holder may be changed."""
    holder["discounts"].remove(identifier)
    account.emit("customer.discount.deleted", account.find("discount", identifier), test_clock=clock)


def apply(account: Account, lines: list[Object], common: list[str]) -> dict[str, int]:
    """Write what each discount takes off each line; discount id -> what it takes off altogether.

    A line's own discounts come first, then ``common`` in their order; each works on what the former left.
    """
    left: dict[str, int] = {}
    for line in lines:
        line["discount_amounts"], line["pretax_credit_amounts"] = [], []
        if line["discountable"] and line["amount"] > 0:
            left[line["id"]] = line["amount"]
    taken: dict[str, int] = {}
    for line in lines:
        for identifier in line["discounts"]:
            _apply_one(account, [line], left, identifier, taken)
    for identifier in common:
        _apply_one(account, lines, left, identifier, taken)
    return taken


def _apply_one(account: Account, lines: list[Object], left: dict[str, int], name: str, taken: dict[str, int]) -> None:
    coupon = coupon_of(account, name)
    eligible = [line for line in lines if left.get(line["id"], 0) > 0 and _is_for(coupon, line)]
    base = sum(left[line["id"]] for line in eligible)
    off = base if coupon["percent_off"] is None else rounded(base * Decimal(str(coupon["percent_off"])) / 100)
    if coupon["amount_off"] is not None:
        off = min(base, coupon["amount_off"])
    taken[name] = taken.get(name, 0) + off
    for line, amount in zip(eligible, spread(off, [left[line["id"]] for line in eligible]), strict=True):
        left[line["id"]] -= amount
        line["discount_amounts"].append({"amount": amount, "discount": name})
        line["pretax_credit_amounts"].append({"amount": amount, "discount": name, "type": "discount"})


def spread(total: int, weights: list[int]) -> list[int]:
    """``total`` in whole parts in proportion to ``weights`` (positive): the parts' sum is exactly ``total``."""
    whole = sum(weights)
    result, given, seen = [], 0, 0
    for weight in weights:
        seen += weight
        upto = total * seen // whole
        result.append(upto - given)
        given = upto
    return result


def coupon_of(account: Account, discount: str) -> Object:
    return account.find("coupon", account.find("discount", discount)["source"]["coupon"])


def _is_for(coupon: Object, line: Object) -> bool:
    applies = coupon["_applies_to"]
    return applies is None or line["pricing"]["price_details"]["product"] in applies["products"]


def percent_left(account: Account, discounts: list[str], product: str) -> Decimal:
    """The part of a price (0 to 1) that percentage discounts leave to be paid."""
    left = Decimal(1)
    for identifier in discounts:
        coupon = coupon_of(account, identifier)
        applies = coupon["_applies_to"]
        if coupon["percent_off"] is not None and (applies is None or product in applies["products"]):
            left *= 1 - Decimal(str(coupon["percent_off"])) / 100
    return left
