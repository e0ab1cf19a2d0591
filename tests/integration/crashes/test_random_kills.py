"""Workers are killed at random times while they provision."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.integration.crashes.world import World, at

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def durations(world: World) -> dict[str, float]:
    """Seconds from the sale to a tenant that is ready, undisturbed."""
    found = {}
    world.worker()
    for tier in ("bridge", "silo"):
        tenant = world.new_name(tier)
        began = time.monotonic()
        world.subscribe(tenant, tier)
        world.rests(tenant, "ready")
        found[tier] = time.monotonic() - began
    return found


@pytest.mark.parametrize("seed", range(20))
def test_killed_at_a_random_time(world: World, durations: dict[str, float], seed: int) -> None:
    chance = random.Random(seed)
    tier = "silo" if seed % 2 else "bridge"
    worker = world.worker()
    worker.arm(at("never"), survive=chance.random() < 0.5)
    tenant = world.new_name(tier)
    world.subscribe(tenant, tier)
    time.sleep(chance.uniform(0, durations[tier]))  # the time of the kill is what is random here
    worker.signal(signal.SIGKILL)
    worker.process.wait()
    world.worker()
    world.rests(tenant, "ready")
    world.assert_sound(tenant)
    world.assert_at_rest(tenant)
