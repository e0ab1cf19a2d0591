"""Subscribers of a superseded price are moved: on a real registry, against the local Stripe in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
import pytest

from localcloud.stripe.inprocess import InProcess
from provisioner.billing.gateway import Document
from provisioner.billing.stripe_catalogue import price_migration, subscribers
from provisioner.billing.stripe_catalogue.price_migration import Progress
from provisioner.billing.stripe_catalogue.subscribers import Effective, Proration
from provisioner.errors import NotFound, OperatorNeeded, Reject, StripeUnavailable
from provisioner.registry import price_migrations, timeline
from provisioner.registry.migrate import migrate
from provisioner.registry.price_migrations import Item, Migration
from tests.unit.provisioner.billing.stripe_catalogue.account import NOW, Died, InProcessApi, parse, pushed

PLANS = """
[portal]
plan_changes = false
[plans.team]
tier = "pool"
[[plans.team.prices]]
lookup_key = "team_monthly"
interval = "month"
unit_amount = 2900
[[plans.team.prices]]
lookup_key = "team_annual"
interval = "year"
unit_amount = 29000
"""
DEARER = PLANS.replace("unit_amount = 2900\n", "unit_amount = 3900\n")
DAY = 86400
R = TypeVar("R")


class Wall:
    now = float(NOW)

    def __call__(self) -> float:
        return self.now


class Api(InProcessApi):
    """``refuse``: subscriptions that Stripe refuses to change; ``away``: it can't be reached any more."""

    def __init__(self, stripe: InProcess) -> None:
        super().__init__(stripe)
        self.refuse: set[str] = set()
        self.away = False

    def _ask(self, method: str, path: str, params: Mapping[str, Any], doing: str) -> Document:
        if self.away:
            raise StripeUnavailable("away")
        if method == "post" and path.rpartition("/")[2] in self.refuse:
            raise OperatorNeeded("Stripe refused the request")
        return super()._ask(method, path, params, doing)


@dataclass
class World:
    url: str
    wall: Wall = field(default_factory=Wall)

    def __post_init__(self) -> None:
        self.stripe = InProcess(self.wall)
        self.api = Api(self.stripe)
        pushed(self.api, parse(PLANS))

    def subscribe(self, tenant: str | None, key: str = "team_monthly") -> str:
        metadata = {} if tenant is None else {"tenant_id": tenant}
        customer = self.api.post("/v1/customers", {"metadata": metadata})["id"]
        method = self.api.post("/v1/payment_methods/pm_card_visa/attach", {"customer": customer})["id"]
        params = {"customer": customer, "default_payment_method": method, "items": [{"price": self.price(key)}]}
        self.wall.now += 1
        return str(self.api.post("/v1/subscriptions", params)["id"])

    def price(self, key: str = "team_monthly") -> str:
        (found,) = self.api.all("/v1/prices", lookup_keys=[key])
        return str(found["id"])

    def supersede(self) -> tuple[str, str]:
        old = self.price()
        pushed(self.api, parse(DEARER))
        return old, self.price()

    def pays(self, subscription: str) -> str:
        self.stripe.catch_up()
        found = self.api.get(f"/v1/subscriptions/{subscription}")
        return str(found["items"]["data"][0]["price"]["id"])

    def pass_days(self, days: int) -> None:
        self.wall.now += days * DAY
        self.stripe.catch_up()

    def ask(self, question: Callable[[psycopg.AsyncConnection], Awaitable[R]]) -> R:
        async def asked() -> R:
            async with await psycopg.AsyncConnection.connect(self.url) as connection:
                return await question(connection)

        return asyncio.run(asked())

    def migrate(
        self,
        old: str,
        new: str,
        effective: Effective = Effective.NOW,
        proration: Proration = Proration.NONE,
        **options: Any,
    ) -> tuple[Migration, Progress]:
        async def question(connection: psycopg.AsyncConnection) -> tuple[Migration, Progress]:
            begun = await price_migration.open_or_begin(
                connection,
                from_price=old,
                to_price=new,
                plan="team",
                effective=effective,
                proration=proration,
                by="ada",
            )
            return begun, await price_migration.run(connection, self.api, begun, **options)

        return self.ask(question)

    def items(self, migration: Migration) -> dict[str, Item]:
        async def question(connection: psycopg.AsyncConnection) -> list[Item]:
            return await price_migrations.items(connection, migration.migration_id)

        return {item.subscription_id: item for item in self.ask(question)}

    def open(self, old: str) -> Migration | None:
        return self.ask(lambda connection: price_migrations.open_of(connection, old))

    def told(self, tenant: str) -> list[str]:
        async def question(connection: psycopg.AsyncConnection) -> list[str]:
            return [entry.summary for entry in await timeline.of_tenant(connection, tenant)]

        return self.ask(question)


