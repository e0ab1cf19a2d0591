"""Subscription schedules: phases on the clock."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.stripe.errors import ApiError
from tests.unit.localcloud.stripe.shop import DAY, HOUR, MONTH, START, Shop


def phase(price: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"items": [{"price": price, "quantity": quantity}], **more}


def scheduled(shop: Shop, *phases: dict[str, Any], **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A subscription, and its schedule that goes on with ``phases`` after the present period."""
    subscription = shop.subscribe()
    schedule = shop.post("/v1/subscription_schedules", from_subscription=subscription["id"])
    now = schedule["phases"][0]
    present = phase(shop.monthly, start_date=now["start_date"], end_date=now["end_date"])
    path = f"/v1/subscription_schedules/{schedule['id']}"
    return subscription, shop.post(path, phases=[present, *phases], **more)


def terms(shop: Shop, subscription: dict[str, Any]) -> list[tuple[str, int]]:
    items = shop.subscription(subscription["id"])["items"]["data"]
    return [(item["price"]["id"], item["quantity"]) for item in items]


def test_a_downgrade_waits_for_the_period_to_end(shop: Shop) -> None:
    subscription, schedule = scheduled(shop, phase(shop.dear, 2))
    assert (schedule["status"], schedule["subscription"]) == ("active", subscription["id"])
    assert shop.subscription(subscription["id"])["schedule"] == schedule["id"]
    item = subscription["items"]["data"][0]["id"]
    shop.until(MONTH - 1)
    assert terms(shop, subscription) == [(shop.monthly, 1)]
    shop.types()
    shop.until(MONTH)
    assert terms(shop, subscription) == [(shop.dear, 2)]
    assert shop.subscription(subscription["id"])["items"]["data"][0]["id"] == item
    invoice = shop.latest(subscription["id"])
    assert [line["amount"] for line in invoice["lines"]["data"]] == [124000], "the new price alone, for the new period"
    told = shop.types()
    assert told.index("subscription_schedule.updated") < told.index("customer.subscription.updated")
    shop.until(MONTH + 32 * DAY)
    ended = shop.get(f"/v1/subscription_schedules/{schedule['id']}")
    assert (ended["status"], ended["released_subscription"]) == ("released", subscription["id"])
    assert "subscription_schedule.released" in shop.types()
    assert shop.subscription(subscription["id"])["schedule"] is None
    assert shop.subscription(subscription["id"])["status"] == "active"


def test_it_can_end_in_a_cancellation(shop: Shop) -> None:
    subscription, schedule = scheduled(shop, phase(shop.dear), end_behavior="cancel")
    shop.until(MONTH + 31 * DAY)
    assert shop.subscription(subscription["id"])["status"] == "canceled"
    told = shop.types()
    assert "subscription_schedule.completed" in told
    assert "subscription_schedule.expiring" in told
    assert shop.get(f"/v1/subscription_schedules/{schedule['id']}")["status"] == "completed"
    assert len(shop.invoices(subscription["id"])) == 2, "no third period begins"


def test_a_phase_has_its_own_terms(shop: Shop) -> None:
    coupon = shop.post("/v1/coupons", percent_off=50, duration="forever")["id"]
    subscription, _ = scheduled(
        shop,
        phase(shop.dear, discounts=[{"coupon": coupon}], metadata={"wave": "2"}, duration={"interval": "month"}),
        {"items": [{"price": shop.dear}, {"price": shop.monthly, "quantity": 4}], "discounts": ""},
    )
    shop.until(MONTH + HOUR)
    assert shop.latest(subscription["id"])["total"] == 31000
    assert shop.subscription(subscription["id"])["metadata"] == {"wave": "2"}
    shop.until(MONTH + 31 * DAY + HOUR)
    assert terms(shop, subscription) == [(shop.dear, 1), (shop.monthly, 4)]


