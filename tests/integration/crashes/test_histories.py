"""Random histories of a subscription, delivered badly to real workers and a real engine, end like the ordered ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.crashes.world import World, wait_until

pytestmark = pytest.mark.soak

#: Of tiers pool and bridge.
PLANS = ("starter", "team", "team_plus")


def history(chance: random.Random) -> list[tuple[str, str]]:
    """What happens to a subscription, each as (action, plan)."""
    plan = chance.choice(PLANS)
    actions, paid = [("subscribe", plan)], True
    for _ in range(chance.randint(2, 5)):
        if not paid:
            actions.append(("subscribe", chance.choice(PLANS)))
            paid = True
        elif chance.random() < 0.35:
            actions.append(("cancel", ""))
            paid = False
        else:
            plan = chance.choice([other for other in PLANS if other != plan])
            actions.append(("change", plan))
    return actions


def act(world: World, tenant: str, action: str, plan: str) -> None:
    match action:
        case "subscribe":
            world.storefront.subscribe(tenant, plan)
        case "change":
            world.storefront.change(tenant, plan)
        case "cancel":
            world.storefront.cancel(tenant)


def swept(world: World) -> bool:
    """Whether the registry has caught up, events that were lost included: nothing is queued, and nothing is behind."""
    (row,) = world.rows(
        "SELECT (SELECT count(*) FROM registry.event WHERE status = 'received') "
        "+ (SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')) "
        "+ (SELECT count(*) FROM registry.tenant WHERE next_attempt_at IS NOT NULL) AS waiting"
    )
    return bool(row["waiting"] == 0)


def verdict(world: World, tenant: str) -> dict[str, Any]:
    """Where the tenant ended. A tenant that moves between tiers stands in the first one: the move is recorded."""
    record = world.tenant(tenant)
    placement = world.rows("SELECT access FROM registry.placement WHERE tenant_id = %s", tenant)
    assert record["failure"] is None
    open_ = [row["access"] for row in placement] == ["full"]
    paid = record["subscription_status"] == "active"
    assert paid == open_, world.timeline(tenant)
    return {
        "target": (record["pending_graduation"] or record["tier"]) if paid else None,
        "plan": record["plan"] if paid else None,
        "open": open_,
        "features": sorted(record["features"]) if paid else None,
        "limits": record["limits"] if paid else None,
    }


def caught_up(world: World, tenant: str, plan: str) -> bool:
    """Whether the registry knows what Stripe knows, ``plan`` ("" for none) being paid for."""
    record = world.tenant(tenant)
    if plan:
        standing = [found["id"] for found in world.storefront.of_tenant(tenant) if found["status"] == "active"]
        known = [record.get("subscription_id")] == standing and record["plan"] == plan
    else:
        known = record["state"] is not None and record["subscription_status"] != "active"
    return known and swept(world)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Workers sweep every two seconds."""
    world = World.begin(sweep_s=2)
    try:
        yield world
    finally:
        world.end()


@pytest.mark.parametrize("seed", range(10))
def test_a_badly_delivered_history_ends_like_the_ordered_one(world: World, seed: int) -> None:
    chance = random.Random(seed)
    story = history(chance)
    world.worker()
    ordered = world.new_name("ordered")
    for action, plan in story:
        act(world, ordered, action, plan)
        arrives(world, ordered, plan)
    expected = verdict(world, ordered)

    badly = world.new_name("badly")
    faults = {"duplicate": chance.randint(0, 2), "delay_s": chance.choice([0.0, 0.5, 1.5]), "reorder": True}
    try:
        for action, plan in story:
            world.faults(**faults, seed=seed, drop_next=chance.choice([0, 0, 3, 20]))
            act(world, badly, action, plan)
            if chance.random() < 0.4:
                arrives(world, badly, plan)
    finally:
        world.faults()
    arrives(world, badly, story[-1][1])
    assert verdict(world, badly) == expected, f"{story}\n{world.timeline(badly)}"
    world.assert_sound(badly)


def arrives(world: World, tenant: str, plan: str) -> None:
    wait_until(
        lambda: caught_up(world, tenant, plan),
        lambda: f"{tenant} has {plan or 'no plan'}\n{world.timeline(tenant)}\n{world.tails()}",
    )
