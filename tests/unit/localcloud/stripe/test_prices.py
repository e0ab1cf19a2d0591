"""Prices with tiers, packages, decimals and usage; what invoices ask for them."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.stripe.errors import ApiError
from localcloud.stripe.subscriptions.pricing import cost, parts, share
from tests.unit.localcloud.stripe.shop import MONTH, Shop

TIERS: list[dict[str, Any]] = [
    {"up_to": 10, "unit_amount": 500, "flat_amount": 1000},
    {"up_to": 20, "unit_amount_decimal": "250.5"},
    {"up_to": "inf", "unit_amount": 0, "flat_amount": 99},
]
BOUNDS = [10, 20, None]


def tiered(shop: Shop, mode: str, tiers: list[dict[str, Any]] = TIERS, **more: Any) -> str:
    return shop.price(billing_scheme="tiered", tiers_mode=mode, tiers=tiers, **more)


#: quantity -> (graduated, volume), computed by hand
CASES = {
    0: (1000, 1000),
    1: (1500, 1500),
    10: (6000, 6000),
    11: (6000 + 251, 2756),
    20: (6000 + 2505, 5010),
    21: (6000 + 2505 + 99, 99),
    500: (6000 + 2505 + 99, 99),
}


@pytest.mark.parametrize("quantity", CASES)
@pytest.mark.parametrize("mode", ["graduated", "volume"])
def test_tiers_cost_what_they_say(shop: Shop, quantity: int, mode: str) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, items=[{"price": tiered(shop, mode), "quantity": quantity}])
    expected = CASES[quantity][mode == "volume"]
    invoice = shop.latest(subscription["id"])
    assert (invoice["total"], invoice["status"]) == (expected, "paid")
    assert sum(line["amount"] for line in invoice["lines"]["data"]) == expected


@given(
    st.lists(st.integers(1, 9), min_size=0, max_size=4),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=5, max_size=5),
    st.integers(0, 60),
    st.sampled_from(["graduated", "volume"]),
)
def test_tiers_agree_with_counting_unit_by_unit(
    widths: list[int], amounts: list[tuple[int, int]], quantity: int, mode: str
) -> None:
    """An oracle that knows no arithmetic of tiers: each unit is asked which tier it falls into."""
    bounds: list[int | None] = []
    for width in widths:
        bounds.append((bounds[-1] or 0) + width if bounds else width)
    bounds.append(None)
    tiers = [
        {
            "up_to": bound,
            "unit_amount_decimal": str(Decimal(amounts[number][0]) / 1000),
            "flat_amount_decimal": str(amounts[number][1]),
        }
        for number, bound in enumerate(bounds)
    ]

    def tier_of(unit: int) -> int:
        return next(number for number, bound in enumerate(bounds) if bound is None or unit <= bound)

    per_unit = [0] * len(bounds)
    for unit in range(1, quantity + 1):
        per_unit[tier_of(quantity if mode == "volume" else unit)] += 1
    touched = {tier_of(max(quantity, 1))} if mode == "volume" else {tier_of(unit) for unit in range(1, quantity + 1)}
    expected = 0
    for number in touched or {0}:
        units = Decimal(tiers[number]["unit_amount_decimal"] or 0) * per_unit[number]
        expected += int(units.quantize(Decimal(1), ROUND_HALF_UP)) + amounts[number][1]
    price = {"billing_scheme": "tiered", "tiers_mode": mode, "_tiers": tiers}
    assert cost(price, quantity) == expected
    assert sum(part.amount for part in parts(price, quantity)) == expected


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**7), st.integers(1, 10**7))
def test_a_share_is_exact_and_symmetric(amount: int, part: int, whole: int) -> None:
    exact = Fraction(amount * part, whole)
    assert abs(share(amount, part, whole) - exact) <= Fraction(1, 2)
    assert share(-amount, part, whole) == -share(amount, part, whole)


def test_a_fraction_of_a_cent_is_rounded_once_for_the_whole_line(shop: Shop) -> None:
    price = shop.price(unit_amount_decimal="0.035")
    subscription = shop.subscribe(items=[{"price": price, "quantity": 1000}])
    assert shop.latest(subscription["id"])["total"] == 35
    assert shop.get(f"/v1/prices/{price}")["unit_amount"] is None
    assert shop.get(f"/v1/prices/{price}")["unit_amount_decimal"] == "0.035"


@pytest.mark.parametrize(("direction", "expected"), [("up", 300), ("down", 200)])
def test_packages_are_counted_whole(shop: Shop, direction: str, expected: int) -> None:
    price = shop.price(unit_amount=100, transform_quantity={"divide_by": 10, "round": direction})
    subscription = shop.subscribe(items=[{"price": price, "quantity": 25}])
    assert shop.latest(subscription["id"])["total"] == expected


def metered(shop: Shop, **more: Any) -> str:
    meter = shop.post(
        "/v1/billing/meters", display_name="Calls", event_name="calls", default_aggregation={"formula": "sum"}
    )["id"]
    return shop.price(recurring={"interval": "month", "usage_type": "metered", "meter": meter}, **more)


def use(shop: Shop, customer: str, value: int) -> None:
    shop.post("/v1/billing/meter_events", event_name="calls", payload={"stripe_customer_id": customer, "value": value})


@pytest.mark.parametrize(("mode", "expected"), [("graduated", 6000 + 1253), ("volume", 3758)])
def test_usage_is_billed_for_the_period_past(shop: Shop, mode: str, expected: int) -> None:
    price = metered(shop, billing_scheme="tiered", tiers_mode=mode, tiers=TIERS)
    customer = shop.customer()
    subscription = shop.subscribe(customer, price, shop.monthly)
    assert shop.latest(subscription["id"])["total"] == 3100, "no usage yet"
    for value in (5, 4, 6):
        use(shop, customer, value)
    shop.until(MONTH + 3600)
    invoice = shop.latest(subscription["id"])
    assert invoice["total"] == expected + 3100
    used = [line for line in invoice["lines"]["data"] if line["pricing"]["price_details"]["price"] == price]
    assert {(line["period"]["end"] - line["period"]["start"]) for line in used} == {MONTH}
    shop.until(MONTH + 32 * 86400)
    assert shop.latest(subscription["id"])["total"] == 3100 + 1000, "no usage: the first tier's flat fee"


def test_tiers_are_shown_on_request(shop: Shop) -> None:
    price = tiered(shop, "graduated")
    plain = shop.get(f"/v1/prices/{price}")
    assert "tiers" not in plain
    assert (plain["billing_scheme"], plain["tiers_mode"], plain["unit_amount"]) == ("tiered", "graduated", None)
    shown = shop.get(f"/v1/prices/{price}", expand=["tiers"])["tiers"]
    assert [tier["up_to"] for tier in shown] == BOUNDS
    assert shown[1] == {
        "up_to": 20,
        "flat_amount": None,
        "flat_amount_decimal": None,
        "unit_amount": None,
        "unit_amount_decimal": "250.5",
    }
    listed = shop.get("/v1/prices", product=shop.product, expand=["data.tiers"])["data"]
    assert [len(found.get("tiers") or []) for found in listed] == [3, 0, 0]
    subscription = shop.subscribe(shop.customer(), price, expand=["items.data.price.tiers"])
    assert subscription["items"]["data"][0]["price"]["tiers"] == shown


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"billing_scheme": "tiered", "tiers_mode": "volume"}, "tiers"),
        ({"billing_scheme": "tiered", "tiers": TIERS}, "tiers_mode"),
        ({"billing_scheme": "tiered", "tiers": TIERS[:2], "tiers_mode": "volume"}, "tiers[1][up_to]"),
        ({"billing_scheme": "tiered", "tiers": [TIERS[2], TIERS[0]], "tiers_mode": "volume"}, "tiers[0][up_to]"),
        (
            {"billing_scheme": "tiered", "tiers": [TIERS[1], TIERS[0], TIERS[2]], "tiers_mode": "volume"},
            "tiers[1][up_to]",
        ),
        ({"billing_scheme": "tiered", "tiers": [{"up_to": "inf"}], "tiers_mode": "volume"}, "tiers[0][unit_amount]"),
        ({"billing_scheme": "tiered", "tiers": TIERS, "tiers_mode": "volume", "unit_amount": 5}, "unit_amount"),
        ({"tiers": TIERS, "unit_amount": 5}, "tiers"),
        ({"tiers_mode": "volume", "unit_amount": 5}, "tiers_mode"),
        ({"unit_amount": -5}, "unit_amount"),
        ({"unit_amount_decimal": "-0.5"}, "unit_amount_decimal"),
        ({}, "unit_amount"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(shop: Shop, params: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        shop.price(**params)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_prices_are_found_by_product_activity_and_lookup_key(shop: Shop) -> None:
    old = shop.price(unit_amount=1, lookup_key="team")
    with pytest.raises(ApiError, match="already uses that lookup key"):
        shop.price(unit_amount=2, lookup_key="team")
    new = shop.price(unit_amount=2, lookup_key="team", transfer_lookup_key=True, tax_behavior="exclusive")
    assert shop.previous("price.updated") == {"lookup_key": "team"}
    assert [found["id"] for found in shop.all("/v1/prices", lookup_keys=["team"])] == [new]
    shop.post(f"/v1/prices/{old}", active=False)
    active = [found["id"] for found in shop.all("/v1/prices", product=shop.product, active=True)]
    assert active == [shop.monthly, shop.dear, new]
    assert [found["id"] for found in shop.all("/v1/prices", active=False)] == [old]
    with pytest.raises(ApiError, match="inactive"):
        shop.subscribe(shop.customer(), old)
