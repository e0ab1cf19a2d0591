"""A worker is killed while it hands over, removes and certifies; the next one goes on, and nothing is done twice."""

from __future__ import annotations

import pytest

from tests.integration.crashes.test_points import assert_certified, kill
from tests.integration.crashes.world import Point, World, at, wait_until

POINTS = (
    at("offboarding.export_written"),
    at("offboarding.exported"),
    at("offboarding.purging"),
    at("offboarding.scanned"),
    at("offboarding.certified"),
)


def end(world: World, tenant: str, *points: Point) -> None:
    """Sell it, close it, and destroy it, killing a worker at each of the points in turn."""
    world.worker()
    world.subscribe(tenant, "pool")
    world.rests(tenant, "ready")
    world.storefront.cancel(tenant)
    world.rests(tenant, "retained")
    for number, point in enumerate(points):
        kill(world, point, False, (lambda: None) if number else (lambda: world.destroy(tenant)))
    world.rests(tenant, "destroyed")
    world.assert_sound(tenant)
    assert_certified(world, tenant)


def test_killed_at_one_step_after_the_other(world: World) -> None:
    tenant = world.new_name("pool")
    end(world, tenant, POINTS[0], POINTS[3])
    (row,) = world.rows("SELECT export, files FROM registry.deletion WHERE tenant_id = %s", tenant)
    assert row["export"]["digest"]
    told = world.timeline(tenant)
    assert told.count("its final export has") == 1
    assert told.count("is deleted and nothing of it is left over") == 1


@pytest.mark.soak
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_killed_at_every_step(world: World, point: Point) -> None:
    end(world, world.new_name("pool"), point)


def test_a_payment_between_export_and_destruction_calls_it_off(world: World) -> None:
    """The worker dies when the export is made; before the next one comes, the customer pays."""
    tenant = world.new_name("pool")
    world.worker()
    world.subscribe(tenant, "pool")
    world.rests(tenant, "ready")
    world.storefront.cancel(tenant)
    world.rests(tenant, "retained")
    worker = world.worker()
    worker.arm(at("offboarding.exported"))
    world.destroy(tenant)
    worker.died()
    world.subscribe(tenant, "pool")
    world.worker()
    assert world.rests(tenant, "ready")["access"] == "full"
    kinds = [row["kind"] for row in world.operations(tenant)]
    assert "destroy" not in kinds
    # Its next end begins with an export of its own: what was exported then is out of date.
    world.storefront.cancel(tenant)
    world.rests(tenant, "retained")
    world.destroy(tenant)
    world.rests(tenant, "destroyed")
    steps = world.rows("SELECT step FROM registry.deletion WHERE tenant_id = %s ORDER BY created_at", tenant)
    assert [row["step"] for row in steps] == ["called_off", "complete"]
    wait_until(lambda: world.settled(tenant), world.tails)
