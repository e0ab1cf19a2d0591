"""What Stripe says before and while something happens: trials, renewals, dunning, pauses."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.stripe.errors import ApiError
from tests.unit.localcloud.stripe.shop import DAY, HOUR, MONTH, START, Shop


def at(shop: Shop, *types: str) -> list[tuple[str, float]]:
    """Type and day of the events of these types."""
    return [(event["type"], (event["created"] - START) / DAY) for event in shop.events if event["type"] in types]


def test_a_renewal_is_announced_some_days_before_once(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.until(MONTH + DAY)
    assert at(shop, "invoice.upcoming") == [("invoice.upcoming", 21)]
    told = next(event for event in shop.events if event["type"] == "invoice.upcoming")["data"]["object"]
    real = shop.latest(subscription["id"])
    assert told["id"].startswith("upcoming_in_")
    assert (told["total"], told["lines"]["data"][0]["period"]) == (real["total"], real["lines"]["data"][0]["period"])
    shop.events.clear()
    shop.control("/_local/settings", upcoming_days=3)
    shop.until(2 * MONTH + 10 * DAY)
    assert at(shop, "invoice.upcoming") == [("invoice.upcoming", 28 + 31 - 3)]
    shop.events.clear()
    shop.control("/_local/settings", upcoming_days=0)
    shop.until(6 * MONTH)
    assert at(shop, "invoice.upcoming") == []


def test_nothing_is_upcoming_for_who_leaves(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.post(f"/v1/subscriptions/{subscription['id']}", cancel_at_period_end=True)
    shop.until(MONTH)
    assert at(shop, "invoice.upcoming", "customer.subscription.deleted") == [("customer.subscription.deleted", 28)]


def test_a_trial_that_is_made_longer_is_announced_again(shop: Shop) -> None:
    subscription = shop.subscribe(trial_period_days=10)
    shop.until(8 * DAY)
    shop.post(f"/v1/subscriptions/{subscription['id']}", trial_end=START + 30 * DAY)
    shop.until(30 * DAY + HOUR)
    kind = "customer.subscription.trial_will_end"
    assert at(shop, kind) == [(kind, 7), (kind, 27)]
    assert shop.subscription(subscription["id"])["status"] == "active"


@pytest.mark.parametrize(
    ("behavior", "status"), [("pause", "paused"), ("cancel", "canceled"), ("create_invoice", "past_due")]
)
def test_the_end_of_a_trial_without_a_card(shop: Shop, behavior: str, status: str) -> None:
    settings = {"end_behavior": {"missing_payment_method": behavior}}
    subscription = shop.subscribe(shop.customer(card=None), trial_period_days=10, trial_settings=settings)
    shop.until(10 * DAY + HOUR)
    assert shop.subscription(subscription["id"])["status"] == status
    if status != "paused":
        return
    with pytest.raises(ApiError, match="resumed, not put on trial"):
        shop.post(f"/v1/subscriptions/{subscription['id']}", trial_end=START + 90 * DAY)
    shop.pay_with(subscription["customer"], "pm_card_visa")
    resumed = shop.post(f"/v1/subscriptions/{subscription['id']}/resume")
    assert resumed["status"] == "active"


def test_each_failed_attempt_says_which_it_was_and_when_the_next_is(shop: Shop) -> None:
    shop.control("/_local/settings", dunning={"retry_days": [2, 4], "then": "mark_unpaid"})
    customer = shop.customer()
    subscription = shop.subscribe(customer)
    shop.pay_with(customer, "pm_card_chargeCustomerFail")
    shop.until(MONTH + 10 * DAY)
    failures = [event["data"]["object"] for event in shop.events if event["type"] == "invoice.payment_failed"]
    told = [(found["attempt_count"], found["next_payment_attempt"]) for found in failures]
    first = START + MONTH + HOUR
    assert told == [(1, first + 2 * DAY), (2, first + 6 * DAY), (3, None)]
    assert shop.subscription(subscription["id"])["status"] == "unpaid"
    shop.post(f"/v1/invoices/{failures[0]['id']}/mark_uncollectible")
    assert shop.events[-1]["type"] == "invoice.marked_uncollectible" or at(shop, "invoice.marked_uncollectible")


@pytest.mark.parametrize(
    ("behavior", "expected"), [("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible"), ("void", "void")]
)
def test_collection_can_pause(shop: Shop, behavior: str, expected: str) -> None:
    subscription = shop.subscribe()
    pause: dict[str, Any] = {"behavior": behavior, "resumes_at": START + MONTH + DAY}
    shop.post(f"/v1/subscriptions/{subscription['id']}", pause_collection=pause)
    shop.until(MONTH + 2 * HOUR)
    assert shop.latest(subscription["id"])["status"] == expected
    assert shop.subscription(subscription["id"])["status"] == "active"
    shop.until(MONTH + 31 * DAY + HOUR)
    assert shop.subscription(subscription["id"])["pause_collection"] is None
    assert [invoice["status"] for invoice in shop.invoices(subscription["id"])] == ["paid", expected, "paid"]


def test_why_somebody_left_is_kept(shop: Shop) -> None:
    subscription = shop.subscribe()
    why = {"feedback": "too_expensive", "comment": "Bye"}
    shop.post(f"/v1/subscriptions/{subscription['id']}", cancel_at_period_end=True, cancellation_details=why)
    shop.until(MONTH)
    ended = shop.subscription(subscription["id"])["cancellation_details"]
    assert (ended["reason"], ended["feedback"], ended["comment"]) == ("cancellation_requested", "too_expensive", "Bye")
    other = shop.delete(f"/v1/subscriptions/{shop.subscribe()['id']}", cancellation_details=why)
    assert other["cancellation_details"]["feedback"] == "too_expensive"


def test_subscriptions_of_one_customer_live_apart(shop: Shop) -> None:
    customer = shop.customer()
    first = shop.subscribe(customer)
    shop.until(5 * DAY)
    second = shop.subscribe(customer, shop.dear, shop.monthly)
    shop.post(f"/v1/subscriptions/{first['id']}", cancel_at=START + 20 * DAY)
    shop.until(MONTH + 5 * DAY)
    assert [shop.subscription(found["id"])["status"] for found in (first, second)] == ["canceled", "active"]
    assert [invoice["total"] for invoice in shop.invoices(second["id"])] == [65100, 65100]
    assert [invoice["total"] for invoice in shop.invoices(first["id"])] == [3100]
