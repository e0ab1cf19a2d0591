"""Checkout sessions, and the customers who complete them."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.stripe.errors import ApiError
from tests.unit.localcloud.stripe.shop import DAY, HOUR, START, Shop


def begin(shop: Shop, **more: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"mode": "subscription", "line_items": [{"price": shop.monthly, "quantity": 1}], **more}
    return shop.post("/v1/checkout/sessions", success_url="https://example.com/ok", **params)


def complete(shop: Shop, session: dict[str, Any], **form: Any) -> dict[str, Any]:
    return shop.control(f"/_local/checkout/{session['id']}/complete", **form)


def test_a_purchase_carries_what_the_shop_gave_it(shop: Shop) -> None:
    session = begin(
        shop,
        client_reference_id="acme",
        metadata={"source": "pricing page"},
        customer_email="ada@example.com",
        subscription_data={"metadata": {"tenant_id": "acme"}},
    )
    assert (session["amount_total"], session["status"], session["payment_status"]) == (3100, "open", "unpaid")
    shop.types()
    done = complete(shop, session, name="Ada")
    assert (done["client_reference_id"], done["metadata"]) == ("acme", {"source": "pricing page"})
    assert (done["status"], done["payment_status"]) == ("complete", "paid")
    subscription = shop.subscription(done["subscription"])
    assert (subscription["status"], subscription["metadata"]) == ("active", {"tenant_id": "acme"})
    customer = shop.get(f"/v1/customers/{done['customer']}")
    assert (customer["email"], customer["name"]) == ("ada@example.com", "Ada")
    assert shop.types()[-1] == "checkout.session.completed"
    with pytest.raises(ApiError, match="is complete, not open"):
        complete(shop, session)


def test_a_trial_needs_no_card_if_the_shop_says_so(shop: Shop) -> None:
    trial = {"trial_period_days": 10, "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}}}
    strict = begin(shop, subscription_data=trial)
    assert strict["amount_total"] == 0
    with pytest.raises(ApiError, match="needs a payment method"):
        complete(shop, strict, payment_method=None)
    free = complete(
        shop, begin(shop, subscription_data=trial, payment_method_collection="if_required"), payment_method=None
    )
    assert free["payment_status"] == "no_payment_required"
    assert shop.subscription(free["subscription"])["status"] == "trialing"
    with pytest.raises(ApiError, match="needs a payment method"):
        complete(shop, begin(shop, payment_method_collection="if_required"), payment_method=None)
    shop.until(10 * DAY + HOUR)
    assert shop.subscription(free["subscription"])["status"] == "canceled"


def test_seats_codes_and_tax_are_in_the_price(shop: Shop) -> None:
    coupon = shop.post("/v1/coupons", percent_off=10)["id"]
    shop.post("/v1/promotion_codes", promotion={"type": "coupon", "coupon": coupon}, code="LAUNCH")
    session = begin(
        shop,
        allow_promotion_codes=True,
        automatic_tax={"enabled": True},
        line_items=[
            {"price": shop.monthly, "quantity": 2, "adjustable_quantity": {"enabled": True, "minimum": 1, "maximum": 5}}
        ],
    )
    assert (session["amount_total"], session["automatic_tax"]["status"]) == (6200, "requires_location_inputs")
    for form, message in (
        ({"quantities": [6]}, "can't be adjusted"),
        ({"quantities": [1, 1]}, "must have 1 entries"),
        ({"promotion_code": "NONE"}, "code is invalid"),
        ({"address": {"country": "DE"}, "payment_method": 5}, "payment_method must be a str"),
        ({"shoe_size": 43}, "Unknown field shoe_size"),
    ):
        with pytest.raises(ApiError, match=message):
            complete(shop, session, **form)
    done = complete(shop, session, quantities=[5], promotion_code="launch", address={"country": "DE"})
    assert (done["amount_subtotal"], done["amount_total"]) == (15500, 16740)
    assert done["total_details"] == {"amount_discount": 1550, "amount_shipping": 0, "amount_tax": 2790}
    assert shop.get(f"/v1/invoices/{done['invoice']}")["amount_paid"] == 16740
    (line,) = shop.all(f"/v1/checkout/sessions/{session['id']}/line_items")
    assert (line["quantity"], line["amount_total"], line["amount_discount"]) == (5, 16740, 1550)


def test_a_card_that_declines_leaves_the_session_open(shop: Shop) -> None:
    session = begin(shop)
    with pytest.raises(ApiError) as declined:
        complete(shop, session, payment_method="pm_card_chargeCustomerFail")
    assert declined.value.status == 402
    assert shop.all("/v1/customers") == []
    assert complete(shop, session)["status"] == "complete"


def test_a_known_customer_stays_who_it_is(shop: Shop) -> None:
    customer = shop.customer(card=None)
    done = complete(shop, begin(shop, customer=customer), name="Mallory", address={"country": "FR"})
    assert done["customer"] == customer
    assert shop.get(f"/v1/customers/{customer}")["name"] == "Acme"
    updating = begin(shop, customer=customer, customer_update={"address": "auto"})
    complete(shop, updating, name="Mallory", address={"country": "FR"})
    found = shop.get(f"/v1/customers/{customer}")
    assert (found["name"], found["address"]["country"]) == ("Acme", "FR")


def test_a_session_that_nobody_completes_expires(shop: Shop) -> None:
    session = begin(shop, expires_at=START + HOUR)
    other = begin(shop)
    shop.until(HOUR)
    assert shop.types()[-1] == "checkout.session.expired"
    with pytest.raises(ApiError, match="is expired, not open"):
        complete(shop, session)
    shop.post(f"/v1/checkout/sessions/{other['id']}/expire")
    assert [found["status"] for found in shop.all("/v1/checkout/sessions")] == ["expired", "expired"]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"mode": "payment"}, "mode"),
        ({"line_items": []}, "line_items"),
        ({"line_items": [{"price": "price_none"}]}, "line_items[0][price]"),
        ({"expires_at": START + 5}, "expires_at"),
        ({"allow_promotion_codes": True, "discounts": [{"coupon": "x"}]}, None),
        ({"customer": "cus_none"}, "customer"),
        ({"subscription_data": {"trial_period_days": 900}}, "trial_period_days"),
    ],
)
def test_a_session_that_makes_no_sense_is_refused(shop: Shop, params: dict[str, Any], param: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        begin(shop, **params)
    assert (refused.value.status, refused.value.param) == (400, param)
