"""The account without HTTP: the same answers, virtual time, events handed to a callback."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.stripe.errors import ApiError
from localcloud.stripe.inprocess import SECRET, Delivery, InProcess
from localcloud.stripe.signature import sign

DAY = 86400
START = 1_801_396_800


class Wall:
    def __init__(self) -> None:
        self.now: float = START

    def __call__(self) -> float:
        return self.now


def subscribe(stripe: InProcess, amount: int = 900) -> dict[str, Any]:
    product = stripe.call("POST", "/v1/products", {"name": "Team"})["id"]
    price = stripe.call(
        "POST",
        "/v1/prices",
        {"product": product, "currency": "usd", "unit_amount": amount, "recurring": {"interval": "month"}},
    )
    customer = stripe.call("POST", "/v1/customers", {"email": "ada@example.com", "payment_method": "pm_card_visa"})[
        "id"
    ]
    method = stripe.call("GET", f"/v1/customers/{customer}/payment_methods")["data"][0]["id"]
    params = {"customer": customer, "items": [{"price": price["id"]}], "default_payment_method": method}
    return stripe.call("POST", "/v1/subscriptions", params)


def test_steps_happen_as_of_their_own_moment_and_are_handed_over_one_by_one() -> None:
    wall, seen = Wall(), []

    def inbox(delivery: Delivery) -> bool:
        seen.append((delivery.type, delivery.created - START, stripe.account.now() - START))
        return True

    stripe = InProcess(wall, deliver=inbox)
    subscribe(stripe)
    seen.clear()
    wall.now += 40 * DAY
    assert stripe.next_due() == START + 21 * DAY
    assert stripe.catch_up() == 3, "notice of the renewal, the renewal, and its payment an hour later"
    paid = [entry for entry in seen if entry[0] == "invoice.paid"]
    assert paid == [("invoice.paid", 28 * DAY + 3600, 28 * DAY + 3600)]
    assert stripe.account.now() == START + 40 * DAY
    assert stripe.pending() == []


def test_a_request_finds_everything_done_that_was_due_before_it() -> None:
    wall = Wall()
    stripe = InProcess(wall)
    subscription = subscribe(stripe)
    wall.now += 29 * DAY
    invoices = stripe.call("GET", "/v1/invoices", {"subscription": subscription["id"]})["data"]
    assert [invoice["billing_reason"] for invoice in invoices] == ["subscription_cycle", "subscription_create"]


def test_a_delivery_has_the_signed_body_and_stays_pending_until_it_is_taken() -> None:
    took: list[Delivery] = []

    def refuse(delivery: Delivery) -> bool:
        took.append(delivery)
        return False

    stripe = InProcess(Wall(), deliver=refuse, events=("customer.created",))
    customer = stripe.call("POST", "/v1/customers", {"name": "Ada"})
    (delivery,) = took
    assert json.loads(delivery.body())["data"]["object"] == customer
    assert delivery.headers()["Stripe-Signature"] == sign(delivery.body(), [SECRET], START)
    assert [pending.id for pending in stripe.pending()] == [delivery.id]
    stripe.delivered(delivery.id)
    assert stripe.pending() == []
    assert json.loads(delivery.body())["pending_webhooks"] == 0


def test_the_same_seed_makes_the_same_life() -> None:
    def life(seed: int) -> list[dict[str, Any]]:
        wall = Wall()
        stripe = InProcess(wall, seed=seed)
        subscribe(stripe)
        wall.now += 70 * DAY
        stripe.catch_up()
        found: list[dict[str, Any]] = stripe.call("GET", "/v1/events", {"limit": 100})["data"]
        return found

    assert life(1) == life(1)
    assert life(1) != life(2)


def test_errors_are_those_of_the_http_api() -> None:
    stripe = InProcess(Wall())
    with pytest.raises(ApiError, match="No such customer: 'cus_none'") as missing:
        stripe.call("GET", "/v1/customers/cus_none")
    assert (missing.value.status, missing.value.code, missing.value.param) == (404, "resource_missing", "id")
    answer = stripe.request("POST", "/v1/customers", {"nme": "x"})
    assert (answer.status, answer.document["error"]["code"]) == (400, "parameter_unknown")
    assert stripe.request("GET", "/v2/nothing").status == 404


def test_parameters_have_the_form_that_the_library_sends() -> None:
    stripe = InProcess(Wall())
    customer = stripe.call(
        "POST",
        "/v1/customers",
        {"name": None, "metadata": {}, "preferred_locales": ["fr", "en"], "balance": -5, "address": {"city": "Oslo"}},
    )
    assert (customer["name"], customer["preferred_locales"], customer["balance"]) == (None, ["fr", "en"], -5)
    assert customer["address"]["city"] == "Oslo"


def test_an_idempotency_key_gives_the_first_answer_again() -> None:
    stripe = InProcess(Wall())
    first = stripe.request("POST", "/v1/customers", {"name": "Ada"}, idempotency_key="k")
    again = stripe.request("POST", "/v1/customers", {"name": "Ada"}, idempotency_key="k")
    assert again.document == first.document
    assert again.headers["Idempotent-Replayed"] == "true"
    other = stripe.request("POST", "/v1/customers", {"name": "Eve"}, idempotency_key="k")
    assert other.document["error"]["type"] == "idempotency_error"


def test_the_date_of_an_answer_is_the_accounts() -> None:
    stripe = InProcess(Wall())
    stripe.control("POST", "/_local/clock/advance", {"seconds": 365 * DAY})
    assert stripe.request("GET", "/v1/customers").headers["Date"] == "Mon, 31 Jan 2028 12:00:00 GMT"
    with pytest.raises(ApiError, match="Unrecognized request URL"):
        stripe.control("GET", "/_local/nothing")
