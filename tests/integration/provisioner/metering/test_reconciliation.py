"""Stripe's totals against the ledger, alerts, statements, corrections, the quarantine: on a real registry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from provisioner.billing import catalogue as catalogues
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.fake import FakeGateway, subscription_document
from provisioner.billing.pricing import Aggregation, Meter
from provisioner.errors import ConfigurationInvalid, NotFound
from provisioner.metering import corrections, statement
from provisioner.metering.alerts import UsageAlert
from provisioner.metering.corrections import CorrectionRefused
from provisioner.metering.reconciliation import Reconciliation
from provisioner.metering.service import Metering, make, sync_meters
from provisioner.operate import Pool
from provisioner.registry import metering as ledger
from provisioner.registry import tenants
from tests.integration.provisioner.metering.world import HOUR, World

Make = Callable[..., World]
T = TypeVar("T")
PLANS = catalogues.load(Path(__file__).parents[4] / "example" / "plans.toml")
TEAM = replace(PLANS.plan("team"), included={"calls": 100})
CATALOGUE = Catalogue("plans.toml", {"team": TEAM}, {"calls": Meter("calls", "API calls", unit="calls")})


def metering(world: World, work: Callable[[Metering], Awaitable[T]], **options: Any) -> T:
    async def run() -> T:
        pool: Pool = AsyncConnectionPool(world.database_url, min_size=1, max_size=3, open=False)
        async with pool:
            options.setdefault("catalogue", CATALOGUE)
            options.setdefault("billing", FakeGateway())
            made = make(world.database_url, pool, meters=world.gateway, installation="test", **options)
            return await work(made)

    return asyncio.run(run())


def report(world: World) -> None:
    assert metering(world, lambda each: each.reporter.run(world.clock.at)) is not None


def reconcile(world: World, **options: Any) -> Reconciliation:
    return metering(world, lambda each: each.reconciler.run(world.clock.at, **options))


def asked(world: World, question: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await AsyncConnection.connect(world.database_url) as connection:
            return await question(connection)

    return asyncio.run(run())


def test_equal_totals_confirm_every_report(world: Make) -> None:
    w = world({"calls": "sum", "seats": "last"}, tenants=2)
    for tenant in w.customers:
        for value in (3, 9, 2):
            w.use(value, tenant=tenant)
            w.use(value, tenant=tenant, meter="seats")
            w.clock.at += HOUR
    w.clock.at += HOUR
    report(w)
    assert reconcile(w).confirmed == 0, "what was sent a moment ago may not be in Stripe's totals"
    w.clock.at += 2 * HOUR
    found = reconcile(w)
    assert (found.confirmed, found.findings) == (12, [])
    assert set(w.states()) == {"confirmed"}
    assert reconcile(w) == Reconciliation()
    assert reconcile(w, everything=True).confirmed == 12


@pytest.mark.parametrize("meter", ["calls", "seats"])
def test_a_difference_is_found_kept_and_mended_on_request(world: Make, meter: str) -> None:
    w = world({"calls": "sum", "seats": "last"})
    w.use(30, meter=meter)
    w.clock.at += 2 * HOUR
    report(w)
    identifier = w.kept.execute("SELECT identifier FROM registry.usage_report").fetchone()
    assert identifier is not None
    params = {"event_name": meter, "type": "cancel", "cancel": {"identifier": identifier[0]}}
    w.stripe.call("POST", "/v1/billing/meter_event_adjustments", params)
    w.clock.at += 2 * HOUR
    for _ in range(2):
        found = reconcile(w)
        assert [(int(each.ours), int(each.stripe)) for each in found.findings] == [(30, 0)]
    assert asked(w, ledger.findings)
    assert w.billed(meter=meter) in (None, 0), "nothing is mended unasked"
    assert reconcile(w, fix=True).fixed == 1
    report(w)
    assert w.billed(meter=meter) == 30
    w.clock.at += 2 * HOUR
    assert reconcile(w).findings == []
    assert asked(w, ledger.findings) == []


def test_more_than_we_sent_is_taken_back_on_request(world: Make) -> None:
    w = world()
    w.use(30)
    w.clock.at += 2 * HOUR
    report(w)
    row = w.kept.execute("SELECT extract(epoch FROM at)::bigint FROM registry.usage_report").fetchone()
    assert row is not None
    foreign = {
        "event_name": "calls",
        "payload": {"stripe_customer_id": w.customers["tenant-0"], "value": "12"},
        "timestamp": row[0],
    }
    w.stripe.call("POST", "/v1/billing/meter_events", foreign)
    w.clock.at += 2 * HOUR
    assert reconcile(w, fix=True).fixed == 1
    report(w)
    assert w.billed() == 30


def test_what_stripe_refused_is_reported_anew_on_request(world: Make) -> None:
    w = world()
    w.use(30)
    w.clock.at += 2 * HOUR
    customer = w.customers["tenant-0"]
    w.kept.execute("UPDATE registry.usage_hour SET customer_id = 'cus_none'")
    report(w)
    assert w.states() == ["refused"]
    assert [row["error"][:16] for row in metering(w, lambda each: each.refused())] == ["resource_missing"]
    w.kept.execute("UPDATE registry.usage_hour SET customer_id = %s", [customer])
    w.kept.execute("UPDATE registry.usage_report SET customer_id = %s", [customer])
    w.clock.at += 2 * HOUR
    reconcile(w, fix=True)
    report(w)
    assert w.billed() == 30


def test_alerts_are_raised_once_a_period_at_each_threshold(world: Make) -> None:
    w = world()
    w.clock.at = datetime.now(UTC) - timedelta(days=1)
    w.kept.execute("UPDATE registry.tenant SET plan = 'team', subscription_id = 'sub_1'")
    billing = FakeGateway()
    begins = int((w.clock.at - timedelta(days=3)).timestamp())
    billing.put_subscription(
        subscription_document("sub_1", "tenant-0", "team_monthly", customer=w.customers["tenant-0"], created=begins)
    )
    told: list[tuple[int, int]] = []

    async def notify(connection: AsyncConnection, alert: UsageAlert, now: datetime) -> None:
        told.append((alert.threshold, alert.used))

    async def work(each: Metering) -> None:
        for value in (79, 1, 5, 15, 40):
            w.use(value)
            await each.prepare(w.clock.at)
            await each.alerts.run(w.clock.at)

    metering(w, work, billing=billing, notify=notify)
    metering(w, work, billing=billing, notify=notify)  # another process begins to look
    assert told == [(80, 80), (100, 100)]
    rows = w.kept.execute("SELECT summary FROM registry.timeline WHERE kind = 'usage' ORDER BY entry_id").fetchall()
    assert [row[0].split(" of ")[0] for row in rows] == ["80 %", "100 %"]


def test_usage_of_the_hour_in_which_a_subscription_began_is_its_periods(world: Make) -> None:
    """It was counted before anybody had read when the period begins."""
    w = world()
    w.clock.at = (datetime.now(UTC) - timedelta(days=1)).replace(minute=40)
    w.kept.execute("UPDATE registry.tenant SET plan = 'team', subscription_id = 'sub_1'")
    billing = FakeGateway()
    begins = int(w.clock.at.timestamp()) - 1200
    billing.put_subscription(
        subscription_document("sub_1", "tenant-0", "team_monthly", customer=w.customers["tenant-0"], created=begins)
    )
    w.use(90)

    async def work(each: Metering) -> list[UsageAlert]:
        await each.prepare(w.clock.at)
        w.use(5)
        return await each.alerts.run(w.clock.at)

    assert [(alert.threshold, alert.used) for alert in metering(w, work, billing=billing)] == [(80, 95)]

    async def question(connection: AsyncConnection) -> statement.Statement:
        tenant = await tenants.get(connection, "tenant-0")
        assert tenant is not None
        return await statement.statement(connection, CATALOGUE, tenant, None, w.clock.at)

    assert [each.recorded for each in asked(w, question).meters] == [95]


def test_a_statement_says_what_was_recorded_and_what_became_of_it(world: Make) -> None:
    w = world()
    w.clock.at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 5 * HOUR
    began = w.clock.at
    w.kept.execute("UPDATE registry.tenant SET plan = 'team'")
    w.kept.execute(
        "INSERT INTO registry.usage_period VALUES ('tenant-0', %s, %s, %s, 'month', now())",
        [w.customers["tenant-0"], began - timedelta(days=1), began + timedelta(days=29)],
    )
    w.use(120)
    w.clock.at += 2 * HOUR
    report(w)
    w.use(7, at=began)
    w.kept.execute(
        "INSERT INTO registry.usage_quarantine VALUES ('tenant-0', 'nope', 'k', 1, 1, 1, 1, 'unknown_meter')"
    )

    async def question(connection: AsyncConnection) -> statement.Statement:
        tenant = await tenants.get(connection, "tenant-0")
        assert tenant is not None
        return await statement.statement(connection, CATALOGUE, tenant, None, w.clock.at)

    found = asked(w, question)
    (calls,) = found.meters
    assert found.billing_period
    assert (calls.recorded, calls.included, calls.overage) == (127, 100, 27)
    assert (calls.reported, calls.confirmed, calls.pending, calls.late) == (120, 0, 7, 127)
    assert found.quarantined == {"unknown_meter": 1}
    assert statement.document(found)["meters"][0]["recorded"] == 127


def test_a_correction_is_an_entry_with_its_author_and_reaches_stripe(world: Make) -> None:
    w = world()
    w.clock.at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 5 * HOUR
    began = w.clock.at
    w.use(50)
    w.clock.at += 2 * HOUR
    report(w)

    def correct(units: int, key: str | None = None, meter: str = "calls", at: datetime = began) -> datetime:
        return asked(
            w,
            lambda connection: corrections.correct(
                connection, "tenant-0", meter, by_units=units, at=at, by="olivia", reason="a bug", key=key
            ),
        )

    assert correct(-20, "ticket-1") == began
    correct(-20, "ticket-1")
    report(w)
    assert w.billed() == 30
    row = w.kept.execute("SELECT note, total FROM registry.usage_entry WHERE kind = 'correction'").fetchone()
    assert row == ("olivia: a bug", -20)
    entries = w.kept.execute("SELECT summary FROM registry.timeline").fetchall()
    assert entries == [("olivia corrected calls by -20: a bug",)]
    with pytest.raises(CorrectionRefused, match="has 30"):
        correct(-31)
    with pytest.raises(CorrectionRefused, match="can't be corrected"):
        correct(1, at=began - timedelta(days=40))
    with pytest.raises(NotFound, match="no meter"):
        correct(1, meter="nope")


def test_quarantined_records_count_when_their_cause_is_gone(world: Make) -> None:
    w = world()
    now = datetime.now(UTC).timestamp()
    record = "SELECT * FROM tenantry_v1.record_usage(%s, %s, %s, %s, %s::numeric[], %s::numeric[], %s)"
    rows = (["a", "b", "c"], ["tenant-0"] * 3, ["later", "later", "never"], [1] * 3, [5] * 3, [5] * 3, [now] * 3)
    w.kept.execute(record.encode(), rows)
    assert asked(w, ledger.release) == (0, 3)
    assert asked(w, ledger.count_quarantined) == {"unknown_meter": 3}
    w.kept.execute("INSERT INTO registry.meter VALUES ('later', 'Later', 'sum')")
    assert asked(w, ledger.release) == (2, 1)
    w.kept.execute(record.encode(), rows)  # the SDK's retry of an answer it never had
    assert asked(w, ledger.count_quarantined) == {"unknown_meter": 1}
    row = w.kept.execute("SELECT sum(quantity) FROM registry.usage_hour").fetchone()
    assert row is not None
    assert row[0] == 10
    assert asked(w, ledger.drop_quarantined) == 1


def test_gauges_go_on_into_a_day_in_which_nobody_recorded(world: Make) -> None:
    w = world({"seats": "last"})
    w.kept.execute("UPDATE registry.tenant SET subscription_id = 'sub_1'")
    w.use(12, meter="seats")
    w.clock.at += timedelta(days=2)
    day = w.clock.at.replace(hour=0)
    for _ in range(2):
        asked(w, lambda connection: ledger.carry_gauges(connection, day))
    rows = w.kept.execute("SELECT kind, last_value FROM registry.usage_entry ORDER BY last_at").fetchall()
    assert rows == [("usage", 12), ("carried", 12)]


def test_meters_follow_the_catalogue_and_never_change_how_they_count(world: Make) -> None:
    w = world({"calls": "sum", "old": "sum"})
    asked(w, lambda connection: sync_meters(connection, CATALOGUE))
    found = {each.name: each for each in asked(w, ledger.meters)}
    assert (found["calls"].title, found["calls"].active, found["old"].active) == ("API calls", True, False)
    changed = replace(CATALOGUE, meters={"calls": Meter("calls", "x", Aggregation.LAST)})
    with pytest.raises(ConfigurationInvalid, match="aggregation of calls"):
        asked(w, lambda connection: sync_meters(connection, changed))


def test_sums_are_those_of_their_entries_and_old_entries_go(world: Make) -> None:
    w = world()
    for value in (1, 2, 3):
        w.use(value)
    since = w.clock.at - timedelta(days=1)
    assert asked(w, lambda connection: ledger.drifted(connection, since=since)) == []
    w.kept.execute("UPDATE registry.usage_hour SET quantity = 7")
    (drift,) = asked(w, lambda connection: ledger.drifted(connection, since=since))
    assert (drift["quantity"], drift["ledger"]) == (7, 6)
    future = datetime.now(UTC) + timedelta(days=1)
    asked(w, lambda connection: ledger.prune(connection, entries=future, hours=future, quarantine=future))
    row = w.kept.execute(
        "SELECT (SELECT count(*) FROM registry.usage_entry), count(*) FROM registry.usage_hour"
    ).fetchone()
    assert row == (0, 1), "what is still to be reported stays"
