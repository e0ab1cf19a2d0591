"""A small run of the simulator holds, is repeatable, and sees each of the mistakes that it is there to see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from psycopg import sql

from components.spec import Access
from localcloud.postgres.master import create_database
from localcloud.simulation import usage
from localcloud.simulation.network import Faults
from localcloud.simulation.paper import PaperStacks
from localcloud.simulation.run import Plan, Result, simulate
from provisioner import desired
from provisioner.billing import catalogue as catalogues
from provisioner.billing.verdict import Verdict, judge
from provisioner.registry import placements, tenants, timeline
from provisioner.settings import ROOT
from provisioner.sweep import Sweep
from tests.integration.conftest import Login

CATALOGUE = catalogues.load(ROOT / "example" / "plans.toml")
SMALL = Plan(seed=7, customers=30, days=120, arrival_days=20)


@pytest.fixture
def run(database_url: str) -> Callable[[Plan], Result]:
    def simulated(plan: Plan = SMALL) -> Result:
        return asyncio.run(simulate(plan, database_url, CATALOGUE, ROOT / "example" / "app_schema"))

    return simulated


def rules(result: Result) -> set[str]:
    return {violation.split()[1].rstrip(":") for violation in result.violations}


def test_a_third_of_a_year_holds(run: Callable[[Plan], Result]) -> None:
    result = run(SMALL)
    assert result.violations == []
    assert result.events > 500
    assert result.checked > 1000
    assert result.units > 0
    assert sum(result.access.values()) > 20
    assert len(result.done) > 8, "people do many things"


def test_the_same_seed_lives_the_same_life(run: Callable[[Plan], Result], database: Login) -> None:
    plan = replace(SMALL, customers=8, days=60, arrival_days=10)
    first = run(plan)
    with database.cluster.admin() as admin:
        create_database(admin, f"{database.database}_again", database.username)
        again = replace(database, database=f"{database.database}_again")
        try:
            second = asyncio.run(simulate(plan, again.url, CATALOGUE, ROOT / "example" / "app_schema"))
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(again.database)))
    assert first.events > 50
    # Jobs run beside each other, so whose stack fails, and how often a tenant is looked at, may differ.
    looks: dict[str, Any] = {"seconds": 0.0, "reconciled": 0, "operations": 0}
    assert replace(first, **looks) == replace(second, **looks)


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def test_a_verdict_that_is_too_kind_is_seen(run: Callable[[Plan], Result], sabotage: pytest.MonkeyPatch) -> None:
    def kind(*arguments: Any) -> Verdict:
        verdict = judge(*arguments)
        return replace(verdict, access=Access.GRACE) if verdict.access is Access.READ_ONLY else verdict

    sabotage.setattr(desired, "judge", kind)
    assert "access" in rules(run(replace(SMALL, days=160)))


def test_dates_that_nobody_looks_at_are_seen(run: Callable[[Plan], Result], sabotage: pytest.MonkeyPatch) -> None:
    async def none(*_: object) -> list[str]:
        return []

    sabotage.setattr(tenants, "claim_review", none)
    assert "access" in rules(run(SMALL))


def test_data_that_is_destroyed_too_early_is_seen(run: Callable[[Plan], Result], sabotage: pytest.MonkeyPatch) -> None:
    def hasty(*arguments: Any) -> Verdict:
        verdict = judge(*arguments)
        if verdict.access is not Access.RETAINED or verdict.retain_until is None:
            return verdict
        return replace(verdict, access=Access.DELETED, retain_until=0)

    sabotage.setattr(desired, "judge", hasty)
    assert "retention" in rules(run(replace(SMALL, days=160)))


def test_a_change_without_an_entry_on_the_timeline_is_seen(
    run: Callable[[Plan], Result], sabotage: pytest.MonkeyPatch
) -> None:
    real = timeline.add

    async def forgetful(connection: Any, tenant_id: str, kind: Any, summary: str, **details: Any) -> None:
        if kind is not timeline.EntryKind.DECISION:
            await real(connection, tenant_id, kind, summary, **details)

    sabotage.setattr(timeline, "add", forgetful)
    assert "timeline" in rules(run(SMALL))


def test_access_that_a_stack_does_not_enforce_is_seen(
    run: Callable[[Plan], Result], sabotage: pytest.MonkeyPatch
) -> None:
    real = PaperStacks.run

    async def careless(self: Any, held: Any, operation: Any, kind: Any, inputs: Any, **details: Any) -> Any:
        result = await real(self, held, operation, kind, inputs, **details)
        if "tenant" in result.outputs:
            result.outputs["tenant"]["access"] = "full"
        return result

    sabotage.setattr(PaperStacks, "run", careless)
    assert "stack" in rules(run(SMALL))


def test_events_that_are_lost_for_good_are_seen(run: Callable[[Plan], Result], sabotage: pytest.MonkeyPatch) -> None:
    """Without recovery, and without the sweep's look at subscriptions."""

    async def nothing(self: Any, *_: object) -> Any:
        return []

    async def no_events(self: Any, now: float) -> int:
        return 0

    sabotage.setattr(Sweep, "_recover_events", no_events)
    sabotage.setattr(Sweep, "_queue_behind", nothing)
    assert rules(run(replace(SMALL, faults=Faults(lost=0.6)))) & {"access", "unknown_tenant"}


def test_usage_that_is_billed_twice_is_seen(run: Callable[[Plan], Result], sabotage: pytest.MonkeyPatch) -> None:
    real = usage._add

    async def twice(connection: Any, tenant: str, customer: str, key: str, at: datetime, value: int) -> None:
        await real(connection, tenant, customer, key, at, value)
        await real(connection, tenant, customer, f"{key}-again", at, value)

    sabotage.setattr(usage, "_add", twice)
    assert "usage" in rules(run(SMALL))


def test_a_placement_that_says_more_than_is_paid_is_seen(
    run: Callable[[Plan], Result], sabotage: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> bool:
        return False

    sabotage.setattr(placements, "set_access", never)
    assert "placement" in rules(run(SMALL))
