"""One seeded run: years of a thousand customers in minutes, with every fault, checked after every step."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from localcloud.simulation.clock import DAY, VirtualClock
from localcloud.simulation.control_plane import ControlPlane, open_control_plane
from localcloud.simulation.gateway import DirectGateway
from localcloud.simulation.invariants import Invariants, terms_of
from localcloud.simulation.network import Faults, Network
from localcloud.simulation.people import People
from localcloud.simulation.usage import Usage
from localcloud.stripe.inprocess import InProcess
from provisioner.billing.catalogue import Catalogue
from provisioner.errors import EngineFailed, StripeUnavailable

SWEEP_EVERY = 14  #: steps
ENGINE_FAILS = 0.02  #: of the operations
OUTAGE = 0.01  #: of the steps begin one: Stripe's, or our endpoint's
LONGEST_OUTAGE = 6  #: steps


@dataclass(frozen=True)
class Plan:
    """What is simulated. ``step_s``: seconds of virtual time between two looks."""

    seed: int
    customers: int = 1000
    days: int = 730
    arrival_days: int = 180  #: everybody has come by then
    step_s: int = DAY
    faults: Faults = field(default_factory=Faults)


@dataclass
class Result:
    seed: int
    customers: int
    days: int
    events: int  #: that Stripe sent, copies not counted
    stored: int
    reconciled: int
    operations: int
    checked: int
    seconds: float
    digest: str  #: of what every tenant is in the end: the same seed gives the same
    units: int  #: of usage that was recorded
    done: dict[str, int]
    refused: dict[str, int]
    access: dict[str, int]  #: tenants by access, over all steps' last
    violations: list[str]

    @property
    def events_per_minute(self) -> float:
        return self.events / self.seconds * 60

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "events_per_minute": round(self.events_per_minute)}


async def simulate(plan: Plan, database_url: str, catalogue: Catalogue, app_schema: Path) -> Result:
    """On a database that holds nothing yet."""
    clock = VirtualClock()
    chance = random.Random(plan.seed)  # noqa: S311 - the same lives again
    network = Network(clock, plan.faults, random.Random(plan.seed + 1))  # noqa: S311
    stripe = InProcess(clock, deliver=network.deliver, seed=plan.seed)
    gateway = DirectGateway(stripe, clock)
    people = People(stripe, clock, chance, _put_on_sale(stripe, catalogue))
    async with open_control_plane(database_url, clock, gateway, catalogue, app_schema) as plane:
        invariants = Invariants(stripe, clock, network, people, plane, terms_of(catalogue))
        plane.stacks.on_destroy = invariants.destroying
        usage = Usage(plane.pool, stripe, clock, random.Random(plan.seed + 2), database_url)  # noqa: S311
        await usage.prepare()
        began = time.monotonic()
        await _live(plan, clock, chance, network, stripe, people, plane, invariants, usage)
        seconds = time.monotonic() - began
        await usage.settle()
        invariants.usage(usage.differences())
        access, digest = await _end(plane)
    return Result(
        plan.seed,
        plan.customers,
        plan.days,
        network.sent,
        plane.stored,
        plane.reconciled,
        len(plane.stacks.log),
        invariants.checked,
        round(seconds, 1),
        digest,
        sum(usage.recorded.values()),
        dict(sorted(people.done.items())),
        dict(sorted(people.refused.items())),
        access,
        [str(each) for each in invariants.violations],
    )


async def _live(
    plan: Plan,
    clock: VirtualClock,
    chance: random.Random,
    network: Network,
    stripe: InProcess,
    people: People,
    plane: ControlPlane,
    invariants: Invariants,
    usage: Usage,
) -> None:
    steps = plan.days * DAY // plan.step_s
    arrivals = sorted(chance.randrange(0, plan.arrival_days * DAY) for _ in range(plan.customers))
    start, arrived = clock.now, 0
    stripe_back = endpoint_back = 0
    for step in range(steps + 1):
        clock.now = start + step * plan.step_s
        last = step == steps
        stripe_back, endpoint_back = _outages(chance, step, stripe_back, endpoint_back)
        plane.gateway.down = step < stripe_back and not last
        network.closed = step < endpoint_back and not last
        stripe.catch_up()
        while arrived < len(arrivals) and arrivals[arrived] <= clock.now - start:
            people.arrive(f"tenant-{arrived:04}")
            arrived += 1
        people.act()
        if chance.random() < 0.5:
            plane.stacks.fail = [EngineFailed("an operation of the simulation failed") for _ in range(2)]
        await plane.receive(network.arrived(stripe))
        await plane.review()
        await plane.work()
        swept = False
        if step % SWEEP_EVERY == 0 or last:
            swept = await _sweep(plane, network)
            await plane.forget()
        for _ in range(3):  # what failed is tried again
            plane.stacks.fail = []
            await plane.review()
            await plane.work()
        await usage.use([(each.tenant_id, each.customer) for each in people.everybody])
        await usage.report(down=plane.gateway.down)
        await invariants.check(swept=swept)


def _outages(chance: random.Random, step: int, stripe_back: int, endpoint_back: int) -> tuple[int, int]:
    """Until which step Stripe, and our endpoint, are down."""
    if step >= stripe_back and chance.random() < OUTAGE:
        stripe_back = step + chance.randint(1, LONGEST_OUTAGE)
    if step >= endpoint_back and chance.random() < OUTAGE:
        endpoint_back = step + chance.randint(1, LONGEST_OUTAGE)
    return stripe_back, endpoint_back


async def _sweep(plane: ControlPlane, network: Network) -> bool:
    """Whether it could be done: Stripe was there."""
    try:
        await plane.sweep.run()
    except StripeUnavailable:
        return False
    network.lost.clear()
    await plane.work()
    return True


def _put_on_sale(stripe: InProcess, catalogue: Catalogue) -> dict[str, str]:
    """The catalogue's prices without what is metered; lookup key -> price id."""
    prices = {}
    for plan in catalogue.plans.values():
        product = stripe.call("POST", "/v1/products", {"name": plan.title})
        for price in plan.prices:
            if price.metered or price.model.tiered or price.unit_amount is None:
                continue
            created = stripe.call(
                "POST",
                "/v1/prices",
                {
                    "product": product["id"],
                    "currency": price.currency,
                    "unit_amount_decimal": str(price.unit_amount),
                    "recurring": {"interval": price.interval},
                    "lookup_key": price.lookup_key,
                },
            )
            prices[price.lookup_key] = created["id"]
    return prices


async def _end(plane: ControlPlane) -> tuple[dict[str, int], str]:
    async with plane.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT tenant_id, access, state, coalesce(plan, ''), coalesce(tier, ''), generation, "
            "coalesce(subscription_status, '') FROM registry.tenant ORDER BY tenant_id"
        )
        rows = await cursor.fetchall()
    counts = Counter(str(row[1]) for row in rows)
    text = "\n".join("|".join(map(str, row)) for row in rows)
    return dict(sorted(counts.items())), hashlib.sha256(text.encode()).hexdigest()[:16]
