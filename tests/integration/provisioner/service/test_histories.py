"""Random histories, delivered badly, end where the ordered ones end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from components.spec import Access
from provisioner.billing.fake import subscription_document
from tests.integration.provisioner.service.harness import Service, open_service

PRICES = ("starter_monthly", "starter_annual", "team_monthly", "team_plus_annual", "enterprise_monthly")
TENANTS = ("acme", "globex")


@dataclass(frozen=True)
class Change:
    """What happens to one tenant's subscription in Stripe."""

    tenant: str
    price: str
    status: str
    again: bool  #: a further subscription of the customer, not the same one


changes = st.builds(
    Change,
    st.sampled_from(TENANTS),
    st.sampled_from(PRICES),
    st.sampled_from(
        ["active", "active", "active", "trialing", "past_due", "unpaid", "incomplete", "paused", "canceled"]
    ),
    st.booleans(),
)


@dataclass(frozen=True)
class History:
    changes: tuple[Change, ...]
    seed: int  #: of the deliveries: what is duplicated, reordered, delayed, dropped


histories = st.builds(
    History, st.lists(changes, min_size=1, max_size=8).map(tuple), st.integers(min_value=0, max_value=2**32)
)


class Stripe:
    """Applies changes to the gateway's documents."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._latest: dict[str, str] = {}
        self._numbers = iter(range(1, 1000))
        self._ended: set[str] = set()

    def apply(self, change: Change) -> dict[str, Any]:
        now = int(time.time())
        latest = self._latest.get(change.tenant)
        if latest is None or change.again or latest in self._ended:  # an ended subscription never comes back
            latest = f"sub_{change.tenant}_{next(self._numbers)}"
            self._latest[change.tenant] = latest
        ended = {"ended_at": now, "canceled_at": now} if change.status == "canceled" else {}
        if ended:
            self._ended.add(latest)
        created = now - 1000 + int(latest.rsplit("_", 1)[1])
        document = subscription_document(
            latest,
            change.tenant,
            change.price,
            customer=f"cus_{change.tenant}",
            status=change.status,
            created=created,
            **ended,
        )
        self._service.gateway.put_subscription(document)
        return self._service.event("customer.subscription.updated", document)


async def verdicts(service: Service) -> dict[str, tuple[object, ...]]:
    """Tenant -> (tier it is to have, plan, access, features, limits, whether the stack agrees)."""
    found: dict[str, tuple[object, ...]] = {}
    async with service.pool.connection() as connection:
        cursor = await connection.execute("SELECT tenant_id FROM registry.tenant ORDER BY 1")
        names = [str(row[0]) for row in await cursor.fetchall()]
    for name in names:
        record = await service.tenant(name)
        stack = service.stacks.stacks.get(record.stack_name)
        placement = await service.placement(name)
        open_ = stack is not None and stack.access == "full"
        assert (placement is not None and Access(placement.access).serves) == open_
        assert placement is None or placement.access == record.access
        assert record.failure is None
        paid = record.subscription_status in ("active", "trialing", "past_due")
        assert paid == open_
        target = (record.pending_graduation or record.tier) if paid else None
        found[name] = (target, record.plan, open_, tuple(record.features), tuple(sorted(record.limits.items())))
    return found


async def play_ordered(service: Service, history: History) -> dict[str, tuple[object, ...]]:
    stripe = Stripe(service)
    for change in history.changes:
        await service.deliver(stripe.apply(change))
        await service.work()
    return await verdicts(service)


async def play_badly(service: Service, history: History) -> dict[str, tuple[object, ...]]:
    chance = random.Random(history.seed)
    stripe = Stripe(service)
    under_way: list[dict[str, Any]] = []
    for change in history.changes:
        event = stripe.apply(change)
        if chance.random() < 0.25:
            continue  # never delivered
        under_way += [event] * chance.choice([1, 1, 1, 2, 3])
        chance.shuffle(under_way)
        while under_way and chance.random() < 0.5:
            await service.deliver(under_way.pop())
        if chance.random() < 0.5:
            await service.work(limit=1000)
    for event in under_way:
        await service.deliver(event)
    await service.settle()
    return await verdicts(service)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def check(database: str, loop: asyncio.AbstractEventLoop, examples: int) -> None:
    context = open_service(database)
    service = loop.run_until_complete(context.__aenter__())
    try:

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(history=histories)
        def ends_the_same(history: History) -> None:
            loop.run_until_complete(service.clear())
            service.gateway.clear()
            ordered = loop.run_until_complete(play_ordered(service, history))
            loop.run_until_complete(service.clear())
            service.gateway.clear()
            assert loop.run_until_complete(play_badly(service, history)) == ordered

        ends_the_same()
    finally:
        loop.run_until_complete(context.__aexit__(None, None, None))


def test_badly_delivered_histories_end_like_the_ordered_ones(database: str, loop: asyncio.AbstractEventLoop) -> None:
    check(database, loop, 60)


@pytest.mark.soak
def test_500_badly_delivered_histories_end_like_the_ordered_ones(
    database: str, loop: asyncio.AbstractEventLoop
) -> None:
    check(database, loop, 500)
