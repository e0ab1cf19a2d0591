"""A worker that is stopped, or hangs, while it changes a tenant: it loses the tenant, and can do it no harm later."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.integration.crashes.world import World, wait_until

INSTANCE = "aws:rds/instance:Instance"

pytestmark = pytest.mark.soak


def recorded(world: World, tenant: str) -> dict[str, Any]:
    """All that the registry says of a tenant, but when it was touched last."""
    record = world.tenant(tenant)
    placement = world.rows("SELECT * FROM registry.placement WHERE tenant_id = %s", tenant)
    return {**record, "updated_at": None, "placement": placement}


@pytest.mark.parametrize("machine", [None, "another-machine"], ids=["this-machine", "another-machine"])
def test_a_stopped_worker_loses_the_tenant_and_later_changes_nothing(world: World, machine: str | None) -> None:
    """On another machine its engine can't be ended by the successor, and goes on until it is refused."""
    world.no_worker()
    world.delay("rds.create", 900)
    tenant = world.new_name("silo")
    silent = world.start(machine=machine).go()
    world.subscribe(tenant, "silo")
    wait_until(lambda: world.running_steps(tenant, INSTANCE), lambda: f"RDS creates\n{world.tails()}")
    silent.signal(signal.SIGSTOP)
    successor = world.another()
    taken = wait_until(lambda: successor.said("lease.taken_over"), lambda: f"it is taken over\n{world.tails()}")
    assert successor.said("lease.evicted")
    assert [line["engine_killed"] for line in taken] == [machine is None]
    # The engine of the stopped worker, if it lives, now gets RDS's answer and tries to record it.
    world.delay("rds.create", 0)
    world.rests(tenant, "ready")
    world.assert_sound(tenant)
    before = recorded(world, tenant)
    silent.signal(signal.SIGCONT)
    wait_until(lambda: silent.said("reconcile.lease_lost"), lambda: f"it notices\n{silent.tail()}")
    world.rests(tenant, "ready")
    assert recorded(world, tenant) == before
    world.assert_sound(tenant)
    assert [row["status"] for row in world.operations(tenant)].count("succeeded") == 1
    assert world.operations(tenant)[0]["status"] == "interrupted"
    # It works on as any other.
    world.no_worker_but(silent)
    other = world.new_name("bridge")
    world.subscribe(other, "bridge")
    world.rests(other, "ready")
    world.assert_at_rest(tenant)
