"""Meters through the library: every request is one that Stripe knows, and the local Stripe answers as it would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from localcloud.stripe.server import LocalStripe
from provisioner.billing.gateway_stripe import every
from provisioner.billing.meters import MeterEvent, Outcome
from provisioner.billing.meters_stripe import StripeMeters
from provisioner.errors import NotFound, StripeUnavailable

T = TypeVar("T")
HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def through(url: str, work: Callable[[StripeMeters], Awaitable[T]], key: str = "sk_test_123") -> T:
    async def run() -> T:
        meters = StripeMeters(key, url, max_retries=0)
        try:
            return await work(meters)
        finally:
            await meters.close()

    return asyncio.run(run())


def event(customer: str, value: int = 5, identifier: str = "one", meter: str = "calls") -> MeterEvent:
    return MeterEvent(meter, customer, value, HOUR, identifier)


CALLS: dict[str, Callable[[StripeMeters], Awaitable[Any]]] = {
    "send": lambda meters: meters.send(event("cus_123")),
    "hours": lambda meters: asyncio.wait_for(_first_page(meters), 30),
    "meters": lambda meters: asyncio.wait_for(_first_meters(meters), 30),
}


async def _first_page(meters: StripeMeters) -> Any:
    """The mock's lists never end when they are paged through: one page is enough."""
    params = {"customer": "cus_123", "start_time": 1_800_000_000, "end_time": 1_800_003_600}
    pages = every(
        meters._get, "/v1/billing/meters/mtr_123/event_summaries", {**params, "value_grouping_window": "hour"}
    )
    return await anext(pages)


async def _first_meters(meters: StripeMeters) -> Any:
    return await anext(every(meters._get, "/v1/billing/meters", {}))


@pytest.mark.parametrize("name", CALLS)
def test_stripes_own_mock_takes_the_requests(stripe_mock_url: str, name: str) -> None:
    found = through(stripe_mock_url, CALLS[name])
    if name == "send":
        assert found.outcome is Outcome.TAKEN
    else:
        kinds = {"hours": "billing.meter_event_summary", "meters": "billing.meter"}
        assert found["object"] == kinds[name]


@pytest.fixture
def customer(local_stripe: LocalStripe) -> Any:
    return _call(local_stripe, "/v1/customers", {"email": "ada@example.com"})["id"]


@pytest.fixture
def meter(local_stripe: LocalStripe) -> Any:
    params = {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    return _call(local_stripe, "/v1/billing/meters", params)["id"]


def _call(stripe: LocalStripe, path: str, params: dict[str, Any]) -> Any:
    from localcloud.stripe import dispatch
    from localcloud.stripe.form import tree_of

    answer = dispatch.answer(stripe.account, "POST", path, lambda: tree_of(params))
    assert answer.status == 200, answer.document
    return answer.document


def test_an_event_is_taken_recognised_and_counted(local_stripe: LocalStripe, customer: str, meter: str) -> None:
    async def work(meters: StripeMeters) -> tuple[Any, ...]:
        receipts = [await meters.send(event(customer)), await meters.send(event(customer))]
        receipts.append(await meters.send(event(customer, -2, "two")))
        counted = await meters.hours(meter, customer, HOUR - timedelta(days=1), HOUR + timedelta(hours=1))
        return receipts, counted, await meters.meters()

    receipts, counted, known = through(local_stripe.url, work, local_stripe.api_key)
    assert [each.outcome for each in receipts] == [Outcome.TAKEN, Outcome.KNOWN, Outcome.TAKEN]
    assert counted == {HOUR: 3}
    assert (known["calls"].formula, known["calls"].active) == ("sum", True)


def test_refusals_say_what_to_make_of_them(local_stripe: LocalStripe, customer: str, meter: str) -> None:
    async def work(meters: StripeMeters) -> tuple[Any, ...]:
        old = MeterEvent("calls", customer, 1, HOUR - timedelta(days=36), "old")
        receipts = [await meters.send(event("cus_none")), await meters.send(old)]
        receipts.append(await meters.send(event(customer, meter="nope")))
        with pytest.raises(NotFound):
            await meters.hours("mtr_none", customer, HOUR, HOUR + timedelta(hours=1))
        return tuple(receipts)

    unknown, old, no_meter = through(local_stripe.url, work, local_stripe.api_key)
    assert (unknown.outcome, old.outcome, no_meter.outcome) == (Outcome.REFUSED, Outcome.REFUSED, Outcome.NO_METER)
    assert unknown.reason.startswith("resource_missing: ")
    assert old.reason.startswith("timestamp_too_far_in_past: ")


def test_no_answer_is_not_a_refusal() -> None:
    with pytest.raises(StripeUnavailable):
        through("http://127.0.0.1:1", lambda meters: meters.send(event("cus_1")))
