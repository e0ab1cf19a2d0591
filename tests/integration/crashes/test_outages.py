"""What the service depends on dies in the middle of an operation."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from localcloud.postgres import Cluster
from tests.integration.crashes.world import World, wait_until

INSTANCE = "aws:rds/instance:Instance"

pytestmark = pytest.mark.soak


def creating(world: World, seconds: float) -> str:
    """A silo tenant whose RDS instance is being created, for so long."""
    world.worker()
    world.delay("rds.create", seconds)
    tenant = world.new_name("silo")
    world.subscribe(tenant, "silo")
    wait_until(lambda: world.running_steps(tenant, INSTANCE), lambda: f"RDS creates\n{world.tails()}")
    return tenant


def test_the_control_planes_postgres_is_killed(world: World) -> None:
    tenant = creating(world, 5)
    worker = world.worker()
    pid = Cluster.load(world.home.clusters / "control-plane", world.home.authority).pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    world.delay("rds.create", 0)
    wait_until(world.answers, "PostgreSQL is back")
    world.rests(tenant, "ready")
    world.assert_sound(tenant)
    # The same process works on, with both of its queues.
    other = world.new_name("bridge")
    world.subscribe(other, "bridge")
    world.rests(other, "ready")
    assert world.worker() is worker
    world.assert_at_rest(tenant)


def test_postgres_is_killed_while_nothing_runs(world: World) -> None:
    worker = world.worker()
    pid = Cluster.load(world.home.clusters / "control-plane", world.home.authority).pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(world.answers, "PostgreSQL is back")
    tenant = world.new_name("pool")
    world.subscribe(tenant, "pool")
    world.rests(tenant, "ready")
    assert world.worker() is worker
    world.assert_sound(tenant)


@pytest.mark.parametrize("provider", ["aws", "tenantry-postgres"])
def test_a_provider_is_killed(world: World, provider: str) -> None:
    tenant = creating(world, 5)
    os.kill(world.service_pid(provider), signal.SIGKILL)
    world.delay("rds.create", 0)
    world.rests(tenant, "ready", 240)
    world.assert_sound(tenant)
    world.assert_at_rest(tenant)
    assert world.operations(tenant)[0]["status"] in ("failed", "succeeded")


@pytest.fixture
def doomed() -> Iterator[World]:
    world = World.begin()
    yield world
    world.end()


def test_aws_dies(doomed: World) -> None:
    """The local AWS keeps nothing: all that can be asked for is a failure that will be tried again, and a worker."""
    worker = doomed.worker()
    tenant = creating(doomed, 900)
    os.kill(doomed.service_pid("moto"), signal.SIGKILL)
    doomed.delay("rds.create", 0)
    wait_until(lambda: doomed.tenant(tenant)["failure"], lambda: f"it fails\n{doomed.tails()}")
    record = doomed.tenant(tenant)
    assert record["failure"]["class"] == "retry"
    assert worker.process.poll() is None
