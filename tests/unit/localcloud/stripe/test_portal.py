"""The billing portal: its configurations, and what a customer does in it."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.stripe.errors import ApiError
from tests.unit.localcloud.stripe.shop import DAY, HOUR, MONTH, Shop


def features(shop: Shop, **more: Any) -> dict[str, Any]:
    return {
        "customer_update": {"enabled": True, "allowed_updates": ["email", "address"]},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {
            "enabled": True,
            "mode": "at_period_end",
            "cancellation_reason": {"enabled": True, "options": ["too_expensive", "other"]},
        },
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price", "quantity"],
            "proration_behavior": "always_invoice",
            "products": [
                {
                    "product": shop.product,
                    "prices": [shop.monthly, shop.dear],
                    "adjustable_quantity": {"enabled": True, "minimum": 2, "maximum": 9},
                }
            ],
            **more,
        },
    }


def visit(shop: Shop, customer: str, configuration: dict[str, Any] | None = None, **flow: Any) -> str:
    made = shop.post("/v1/billing_portal/configurations", features=configuration or features(shop))["id"]
    more = {"flow_data": flow} if flow else {}
    path = "/v1/billing_portal/sessions"
    identifier: str = shop.post(path, customer=customer, configuration=made, **more)["id"]
    return identifier


def act(shop: Shop, session: str, action: str, **more: Any) -> dict[str, Any]:
    return shop.control(f"/_local/portal/{session}", action=action, **more)


def test_a_customer_leaves_with_a_reason_and_comes_back(shop: Shop) -> None:
    subscription = shop.subscribe()
    session = visit(shop, subscription["customer"])
    with pytest.raises(ApiError, match="feedback must be one of too_expensive, other"):
        act(shop, session, "cancel", feedback="unused")
    left = act(shop, session, "cancel", feedback="too_expensive", comment="Bye")
    assert left["cancel_at_period_end"] is True
    assert left["cancellation_details"]["feedback"] == "too_expensive"
    assert act(shop, session, "renew")["cancel_at_period_end"] is False
    shop.until(MONTH + HOUR)
    assert shop.subscription(subscription["id"])["status"] == "active"


def test_leaving_can_be_at_once(shop: Shop) -> None:
    subscription = shop.subscribe()
    configuration = features(shop)
    configuration["subscription_cancel"] = {"enabled": True, "mode": "immediately"}
    left = act(shop, visit(shop, subscription["customer"], configuration), "cancel", comment="not asked for")
    assert (left["status"], left["cancellation_details"]["comment"]) == ("canceled", None)


def test_another_plan_and_more_seats(shop: Shop) -> None:
    subscription = shop.subscribe()
    session = visit(shop, subscription["customer"])
    shop.until(MONTH // 2)
    changed = act(shop, session, "update", price=shop.dear, quantity=2)
    (item,) = changed["items"]["data"]
    assert (item["price"]["id"], item["quantity"]) == (shop.dear, 2)
    assert shop.latest(subscription["id"])["total"] == 62000 - 1550
    other = shop.price(unit_amount=5)
    for wanted, message in (
        ({"price": other}, "does not offer the price"),
        ({"quantity": 1}, "quantity must be from 2 to 9"),
        ({"quantity": 10}, "quantity must be from 2 to 9"),
        ({}, "Give a price"),
        ({"quantity": "3"}, "Give a price"),
    ):
        with pytest.raises(ApiError, match=message):
            act(shop, session, "update", **wanted)


def test_less_can_wait_for_the_end_of_the_period(shop: Shop) -> None:
    subscription = shop.subscribe(shop.customer(), shop.dear)
    waiting = {"schedule_at_period_end": {"conditions": [{"type": "decreasing_item_amount"}]}}
    session = visit(shop, subscription["customer"], features(shop, **waiting))
    changed = act(shop, session, "update", price=shop.monthly)
    assert changed["items"]["data"][0]["price"]["id"] == shop.dear
    assert changed["schedule"] is not None
    shop.until(MONTH + HOUR)
    assert shop.latest(subscription["id"])["total"] == 3100
    again = act(shop, session, "update", price=shop.dear)
    assert again["items"]["data"][0]["price"]["id"] == shop.dear, "more begins at once"


def test_a_change_ends_a_trial_unless_it_is_to_go_on(shop: Shop) -> None:
    for behavior, status in (("end_trial", "active"), ("continue_trial", "trialing")):
        subscription = shop.subscribe(trial_period_days=10)
        session = visit(shop, subscription["customer"], features(shop, trial_update_behavior=behavior))
        assert act(shop, session, "update", price=shop.dear)["status"] == status


def test_a_new_card_pays_from_now_on(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer)
    shop.pay_with(customer, "pm_card_chargeCustomerFail")
    shop.until(MONTH + HOUR)
    session = visit(shop, customer)
    method = act(shop, session, "payment_method", payment_method="pm_card_mastercard")
    assert shop.get(f"/v1/customers/{customer}")["invoice_settings"]["default_payment_method"] == method["id"]
    invoice = shop.latest(subscription["id"])["id"]
    assert act(shop, session, "pay", invoice=invoice)["status"] == "paid"
    assert shop.subscription(subscription["id"])["status"] == "active"
    foreign = shop.subscribe()["latest_invoice"]
    with pytest.raises(ApiError, match="another customer's"):
        act(shop, session, "pay", invoice=foreign)
    with pytest.raises(ApiError) as declined:
        act(shop, session, "payment_method", payment_method="pm_card_chargeDeclined")
    assert declined.value.status == 402


def test_customers_change_what_they_may(shop: Shop) -> None:
    customer = shop.customer()
    session = visit(shop, customer)
    assert act(shop, session, "customer", email="new@example.com")["email"] == "new@example.com"
    with pytest.raises(ApiError, match="does not let name be changed"):
        act(shop, session, "customer", name="Eve")


def test_what_is_not_enabled_is_refused(shop: Shop) -> None:
    customer = shop.subscribe()["customer"]
    nothing = {"invoice_history": {"enabled": False}}
    session = visit(shop, customer, nothing)
    for action in ("cancel", "renew", "update", "payment_method", "customer", "pay"):
        with pytest.raises(ApiError, match="is disabled in the portal configuration"):
            act(shop, session, action)
    with pytest.raises(ApiError, match="action must be one of"):
        act(shop, session, "dance")
    with pytest.raises(ApiError, match="is disabled"):
        visit(shop, customer, nothing, type="payment_method_update")


def test_a_flow_does_one_thing(shop: Shop) -> None:
    first = shop.subscribe()
    second = shop.subscribe(first["customer"])
    session = visit(
        shop, first["customer"], type="subscription_cancel", subscription_cancel={"subscription": second["id"]}
    )
    with pytest.raises(ApiError, match="subscription_cancel only"):
        act(shop, session, "payment_method", payment_method="pm_card_visa")
    assert act(shop, session, "cancel")["id"] == second["id"]
    (item,) = first["items"]["data"]
    confirm = {"subscription": first["id"], "items": [{"id": item["id"], "price": shop.dear}]}
    session = visit(shop, first["customer"], type="subscription_update_confirm", subscription_update_confirm=confirm)
    assert act(shop, session, "update")["items"]["data"][0]["price"]["id"] == shop.dear
    foreign = shop.subscribe()["id"]
    with pytest.raises(ApiError, match="another customer's"):
        visit(shop, first["customer"], type="subscription_cancel", subscription_cancel={"subscription": foreign})


def test_with_several_subscriptions_one_is_named(shop: Shop) -> None:
    first = shop.subscribe()
    shop.subscribe(first["customer"])
    session = visit(shop, first["customer"])
    with pytest.raises(ApiError, match="2 fit"):
        act(shop, session, "cancel")
    assert act(shop, session, "cancel", subscription=first["id"])["id"] == first["id"]
    foreign = shop.subscribe()["id"]
    with pytest.raises(ApiError, match="0 fit"):
        act(shop, session, "cancel", subscription=foreign)


def test_configurations_are_listed_changed_and_retired(shop: Shop) -> None:
    path = "/v1/billing_portal/configurations"
    made = shop.post(path, features=features(shop), business_profile={"headline": "Acme"}, metadata={"a": "b"})
    assert made["features"]["subscription_update"]["products"][0]["adjustable_quantity"]["minimum"] == 2
    changed = shop.post(f"{path}/{made['id']}", features={"subscription_cancel": {"enabled": False}})
    assert changed["features"]["subscription_cancel"]["enabled"] is False
    assert changed["features"]["subscription_cancel"]["mode"] == "at_period_end"
    assert changed["features"]["invoice_history"] == {"enabled": True}
    (default,) = shop.all(path, is_default=True)
    with pytest.raises(ApiError, match="default configuration"):
        shop.post(f"{path}/{default['id']}", active=False)
    shop.post(f"{path}/{made['id']}", active=False)
    assert [found["id"] for found in shop.all(path, active=True)] == [default["id"]]
    with pytest.raises(ApiError, match="not active"):
        shop.post("/v1/billing_portal/sessions", customer=shop.customer(), configuration=made["id"])
    for bad, param in (
        ({"subscription_update": {"enabled": True}}, "features[subscription_update][products]"),
        (
            {"subscription_update": {"enabled": True, "products": [{"product": "prod_none", "prices": []}]}},
            "features[subscription_update][products][0][prices]",
        ),
    ):
        with pytest.raises(ApiError) as refused:
            shop.post(path, features=bad)
        assert refused.value.param == param


def test_a_session_without_a_configuration_has_the_accounts_own(shop: Shop) -> None:
    subscription = shop.subscribe()
    session = shop.post("/v1/billing_portal/sessions", customer=subscription["customer"], expand=["configuration"])
    assert session["configuration"]["is_default"] is True
    assert act(shop, session["id"], "cancel")["cancel_at_period_end"] is True
    shop.wait(DAY)
