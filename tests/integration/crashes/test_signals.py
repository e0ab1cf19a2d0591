"""SIGTERM and Ctrl-C: a running operation is finished, or handed back, also in the middle of a create of 15 minutes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.integration.crashes.world import Mortal, World, wait_until

INSTANCE = "aws:rds/instance:Instance"
GRACE_S = 3.0
#: For the engine to save its state, and for the processes of a loaded machine.
MARGIN_S = 20.0

pytestmark = pytest.mark.soak


@pytest.fixture
def slow(world: World) -> Iterator[World]:
    """An RDS instance takes 15 minutes, and nobody works yet."""
    world.no_worker()
    world.delay("rds.create", 900)
    yield world
    world.delay("rds.create", 0)


def worker(world: World, grace_s: float = GRACE_S) -> Mortal:
    return world.start(TENANTRY_SHUTDOWN_GRACE_S=str(grace_s)).go()


def in_create(world: World, tenant: str) -> None:
    wait_until(lambda: world.running_steps(tenant, INSTANCE), lambda: f"RDS creates\n{world.tails()}")


def ends(process: Mortal, within_s: float) -> float:
    began = time.monotonic()
    assert process.process.wait(within_s + MARGIN_S) == 0, process.tail()
    return time.monotonic() - began


def test_sigterm_in_a_create_of_15_minutes_hands_back(slow: World) -> None:
    tenant = slow.new_name("silo")
    first = worker(slow)
    slow.subscribe(tenant, "silo")
    in_create(slow, tenant)
    first.signal(signal.SIGTERM)
    seconds = ends(first, GRACE_S)
    assert seconds > GRACE_S - 0.5, "the grace was not given"
    (operation,) = slow.operations(tenant)
    assert (operation["status"], operation["error"]["code"]) == ("interrupted", "handed_back")
    assert slow.tenant(tenant)["failure"] is None
    # Another worker goes on with the same instance, and waits for it as the first one did.
    second = worker(slow)
    wait_until(lambda: len(slow.operations(tenant)) == 2, lambda: f"it goes on\n{slow.tails()}")
    in_create(slow, tenant)
    slow.delay("rds.create", 0)
    slow.rests(tenant, "ready")
    slow.assert_sound(tenant)
    assert [row["status"] for row in slow.operations(tenant)] == ["interrupted", "succeeded"]
    second.signal(signal.SIGTERM)
    assert ends(second, 0) < GRACE_S + MARGIN_S


def test_sigterm_lets_a_short_operation_finish(world: World) -> None:
    world.no_worker()
    world.delay("rds.create", 6)
    tenant = world.new_name("silo")
    first = worker(world, 60)
    world.subscribe(tenant, "silo")
    in_create(world, tenant)
    first.signal(signal.SIGTERM)
    ends(first, 60)
    world.delay("rds.create", 0)
    assert [row["status"] for row in world.operations(tenant)] == ["succeeded"]
    assert world.tenant(tenant)["state"] == "ready"
    # An event that came while the stack was changed has queued another look at the tenant.
    world.worker()
    world.rests(tenant, "ready")
    world.assert_sound(tenant)


def test_a_second_signal_does_not_wait_for_the_grace(slow: World) -> None:
    tenant = slow.new_name("silo")
    first = worker(slow, 600)
    slow.subscribe(tenant, "silo")
    in_create(slow, tenant)
    first.signal(signal.SIGINT)
    wait_until(lambda: first.said("worker.stopping"), "the first Ctrl-C is noticed")
    first.signal(signal.SIGINT)
    ends(first, 0)
    slow.delay("rds.create", 0)
    slow.worker()
    slow.rests(tenant, "ready")
    slow.assert_sound(tenant)
    assert slow.operations(tenant)[0]["error"]["code"] == "handed_back"


def test_a_killed_worker_is_replaced_within_the_stated_time(slow: World) -> None:
    """With the service's own times. The create goes on in RDS, and its instance is adopted."""
    tenant = slow.new_name("silo")
    first = slow.start(hurry=False).go()
    slow.subscribe(tenant, "silo")
    in_create(slow, tenant)
    second = slow.start(hurry=False).go()
    first.signal(signal.SIGKILL)
    killed = time.time()
    lease = "SELECT fencing, acquired_at FROM registry.lease WHERE stack_name = %s AND fencing > 1"
    (taken,) = wait_until(lambda: slow.rows(lease, tenant), lambda: f"it is taken over\n{slow.tails()}")
    assert taken["acquired_at"].timestamp() - killed < 12 + 3 + 5  # 5: a loaded machine
    slow.delay("rds.create", 0)
    slow.rests(tenant, "ready")
    slow.assert_sound(tenant)
    assert slow.operations(tenant)[0]["error"]["code"] == "worker_died"
    assert "adopted after an interruption: 1" in slow.timeline(tenant)
    second.signal(signal.SIGTERM)
    ends(second, 0)