@pytest.fixture(scope="module")
def registry(postgres: Any) -> str:
    """One for the module: the prices of each test are its own."""
    url: str = postgres.url("price_migrations")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE price_migrations")
    migrate(url, url)
    return url


@pytest.fixture
def world(registry: str) -> World:
    with psycopg.connect(registry, autocommit=True) as connection:
        connection.execute("TRUNCATE registry.price_migration CASCADE")
        connection.execute("TRUNCATE registry.timeline")
    return World(registry)


def test_everybody_is_moved_now_and_told(world: World) -> None:
    subscriptions = {tenant: world.subscribe(tenant) for tenant in ("acme", "globex")}
    yearly = world.subscribe("initech", "team_annual")
    old, new = world.supersede()
    migration, progress = world.migrate(old, new)
    assert (progress.moved, progress.failed, progress.skipped, progress.left) == (2, 0, 0, 0)
    assert {world.pays(found) for found in subscriptions.values()} == {new}
    assert world.pays(yearly) == world.price("team_annual")
    assert world.open(old) is None, "it is finished"
    assert world.told("acme") == [f"moved from price {old} to {new}"]
    assert {item.status for item in world.items(migration).values()} == {"moved"}
    world.pass_days(32)
    invoices = world.api.all("/v1/invoices", subscription=subscriptions["acme"])
    assert [invoice["total"] for invoice in invoices] == [3900, 2900], "nothing prorated; the new price from then on"


def test_at_the_renewal_what_is_paid_for_lasts(world: World) -> None:
    subscription = world.subscribe("acme")
    old, new = world.supersede()
    _, progress = world.migrate(old, new, Effective.RENEWAL)
    assert progress.moved == 1
    assert not world.api.get(f"/v1/prices/{old}")["active"]
    assert world.pays(subscription) == old
    (summary,) = world.told("acme")
    assert summary.startswith(f"moved from price {old} to {new} from 2027-")
    world.pass_days(32)
    assert world.pays(subscription) == new
    invoices = world.api.all("/v1/invoices", subscription=subscription)
    assert [invoice["total"] for invoice in invoices] == [3900, 2900]
    world.pass_days(32)
    assert world.api.get(f"/v1/subscriptions/{subscription}")["schedule"] is None, "it is let go"
    assert world.pays(subscription) == new


def test_waves_can_be_ended_and_gone_on_with(world: World) -> None:
    subscriptions = [world.subscribe(f"t-{number}") for number in range(5)]
    old, new = world.supersede()
    asked: list[tuple[int, int]] = []

    async def once(progress: Progress, left: int) -> bool:
        asked.append((progress.moved, left))
        return len(asked) < 2

    migration, progress = world.migrate(old, new, size=2, between=once)
    assert asked == [(2, 3), (4, 1)]
    assert (progress.moved, progress.left, progress.waves) == (4, 1, 2)
    assert [world.pays(found) for found in subscriptions] == [new] * 4 + [old], "the oldest first"
    standing = world.open(old)
    assert standing is not None
    assert (standing.status, standing.reason) == ("stopped", "an operator ended it after wave 2")
    again, rest = world.migrate(old, new, size=2)
    assert again.migration_id == migration.migration_id
    assert rest.moved == 1
    assert [world.items(migration)[found].wave for found in subscriptions] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("effective", [Effective.NOW, Effective.RENEWAL])
