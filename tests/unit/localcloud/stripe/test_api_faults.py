"""Outages, lost answers, rate limits: in-process, as the HTTP side draws them too."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.stripe.errors import ApiError
from localcloud.stripe.inprocess import ConnectionLost
from tests.unit.localcloud.stripe.shop import MONTH, Shop


def outcomes(shop: Shop, count: int = 200) -> list[int]:
    """The status of each of ``count`` requests; 0: no answer."""
    found = []
    for _ in range(count):
        try:
            found.append(shop.stripe.request("GET", "/v1/customers", {"limit": 1}).status)
        except ConnectionLost:
            found.append(0)
    return found


@pytest.mark.parametrize(("kind", "status"), [("refuse", 0), ("hang", 0), ("error_500", 500), ("error_503", 503)])
def test_an_outage_ends_by_itself_or_when_it_is_told(shop: Shop, kind: str, status: int) -> None:
    shop.control("/_local/api_faults", outage=kind, outage_s=30)
    assert set(outcomes(shop, 3)) == {status}
    shop.wait(29)
    assert set(outcomes(shop, 3)) == {status}
    shop.wait(1)
    assert set(outcomes(shop, 3)) == {200}
    assert shop.stripe.control("GET", "/_local/api_faults")["outage"] == "none"
    shop.control("/_local/api_faults", outage=kind)
    shop.wait(10**6)
    assert set(outcomes(shop, 3)) == {status}
    shop.control("/_local/api_faults")
    assert set(outcomes(shop, 3)) == {200}


def test_nothing_is_done_in_an_outage_but_time_and_billing_go_on(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.control("/_local/api_faults", outage="refuse")
    with pytest.raises(ConnectionLost):
        shop.post("/v1/customers", name="Nobody")
    shop.until(MONTH + 3600)
    shop.control("/_local/api_faults")
    assert shop.latest(subscription["id"])["billing_reason"] == "subscription_cycle"
    assert [found["name"] for found in shop.all("/v1/customers")] == ["Acme"]


def test_a_lost_answer_was_done_and_its_key_gives_it_again(shop: Shop) -> None:
    shop.control("/_local/api_faults", lose_next=1)
    with pytest.raises(ConnectionLost, match="the answer was lost"):
        shop.stripe.call("POST", "/v1/customers", {"name": "Ada"}, idempotency_key="k")
    (made,) = shop.all("/v1/customers")
    again = shop.stripe.request("POST", "/v1/customers", {"name": "Ada"}, idempotency_key="k")
    assert (again.document["id"], again.headers["Idempotent-Replayed"]) == (made["id"], "true")
    assert len(shop.all("/v1/customers")) == 1


def test_a_lost_refusal_is_given_again_too(shop: Shop) -> None:
    """A declined card's answer is kept for its key, as in Stripe."""
    customer = shop.customer("pm_card_chargeCustomerFail")
    params = {
        "customer": customer,
        "items": [{"price": shop.monthly}],
        "payment_behavior": "error_if_incomplete",
    }
    shop.control("/_local/api_faults", lose_next=1)
    with pytest.raises(ConnectionLost):
        shop.stripe.call("POST", "/v1/subscriptions", params, idempotency_key="k")
    shop.pay_with(customer, "pm_card_visa")
    with pytest.raises(ApiError) as declined:
        shop.stripe.call("POST", "/v1/subscriptions", params, idempotency_key="k")
    assert declined.value.status == 402
    assert shop.stripe.call("POST", "/v1/subscriptions", params, idempotency_key="l")["status"] == "active"


def test_chance_is_as_likely_as_it_says_and_repeats_with_its_seed(shop: Shop) -> None:
    faults: dict[str, Any] = {"rate_limit": 0.2, "lose_answer": 0.3, "seed": 5}
    shop.control("/_local/api_faults", **faults)
    first = outcomes(shop, 400)
    assert 50 <= first.count(429) <= 110, "400 * 0.2"
    assert 66 <= first.count(0) <= 126, "400 * 0.8 * 0.3"
    shop.control("/_local/api_faults", **faults)
    assert outcomes(shop, 400) == first
    shop.control("/_local/api_faults", **{**faults, "seed": 6})
    assert outcomes(shop, 400) != first


def test_a_rate_limited_request_says_so(shop: Shop) -> None:
    shop.control("/_local/api_faults", rate_limit=1)
    answer = shop.stripe.request("GET", "/v1/customers")
    assert (answer.status, answer.document["error"]["code"]) == (429, "rate_limit")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"outage": "sometimes"}, "outage"),
        ({"rate_limit": 1.5}, "rate_limit"),
        ({"lose_answer": -0.1}, "lose_answer"),
        ({"lose_next": 0.5}, "lose_next"),
        ({"latency_s": "1"}, "latency_s"),
        ({"seed": True}, "seed"),
        ({"bogus": 1}, None),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(shop: Shop, body: dict[str, Any], param: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        shop.control("/_local/api_faults", **body)
    assert (refused.value.status, refused.value.param) == (400, param)
