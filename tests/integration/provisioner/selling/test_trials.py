"""Whose trial it is: told on the registry from what Stripe has, and what an operator does about it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from typer.testing import CliRunner

from localcloud.stripe.server import LocalStripe
from provisioner.billing.gateway_stripe import StripeGateway
from provisioner.cli.main import app
from provisioner.selling import trials
from provisioner.selling.errors import InvalidRequest, UnknownTenant
from tests.integration.provisioner.selling.conftest import PAGES, open_shop, pool_of

DAY = 86400
NOW = 1_800_000_000


def customer(number: int, email: str | None) -> dict[str, Any]:
    return {"id": f"cus_{number}", "email": email, "metadata": {"tenant_id": f"tenant-{number}"}}


def trial(identifier: str, started: int, *, status: str = "trialing") -> dict[str, Any]:
    return {
        "id": identifier,
        "status": status,
        "metadata": {},
        "trial_start": started,
        "trial_end": started + 14 * DAY,
    }


def connected(registry: str, work: Callable[[AsyncConnection], Awaitable[None]]) -> None:
    async def main() -> None:
        async with await AsyncConnection.connect(registry, autocommit=True) as connection:
            await work(connection)

    asyncio.run(main())


def test_the_first_trial_of_a_company_counts_in_whatever_order_they_are_seen(registry: str) -> None:
    seen = [
        (customer(1, "ada@initech.example"), [trial("sub_1", NOW)]),
        (customer(2, "bob@mail.initech.example"), [trial("sub_2", NOW + DAY)]),
        (customer(3, "eve@gmail.com"), [trial("sub_3", NOW)]),
        (customer(4, "mallory@gmail.com"), [trial("sub_4", NOW + DAY)]),
        (customer(5, "e.v.e+again@googlemail.com"), [trial("sub_5", NOW + DAY)]),
        (customer(6, None), [trial("sub_6", NOW)]),
        (customer(7, None), [trial("sub_7", NOW), trial("sub_8", NOW - 90 * DAY, status="canceled")]),
        (customer(8, "zoe@hooli.example"), [{**trial("sub_9", NOW), "trial_start": None, "status": "active"}]),
        (customer(9, "yan@hooli.example"), [trial("sub_a", NOW + DAY)]),
    ]
    expected = {"sub_2", "sub_5", "sub_7"}

    async def work(connection: AsyncConnection) -> None:
        for _ in range(3):
            random.shuffle(seen)
            for each, subscriptions in seen:
                await trials.refused_trials(connection, each, subscriptions)
            refused: set[str] = set()
            for each, subscriptions in seen:
                refused |= await trials.refused_trials(connection, each, subscriptions)
            assert refused == expected

    connected(registry, work)
    with psycopg.connect(registry) as connection:
        told = connection.execute(
            "SELECT tenant_id, summary FROM registry.timeline WHERE summary LIKE '%sub_2 is not%'"
        ).fetchall()
        assert len(told) == 1, "told once, not at every look"
        assert told[0][0] == "tenant-2"


def test_a_first_trial_that_is_seen_late_has_the_others_looked_at_again(registry: str) -> None:
    async def work(connection: AsyncConnection) -> None:
        late, early = customer(2, "bob@initech.example"), customer(1, "ada@initech.example")
        assert await trials.refused_trials(connection, late, [trial("sub_2", NOW + DAY)]) == frozenset()
        for _ in range(2):
            assert await trials.refused_trials(connection, early, [trial("sub_1", NOW)]) == frozenset()

    connected(registry, work)
    with psycopg.connect(registry) as connection:
        queued = connection.execute("SELECT args->>'tenant_id' FROM procrastinate_jobs").fetchall()
    assert queued == [("tenant-2",)]


def test_a_customer_without_a_trial_costs_no_statement(registry: str) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.close()
        paid = {**trial("sub_1", NOW), "status": "active"}
        assert await trials.refused_trials(connection, customer(1, "a@b.example"), [paid]) == frozenset()

    connected(registry, work)


def test_an_exception_is_for_one_trial(registry: str) -> None:
    async def work(connection: AsyncConnection) -> None:
        first, second = customer(1, "ada@initech.example"), customer(2, "bob@initech.example")
        await trials.refused_trials(connection, first, [trial("sub_1", NOW)])
        again = [trial("sub_2", NOW + DAY)]
        assert await trials.refused_trials(connection, second, again) == {"sub_2"}
        with pytest.raises(UnknownTenant):
            await trials.allow(connection, "tenant-2", by="ada", reason="a merger")
        await connection.execute("INSERT INTO registry.tenant (tenant_id) VALUES ('tenant-2')")
        with pytest.raises(InvalidRequest, match="reason"):
            await trials.allow(connection, "tenant-2", by="ada", reason=" ")
        await trials.allow(connection, "tenant-2", by="ada", reason="a merger")
        assert await trials.refused_trials(connection, second, again) == frozenset()
        later = [*again, trial("sub_3", NOW + 40 * DAY)]
        assert await trials.refused_trials(connection, second, later) == {"sub_3"}
        await trials.allow(connection, "tenant-2", by="ada", reason="another merger")
        assert await trials.refused_trials(connection, second, later) == frozenset()

    connected(registry, work)


def test_an_offer_is_one_checkouts_while_it_is_open(registry: str) -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    day = timedelta(days=1)

    async def work(connection: AsyncConnection) -> None:
        async def offer(number: int, at: datetime) -> int:
            found = await trials.offer(
                connection, f"tenant-{number}", customer(number, f"p{number}@initech.example"), 14, now=at, open_for=day
            )
            return found.days

        assert [await offer(1, now), await offer(2, now), await offer(1, now)] == [14, 0, 14]
        assert await offer(2, now + 2 * day) == 14, "the first was never completed"
        assert await offer(1, now + 2 * day) == 0
        await trials.refused_trials(connection, customer(2, "p2@initech.example"), [trial("sub_2", NOW)])
        assert [await offer(number, now + 9 * day) for number in (1, 2, 3)] == [0, 0, 0]
        await connection.execute("INSERT INTO registry.tenant (tenant_id) VALUES ('tenant-3')")
        await trials.allow(connection, "tenant-3", by="ada", reason="they asked nicely")
        assert await offer(3, now + 9 * day) == 14

    connected(registry, work)


def test_a_trial_made_in_the_dashboard_is_flagged_and_an_operator_decides(
    registry: str, stripe: LocalStripe, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANTRY_DATABASE_URL", registry)
    monkeypatch.setenv("TENANTRY_STRIPE_API_KEY", stripe.api_key)
    monkeypatch.setenv("TENANTRY_STRIPE_API_BASE", stripe.url)
    monkeypatch.setenv("TENANTRY_CATALOGUE", str(plans))
    runner = CliRunner()

    def command(*arguments: str, code: int = 0) -> Any:
        result = runner.invoke(app, ["trials", *arguments, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    async def look() -> frozenset[str]:
        gateway = StripeGateway(stripe.api_key, stripe.url)
        refused: set[str] = set()
        try:
            async with pool_of(registry) as pool:
                async for document in gateway.subscriptions():
                    guard = trials.TrialGuard(pool, gateway)
                    refused |= await guard(document["customer"]["id"], [document])  # type: ignore[list-item]
        finally:
            await gateway.close()
        return frozenset(refused)

    async def begin() -> None:
        async with open_shop(registry, stripe, plans) as shop:
            opened = await shop.told("sign-up", plan="free_trial", email="ada@initech.example", **PAGES)
            await shop.pay(opened["session_id"])
            shop.advance(0.1)
            found = shop.front.subscribe("acme-2", "free_trial", trial_days=30)
            email = {"email": "bob@initech.example"}
            shop.api("POST", f"/v1/customers/{found['customer']['id']}", data=email)
            with psycopg.connect(registry, autocommit=True) as connection:
                connection.execute(
                    "INSERT INTO registry.tenant (tenant_id, stripe_customer_id) VALUES ('acme-2', %s)",
                    [found["customer"]["id"]],
                )

    asyncio.run(begin())
    asyncio.run(look())  # in an order of no meaning: the later trial may have been seen first
    (flagged,) = asyncio.run(look())
    listed = {each["tenant_id"]: each for each in command("list")}
    assert (listed["acme"]["refused"], listed["acme-2"]["refused"]) == (False, True)
    assert listed["acme-2"]["subscription_id"] == flagged
    assert command("allow", "acme-2", "--reason", "a merger", "--by", "ada") == {
        "tenant_id": "acme-2",
        "allowed_by": "ada",
    }
    assert asyncio.run(look()) == frozenset()
    before = datetime.fromisoformat(listed["acme-2"]["ends_at"])
    extended = command("extend", "acme-2", "--days", "7", "--reason", "a holiday")
    assert datetime.fromisoformat(extended["ends_at"]) - before == timedelta(days=7)
    listed = {each["tenant_id"]: each for each in command("list")}
    assert datetime.fromisoformat(listed["acme-2"]["ends_at"]) == datetime.fromisoformat(extended["ends_at"])
    for arguments, code in (
        (("extend", "acme-2", "--days", "0", "--reason", "x"), "invalid_request"),
        (("extend", "acme-2", "--days", "720", "--reason", "x"), "not_changeable"),
        (("extend", "nobody", "--days", "7", "--reason", "x"), "not_found"),
        (("allow", "nobody", "--reason", "x"), "unknown_tenant"),
    ):
        assert command(*arguments, code=4)["error"]["code"] == code
    with psycopg.connect(registry) as connection:
        told = connection.execute(
            "SELECT summary FROM registry.timeline WHERE tenant_id = 'acme-2' AND kind = 'operator' ORDER BY entry_id"
        ).fetchall()
    assert [row[0].split(":")[-1] for row in told] == [" a merger", " a holiday"]