def test_a_run_that_dies_anywhere_is_gone_on_with_and_moves_nobody_twice(world: World, effective: Effective) -> None:
    """Before and after every writing request of three moves; an invoice of the change shows each time it happened."""
    proration = Proration.ALWAYS_INVOICE if effective is Effective.NOW else Proration.NONE
    writes = 3 if effective is Effective.NOW else 1 + 3 * 2 + 1  # the old price is active meanwhile
    for number in range(writes):
        for answered in (False, True):
            fresh = World(world.url)
            subscriptions = [fresh.subscribe(f"t-{each}") for each in range(3)]
            old, new = fresh.supersede()
            fresh.pass_days(3)
            fresh.api.writes, fresh.api.die_at, fresh.api.answered = 0, number, answered
            with pytest.raises(Died):
                fresh.migrate(old, new, effective, proration)
            fresh.api.die_at = None
            migration, progress = fresh.migrate(old, new, effective, proration)
            assert progress.failed == 0, progress.failures
            assert {item.status for item in fresh.items(migration).values()} == {"moved"}
            if effective is Effective.RENEWAL:
                fresh.pass_days(30)
            for found in subscriptions:
                assert fresh.pays(found) == new, (number, answered)
                reasons = [each["billing_reason"] for each in fresh.api.all("/v1/invoices", subscription=found)]
                changes = reasons.count("subscription_update")
                assert changes == (1 if effective is Effective.NOW else 0), (number, answered, reasons)
                schedules = fresh.api.all("/v1/subscription_schedules")
                assert len(schedules) == (0 if effective is Effective.NOW else 3)
            assert not fresh.api.get(f"/v1/prices/{old}")["active"]


def test_too_many_failures_stop_it_and_the_next_run_tries_them_again(world: World) -> None:
    subscriptions = [world.subscribe(f"t-{number}") for number in range(4)]
    old, new = world.supersede()
    world.api.refuse = set(subscriptions[:3])
    migration, progress = world.migrate(old, new, max_failures=2)
    assert (progress.moved, progress.failed, progress.left) == (0, 2, 2)
    assert subscriptions[0] in progress.failures[0]
    standing = world.open(old)
    assert standing is not None
    assert standing.reason == "2 subscriptions could not be moved"
    assert world.told("t-0") == []
    world.api.refuse = set()
    _, progress = world.migrate(old, new, max_failures=2)
    assert (progress.moved, progress.failed) == (4, 0)
    assert world.items(migration)[subscriptions[0]].attempts == 2


def test_who_leaves_anyway_or_is_nobodys_stays(world: World) -> None:
    leaving, nobodys = world.subscribe("acme"), world.subscribe(None)
    scheduled, ended, moved = world.subscribe("globex"), world.subscribe("initech"), world.subscribe("hooli")
    old, new = world.supersede()
    world.api.post(f"/v1/subscriptions/{leaving}", {"cancel_at_period_end": True})
    world.api.post("/v1/subscription_schedules", {"from_subscription": scheduled})
    world.api.delete(f"/v1/subscriptions/{ended}")
    migration, progress = world.migrate(old, new)
    assert (progress.moved, progress.skipped) == (1, 3)
    items = world.items(migration)
    assert ended not in items
    assert (items[leaving].reason, items[moved].status) == ("it ends by itself", "moved")
    assert "schedule" in str(items[scheduled].reason)
    assert "tenant_id" in str(items[nobodys].reason)
    standing = world.open(old)
    assert standing is not None, "they are looked at again"
    assert standing.status == "stopped"


