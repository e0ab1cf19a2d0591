"""A worker is killed at every named point of a tenant's life; the next one brings the tenant where it belongs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.crashes.world import PLANS, Point, World, at

#: While none of these is passed an engine runs.
WITHOUT_ENGINE = (
    at("event.loaded"),
    at("tenant.bound"),
    at("event.processed"),
    at("reconcile.decided"),
    at("lease.taken"),
    at("spec.recorded"),
    at("operation.started"),
    at("engine.ended"),
    at("gate.passed"),
    at("operation.succeeded"),
    at("placement.put"),
    at("success.recorded"),
)
WITH_ENGINE = (
    at("engine.started"),
    at("gate.judging"),
    at("gate.judged"),
    at("step.started", op="create"),
    at("step.finished", op="create"),
    at("step.finished", 3, op="create"),
)
LATER = {
    "pool": (),
    "bridge": (at("step.started", 8, op="create"), at("step.finished", 10, op="create")),
    "silo": (
        at("step.started", 15, op="create"),
        at("step.started", 27, op="create"),
        at("step.finished", 33, op="create"),
        at("step.finished", 40, op="create"),
    ),
}
SUSPEND = (
    at("reconcile.decided"),
    at("spec.recorded"),
    at("operation.started", kind="suspend"),
    at("engine.started"),
    at("gate.judged"),
    at("step.started", op="update"),
    at("step.finished", op="update"),
    at("engine.ended", kind="suspend"),
    at("placement.put", kind="suspend"),
    at("success.recorded", kind="suspend"),
)
DESTROY = (
    at("offboarding.begun"),
    at("offboarding.export_written"),
    at("offboarding.exported"),
    at("offboarding.purging"),
    at("offboarding.purged"),
    at("operation.started", kind="unprotect"),
    at("engine.ended", kind="unprotect"),
    at("operation.succeeded", kind="unprotect"),
    at("operation.started", kind="destroy"),
    at("step.started", op="delete"),
    at("step.finished", op="delete"),
    at("step.finished", 3, op="delete"),
    at("engine.ended", kind="destroy"),
    at("operation.succeeded", kind="destroy"),
    at("offboarding.destroyed"),
    at("offboarding.scanned"),
    at("offboarding.certified"),
)
#: Where the killed worker's operation was under way.
IN_OPERATION = (
    "operation.started",
    "engine.started",
    "gate.judging",
    "gate.judged",
    "step.started",
    "step.finished",
    "engine.ended",
    "gate.passed",
)


def provision(world: World, tenant: str, tier: str, point: Point, *, survive: bool) -> None:
    kill(world, point, survive, lambda: world.subscribe(tenant, tier))
    record = world.rests(tenant, "ready")
    world.assert_sound(tenant)
    assert record["access"] == "full"
    placed = world.rows("SELECT tier FROM registry.placement WHERE tenant_id = %s", tenant)
    assert [row["tier"] for row in placed] == [tier]
    operations = world.operations(tenant)
    interrupted = [row for row in operations if row["status"] == "interrupted"]
    assert len(interrupted) == (point.event in IN_OPERATION), world.timeline(tenant)
    assert [row["status"] for row in operations if row not in interrupted] in (["succeeded"], ["succeeded"] * 2)


def kill(world: World, point: Point, survive: bool, act: object) -> None:
    worker = world.worker()
    worker.arm(point, survive=survive)
    assert callable(act)
    act()
    worker.died()
    world.worker()


def assert_certified(world: World, tenant: str) -> None:
    """Each life has one deletion that is complete, with its export's copy and its certificate."""
    ended = world.rows(
        "SELECT generation, step, copy_name, certificate IS NOT NULL AS certified, files, resources "
        "FROM registry.deletion WHERE tenant_id = %s ORDER BY created_at",
        tenant,
    )
    lives = world.tenant(tenant)["generation"]
    assert [row["generation"] for row in ended if row["step"] == "complete"] == list(range(1, lives + 1))
    assert all(row["certified"] and row["copy_name"] and row["resources"] for row in ended), ended
    assert not list((world.home.root / "spool").glob("*.zip")), "an unencrypted export was left lying"


def unprotected(tier: str) -> tuple[Point, ...]:
    """A pool tenant has nothing that is protected."""
    return tuple(point for point in DESTROY if tier != "pool" or ("kind", "unprotect") not in point.where)


def stories() -> Iterator[tuple[str, Point, bool]]:
    for tier in PLANS:
        for survive in (False, True):
            points = (*WITH_ENGINE, *LATER[tier]) if survive else (*WITHOUT_ENGINE, *WITH_ENGINE, *LATER[tier])
            yield from ((tier, point, survive) for point in points)


def named(value: object) -> str:
    if isinstance(value, bool):
        return "engine-survives" if value else "engine-dies"
    return str(value)


@pytest.mark.soak
@pytest.mark.parametrize(("tier", "point", "survive"), list(stories()), ids=named)
def test_killed_while_it_provisions(world: World, tier: str, point: Point, survive: bool) -> None:
    tenant = world.new_name(tier)
    provision(world, tenant, tier, point, survive=survive)
    world.assert_at_rest(tenant)


@pytest.mark.soak
@pytest.mark.parametrize("survive", [False, True], ids=named)
@pytest.mark.parametrize("tier", PLANS)
def test_killed_while_it_suspends_and_destroys(world: World, tier: str, survive: bool) -> None:
    """One tenant, suspended and resumed again and again, then others that are destroyed."""
    tenant = world.new_name(tier)
    world.worker()
    world.subscribe(tenant, tier)
    world.rests(tenant, "ready")
    for point in SUSPEND:
        kill(world, point, survive, lambda: world.storefront.cancel(tenant))
        assert world.rests(tenant, "retained")["access"] == "retained"
        world.assert_sound(tenant)
        if point is not SUSPEND[-1]:
            world.subscribe(tenant, tier)
            assert world.rests(tenant, "ready")["access"] == "full"
    world.assert_at_rest(tenant)
    for point in unprotected(tier):
        kill(world, point, survive, lambda: world.destroy(tenant))
        world.rests(tenant, "destroyed")
        world.assert_sound(tenant)
        assert not world.rows("SELECT FROM registry.placement WHERE tenant_id = %s", tenant)
        assert_certified(world, tenant)
        if point is not DESTROY[-1]:
            world.subscribe(tenant, tier)  # its next life
            world.rests(tenant, "ready")
            world.storefront.cancel(tenant)
            world.rests(tenant, "retained")


@pytest.mark.parametrize(
    ("tier", "point", "survive"),
    [
        ("pool", at("success.recorded"), False),
        ("bridge", at("step.finished", 6, op="create"), False),
        ("silo", at("step.started", 20, op="create"), True),
    ],
    ids=named,
)
def test_a_worker_is_killed_and_the_next_one_finishes(world: World, tier: str, point: Point, survive: bool) -> None:
    provision(world, world.new_name(tier), tier, point, survive=survive)
