"""When customers may be written to."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioner.notifications.hours import Hours

VIENNA, SAMOA = ZoneInfo("Europe/Vienna"), ZoneInfo("Pacific/Apia")
NIGHT = (time(20), time(8))
OFFICE = Hours(weekends=False, quiet=NIGHT)


def at(text: str, zone: ZoneInfo = VIENNA) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "following", "before"),
    [
        ("2026-12-01 10:00", "2026-12-01 10:00", "2026-12-01 10:00"),  # a Tuesday
        ("2026-12-01 23:00", "2026-12-02 08:00", "2026-12-01 19:00"),
        ("2026-12-01 03:00", "2026-12-01 08:00", "2026-11-30 19:00"),
        ("2026-12-05 10:00", "2026-12-07 08:00", "2026-12-04 10:00"),  # a Saturday
        ("2026-12-06 21:30", "2026-12-07 08:00", "2026-12-04 19:00"),
        ("2026-12-07 00:00", "2026-12-07 08:00", "2026-12-04 19:00"),  # a Monday
    ],
)
def test_nights_and_weekends_are_left_out(moment: str, following: str, before: str) -> None:
    assert OFFICE.next(at(moment), VIENNA) == at(following)
    assert OFFICE.before(at(moment), VIENNA) == at(before)


def test_it_is_the_customers_own_weekend() -> None:
    friday_evening = at("2026-12-04 19:30")
    assert OFFICE.next(friday_evening, VIENNA) == friday_evening
    assert OFFICE.next(friday_evening, SAMOA) == at("2026-12-07 08:00", SAMOA)  # it is Saturday there


def test_quiet_hours_may_lie_in_the_day() -> None:
    lunch = Hours(quiet=(time(12), time(13)))
    assert lunch.next(at("2026-12-01 12:30"), VIENNA) == at("2026-12-01 13:00")
    assert lunch.before(at("2026-12-01 12:30"), VIENNA) == at("2026-12-01 11:00")
    assert lunch.allow(at("2026-12-01 23:59"), VIENNA)
    assert lunch.allow(at("2026-12-01 00:00"), VIENNA)


CLOCKS = st.builds(time, st.integers(0, 23), st.integers(0, 59))
HOURS = st.builds(Hours, st.booleans(), st.none() | st.tuples(CLOCKS, CLOCKS).filter(lambda pair: pair[0] != pair[1]))
ZONES = st.sampled_from([VIENNA, SAMOA, ZoneInfo("UTC"), ZoneInfo("America/St_Johns"), ZoneInfo("Africa/Casablanca")])
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))  # noqa: DTZ001


@given(HOURS, MOMENTS, ZONES)
@example(Hours(False, (time(3), time(2, 30))), at("2026-03-29 01:00"), VIENNA)  # an hour that is skipped
@example(Hours(False, (time(2, 15), time(2, 45))), at("2026-10-25 02:30"), VIENNA)  # one that comes twice
def test_both_ways_lead_to_an_allowed_time_nearby(hours: Hours, moment: datetime, zone: ZoneInfo) -> None:
    following, before = hours.next(moment, zone), hours.before(moment, zone)
    assert before <= moment <= following
    assert following - moment < timedelta(days=4)
    assert moment - before < timedelta(days=4)
    assert hours.allow(following, zone)
    assert hours.allow(before, zone)
    for found in (following, before):
        assert hours.weekends or found.astimezone(zone).weekday() < 5
