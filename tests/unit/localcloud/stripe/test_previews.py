"""Previews equal what is really billed, and leave no trace."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.stripe.errors import ApiError
from localcloud.stripe.store import copy_of
from tests.unit.localcloud.stripe.shop import DAY, HOUR, MONTH, START, Shop

AMOUNTS = (
    "subtotal", "total", "amount_due", "total_excluding_tax", "starting_balance", "currency", "customer",
)  # fmt: skip


def essence(invoice: dict[str, Any]) -> dict[str, Any]:
    lines = [
        (
            line["amount"],
            line["quantity"],
            line["description"],
            line["period"],
            line["pricing"],
            line["parent"]["subscription_item_details"]["proration"],
            [entry["amount"] for entry in line["discount_amounts"]],
            [(entry["amount"], entry["taxable_amount"]) for entry in line["taxes"]],
        )
        for line in invoice["lines"]["data"]
    ]
    return {**{name: invoice[name] for name in AMOUNTS}, "lines": lines}


def preview(shop: Shop, subscription: dict[str, Any], **details: Any) -> dict[str, Any]:
    top = {name: details.pop(name) for name in ("preview_mode", "discounts") if name in details}
    return shop.post(
        "/v1/invoices/create_preview", subscription=subscription["id"], subscription_details=details, **top
    )


def trace(shop: Shop) -> dict[str, Any]:
    """Everything that is stored."""
    store = shop.stripe.account.store
    return {kind: copy_of(store.all(kind)) for kind in store._kinds if store.count(kind)}


@settings(max_examples=30, deadline=None)
@given(
    quantity=st.integers(0, 30),
    later=st.integers(0, 30),
    price=st.sampled_from(["same", "dear", "graduated", "volume", "yearly"]),
    day=st.integers(0, 27),
    behavior=st.sampled_from(["create_prorations", "always_invoice", "none"]),
    percent=st.sampled_from([None, 12.5, 100]),
    taxed=st.booleans(),
    balance=st.sampled_from([0, -700, 700]),
)
def test_a_preview_is_what_the_change_really_bills(
    quantity: int, later: int, price: str, day: int, behavior: str, percent: float | None, taxed: bool, balance: int
) -> None:
    shop = Shop()
    tiers = [{"up_to": 5, "unit_amount": 900, "flat_amount": 500}, {"up_to": "inf", "unit_amount": 700}]
    prices = {
        "same": shop.monthly,
        "dear": shop.dear,
        "graduated": shop.price(billing_scheme="tiered", tiers_mode="graduated", tiers=tiers),
        "volume": shop.price(billing_scheme="tiered", tiers_mode="volume", tiers=tiers),
        "yearly": shop.price(unit_amount=36500, recurring={"interval": "year"}),
    }
    customer = shop.customer(address={"country": "DE"}, balance=balance)
    more: dict[str, Any] = {"automatic_tax": {"enabled": taxed}}
    if percent is not None:
        coupon = shop.post("/v1/coupons", percent_off=percent, duration="repeating", duration_in_months=1)["id"]
        more["discounts"] = [{"coupon": coupon}]
    subscription = shop.subscribe(customer, items=[{"price": shop.monthly, "quantity": quantity}], **more)
    shop.until(day * DAY + 5 * HOUR)
    item = {"id": subscription["items"]["data"][0]["id"], "price": prices[price], "quantity": later}
    before, events = trace(shop), len(shop.events)
    seen = preview(shop, subscription, items=[item], proration_behavior=behavior)
    assert trace(shop) == before, "a preview changes nothing"
    assert len(shop.events) == events
    assert seen["id"].startswith("upcoming_")
    shop.post(f"/v1/subscriptions/{subscription['id']}", items=[item], proration_behavior=behavior)
    real = shop.latest(subscription["id"])
    if real["billing_reason"] == "subscription_create":  # nothing was billed at once: it is the renewal
        shop.until(MONTH)
        real = shop.latest(subscription["id"])
        assert real["billing_reason"] == "subscription_cycle"
    assert essence(seen) == essence(real)


def test_the_renewal_that_comes_without_a_change(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.until(10 * DAY)
    shop.change(subscription, quantity=2)
    seen = preview(shop, subscription)
    assert (seen["created"], seen["period_end"]) == (START + MONTH, START + MONTH)
    alone = preview(shop, subscription, preview_mode="recurring")
    assert (alone["total"], len(alone["lines"]["data"])) == (6200, 1)
    shop.until(MONTH)
    assert essence(seen) == essence(shop.latest(subscription["id"]))


def test_usage_so_far_is_in_it(shop: Shop) -> None:
    meter = shop.post(
        "/v1/billing/meters", display_name="Calls", event_name="calls", default_aggregation={"formula": "sum"}
    )["id"]
    price = shop.price(unit_amount=7, recurring={"interval": "month", "usage_type": "metered", "meter": meter})
    customer = shop.customer()
    subscription = shop.subscribe(customer, price)
    for _ in range(2):
        shop.post("/v1/billing/meter_events", event_name="calls", payload={"stripe_customer_id": customer, "value": 3})
    assert preview(shop, subscription)["total"] == 42


def test_a_trial_shows_the_invoice_after_it(shop: Shop) -> None:
    subscription = shop.subscribe(trial_period_days=10)
    seen = preview(shop, subscription)
    assert (seen["total"], seen["created"]) == (3100, START + 10 * DAY)
    ended = preview(shop, subscription, trial_end="now")
    assert (ended["total"], ended["created"]) == (3100, START)
    longer = preview(shop, subscription, trial_end=START + 20 * DAY)
    assert (longer["total"], longer["created"]) == (3100, START + 20 * DAY)


def test_a_cancellation_ends_the_invoices_or_gives_the_last_one(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.until(MONTH // 2)
    with pytest.raises(ApiError) as none:
        preview(shop, subscription, cancel_at_period_end=True)
    assert none.value.code == "invoice_upcoming_none"
    assert preview(shop, subscription, cancel_now=True)["total"] == -1550
    assert preview(shop, subscription, cancel_now=True, proration_behavior="none")["total"] == 0
    shop.delete(f"/v1/subscriptions/{subscription['id']}")
    with pytest.raises(ApiError):
        preview(shop, subscription)


def test_a_new_subscription_for_a_customer_that_is_there_or_is_described(shop: Shop) -> None:
    items = [{"price": shop.monthly, "quantity": 3}]
    customer = shop.customer(card=None)
    path, before = "/v1/invoices/create_preview", trace(shop)
    seen = shop.post(path, customer=customer, subscription_details={"items": items})
    assert (seen["total"], seen["customer"], seen["status"]) == (9300, customer, "draft")
    described = shop.post(
        path,
        customer_details={"address": {"country": "FR"}},
        automatic_tax={"enabled": True},
        subscription_details={"items": items},
    )
    assert described["total"] == 9300 * 120 // 100
    assert trace(shop) == before
    for params in ({}, {"customer": customer}, {"subscription": "sub_none"}, {"customer": "cus_none"}):
        with pytest.raises(ApiError) as refused:
            shop.post(path, **params)
        assert refused.value.status == 400


def test_a_price_that_no_subscription_has_is_no_preview(shop: Shop) -> None:
    subscription = shop.subscribe()
    before = trace(shop)
    with pytest.raises(ApiError, match="No such price"):
        preview(shop, subscription, items=[{"price": "price_none"}])
    assert trace(shop) == before
