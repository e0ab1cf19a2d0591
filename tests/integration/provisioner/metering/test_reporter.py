"""The reporter bills what was recorded: through lost answers, outages, crashes, late usage and corrections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.billing.meters import MeterEvent, Receipt
from provisioner.metering.reporter import CONCURRENCY, PATIENCE, Reporter, ReportRun
from tests.integration.provisioner.metering.world import HOUR, World

Make = Callable[..., World]
MINUTE = timedelta(minutes=1)


def report(world: World) -> ReportRun:
    run = asyncio.run(Reporter(world.database_url, world.gateway, "test").run(world.clock.at))
    assert run is not None
    return run


def settle(world: World, rounds: int = 60) -> None:
    """Let time pass until nothing is open."""
    world.gateway.fault = lambda event: None
    for _ in range(rounds):
        world.clock.at += HOUR
        report(world)
        if not world.open_hours():
            return
    raise AssertionError(f"still open: {world.states()}")


def test_an_hour_is_one_event_after_it_has_ended(world: Make) -> None:
    w = world()
    for value in (3, 4, 5):
        w.use(value)
        w.clock.at += MINUTE
    assert report(w).planned == 0, "the hour goes on"
    w.clock.at += HOUR
    assert report(w).sent == 1
    assert w.billed() == 12
    assert report(w) == ReportRun(), "said once"


def test_late_usage_is_a_second_event_and_a_correction_a_negative_one(world: Make) -> None:
    w = world()
    began = w.clock.at
    w.use(10)
    w.clock.at += 2 * HOUR
    report(w)
    w.use(7, at=began + 5 * MINUTE)
    report(w)
    assert w.billed() == 17
    w.use(-9, at=began + 6 * MINUTE, kind="correction", records=0)
    report(w)
    assert w.billed() == 8
    assert w.states() == ["sent"] * 3


def test_counted_records_and_gauges(world: Make) -> None:
    w = world({"jobs": "count", "seats": "last"})
    for value in (50, 60, 55):
        w.use(value, meter="jobs", records=2)
        w.use(value, meter="seats")
        w.clock.at += MINUTE
    w.clock.at += HOUR
    assert report(w).sent == 2
    assert w.billed(meter="jobs") == 6
    assert w.billed(meter="seats") == 55
    w.use(0, meter="seats")
    w.clock.at += HOUR
    report(w)
    assert w.billed(meter="seats") == 0


def test_a_lost_answer_is_asked_again_with_the_same_identifier(world: Make) -> None:
    w = world()
    w.use(5)
    w.clock.at += 2 * HOUR
    w.gateway.fault = lambda event: "lose"
    assert report(w).unanswered == 1
    assert w.states() == ["sending"]
    w.gateway.fault = lambda event: None
    assert report(w).sent == 0, "not at once"
    w.clock.at += 2 * MINUTE
    assert report(w).sent == 1
    assert w.billed() == 5


@pytest.mark.parametrize("arrived", [True, False])
def test_after_a_day_stripes_total_decides_what_became_of_it(world: Make, arrived: bool) -> None:
    w = world()
    w.use(5)
    w.clock.at += 2 * HOUR
    w.gateway.fault = lambda event: "lose" if arrived else "refuse"
    report(w)
    w.clock.at += 30 * HOUR
    w.gateway.fault = lambda event: None
    run = report(w)
    assert (run.arrived, run.resent) == (int(arrived), int(not arrived))
    assert w.billed() == 5
    assert w.states() == (["confirmed"] if arrived else ["abandoned", "sent"])


def test_of_several_lost_events_of_one_hour_only_what_is_missing_is_sent(world: Make) -> None:
    """Two hours of a closed period are both reported at the beginning of the present one."""
    w = world()
    began = w.clock.at
    w.use(5)
    w.use(8, at=began + HOUR)
    with w.connect() as connection:
        connection.execute(
            "INSERT INTO registry.usage_period VALUES ('tenant-0', %s, %s, %s, 'month', now())",
            [w.customers["tenant-0"], began + 3 * HOUR, began + timedelta(days=30)],
        )
    w.clock.at = began + 10 * HOUR
    seen: list[int] = []

    def first_arrives(event: MeterEvent) -> str:
        seen.append(event.value)
        return "lose" if len(seen) == 1 else "refuse"

    w.gateway.fault = first_arrives
    report(w)
    w.clock.at += 2 * MINUTE
    report(w)
    assert len(w.states()) == 2
    w.clock.at += 30 * HOUR
    settle(w)
    assert w.billed() == 13
    assert report(w).undecided == 0


def test_a_total_that_lags_behind_decides_nothing(world: Make) -> None:
    w = world()
    began = w.clock.at
    w.use(5)
    w.clock.at += 2 * HOUR
    report(w)
    w.use(6, at=began)
    w.gateway.fault = lambda event: "refuse"
    report(w)
    w.gateway.fault, w.gateway.lag = (lambda event: None), (lambda value: 0)
    w.clock.at += 30 * HOUR
    assert report(w).undecided == 1
    assert w.states() == ["sent", "sending"]
    w.gateway.lag = lambda value: value
    w.clock.at += HOUR
    assert report(w).resent == 1
    assert w.billed() == 11


def test_a_meter_that_stripe_lacks_stops_no_other(world: Make) -> None:
    w = world({"calls": "sum", "storage": "sum"})
    meters = w.stripe.call("GET", "/v1/billing/meters")["data"]
    storage = next(each["id"] for each in meters if each["event_name"] == "storage")
    w.stripe.call("POST", f"/v1/billing/meters/{storage}/deactivate")
    w.use(3)
    w.use(4, meter="storage")
    w.clock.at += 2 * HOUR
    run = report(w)
    assert set(run.unbillable) == {"storage"}
    assert w.billed() == 3
    w.stripe.call("POST", f"/v1/billing/meters/{storage}/reactivate")
    report(w)
    assert w.billed(meter="storage") == 4


def test_a_refused_event_stops_no_other_tenant_and_is_not_repeated_by_itself(world: Make) -> None:
    w = world(tenants=3)
    w.stripe.call("DELETE", f"/v1/customers/{w.customers['tenant-1']}")
    for tenant in w.customers:
        w.use(2, tenant=tenant)
    w.clock.at += 2 * HOUR
    run = report(w)
    w.clock.at += HOUR
    assert (run.sent, run.refused) in {(2, 1), (3, 0)}  # Stripe may take events of a deleted customer
    assert report(w) == ReportRun()
    assert (w.billed("tenant-0"), w.billed("tenant-2")) == (2, 2)


def test_a_stripe_that_is_gone_is_left_alone_after_a_few_tries(world: Make) -> None:
    w = world(tenants=30)
    for tenant in w.customers:
        w.use(2, tenant=tenant)
    w.clock.at += 2 * HOUR
    w.gateway.fault = lambda event: "refuse"
    run = report(w)
    assert run.unavailable
    assert PATIENCE <= run.unanswered <= PATIENCE + CONCURRENCY
    assert w.states().count("sending") == run.unanswered
    w.clock.at += 30 * HOUR
    settle(w)
    assert {w.billed(tenant) for tenant in w.customers} == {2}


def test_a_second_reporter_does_nothing_while_one_works(world: Make) -> None:
    w = world()
    w.use(5)
    w.clock.at += 2 * HOUR
    reporter = Reporter(w.database_url, w.gateway, "test")
    other: list[ReportRun | None] = []

    class Slow(type(w.gateway)):  # type: ignore[misc]
        async def send(self, event: MeterEvent) -> Receipt:
            other.append(await reporter.run(w.clock.at))
            receipt: Receipt = await super().send(event)
            return receipt

    w.gateway.__class__ = Slow
    assert asyncio.run(reporter.run(w.clock.at)) == ReportRun(planned=1, sent=1)
    assert other == [None]


def test_more_than_one_event_may_hold_is_split(world: Make) -> None:
    w = world()
    w.use(10**15 + 5)
    w.clock.at += 2 * HOUR
    report(w)
    assert w.billed() == 10**15 + 5
    assert w.states() == ["sent", "sent"]


def test_usage_up_to_the_end_of_a_period_is_reported_with_it(world: Make) -> None:
    """The hour is split where the period ends, and what belongs to the old one is not left until the hour is over."""
    w = world()
    began = w.clock.at
    ends = began + timedelta(minutes=20)
    with w.connect() as connection:
        connection.execute(
            "INSERT INTO registry.usage_period VALUES ('tenant-0', %s, %s, %s, 'month', now())",
            [w.customers["tenant-0"], ends - timedelta(days=30), ends],
        )
    w.use(3, at=began + 19 * MINUTE)
    w.use(4, at=began + 20 * MINUTE)
    w.clock.at = began + 23 * MINUTE
    report(w)
    assert w.billed() == 3
    w.clock.at = began + 63 * MINUTE
    report(w)
    assert w.billed() == 7
    with w.connect() as connection:
        rows = connection.execute("SELECT value, at FROM registry.usage_report ORDER BY at").fetchall()
    assert [int(value) for value, at in rows if at < ends] == [3]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_whatever_happens_on_the_way_the_totals_are_what_was_recorded(world: Make, seed: int) -> None:
    chance = random.Random(seed)
    w = world(tenants=3)
    with w.connect() as connection:
        connection.execute("TRUNCATE registry.usage_report, registry.usage_hour, registry.usage_entry")
    recorded = dict.fromkeys(w.customers, 0)
    for _ in range(25):
        for tenant in recorded:
            for _ in range(chance.randrange(3)):
                late = timedelta(hours=chance.choice((0, 0, 0, 1, 5, 30)))
                value = chance.randrange(1, 9) if chance.random() < 0.8 else -chance.randrange(1, 5)
                w.use(value, tenant=tenant, at=w.clock.at - late, kind="usage" if value > 0 else "correction")
                recorded[tenant] += value
        weather = chance.choice(("fine", "fine", "lossy", "outage"))
        w.gateway.fault = lambda event, weather=weather: {  # type: ignore[misc]
            "fine": None,
            "lossy": chance.choice((None, "lose", "refuse")),
            "outage": "refuse",
        }[weather]
        report(w)
        w.clock.at += timedelta(minutes=chance.choice((2, 20, 60, 60, 60, 60 * 13, 60 * 30)))
    settle(w)
    assert {tenant: w.billed(tenant) or 0 for tenant in recorded} == recorded