def test_a_phase_in_the_middle_of_a_period_prorates(shop: Shop) -> None:
    subscription = shop.subscribe()
    schedule = shop.post("/v1/subscription_schedules", from_subscription=subscription["id"])
    half = START + MONTH // 2
    present = phase(shop.monthly, start_date=START, end_date=half)
    path = f"/v1/subscription_schedules/{schedule['id']}"
    shop.post(path, phases=[present, phase(shop.dear, proration_behavior="always_invoice")])
    shop.until(MONTH // 2)
    assert [line["amount"] for line in shop.latest(subscription["id"])["lines"]["data"]] == [-1550, 31000]


def test_one_can_begin_later_or_at_once(shop: Shop) -> None:
    customer = shop.customer()
    shop.types()
    later = shop.post(
        "/v1/subscription_schedules", customer=customer, start_date=START + DAY, phases=[phase(shop.monthly)]
    )
    assert (later["status"], later["subscription"]) == ("not_started", None)
    assert shop.types() == ["subscription_schedule.created"]
    assert [found["id"] for found in shop.all("/v1/subscription_schedules", scheduled=True)] == [later["id"]]
    shop.until(DAY)
    begun = shop.get(f"/v1/subscription_schedules/{later['id']}", expand=["subscription", "phases.items.price"])
    assert (begun["status"], begun["subscription"]["status"]) == ("active", "active")
    assert begun["phases"][0]["items"][0]["price"]["unit_amount"] == 3100
    trial = phase(shop.monthly, trial=True, end_date=START + 11 * DAY)
    now = shop.post("/v1/subscription_schedules", customer=customer, phases=[trial, phase(shop.monthly)])
    assert shop.subscription(now["subscription"])["status"] == "trialing"
    shop.until(11 * DAY + HOUR)
    assert shop.subscription(now["subscription"])["status"] == "active"
    assert [found["id"] for found in shop.all("/v1/subscription_schedules", customer=customer)] == [
        later["id"],
        now["id"],
    ]


def test_release_and_cancel(shop: Shop) -> None:
    subscription, schedule = scheduled(shop, phase(shop.dear))
    with pytest.raises(ApiError, match="managed by the subscription schedule"):
        shop.post(f"/v1/subscriptions/{subscription['id']}", cancel_at_period_end=True)
    with pytest.raises(ApiError, match="already attached"):
        shop.post("/v1/subscription_schedules", from_subscription=subscription["id"])
    released = shop.post(f"/v1/subscription_schedules/{schedule['id']}/release")
    assert (released["status"], released["subscription"]) == ("released", None)
    shop.until(MONTH)
    assert terms(shop, subscription) == [(shop.monthly, 1)]
    with pytest.raises(ApiError, match="`released` status"):
        shop.post(f"/v1/subscription_schedules/{schedule['id']}/cancel")
    other, second = scheduled(shop, phase(shop.dear))
    shop.types()
    assert shop.post(f"/v1/subscription_schedules/{second['id']}/cancel")["status"] == "canceled"
    assert shop.types()[:2] == ["subscription_schedule.canceled", "customer.subscription.deleted"]
    assert shop.subscription(other["id"])["status"] == "canceled"


def test_a_subscription_that_ends_otherwise_ends_its_schedule(shop: Shop) -> None:
    subscription, schedule = scheduled(shop, phase(shop.dear))
    shop.control("/_local/settings", dunning={"retry_days": [], "then": "cancel"})
    shop.pay_with(subscription["customer"], "pm_card_chargeCustomerFail")
    shop.until(MONTH + HOUR)
    assert shop.subscription(subscription["id"])["status"] == "canceled"
    assert shop.get(f"/v1/subscription_schedules/{schedule['id']}")["status"] == "canceled"
    assert "subscription_schedule.aborted" in shop.types()


def test_a_change_by_hand_shows_in_the_current_phase(shop: Shop) -> None:
    subscription, schedule = scheduled(shop, phase(shop.dear))
    shop.change(subscription, quantity=5)
    found = shop.get(f"/v1/subscription_schedules/{schedule['id']}")
    assert [entry["items"][0]["quantity"] for entry in found["phases"]] == [5, 1]


def test_the_current_phase_can_end_now(shop: Shop) -> None:
    subscription, schedule = scheduled(shop, phase(shop.dear))
    shop.until(MONTH // 2)
    present = phase(shop.monthly, start_date=schedule["phases"][0]["start_date"], end_date="now")
    path = f"/v1/subscription_schedules/{schedule['id']}"
    shop.post(path, phases=[present, phase(shop.dear, duration={"interval": "month", "interval_count": 2})])
    assert terms(shop, subscription) == [(shop.dear, 1)]


@pytest.mark.parametrize(
    ("phases", "param"),
    [
        ([], "phases"),
        ([{"items": []}], "phases[0][items]"),
        ([{"items": [{"price": "price_none"}]}], "phases[0][items][0][price]"),
        ([{"items": [{"price": "monthly"}], "end_date": START}], "phases[0][end_date]"),
        ([{"items": [{"price": "monthly"}], "end_date": START + 9, "duration": {"interval": "day"}}],
         "phases[0][end_date]"),
        ([{"items": [{"price": "monthly"}], "trial_end": START - 5}], "phases[0][trial_end]"),
        ([{"items": [{"price": "monthly"}]}, {"items": [{"price": "monthly"}], "start_date": START + 5}],
         "phases[1][start_date]"),
    ],
)  # fmt: skip
def test_phases_that_make_no_sense_are_refused(shop: Shop, phases: list[dict[str, Any]], param: str) -> None:
    for entry in phases:
        for item in entry["items"]:
            item["price"] = shop.monthly if item["price"] == "monthly" else item["price"]
    with pytest.raises(ApiError) as refused:
        shop.post("/v1/subscription_schedules", customer=shop.customer(), phases=phases)
    assert (refused.value.status, refused.value.param) == (400, param)
