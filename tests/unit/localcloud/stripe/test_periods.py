from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.stripe.subscriptions.periods import add_interval, period_after

INTERVALS = st.sampled_from([("day", 1), ("week", 2), ("month", 1), ("month", 3), ("year", 1)])
MOMENTS = st.integers(1_500_000_000, 2_500_000_000)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("anchor", "interval", "count", "expected"),
    [
        ("2027-01-31T12:00", "month", 1, "2027-02-28T12:00"),
        ("2028-01-31T12:00", "month", 1, "2028-02-29T12:00"),
        ("2027-01-31T12:00", "month", 2, "2027-03-31T12:00"),
        ("2028-02-29T00:00", "year", 1, "2029-02-28T00:00"),
        ("2028-02-29T00:00", "year", 4, "2032-02-29T00:00"),
        ("2027-12-15T00:00", "month", 1, "2028-01-15T00:00"),
        ("2027-03-31T00:00", "month", -1, "2027-02-28T00:00"),
        ("2027-03-10T00:00", "week", 2, "2027-03-24T00:00"),
    ],
)
def test_calendar_arithmetic(anchor: str, interval: str, count: int, expected: str) -> None:
    assert add_interval(at(anchor), interval, count) == at(expected)


@given(MOMENTS, INTERVALS, st.integers(0, 200_000_000))
def test_a_period_holds_its_moment_and_the_next_begins_where_it_ends(
    anchor: int, interval: tuple[str, int], later: int
) -> None:
    moment = anchor + later
    start, end = period_after(anchor, *interval, moment)
    assert start <= moment < end
    assert period_after(anchor, *interval, start) == (start, end)
    assert period_after(anchor, *interval, end)[0] == end
    assert period_after(anchor, *interval, end - 1) == (start, end)


@given(MOMENTS, INTERVALS, st.integers(1, 10_000_000))
def test_before_the_anchor_there_is_a_stub(anchor: int, interval: tuple[str, int], earlier: int) -> None:
    assert period_after(anchor, *interval, anchor - earlier) == (anchor - earlier, anchor)