def test_a_stripe_that_goes_away_in_the_middle(world: World) -> None:
    subscriptions = [world.subscribe(f"t-{number}") for number in range(3)]
    old, new = world.supersede()

    async def leave(progress: Progress, left: int) -> bool:
        world.api.away = True
        return True

    with pytest.raises(StripeUnavailable):
        world.migrate(old, new, size=1, between=leave)
    world.api.away = False
    migration, progress = world.migrate(old, new, size=1)
    assert progress.moved == 2
    assert {world.pays(found) for found in subscriptions} == {new}
    assert {item.status for item in world.items(migration).values()} == {"moved"}


def test_one_process_at_a_time_and_one_way_at_a_time(world: World) -> None:
    world.subscribe("acme")
    world.subscribe("globex")
    old, new = world.supersede()

    async def meanwhile(progress: Progress, left: int) -> bool:
        with pytest.raises(Reject, match="another process"):
            await asyncio.to_thread(world.migrate, old, new)
        with pytest.raises(Reject, match="--abandon"):
            await asyncio.to_thread(world.migrate, old, new, Effective.RENEWAL)
        return True

    _, progress = world.migrate(old, new, size=1, between=meanwhile)
    assert progress.moved == 2


def test_what_each_would_pay_is_what_each_then_pays(world: World) -> None:
    subscription = world.subscribe("acme")
    old, new = world.supersede()
    world.pass_days(10)
    (subscriber,) = subscribers.subscribers(world.api, old)
    later = subscribers.quote(world.api, subscriber, new, Effective.RENEWAL, Proration.NONE)
    assert (later.present, later.new, later.currency) == (2900, 3900, "usd")
    writes = world.api.writes
    prorated = subscribers.quote(world.api, subscriber, new, Effective.NOW, Proration.CREATE_PRORATIONS)
    assert prorated.new > 3900, "what is left of this period too"
    assert world.api.writes == writes + 2, "previews"
    assert world.pays(subscription) == old
    world.migrate(old, new, proration=Proration.CREATE_PRORATIONS)
    world.pass_days(30)
    assert world.api.all("/v1/invoices", subscription=subscription)[0]["total"] == prorated.new


def test_only_a_successor_of_the_same_plan_currency_and_interval(world: World) -> None:
    old, new = world.supersede()
    catalogue = parse(DEARER)

    def pair(leaving: str, going: str | None = None) -> tuple[str, str]:
        prices = world.api.all("/v1/prices", type="recurring")
        found = subscribers.successor(prices, catalogue, leaving, going)
        return found[0]["id"], found[1]["id"]

    assert pair(old) == pair(old, "team_monthly") == pair(old, new) == (old, new)
    with pytest.raises(NotFound, match="no price price_none"):
        pair("price_none")
    with pytest.raises(NotFound, match="no price nothing"):
        pair(old, "nothing")
    with pytest.raises(Reject, match="differ in interval"):
        pair(old, "team_annual")
    with pytest.raises(Reject, match="is the present price"):
        pair(new)
    with pytest.raises(Reject, match="isn't sold"):
        pair(new, old)
    foreign = world.api.post(
        "/v1/prices",
        {"product": "tenantry_team", "currency": "usd", "unit_amount": 5, "recurring": {"interval": "month"}},
    )["id"]
    with pytest.raises(Reject, match="isn't the catalogue's"):
        pair(foreign)


@pytest.mark.parametrize(
    ("count", "size", "percent", "expected"),
    [
        (10, 3, None, 3),
        (10, None, 25, 3),
        (3, None, 33.4, 2),
        (3, None, 0.01, 1),
        (10, None, None, 10),
        (0, None, 50, 1),
    ],
)
def test_the_size_of_a_wave(count: int, size: int | None, percent: float | None, expected: int) -> None:
    assert price_migration.wave_size(count, size=size, percent=percent) == expected
