"""Access follows payments and the clock, on a real PostgreSQL: what the registry says at once, what stacks follow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.fake import customer_document, price_document, subscription_document
from provisioner.billing.pricing import PricingModel
from provisioner.errors import EngineFailed, NotFound
from provisioner.registry import events, queue, tenants
from provisioner.registry.queue import Priority
from tests.integration.provisioner.service.harness import Service, open_service

Scenario = Callable[[Service], Awaitable[None]]
BEGAN = datetime(2027, 3, 1, 12, tzinfo=UTC)
SECONDS = int(BEGAN.timestamp())
DAY = timedelta(days=1)


@pytest.fixture
def play(database: str) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def inside() -> None:
            async with open_service(database) as service:
                service.gateway.time = BEGAN
                await scenario(service)

        asyncio.run(inside())

    return run


async def sell(service: Service, status: str = "active", plan: str = "enterprise_monthly", **changes: Any) -> None:
    name = changes.pop("name", "sub_acme")
    document = subscription_document(name, "acme", plan, customer="cus_acme", status=status, created=SECONDS, **changes)
    service.gateway.put_subscription(document)
    await service.deliver(service.event("customer.subscription.updated", document))
    await service.work()


def owe(service: Service, since: datetime, *, paid: bool = False) -> None:
    service.gateway.put_invoice(
        {
            "id": "in_1",
            "object": "invoice",
            "customer": "cus_acme",
            "status": "paid" if paid else "open",
            "created": int(since.timestamp()),
            "attempt_count": 1,
            "amount_paid": 99000 if paid else 0,
            "collection_method": "charge_automatically",
            "next_payment_attempt": None,
            "parent": {"subscription_details": {"subscription": "sub_acme"}},
            "status_transitions": {"finalized_at": int(since.timestamp()), "paid_at": int(since.timestamp())},
            "lines": {"data": [{"period": {"start": SECONDS, "end": SECONDS + 30 * 86400}}]},
        },
        payment_intent="pi_1",
    )


async def look(service: Service) -> tuple[str, str | None, str, str]:
    """Access, its reason, the state, and what the placement says."""
    record, placement = await service.tenant("acme"), await service.placement("acme")
    assert placement is not None
    return record.access, record.access_reason, record.state, placement.access


async def on_day(service: Service, days: float) -> None:
    """Housekeeping's look at what time has changed."""
    service.gateway.time = BEGAN + days * DAY
    async with service.pool.connection() as connection:
        due = await tenants.claim_review(connection, service.gateway.time)
        await queue.defer_reconcile(connection, due, reason="a date was reached", priority=Priority.RETRY)
    await service.work()


