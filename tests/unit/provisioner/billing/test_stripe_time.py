"""Stripe's time from its answers: it moves a test account's dates, and stops a live one's when this clock is wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.billing.gateway_stripe import StripeGateway
from provisioner.billing.stripe_time import ClockDiffers, StripeTime

HERE = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


def told(ahead: timedelta, here: datetime = HERE) -> StripeTime:
    time = StripeTime(here.timestamp)
    time.observe(format_datetime(here + ahead, usegmt=True))
    return time


@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=-3), timedelta(seconds=6)])
def test_stripes_time_is_what_its_answers_say(ahead: timedelta) -> None:
    assert told(ahead).now() == HERE + ahead


@pytest.mark.parametrize("seconds", [-5, -1, 0, 5])
def test_an_answers_own_delay_is_no_difference(seconds: int) -> None:
    assert told(timedelta(seconds=seconds)).now() == HERE


@pytest.mark.parametrize(
    "header", [None, "", "yesterday", "Tue, 99 Dec 2026 12:00:00 GMT", "Tue, 01 Dec 2026 12:00:00"]
)
def test_what_is_no_time_is_ignored(header: str | None) -> None:
    time = StripeTime(HERE.timestamp)
    time.observe(header)
    assert (time.known, time.now()) == (False, HERE)
    time.check()


@pytest.mark.parametrize(("ahead", "way"), [(timedelta(days=40), "behind"), (timedelta(days=-40), "ahead of")])
def test_a_clock_that_is_days_off_is_not_judged_by(ahead: timedelta, way: str) -> None:
    with pytest.raises(ClockDiffers, match=f"40 days, 0:00:00 {way} Stripe's"):
        told(ahead).check()
    told(timedelta(minutes=59)).check()


def test_a_clock_that_leaps_is_noticed_by_the_next_answer() -> None:
    here = [HERE.timestamp()]
    time = StripeTime(lambda: here[0])
    time.observe(format_datetime(HERE, usegmt=True))
    here[0] += 40 * 86400
    time.observe(format_datetime(HERE + timedelta(seconds=1), usegmt=True))
    with pytest.raises(ClockDiffers):
        time.check()
    here[0] -= 40 * 86400
    time.observe(format_datetime(HERE + timedelta(seconds=2), usegmt=True))
    time.check()


class Answers:
    """Stands for the library's client: answers that are ``ahead`` of this machine's clock."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead
        self.asked: list[str] = []

    async def raw_request_async(self, method: str, path: str, **params: Any) -> Any:
        self.asked.append(path)
        date = format_datetime(datetime.now(UTC) + self.ahead, usegmt=True)
        return SimpleNamespace(headers={"date": date}, body=b'{"id": "prod_1", "data": [], "has_more": false}')


def test_a_live_gateway_tells_no_time_while_the_clocks_differ_and_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked() -> None:
        gateway, answers = StripeGateway("sk_live_nobodys"), Answers(timedelta(days=-40))
        monkeypatch.setattr(gateway, "_client", answers)
        await gateway.now()
        assert answers.asked == [], "nothing has told otherwise"
        await gateway.product("prod_1")
        with pytest.raises(ClockDiffers):
            await gateway.now()
        answers.ahead = timedelta(minutes=2)
        assert abs(await gateway.now() - datetime.now(UTC)) < timedelta(seconds=30), "never Stripe's time"
        assert answers.asked == ["/v1/products/prod_1", "/v1/events", "/v1/events"]

    asyncio.run(asked())
