"""Selling through the API: what a tenant's application asks for, and what then stands in Stripe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from localcloud.stripe.server import LocalStripe
from tests.integration.provisioner.selling.conftest import ORIGIN, PAGES, Shop, open_shop

Run = Callable[[Callable[[Shop], Awaitable[None]]], None]
EMAIL = "ada@acme.example.net"


@pytest.fixture
def run(registry: str, stripe: LocalStripe, plans: Path) -> Run:
    """Runs a coroutine with the shop."""

    def runs(work: Callable[[Shop], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_shop(registry, stripe, plans) as shop:
                await work(shop)

        asyncio.run(main())

    return runs


def rows(shop: Shop, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(shop.database_url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def items(subscription: dict[str, Any]) -> list[tuple[str, int | None]]:
    return [(each["price"]["lookup_key"], each.get("quantity")) for each in subscription["items"]["data"]]


# -- sign-up


def test_a_sign_up_makes_a_customer_and_a_subscription_of_the_tenant(run: Run) -> None:
    async def work(shop: Shop) -> None:
        opened = await shop.told("sign-up", plan="team", seats=3, email=EMAIL, name="Acme", reference="u1", **PAGES)
        assert opened["url"].startswith("https://")
        assert (opened["trial_days"], opened["trial_refused"]) == (0, None)
        session = await shop.pay(opened["session_id"])
        assert session["client_reference_id"] == "acme"
        (customer,) = shop.customers()
        assert (customer["email"], customer["name"], customer["metadata"]["tenant_id"]) == (EMAIL, "Acme", "acme")
        (subscription,) = shop.subscriptions()
        assert subscription["metadata"] == {"tenant_id": "acme"}
        assert items(subscription) == [("team_monthly", 3)]
        view = await shop.subscription()
        assert (view["status"], view["plan"], view["interval"], view["seats"]) == ("active", "team", "month", 3)
        for route in ("sign-up", "checkout"):
            more = {"email": EMAIL, "reference": "u1"} if route == "sign-up" else {}
            assert await shop.refused(route, plan="basic", **more, **PAGES) == (409, "already_subscribed")

    run(work)


def test_metered_prices_are_in_the_checkout(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="metered")
        (subscription,) = shop.subscriptions()
        assert sorted(items(subscription)) == [("metered_calls_monthly", None), ("metered_monthly", 1)]

    run(work)


def test_an_id_is_the_first_ones_who_asked(run: Run) -> None:
    async def work(shop: Shop) -> None:
        async def ask(reference: str) -> tuple[int, str]:
            answer = await shop.ask(
                "sign-up", plan="basic", email=f"{reference}@b.example", reference=reference, **PAGES
            )
            return answer.status_code, answer.json().get("error", {}).get("code", "")

        answers = await asyncio.gather(*(ask(f"u{number}") for number in range(6)))
        assert sorted(answers) == [(200, "")] + [(409, "tenant_taken")] * 5
        assert len(shop.customers()) == 1

    run(work)


def test_asking_at_once_and_again_gives_one_customer_and_one_session(run: Run) -> None:
    async def work(shop: Shop) -> None:
        async def ask(**changes: Any) -> dict[str, Any]:
            given = {"plan": "basic", "email": EMAIL, "reference": "u1", **PAGES, **changes}
            opened: dict[str, Any] = await shop.told("sign-up", **given)
            return opened

        sessions = {each["session_id"] for each in await asyncio.gather(*(ask() for _ in range(5)))}
        assert len(sessions) == 1
        assert len(shop.customers()) == 1
        first = sessions.pop()
        other = (await ask(plan="team", seats=2))["session_id"]
        assert other != first
        assert shop.api("GET", f"/v1/checkout/sessions/{first}")["status"] == "expired", "nobody can pay twice"
        assert (await ask(email="ada@new.example"))["session_id"] != first
        assert [each["email"] for each in shop.customers()] == ["ada@new.example"]
        await shop.pay((await ask(email="ada@new.example"))["session_id"])
        assert len(shop.subscriptions()) == 1

    run(work)


def test_a_lapsed_reservation_is_given_to_the_next_and_can_not_be_paid_any_more(run: Run) -> None:
    async def work(shop: Shop) -> None:
        first = await shop.told("sign-up", plan="basic", email=EMAIL, reference="u1", **PAGES)
        assert await shop.refused("sign-up", plan="basic", email="b@b.example", reference="u2", **PAGES) == (
            409,
            "tenant_taken",
        )
        lapse(shop)
        second = await shop.told("sign-up", plan="basic", email="b@b.example", reference="u2", **PAGES)
        assert shop.api("GET", f"/v1/checkout/sessions/{first['session_id']}")["status"] == "expired"
        assert [each["email"] for each in shop.customers()] == ["b@b.example"]
        await shop.pay(second["session_id"])
        lapse(shop)
        assert await shop.refused("sign-up", plan="basic", email="c@c.example", reference="u3", **PAGES) == (
            409,
            "tenant_taken",
        ), "what was paid for is never given away, before its webhook came either"

    run(work)


def lapse(shop: Shop) -> None:
    rows_changed = "UPDATE registry.signup SET reserved_until = now() - interval '1 s' RETURNING 1"
    assert rows(shop, rows_changed)


def test_a_customer_whose_creation_was_never_answered_is_found_again(run: Run) -> None:
    """Even after Stripe has forgotten the idempotency key."""

    async def work(shop: Shop) -> None:
        await shop.told("sign-up", plan="basic", email=EMAIL, **PAGES)
        assert rows(
            shop,
            "UPDATE registry.signup SET stripe_customer_id = NULL, created_at = now() - interval '2 days' RETURNING 1",
        )
        forget_keys(shop)
        await shop.told("sign-up", plan="basic", email=EMAIL, **PAGES)
        assert len(shop.customers()) == 1

    run(work)


def forget_keys(shop: Shop) -> None:
    """Stripe keeps them for a day."""
    account = shop.stripe.account
    with account.transaction():
        for kept in list(account.store.all("_idempotency")):
            account.store.remove(kept)


def test_the_registry_knows_the_customer_of_a_tenant_that_came_otherwise(run: Run) -> None:
    async def work(shop: Shop) -> None:
        tenant_id = "globex"
        shop.front.subscribe(tenant_id, "basic")
        (customer,) = shop.customers()
        rows(
            shop,
            f"INSERT INTO registry.tenant (tenant_id, stripe_customer_id) VALUES ('{tenant_id}', '{customer['id']}')"
            " RETURNING 1",
        )
        assert (await shop.subscription(tenant_id))["plan"] == "basic"
        refused = await shop.refused("sign-up", tenant_id, plan="basic", email=EMAIL, **PAGES)
        assert refused == (409, "tenant_taken")

    run(work)


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"plan": "gold"}, 404, "not_found"),
    ({"plan": "metered", "interval": "year"}, 404, "not_found"),
    ({"plan": "team", "seats": 11}, 409, "seats_refused"),
    ({"plan": "basic", "seats": 2}, 409, "seats_refused"),
    ({"seats": 0}, 422, "invalid_request"),
    ({"seats": "3"}, 422, "invalid_request"),
    ({"email": "no address"}, 422, "invalid_request"),
    ({"email": "ada@acme.com\x00"}, 422, "invalid_request"),
    ({"name": "a\nb"}, 422, "invalid_request"),
    ({"success_url": "https://evil.example/"}, 422, "return_url_refused"),
    ({"cancel_url": f"{ORIGIN}@evil.example/"}, 422, "return_url_refused"),
    ({"price": "price_1"}, 422, "invalid_request"),
    ({"customer": "cus_1"}, 422, "invalid_request"),
    ({"amount": 1}, 422, "invalid_request"),
    ({"tenant_id": "platform"}, 422, "invalid_request"),
    ({"tenant_id": "a--b"}, 422, "invalid_request"),
    ({"tenant_id": "abc-"}, 422, "invalid_request"),
    ({"tenant_id": "Acme"}, 422, "invalid_request"),
]


def test_what_a_sign_up_is_refused_for(run: Run) -> None:
    async def work(shop: Shop) -> None:
        for changes, status, code in REFUSED:
            answer = await shop.ask("sign-up", **{"plan": "basic", "email": EMAIL, **PAGES, **changes})
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), (changes, answer.text)
            assert answer.json()["error"]["hint"]
        assert shop.customers() == []
        assert rows(shop, "SELECT FROM registry.signup") == [], "no id is reserved by what can't be"

    run(work)


def test_nobody_is_served_without_a_token_and_no_stranger_has_a_subscription(run: Run) -> None:
    async def work(shop: Shop) -> None:
        answer = await shop.client.post("/v1/billing/sign-up", json={}, headers={"Authorization": "Bearer op_token"})
        assert answer.status_code == 401
        bodies: dict[str, dict[str, Any]] = {
            "checkout": {"plan": "basic", **PAGES},
            "portal": {"return_url": ORIGIN},
            "subscription": {},
            "preview": {"plan": "team"},
            "plan": {"plan": "team"},
            "seats": {"seats": 3},
            "cancel": {},
            "resume": {},
        }
        for route, body in bodies.items():
            assert await shop.refused(route, "nobody", **body) == (404, "unknown_tenant"), route
        await shop.told("sign-up", plan="basic", email=EMAIL, **PAGES)
        for route in ("preview", "plan", "seats", "cancel", "resume"):
            assert await shop.refused(route, **bodies[route]) == (409, "not_subscribed"), route
        assert await shop.subscription() is None

    run(work)


# -- changes


def test_an_upgrade_is_at_once_and_paid_at_once(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="basic")
        shop.advance(10)
        preview = await shop.told("preview", plan="metered")
        assert preview["change"] == "now"
        view = (await shop.told("plan", plan="metered"))["subscription"]
        assert (view["plan"], view["next"]) == ("metered", None)
        (subscription,) = shop.subscriptions()
        assert sorted(items(subscription)) == [("metered_calls_monthly", None), ("metered_monthly", 1)]
        invoice = shop.api("GET", f"/v1/invoices/{subscription['latest_invoice']}")
        assert (invoice["billing_reason"], invoice["status"]) == ("subscription_update", "paid")
        assert 0 < invoice["total"] < 3000, "two thirds of the difference"
        assert abs(preview["amount"] - invoice["total"]) <= 1
        assert any(line["proration"] for line in preview["lines"])
        again = (await shop.told("plan", plan="metered"))["subscription"]
        assert again == view
        assert shop.subscriptions()[0]["latest_invoice"] == subscription["latest_invoice"], "nothing was billed again"

    run(work)


def test_an_upgrade_that_can_not_be_paid_changes_nothing(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="team", seats=4)
        await shop.told("plan", plan="basic")
        shop.lose_the_card()
        for route, body in (("plan", {"plan": "team", "seats": 9}), ("seats", {"seats": 9})):
            assert await shop.refused(route, **body) == (402, "payment_failed")
            view = await shop.subscription()
            assert (view["status"], view["plan"], view["seats"]) == ("active", "team", 4)
            assert view["next"]["plan"] == "basic", "what was planned is planned still"

    run(work)


def test_a_downgrade_begins_when_the_period_ends(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="metered")
        before = await shop.subscription()
        preview = await shop.told("preview", plan="basic")
        assert (preview["change"], preview["effective_at"]) == ("period_end", before["current_period_end"])
        assert preview["amount"] == 2000
        view = (await shop.told("plan", plan="basic"))["subscription"]
        assert view["plan"] == "metered"
        assert view["next"] == {
            "plan": "basic",
            "interval": "month",
            "seats": None,
            "at": before["current_period_end"],
        }
        assert (await shop.told("plan", plan="basic"))["subscription"] == view, "asked again, it is planned once"
        shop.advance(32)
        view = await shop.subscription()
        assert (view["plan"], view["next"]) == ("basic", None)
        (subscription,) = shop.subscriptions()
        assert items(subscription) == [("basic_monthly", 1)]
        view = (await shop.told("plan", plan="metered"))["subscription"]
        assert (view["plan"], view["next"]) == ("metered", None), "the schedule that is through is no obstacle"

    run(work)


@pytest.mark.parametrize("ended_by", ["plan", "cancel", "upgrade"])
def test_a_planned_change_is_off_when_something_else_is_asked_for(run: Run, ended_by: str) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="team", seats=4)
        await shop.told("plan", plan="basic")
        if ended_by == "cancel":
            view = (await shop.told("cancel"))["subscription"]
            assert view["cancels_at"] == view["current_period_end"]
        elif ended_by == "plan":
            view = (await shop.told("plan", plan="team"))["subscription"]
        else:
            view = (await shop.told("plan", plan="team", interval="year"))["subscription"]
            assert view["interval"] == "year"
        assert view["next"] is None
        assert rows(shop, "SELECT FROM registry.planned_change") == []
        shop.advance(32)
        found = await shop.subscription()
        assert found is None if ended_by == "cancel" else found["plan"] == "team"

    run(work)


def test_another_downgrade_takes_the_place_of_the_planned_one(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="metered")
        await shop.told("plan", plan="basic")
        view = (await shop.told("plan", plan="team", seats=2))["subscription"]
        assert (view["next"]["plan"], view["next"]["seats"]) == ("team", 2)
        schedules = shop.api("GET", "/v1/subscription_schedules?limit=10")["data"]
        assert [each["status"] for each in schedules] == ["active"]
        shop.advance(32)
        assert items(shop.subscriptions()[0]) == [("team_monthly", 2)]

    run(work)


def test_seats(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="team", seats=3)
        shop.advance(3)
        view = (await shop.told("seats", seats=5))["subscription"]
        assert (view["seats"], view["next"]) == (5, None)
        view = (await shop.told("seats", seats=2, used=2))["subscription"]
        assert (view["seats"], view["next"]["seats"]) == (5, 2)
        assert await shop.refused("seats", seats=2, used=3) == (409, "seats_refused")
        assert await shop.refused("seats", seats=11) == (409, "seats_refused")
        view = (await shop.told("seats", seats=6))["subscription"]
        assert (view["seats"], view["next"]) == (6, None), "the newest word counts"
        view = (await shop.told("seats", seats=4, when="now"))["subscription"]
        assert (view["seats"], view["next"]) == (4, None)
        await shop.told("seats", seats=2)
        shop.advance(32)
        view = await shop.subscription()
        assert (view["seats"], view["next"]) == (2, None)

    run(work)


def test_more_seats_keep_a_planned_change_of_plan(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="team", seats=4)
        await shop.told("plan", plan="basic")
        view = (await shop.told("seats", seats=6))["subscription"]
        assert (view["seats"], view["next"]["plan"]) == (6, "basic")
        shop.advance(32)
        assert (await shop.subscription())["plan"] == "basic"

    run(work)


def test_a_planned_change_that_a_crash_kept_from_stripe_is_told_later(run: Run) -> None:
    async def work(shop: Shop) -> None:
        from datetime import UTC, datetime

        from provisioner.selling.opening import UntoldChanges
        from tests.integration.provisioner.selling.conftest import pool_of

        await shop.sign_up(plan="metered")
        (subscription,) = shop.subscriptions()
        rows(
            shop,
            "INSERT INTO registry.planned_change (tenant_id, subscription_id, plan, interval, requested_at) VALUES"
            f" ('acme', '{subscription['id']}', 'basic', 'month', now() - interval '5 min') RETURNING 1",
        )
        async with pool_of(shop.database_url) as pool:
            for _ in range(2):
                await UntoldChanges(pool, shop.settings).run_due(datetime.now(UTC))
                assert (await shop.subscription())["next"]["plan"] == "basic"
        assert len(shop.api("GET", "/v1/subscription_schedules?limit=10")["data"]) == 1

    run(work)


def test_what_is_not_paid_is_not_changed_but_can_be_left(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="basic")
        shop.lose_the_card()
        shop.advance(32)
        assert (await shop.subscription())["status"] == "past_due"
        assert await shop.refused("plan", plan="metered") == (409, "not_changeable")
        assert (await shop.told("cancel", at_period_end=False))["subscription"] is None
        assert shop.subscriptions()[0]["status"] == "canceled"

    run(work)


# -- cancellation


def test_a_cancellation_keeps_its_reason_and_can_be_taken_back(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="basic")
        said = {"feedback": "too_expensive", "comment": "We are\nthree <people>."}
        view = (await shop.told("cancel", **said))["subscription"]
        assert view["cancels_at"] == view["current_period_end"]
        (subscription,) = shop.subscriptions()
        details = subscription["cancellation_details"]
        assert (details["feedback"], details["comment"]) == (said["feedback"], said["comment"])
        await shop.told("cancel", **said)
        assert await shop.refused("plan", plan="free_trial") == (409, "not_changeable")
        view = (await shop.told("resume"))["subscription"]
        assert view["cancels_at"] is None
        assert (await shop.told("resume"))["subscription"] == view
        shop.advance(32)
        assert (await shop.subscription())["status"] == "active"
        assert rows(
            shop, "SELECT plan, at_period_end, feedback, comment, resumed_at IS NOT NULL FROM registry.cancellation"
        ) == [("basic", True, said["feedback"], said["comment"], True)]
        told = [row[0] for row in rows(shop, "SELECT summary FROM registry.timeline WHERE kind = 'sale' ORDER BY 1")]
        assert any("too_expensive" in each for each in told)
        assert not any("people" in each for each in told), "a customer's own words are in one place"

    run(work)


def test_one_who_left_comes_back_with_the_same_customer(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="basic")
        assert (await shop.told("cancel", at_period_end=False, feedback="unused"))["subscription"] is None
        assert await shop.refused("resume") == (409, "not_subscribed")
        opened = await shop.told("checkout", plan="team", seats=2, **PAGES)
        await shop.pay(opened["session_id"])
        assert (await shop.subscription())["plan"] == "team"
        assert len(shop.customers()) == 1

    run(work)


# -- trials


def test_a_trial_is_the_companys_once(run: Run) -> None:
    async def work(shop: Shop) -> None:
        opened = await shop.told("sign-up", plan="free_trial", email="ada@initech.example", **PAGES)
        assert (opened["trial_days"], opened["trial_refused"]) == (14, None)
        other = await shop.told("sign-up", "acme-2", plan="free_trial", email="bob@eu.initech.example", **PAGES)
        assert other["trial_days"] == 0, "one of the two open checkouts has it"
        await shop.pay(opened["session_id"])
        view = await shop.subscription()
        assert view["status"] == "trialing"
        assert view["trial_end"] is not None
        stranger = await shop.told("sign-up", "acme-3", plan="free_trial", email="eve@hooli.example", **PAGES)
        assert stranger["trial_days"] == 14
        view = (await shop.told("plan", plan="basic"))["subscription"]
        assert (view["plan"], view["status"]) == ("basic", "trialing"), "in a trial every change is at once"

    run(work)


def test_a_trial_without_a_payment_method_ends_as_the_plan_says(run: Run) -> None:
    async def work(shop: Shop) -> None:
        opened = await shop.told("sign-up", plan="free_trial", email=EMAIL, **PAGES)
        session = shop.api("GET", f"/v1/checkout/sessions/{opened['session_id']}")
        assert session["payment_method_collection"] == "if_required"
        await shop.pay(opened["session_id"])
        (subscription,) = shop.subscriptions()
        assert subscription["trial_settings"]["end_behavior"]["missing_payment_method"] == "cancel"

    run(work)


# -- the portal


def test_the_portal_is_the_tenants(run: Run) -> None:
    async def work(shop: Shop) -> None:
        await shop.sign_up(plan="basic")
        for flow in (None, "payment_method_update", "subscription_cancel"):
            body = {"return_url": f"{ORIGIN}/billing"} | ({"flow": flow} if flow else {})
            assert (await shop.told("portal", **body))["url"].startswith("https://"), flow
        assert await shop.refused("portal", return_url="https://evil.example") == (422, "return_url_refused")
        # the account's own configuration has no changes of plan
        refused = await shop.refused("portal", return_url=ORIGIN, flow="subscription_update")
        assert refused == (409, "not_changeable")

    run(work)
