"""Coupons, promotion codes, taxes and balances: what they make of an invoice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.stripe.errors import ApiError
from localcloud.stripe.subscriptions.discounts import spread
from tests.unit.localcloud.stripe.shop import DAY, HOUR, MONTH, START, Shop


def coupon(shop: Shop, **params: Any) -> str:
    identifier: str = shop.post("/v1/coupons", **params)["id"]
    return identifier


def totals(shop: Shop, subscription: str) -> list[tuple[int, str]]:
    return [(invoice["total"], invoice["status"]) for invoice in shop.invoices(subscription)]


@given(st.integers(0, 10**6), st.lists(st.integers(1, 10**6), min_size=1, max_size=8))
def test_spreading_loses_and_invents_nothing(total: int, weights: list[int]) -> None:
    parts = spread(min(total, sum(weights)), weights)
    assert sum(parts) == min(total, sum(weights))
    assert all(0 <= part <= weight for part, weight in zip(parts, weights, strict=True))


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"percent_off": 25}, [2325, 3100, 3100]),
        ({"percent_off": 25, "duration": "forever"}, [2325, 2325, 2325]),
        ({"percent_off": 25, "duration": "repeating", "duration_in_months": 2}, [2325, 2325, 3100]),
        ({"percent_off": 33.3, "duration": "forever"}, [2068, 2068, 2068]),
        ({"amount_off": 1000, "currency": "usd", "duration": "forever"}, [2100, 2100, 2100]),
        ({"amount_off": 99999, "currency": "usd"}, [0, 3100, 3100]),
        ({"percent_off": 100, "duration": "forever"}, [0, 0, 0]),
    ],
)
def test_a_coupon_lasts_as_long_as_it_says(shop: Shop, terms: dict[str, Any], expected: list[int]) -> None:
    name = coupon(shop, **terms)
    subscription = shop.subscribe(discounts=[{"coupon": name}], expand=["discounts.source.coupon"])
    assert subscription["status"] == "active"
    if terms.get("duration"):
        assert subscription["discounts"][0]["source"]["coupon"]["id"] == name
    shop.until(MONTH + 32 * DAY)
    assert totals(shop, subscription["id"]) == [(total, "paid") for total in expected]
    first = shop.invoices(subscription["id"])[0]
    assert first["subtotal"] == 3100
    assert sum(entry["amount"] for entry in first["total_discount_amounts"]) == 3100 - expected[0]
    (line,) = first["lines"]["data"]
    assert [entry["amount"] for entry in line["discount_amounts"]] == [3100 - expected[0]]
    assert shop.get(f"/v1/coupons/{name}")["times_redeemed"] == 1


def test_nothing_to_pay_needs_no_card(shop: Shop) -> None:
    customer = shop.customer(card=None)
    free = coupon(shop, percent_off=100, duration="forever")
    shop.types()
    subscription = shop.subscribe(customer, discounts=[{"coupon": free}])
    assert subscription["status"] == "active"
    told = shop.types()
    assert "invoice.paid" in told
    assert not [kind for kind in told if kind.startswith(("charge", "payment_intent"))]
    shop.until(MONTH + HOUR)
    assert shop.subscription(subscription["id"])["status"] == "active"
    shop.delete(f"/v1/subscriptions/{subscription['id']}/discount")
    shop.until(MONTH + 32 * DAY)
    assert shop.subscription(subscription["id"])["status"] == "past_due"


def test_discounts_follow_one_another_and_items_have_their_own(shop: Shop) -> None:
    half = coupon(shop, percent_off=50, duration="forever")
    ten = coupon(shop, amount_off=1000, currency="usd", duration="forever")
    subscription = shop.subscribe(
        items=[{"price": shop.monthly, "discounts": [{"coupon": half}]}, {"price": shop.dear}],
        discounts=[{"coupon": ten}],
    )
    invoice = shop.latest(subscription["id"])
    assert invoice["total"] == 3100 // 2 + 62000 - 1000
    amounts = [sum(entry["amount"] for entry in line["discount_amounts"]) for line in invoice["lines"]["data"]]
    assert sum(amounts) == 1550 + 1000
    assert amounts[0] == 1550 + 1000 * 1550 // 63550


def test_a_coupon_can_be_for_one_product(shop: Shop) -> None:
    other = shop.post("/v1/products", name="Other")["id"]
    price = shop.price(product=other, unit_amount=800)
    half = coupon(shop, percent_off=50, applies_to={"products": [other]})
    subscription = shop.subscribe(shop.customer(), shop.monthly, price, discounts=[{"coupon": half}])
    assert shop.latest(subscription["id"])["total"] == 3100 + 400
    assert shop.get(f"/v1/coupons/{half}", expand=["applies_to"])["applies_to"] == {"products": [other]}


def test_a_change_gives_back_what_was_paid_and_not_more(shop: Shop) -> None:
    """With 100 % off, an upgrade credits nothing."""
    free = coupon(shop, percent_off=100)
    subscription = shop.subscribe(discounts=[{"coupon": free}])
    shop.until(MONTH // 2)
    shop.change(subscription, shop.dear, proration_behavior="always_invoice")
    invoice = shop.latest(subscription["id"])
    assert [line["amount"] for line in invoice["lines"]["data"]] == [0, 31000]
    assert shop.get(f"/v1/customers/{subscription['customer']}")["balance"] == 0


def test_discounts_of_a_subscription_can_be_replaced(shop: Shop) -> None:
    first, second = (coupon(shop, percent_off=percent, duration="forever") for percent in (10, 20))
    subscription = shop.subscribe(discounts=[{"coupon": first}])
    shop.types()
    held = subscription["discounts"][0]
    both = shop.post(f"/v1/subscriptions/{subscription['id']}", discounts=[{"discount": held}, {"coupon": second}])
    assert both["discounts"][0] == held
    assert shop.types() == ["customer.discount.created", "customer.subscription.updated"]
    none = shop.post(f"/v1/subscriptions/{subscription['id']}", discounts="")
    assert none["discounts"] == []
    assert shop.types().count("customer.discount.deleted") == 2


def test_promotion_codes_have_their_limits(shop: Shop) -> None:
    ten = coupon(shop, percent_off=10)
    acme = shop.customer()

    def code(**more: Any) -> str:
        identifier: str = shop.post("/v1/promotion_codes", promotion={"type": "coupon", "coupon": ten}, **more)["id"]
        return identifier

    def redeem(promotion: str, customer: str | None = None) -> str:
        try:
            subscription = shop.subscribe(customer, discounts=[{"promotion_code": promotion}])
        except ApiError as error:
            return str(error.code)
        return str(shop.latest(subscription["id"])["total"])

    launch = code(code="LAUNCH", max_redemptions=1)
    assert [redeem(launch), redeem(launch)] == ["2790", "promotion_code_invalid"]
    assert redeem(code(customer=acme)) == "promotion_code_invalid"
    assert redeem(code(customer=acme), acme) == "2790"
    assert redeem(code(restrictions={"first_time_transaction": True}), acme) == "customer_has_prior_transactions"
    ended = code(expires_at=START + DAY)
    shop.until(DAY)
    assert redeem(ended) == "promotion_code_invalid"
    shop.post(f"/v1/promotion_codes/{launch}", active=False)
    assert [found["id"] for found in shop.all("/v1/promotion_codes", code="launch")] == [launch]
    assert shop.all("/v1/promotion_codes", code="launch", active=True) == []


def test_coupons_end(shop: Shop) -> None:
    once = coupon(shop, percent_off=10, max_redemptions=1)
    soon = coupon(shop, percent_off=10, redeem_by=START + DAY)
    held = shop.subscribe(discounts=[{"coupon": once}])
    for name in (once, "nothing"):
        with pytest.raises(ApiError):
            shop.subscribe(discounts=[{"coupon": name}])
    assert shop.get(f"/v1/coupons/{once}")["valid"] is False
    assert shop.get(f"/v1/coupons/{soon}")["valid"] is True
    shop.until(DAY)
    assert shop.get(f"/v1/coupons/{soon}")["valid"] is False
    forever = coupon(shop, percent_off=50, duration="forever", id="HALF")
    kept = shop.subscribe(discounts=[{"coupon": forever}])
    assert shop.delete("/v1/coupons/HALF")["deleted"] is True
    with pytest.raises(ApiError, match="No such coupon"):
        shop.get("/v1/coupons/HALF")
    shop.until(MONTH + DAY + 2 * HOUR)
    assert shop.latest(kept["id"])["total"] == 1550, "who holds a discount keeps it"
    assert shop.latest(held["id"])["total"] == 3100


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({}, "percent_off"),
        ({"percent_off": 10, "amount_off": 5, "currency": "usd"}, "percent_off"),
        ({"percent_off": 101}, "percent_off"),
        ({"percent_off": 0}, "percent_off"),
        ({"amount_off": 5}, "currency"),
        ({"amount_off": 0, "currency": "usd"}, "amount_off"),
        ({"percent_off": 5, "duration": "repeating"}, "duration_in_months"),
        ({"percent_off": 5, "duration": "forever", "duration_in_months": 2}, "duration_in_months"),
        ({"percent_off": 5, "applies_to": {"products": ["prod_none"]}}, "applies_to[products][0]"),
    ],
)
def test_a_coupon_that_makes_no_sense_is_refused(shop: Shop, params: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        coupon(shop, **params)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_tax_is_added_or_contained(shop: Shop) -> None:
    shop.control("/_local/settings", tax={"percentage": "20", "countries": {"DE": "19"}})
    german = shop.customer(address={"country": "DE"})
    subscription = shop.subscribe(german, automatic_tax={"enabled": True})
    invoice = shop.latest(subscription["id"])
    assert (invoice["subtotal"], invoice["total"], invoice["total_excluding_tax"]) == (3100, 3689, 3100)
    assert (invoice["automatic_tax"]["status"], invoice["total_taxes"][0]["amount"]) == ("complete", 589)
    contained = shop.price(unit_amount=11900, tax_behavior="inclusive")
    other = shop.latest(shop.subscribe(german, contained, automatic_tax={"enabled": True})["id"])
    assert (other["total"], other["total_excluding_tax"], other["total_taxes"][0]["amount"]) == (11900, 10000, 1900)
    half = coupon(shop, percent_off=50)
    less = shop.subscribe(german, automatic_tax={"enabled": True}, discounts=[{"coupon": half}])
    assert shop.latest(less["id"])["total"] == 1550 + 295
    exempt = shop.customer(address={"country": "DE"}, tax_exempt="reverse")
    reverse = shop.latest(shop.subscribe(exempt, automatic_tax={"enabled": True})["id"])
    assert (reverse["total"], reverse["total_taxes"][0]["taxability_reason"]) == (3100, "reverse_charge")


def test_tax_needs_a_place(shop: Shop) -> None:
    customer = shop.customer()
    with pytest.raises(ApiError) as refused:
        shop.subscribe(customer, automatic_tax={"enabled": True})
    assert refused.value.code == "customer_tax_location_invalid"
    shop.post(f"/v1/customers/{customer}", address={"country": "FR"})
    subscription = shop.subscribe(customer, automatic_tax={"enabled": True})
    shop.post(f"/v1/customers/{customer}", address="")
    shop.until(MONTH + HOUR)
    invoice = shop.latest(subscription["id"])
    assert invoice["automatic_tax"]["disabled_reason"] == "finalization_requires_location_inputs"
    assert invoice["total"] == 3100


def test_a_credit_is_used_up_by_later_invoices(shop: Shop) -> None:
    subscription = shop.subscribe(shop.customer(), shop.dear)
    customer = subscription["customer"]
    shop.until(MONTH // 2)
    shop.change(subscription, shop.monthly, proration_behavior="always_invoice")
    assert shop.latest(subscription["id"])["total"] == 1550 - 31000
    assert shop.get(f"/v1/customers/{customer}")["balance"] == 1550 - 31000
    assert shop.previous("customer.updated")["balance"] == 0
    shop.until(MONTH + HOUR)
    renewal = shop.latest(subscription["id"])
    assert (renewal["total"], renewal["amount_due"], renewal["status"]) == (3100, 0, "paid")
    assert (renewal["starting_balance"], renewal["ending_balance"]) == (-29450, -26350)
    shop.post(f"/v1/customers/{customer}/balance_transactions", amount=26000, currency="usd")
    shop.until(MONTH + 32 * DAY)
    assert shop.latest(subscription["id"])["amount_paid"] == 3100 - 350
    assert shop.charge(customer)["amount"] == 2750
    assert shop.get(f"/v1/customers/{customer}")["balance"] == 0


def test_a_voided_invoice_gives_its_credit_back(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer)
    shop.post(f"/v1/customers/{customer}/balance_transactions", amount=-1000, currency="usd")
    shop.pay_with(customer, "pm_card_chargeCustomerFail")
    shop.until(MONTH + HOUR)
    invoice = shop.latest(subscription["id"])
    assert (invoice["amount_due"], shop.get(f"/v1/customers/{customer}")["balance"]) == (2100, 0)
    shop.post(f"/v1/invoices/{invoice['id']}/void")
    assert shop.get(f"/v1/customers/{customer}")["balance"] == -1000