def test_an_unpaid_silo_goes_down_step_by_step_and_a_payment_brings_it_back(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        owe(service, BEGAN)
        await sell(service, "past_due")
        assert await look(service) == ("grace", "payment_overdue", "ready", "grace")
        assert service.stacks.log == [("acme", "provision")], "a grace touches no stack"
        full = (await service.tenant("acme")).limits
        await on_day(service, 7)
        assert await look(service) == ("throttled", "payment_overdue", "ready", "throttled")
        assert service.stacks.log == [("acme", "provision")], "quotas are the registry's"
        assert (await service.tenant("acme")).limits["storage_mib"] == full["storage_mib"] // 10
        await on_day(service, 14)
        assert await look(service) == ("read_only", "payment_overdue", "ready", "read_only")
        await on_day(service, 21)
        assert await look(service) == ("suspended", "payment_overdue", "suspended", "suspended")
        await on_day(service, 30)
        assert await look(service) == ("hibernated", "payment_overdue", "hibernated", "hibernated")
        await on_day(service, 400)
        assert [kind for _, kind in service.stacks.log] == ["provision", "restrict", "suspend", "hibernate"]
        owe(service, BEGAN, paid=True)
        await sell(service)
        assert await look(service) == ("full", "paid", "ready", "full")
        assert (await service.tenant("acme")).limits == full
        assert service.stacks.log[-1] == ("acme", "resume")

    play(scenario)


@pytest.mark.parametrize("plan", ["starter_monthly", "team_monthly"])
def test_what_has_no_instance_of_its_own_is_not_put_to_sleep(play: Callable[[Scenario], None], plan: str) -> None:
    async def scenario(service: Service) -> None:
        await sell(service, plan=plan)
        owe(service, BEGAN)
        await sell(service, "past_due", plan=plan)
        for day in (7, 14, 21, 30, 31):
            await on_day(service, day)
        assert await look(service) == ("hibernated", "payment_overdue", "hibernated", "hibernated")
        assert [kind for _, kind in service.stacks.log] == ["provision", "restrict", "suspend"]
        await sell(service, "active", plan=plan)
        assert await look(service) == ("full", "paid", "ready", "full")

    play(scenario)


def test_steps_that_nobody_saw_are_not_made_up_for(play: Callable[[Scenario], None]) -> None:
    """The worker was down for a month: the tenant goes where it belongs in one operation."""

    async def scenario(service: Service) -> None:
        await sell(service)
        owe(service, BEGAN)
        await sell(service, "past_due")
        await on_day(service, 33)
        assert [kind for _, kind in service.stacks.log] == ["provision", "hibernate"]

    play(scenario)


def test_access_is_taken_at_once_and_given_back_when_the_stack_has_followed(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        owe(service, BEGAN)
        service.gateway.time = BEGAN + 15 * DAY
        service.stacks.fail = [EngineFailed("throttled")]
        await sell(service, "past_due")
        record = await service.tenant("acme")
        assert (record.access, record.state, record.shown_state) == ("read_only", "ready", "retrying")
        service.stacks.fail = [EngineFailed("throttled"), EngineFailed("throttled")]
        await sell(service)
        record = await service.tenant("acme")
        assert record.access == "read_only", "the stack has not given it back, and may have taken it"
        assert record.features == ["*"], "entitlements come back at once"
        await service.settle()
        assert await look(service) == ("full", "paid", "ready", "full")

    play(scenario)


def dispute(
    service: Service, status: str, *, charge: str = "ch_1", customer: str | None = "cus_acme"
) -> dict[str, Any]:
    service.gateway.put_charge(
        {"id": charge, "object": "charge", "customer": customer, "payment_intent": "pi_1", "amount_refunded": 0}
    )
    document = {
        "id": "du_1",
        "object": "dispute",
        "charge": charge,
        "payment_intent": "pi_1",
        "status": status,
        "amount": 99000,
        "currency": "usd",
        "created": SECONDS,
    }
    service.gateway.put_dispute(document)
    return document


@pytest.mark.parametrize(("verdict", "access"), [("won", "full"), ("lost", "suspended")])
def test_a_dispute_restricts_until_it_is_decided(play: Callable[[Scenario], None], verdict: str, access: str) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        owe(service, BEGAN - DAY, paid=True)
        await service.deliver(service.event("charge.dispute.created", dispute(service, "needs_response")))
        await service.work()
        assert (await look(service))[:2] == ("read_only", "payment_disputed")
        await service.deliver(service.event("charge.dispute.closed", dispute(service, verdict)))
        await service.work()
        assert (await look(service))[0] == access
        owe(service, BEGAN + DAY, paid=True)
        await sell(service)
        assert (await look(service))[0] == "full", "a later payment makes up for it"

    play(scenario)


def test_a_look_that_took_long_does_not_undo_a_newer_one(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers look at one dispute, and the one that saw it open is the last to write it down."""

    async def scenario(service: Service) -> None:
        await sell(service)
        gateway, look_at = service.gateway, service.gateway.dispute
        opened = service.event("charge.dispute.created", dispute(service, "needs_response"))
        await service.deliver(opened)

        async def slow(dispute_id: str) -> dict[str, Any]:
            seen = await look_at(dispute_id)
            monkeypatch.setattr(gateway, "dispute", look_at)
            closed = service.event("charge.dispute.closed", dispute(service, "won"))
            await service.deliver(closed)
            await service.inbox.handle(closed["id"])
            return seen

        monkeypatch.setattr(gateway, "dispute", slow)
        await service.work()
        [case] = (await service.tenant("acme")).payment_cases or []
        assert case["status"] == "won"
        assert (await look(service))[0] == "full"

    play(scenario)


def test_a_refund_of_the_rest_counts_from_then_on(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        charge = {"id": "ch_1", "object": "charge", "customer": "cus_acme", "payment_intent": None, "currency": "usd"}
        for days, amount, total in ((1, 100, False), (20, 99000, True), (20, 99000, True)):
            refund = {"created": int((BEGAN + days * DAY).timestamp()), "status": "succeeded"}
            failed = {"created": int((BEGAN + (days + 1) * DAY).timestamp()), "status": "failed"}
            part = {**charge, "amount_refunded": amount, "refunded": total, "refunds": {"data": [refund, failed]}}
            service.gateway.put_charge(part)
            await service.deliver(service.event("charge.refunded", part))
            await service.work()
        [case] = (await service.tenant("acme")).payment_cases or []
        assert (case["status"], datetime.fromisoformat(case["created_at"])) == ("full", BEGAN + 20 * DAY)

    play(scenario)


@pytest.mark.parametrize("created", [-1, 2**40, 2**52, "soon"])
def test_a_dispute_of_a_time_that_no_calendar_has_is_quarantined(
    play: Callable[[Scenario], None], created: Any
) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        document = {**dispute(service, "lost"), "created": created}
        service.gateway.put_dispute(document)
        event = service.event("charge.dispute.closed", document)
        await service.deliver(event)
        await service.work()
        async with service.pool.connection() as connection:
            record = await events.get(connection, event["id"])
        assert record is not None
        assert (record.status, (record.reason or "").split(":")[0]) == ("quarantined", "unreadable_object")
        assert (await look(service))[0] == "full"

    play(scenario)


def test_a_payment_taken_back_closes_nobody_who_may_have_paid_otherwise(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        owe(service, BEGAN - DAY, paid=True)
        await sell(service, name="sub_odd", plan="nobody_sells_this")
        await service.deliver(service.event("charge.dispute.closed", dispute(service, "lost")))
        await service.work()
        record = await service.tenant("acme")
        assert (record.access, (record.failure or {}).get("code")) == ("full", "subscription_unreadable")
        await service.settle()  # and the sweep comes to rest
        service.gateway.remove_subscription("sub_odd")
        await service.settle()
        assert (await look(service))[:2] == ("suspended", "dispute_lost")

    play(scenario)


def test_a_dispute_that_comes_before_its_tenant_counts_as_soon_as_that_is_known(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(service: Service) -> None:
        owe(service, BEGAN, paid=True)
        await service.deliver(service.event("charge.dispute.created", dispute(service, "needs_response")))
        await service.work()
        await sell(service)
        assert (await look(service))[:2] == ("read_only", "payment_disputed")

    play(scenario)


def test_a_payment_of_nobody_and_one_that_stripe_does_not_know_harm_no_tenant(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        await service.deliver(service.event("charge.dispute.created", dispute(service, "lost", customer=None)))
        unknown = {"id": "ch_nobody", "object": "charge", "customer": "cus_acme"}
        await service.deliver(service.event("charge.refunded", unknown))
        await service.deliver(service.event("refund.created", {"id": "re_1", "object": "refund", "charge": None}))
        await service.work()
        assert (await look(service))[0] == "full"
        async with service.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT type, status, reason FROM registry.event WHERE status = 'quarantined' ORDER BY type"
            )
            found = await cursor.fetchall()
        assert [kind for kind, _, _ in found] == ["charge.refunded", "refund.created"]
        assert "ch_nobody" in str(found[0][2])

    play(scenario)


def test_a_refund_is_recorded_with_what_it_was_for(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        owe(service, BEGAN, paid=True)
        charge = {
            "id": "ch_1",
            "object": "charge",
            "customer": "cus_acme",
            "payment_intent": "pi_1",
            "amount_refunded": 99000,
            "refunded": True,
            "currency": "usd",
            "refunds": {"data": [{"created": SECONDS + 60}]},
        }
        service.gateway.put_charge(charge)
        for _ in range(2):
            await service.deliver(service.event("charge.refunded", charge))
        await service.work()
        record = await service.tenant("acme")
        assert record.access == "full", "the plan's default: a refund is the seller's own decision"
        assert record.payment_cases is not None
        (case,) = record.payment_cases
        assert (case["kind"], case["status"], case["amount"], case["subscription_id"]) == (
            "refund",
            "full",
            99000,
            "sub_acme",
        )

    play(scenario)


def test_a_customer_on_a_test_clock_lives_by_it(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        customer = {**customer_document("cus_acme"), "test_clock": "clock_1"}
        service.gateway.put_test_clock("clock_1", SECONDS)
        document = subscription_document(
            "sub_acme", "acme", "starter_monthly", customer=customer, status="past_due", created=SECONDS
        )
        service.gateway.put_subscription(document)
        await service.deliver(service.event("customer.subscription.updated", document))
        await service.work()
        assert (await look(service))[0] == "grace"
        service.gateway.put_test_clock("clock_1", SECONDS + 8 * 86400)
        await service.reconcile("acme")
        assert (await look(service))[0] == "throttled"

    play(scenario)


def test_who_is_destroyed_from_full_access_loses_it_first(play: Callable[[Scenario], None]) -> None:
    """Nobody looked for longer than the retention, or there is none: no write may come after the final export."""

    async def scenario(service: Service) -> None:
        await sell(service)
        service.stacks.fail = [EngineFailed("throttled")]
        ended = int((BEGAN - 100 * DAY).timestamp())
        await sell(service, "canceled", ended_at=ended, canceled_at=ended)
        record, placement = await service.tenant("acme"), await service.placement("acme")
        assert placement is not None
        assert (record.access, record.access_reason, placement.access) == ("retained", "canceled", "retained")
        await service.settle()
        assert (await service.tenant("acme")).access == "deleted"
        assert await service.placement("acme") is None

    play(scenario)


def test_an_event_that_another_look_answered_is_not_quarantined_afterwards(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        gateway, load = service.gateway, service.gateway.subscription
        event = service.event("customer.subscription.updated", await load("sub_acme"))
        await service.deliver(event)

        async def behind(subscription_id: str) -> dict[str, Any]:
            monkeypatch.setattr(gateway, "subscription", load)
            await service.inbox.handle(event["id"])
            raise NotFound("a copy of Stripe's data that is behind")

        monkeypatch.setattr(gateway, "subscription", behind)
        await service.work()
        async with service.pool.connection() as connection:
            record = await events.get(connection, event["id"])
        assert record is not None
        assert (record.status, record.reason) == ("processed", None)

    play(scenario)


def test_a_trial_that_is_refused_builds_nothing_until_it_is_paid(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        async def refused(customer: str, subscriptions: Any) -> frozenset[str]:
            assert customer == "cus_acme"
            return frozenset(each.subscription_id for each in subscriptions)

        object.__setattr__(service.reconciler, "refused_trials", refused)
        await sell(service, "trialing", trial_end=SECONDS + 14 * 86400)
        record = await service.tenant("acme")
        assert (record.state, record.access, record.access_reason) == ("pending", "suspended", "trial_refused")
        assert service.stacks.log == []
        await sell(service, "active")
        assert await look(service) == ("full", "paid", "ready", "full")

    play(scenario)


def test_every_change_of_access_is_on_the_timeline(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        owe(service, BEGAN)
        await sell(service, "past_due")
        for day in (7, 14, 21, 30):
            await on_day(service, day)
        await sell(service)
        async with service.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT summary FROM registry.timeline WHERE kind = 'decision' ORDER BY entry_id"
            )
            told = " | ".join(str(row[0]) for row in await cursor.fetchall())
        for access in ("grace", "throttled", "read_only", "suspended", "hibernated"):
            assert f"access {access}" in told
        assert "access is full now" in told

    play(scenario)


def test_a_look_that_changes_nothing_writes_nothing(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        owe(service, BEGAN)
        await sell(service, "past_due")
        before = await service.tenant("acme")
        assert await service.reconcile("acme") == "unchanged"
        assert await service.tenant("acme") == before
        result = await service.sweep.run()
        assert result.queued == []

    play(scenario)


def test_seats_are_those_that_are_paid_for(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        plans = service.inbox.catalogue.plans
        price = replace(plans["team"].price("month"), model=PricingModel.PER_SEAT)
        seated = Catalogue("plans.toml", {"team": replace(plans["team"], prices=(price,))})
        for holder in (service.inbox, service.reconciler):
            object.__setattr__(holder, "catalogue", seated)
        key = price.lookup_key
        document = subscription_document("sub_acme", "acme", key, customer="cus_acme", created=SECONDS)
        document["items"]["data"][0] |= {"quantity": 7, "price": price_document(key)}
        service.gateway.put_subscription(document)
        await service.deliver(service.event("customer.subscription.updated", document))
        await service.work()
        record = await service.tenant("acme")
        assert (record.seats, record.limits["seats"]) == (7, 7)

    play(scenario)
