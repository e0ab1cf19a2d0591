"""Meter events: recognised for a day, counted for good, read by invoices and summaries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.stripe import metering
from localcloud.stripe.errors import ApiError
from localcloud.stripe.inprocess import InProcess

DAY, HOUR = 86400, 3600
START = 1_801_440_000  # the beginning of a UTC day


class Wall:
    now: float = START

    def __call__(self) -> float:
        return self.now


class World:
    def __init__(self, formula: str = "sum") -> None:
        self.wall = Wall()
        self.stripe = InProcess(self.wall)
        self.customer = self.stripe.call("POST", "/v1/customers", {"email": "ada@example.com"})["id"]
        self.meter = self.stripe.call(
            "POST",
            "/v1/billing/meters",
            {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": formula}},
        )["id"]

    def send(self, value: object, identifier: str | None = None, at: int | None = None) -> dict[str, Any]:
        params: dict[str, Any] = {
            "event_name": "calls",
            "payload": {"stripe_customer_id": self.customer, "value": str(value)},
        }
        if identifier is not None:
            params["identifier"] = identifier
        if at is not None:
            params["timestamp"] = at
        return self.stripe.call("POST", "/v1/billing/meter_events", params)

    def cancel(self, identifier: str) -> dict[str, Any]:
        params = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": identifier}}
        return self.stripe.call("POST", "/v1/billing/meter_event_adjustments", params)

    def summaries(self, start: int, end: int, window: str | None = None, **more: Any) -> list[tuple[int, int, int]]:
        params = {"customer": self.customer, "start_time": start, "end_time": end, **more}
        if window is not None:
            params["value_grouping_window"] = window
        found = self.stripe.call("GET", f"/v1/billing/meters/{self.meter}/event_summaries", params)
        return [(each["start_time"], each["end_time"], each["aggregated_value"]) for each in found["data"]]

    def total(self) -> int | None:
        return metering.aggregate(self.stripe.account, self.meter, self.customer, (START - 40 * DAY, START + 40 * DAY))


def refused(call: Any, code: str) -> None:
    with pytest.raises(ApiError) as error:
        call()
    assert error.value.code == code, error.value.message


def test_an_identifier_is_recognised_for_a_day_and_then_counts_again() -> None:
    world = World()
    world.send(5, "one")
    world.wall.now += DAY - 1
    refused(lambda: world.send(5, "one"), "duplicate_meter_event")
    assert world.total() == 5
    world.wall.now += 1
    world.send(7, "one")
    assert world.total() == 12


def test_timestamps_values_meters_and_customers_are_checked() -> None:
    world = World()
    refused(lambda: world.send(1, at=START - 35 * DAY - 1), "timestamp_too_far_in_past")
    refused(lambda: world.send(1, at=START + 301), "timestamp_in_future")
    world.send(1, at=START - 35 * DAY)
    world.send(1, at=START + 300)
    for value in ("1.5", "NaN", "1e3", "", "1" * 16):
        refused(lambda value=value: world.send(value or " "), "meter_event_invalid_value")
    payload = {"event_name": "calls", "payload": {"stripe_customer_id": world.customer}}
    refused(lambda: world.stripe.call("POST", "/v1/billing/meter_events", payload), "meter_event_value_not_found")
    unknown = {"event_name": "other", "payload": {"stripe_customer_id": world.customer, "value": "1"}}
    refused(lambda: world.stripe.call("POST", "/v1/billing/meter_events", unknown), "no_meter")
    world.stripe.call("POST", f"/v1/billing/meters/{world.meter}/deactivate")
    refused(lambda: world.send(1), "archived_meter")
    world.stripe.call("POST", f"/v1/billing/meters/{world.meter}/reactivate")
    world.customer = "cus_none"
    refused(lambda: world.send(1), "resource_missing")


def test_a_cancelled_event_counts_no_more_and_keeps_its_identifier() -> None:
    world = World()
    world.send(10, "right")
    world.send(500, "wrong")
    assert world.cancel("wrong")["status"] == "complete"
    assert world.total() == 10
    refused(lambda: world.cancel("wrong"), "resource_missing")
    refused(lambda: world.send(1, "wrong"), "duplicate_meter_event")
    world.wall.now += DAY + 1
    with pytest.raises(ApiError):
        world.cancel("right")


def test_cancelling_the_last_value_of_a_second_shows_the_one_before() -> None:
    world = World("last")
    world.send(3, "a", at=START)
    world.send(9, "b", at=START)
    world.cancel("b")
    assert world.total() == 3


def test_negative_values_correct_and_a_negative_total_is_billed_as_nothing() -> None:
    world = World()
    world.send(10)
    world.send(-4)
    assert world.total() == 6
    world.send(-60)
    assert world.total() == -54
    assert metering.usage(world.stripe.account, world.meter, world.customer, (START - DAY, START + DAY)) == 0


def test_summaries_by_hour_by_day_and_of_a_whole_period() -> None:
    world = World()
    for at, value in ((START - 5 * HOUR, 1), (START - 5 * HOUR + 3599, 2), (START - 4 * HOUR, 4), (START, 8)):
        world.send(value, at=at)
    first = START - 5 * HOUR
    assert world.summaries(START - DAY, START + DAY, "hour") == [
        (START, START + HOUR, 8),
        (first + HOUR, first + 2 * HOUR, 4),
        (first, first + HOUR, 3),
    ]
    assert world.summaries(START - DAY, START + DAY, "day") == [(START, START + DAY, 8), (START - DAY, START, 7)]
    assert world.summaries(START - DAY, START + 60) == [(START - DAY, START + 60, 15)]
    with pytest.raises(ApiError, match="aligned with hour"):
        world.summaries(START + 60, START + DAY, "hour")
    with pytest.raises(ApiError, match="aligned with minute"):
        world.summaries(START + 1, START + DAY)
    page = world.summaries(START - DAY, START + DAY, "hour", limit=2)
    assert len(page) == 2


@given(
    st.sampled_from(["sum", "count", "last"]),
    st.lists(st.tuples(st.integers(0, 4 * DAY), st.integers(-50, 50)), max_size=30),
    st.tuples(st.integers(0, 4 * DAY), st.integers(0, 4 * DAY)),
)
def test_what_is_kept_gives_what_the_events_would(
    formula: str, events: list[tuple[int, int]], bounds: tuple[int, int]
) -> None:
    """Compared with the plain list of events, through the days in which the store forgets them."""
    world = World(formula)
    sent = []
    for offset, value in sorted(events, key=lambda event: event[0]):
        world.wall.now = max(world.wall.now, START + offset)
        world.send(value, at=START + offset)
        sent.append((START + offset, value))
    start, end = START + min(bounds), START + max(bounds) + 1
    inside = [value for at, value in sent if start <= at < end]
    expected = {"sum": sum(inside), "count": len(inside), "last": inside[-1]}[formula] if inside else None
    assert metering.aggregate(world.stripe.account, world.meter, world.customer, (start, end)) == expected


def test_events_are_forgotten_and_the_rest_stays_small() -> None:
    world = World()
    for hour in range(24 * 60):
        world.wall.now = START + hour * HOUR
        world.send(1)
    store = world.stripe.account.store
    assert store.count(metering.EVENT) <= 25
    assert store.count(metering.USAGE) == 60
    found = metering.aggregate(world.stripe.account, world.meter, world.customer, (START, START + 60 * DAY))
    assert found == 24 * 60
