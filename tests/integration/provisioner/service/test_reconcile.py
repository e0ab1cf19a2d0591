"""From stored events to decided stacks, on a real registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from provisioner.billing.fake import subscription_document
from provisioner.errors import EngineFailed, UpdateRejected
from provisioner.registry import events, platforms
from provisioner.registry.events import EventRecord
from provisioner.registry.placements import PlacementRecord
from tests.integration.provisioner.service.harness import PLATFORM, Service, open_service

Scenario = Callable[[Service], Awaitable[None]]


@pytest.fixture
def play(database: str) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def inside() -> None:
            async with open_service(database) as service:
                await scenario(service)

        asyncio.run(inside())

    return run


async def sell(service: Service, tenant: str = "acme", plan: str = "starter_monthly", **changes: Any) -> dict[str, Any]:
    document = subscription_document(f"sub_{tenant}", tenant, plan, **{"customer": f"cus_{tenant}", **changes})
    service.gateway.put_subscription(document)
    event: dict[str, Any] = service.event("customer.subscription.created", document)
    await service.deliver(event)
    await service.work()
    return event


def test_a_paid_subscription_becomes_a_placed_tenant(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service, plan="team_monthly")
        record = await service.tenant("acme")
        assert (record.state, record.tier, record.plan, record.access) == ("ready", "bridge", "team", "full")
        placement = await placed(service, "acme")
        assert placement.db_login == "t_acme"
        assert placement.token_secret_arn is None
        assert service.stacks.log == [("acme", "provision")]

    play(scenario)


def test_duplicates_and_repeats_change_nothing(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        event = await sell(service)
        before = await service.tenant("acme")
        assert not await service.deliver(event)
        for _ in range(3):
            await service.deliver(service.event("customer.subscription.updated", event["data"]["object"]))
        await service.work()
        assert await service.tenant("acme") == before
        assert service.stacks.log == [("acme", "provision")]

    play(scenario)


def test_a_change_of_tier_entitles_at_once_and_moves_nothing(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        await sell(service, plan="enterprise_monthly")
        record = await service.tenant("acme")
        assert (record.tier, record.pending_graduation, record.plan) == ("pool", "silo", "enterprise")
        assert record.features == ["*"]
        assert (await placed(service, "acme")).tier == "pool"

    play(scenario)


def test_cancellation_closes_access_before_the_stack_follows(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        service.stacks.fail = [EngineFailed("throttled")]
        now = int(time.time())
        await sell(service, status="canceled", ended_at=now, canceled_at=now)
        record = await service.tenant("acme")
        assert (await placed(service, "acme")).access == "retained"
        assert (record.access, record.access_reason) == ("retained", "canceled")
        assert record.shown_state == "retrying"
        assert record.next_attempt_at is not None
        assert await service.reconcile("acme") == "changed"
        record = await service.tenant("acme")
        assert service.stacks.log[-1] == ("acme", "suspend")
        assert (record.state, record.failure) == ("retained", None)
        assert record.retain_until is not None
        assert round(record.retain_until.timestamp()) == now + 14 * 86400
        await sell(service)
        record = await service.tenant("acme")
        assert (record.state, record.access, record.retain_until) == ("ready", "full", None)
        assert service.stacks.log[-1] == ("acme", "resume")

    play(scenario)


def test_retention_ends_in_two_authorised_steps_and_a_new_generation(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service, plan="team_monthly")
        await sell(service, plan="team_monthly", status="canceled", ended_at=1_700_000_000, canceled_at=1_700_000_000)
        record = await service.tenant("acme")
        assert record.state == "destroyed"
        assert await service.placement("acme") is None
        assert [kind for _, kind in service.stacks.log] == ["provision", "unprotect", "destroy"]
        assert service.stacks.purged == ["acme"]
        await sell(service, plan="team_monthly")
        record = await service.tenant("acme")
        assert (record.state, record.generation, record.stack_name) == ("ready", 2, "acme.2")
        assert record.epoch == 2

    play(scenario)


def test_failures_are_told_apart(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        service.stacks.fail = [UpdateRejected("the instance class is unknown", hint="correct plans.toml")]
        await sell(service)
        record = await service.tenant("acme")
        assert record.shown_state == "failed"
        assert record.next_attempt_at is None
        assert (await service.sweep.run()).queued == []
        await sell(service, "globex")
        assert (await service.tenant("globex")).state == "ready"
        assert await service.reconcile("acme") == "changed"
        assert (await service.tenant("acme")).failure is None

    play(scenario)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"metadata": {}}, "tenant_missing"),
        ({"metadata": {"tenant_id": "Not Legal"}}, "tenant_illegal"),
        ({"metadata": {"tenant_id": "platform"}}, "tenant_illegal"),
        ({"livemode": True}, "livemode_mismatch"),
        ({"items": {"data": []}}, "unreadable_object"),
    ],
)
def test_what_can_not_be_trusted_is_quarantined(
    play: Callable[[Scenario], None], changes: dict[str, Any], code: str
) -> None:
    async def scenario(service: Service) -> None:
        event = await sell(service, **changes)
        found = await _event(service, event["id"])
        assert found.status == "quarantined"
        assert str(found.reason).startswith(code)
        assert service.stacks.log == []

    play(scenario)


def test_a_second_customer_can_not_claim_a_tenant(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        thief = subscription_document("sub_thief", "acme", "enterprise_monthly", customer="cus_thief")
        service.gateway.put_subscription(thief)
        event = service.event("customer.subscription.created", thief)
        await service.deliver(event)
        await service.work()
        found = await _event(service, event["id"])
        assert found.status == "quarantined"
        assert str(found.reason).startswith("tenant_claimed")
        record = await service.tenant("acme")
        assert (record.plan, record.stripe_customer_id) == ("starter", "cus_acme")

    play(scenario)


def test_an_unreadable_subscription_never_closes_a_tenant(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        await sell(service, plan="a_price_nobody_knows")
        assert await service.reconcile("acme") == "operator"
        record = await service.tenant("acme")
        assert record.access == "full"
        assert (await placed(service, "acme")).access == "full"
        assert record.failure is not None
        assert record.failure["code"] == "subscription_unreadable"

    play(scenario)


def test_a_key_of_another_account_closes_nobody(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        await sell(service)
        service.gateway.clear()
        assert await service.reconcile("acme") == "operator"
        record = await service.tenant("acme")
        assert (record.access, record.plan) == ("full", "starter")
        assert record.failure is not None
        assert record.failure["code"] == "customer_missing"
        assert (await placed(service, "acme")).access == "full"
        assert (await service.sweep.run()).queued == []

    play(scenario)


def test_an_event_waits_while_stripe_is_unreachable(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        service.gateway.unavailable = True
        event = await sell(service)
        assert (await _event(service, event["id"])).status == "received"
        service.gateway.unavailable = False
        await service.settle()
        assert (await service.tenant("acme")).state == "ready"

    play(scenario)


def test_the_sweep_finds_what_no_event_announced(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        service.gateway.put_subscription(
            subscription_document("sub_1", "silent", "starter_monthly", customer="cus_silent")
        )
        await sell(service)
        await service.settle()
        assert (await service.tenant("silent")).state == "ready"
        service.stacks.versions["acme"] = "somebody was here"
        assert (await service.sweep.run()).queued == ["acme"]

    play(scenario)


def test_a_platform_that_is_too_old_is_queued_and_the_tenant_follows(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        async with service.pool.connection() as connection:
            await platforms.record_outputs(connection, PLATFORM.model_copy(update={"app_schema_version": 1}), "old")
        await sell(service)
        record = await service.tenant("acme")
        assert record.failure is not None
        assert (record.failure["code"], record.failure["class"]) == ("platform_outdated", "retry")
        async with service.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT args->>'cell' FROM procrastinate_jobs WHERE task_name = 'reconcile_platform'"
            )
            assert await cursor.fetchall() == [("default",)]
            await platforms.record_outputs(connection, PLATFORM, "platform")
        assert await service.reconcile("acme") == "changed"

    play(scenario)


async def placed(service: Service, tenant_id: str) -> PlacementRecord:
    placement = await service.placement(tenant_id)
    assert placement is not None
    return placement


async def _event(service: Service, event_id: str) -> EventRecord:
    async with service.pool.connection() as connection:
        found = await events.get(connection, event_id)
    assert found is not None
    return found


def test_an_id_that_somebody_signs_up_with_is_given_to_no_other_customer(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: Service) -> None:
        async with service.pool.connection() as connection:
            await connection.execute(
                "INSERT INTO registry.signup (tenant_id, reference, email, idempotency_key, stripe_customer_id,"
                " reserved_until) VALUES ('acme', 'someone', 'a@example.com', gen_random_uuid(), 'cus_first',"
                " now() + interval '1 hour')"
            )
        event = await sell(service, customer="cus_second")
        record = await _event(service, event["id"])
        assert record.status == "quarantined"
        assert "tenant_claimed" in (record.reason or "")
        await sell(service, customer="cus_first")
        assert (await service.tenant("acme")).stripe_customer_id == "cus_first"

    play(scenario)
