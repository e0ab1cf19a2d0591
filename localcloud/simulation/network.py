"""The way of webhooks from Stripe to us, with everything that can become of them: lost, twice, late, out of order."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

from localcloud.simulation.clock import DAY, VirtualClock
from localcloud.stripe.inprocess import Delivery, InProcess


@dataclass(frozen=True)
class Faults:
    """Probabilities of a delivery; ``latest_s``: how late one may arrive, seconds."""

    lost: float = 0.03
    twice: float = 0.08
    late: float = 0.12
    latest_s: int = 3 * DAY


@dataclass
class _Letter:
    arrives_at: int
    delivery: str
    body: bytes
    customer: str | None


@dataclass
class Network:
    """``deliver`` is the local Stripe's callback; ``arrived`` gives what has come by now, shuffled."""

    clock: VirtualClock
    faults: Faults
    chance: random.Random
    closed: bool = False  #: our endpoint can't be reached: nothing is taken
    lost: dict[str, str | None] = field(default_factory=dict)  #: event -> customer; Stripe knows it was not delivered
    sent: int = 0
    _under_way: list[_Letter] = field(default_factory=list)

    def deliver(self, delivery: Delivery) -> bool:
        self.sent += 1
        body = delivery.body()
        customer = _customer(body)
        if self.closed or self.chance.random() < self.faults.lost:
            self.lost[delivery.event] = customer
            return False
        late = self.chance.random() < self.faults.late
        arrives_at = self.clock.now + (self.chance.randint(1, self.faults.latest_s) if late else 0)
        copies = 2 if self.chance.random() < self.faults.twice else 1
        self._under_way += [_Letter(arrives_at, delivery.id, body, customer)] * copies
        return not late  # Stripe knows of one that is late only that nobody has taken it yet

    def arrived(self, stripe: InProcess) -> list[bytes]:
        here = [letter for letter in self._under_way if letter.arrives_at <= self.clock.now]
        self._under_way = [letter for letter in self._under_way if letter.arrives_at > self.clock.now]
        for letter in here:
            stripe.delivered(letter.delivery)
        self.chance.shuffle(here)
        return [letter.body for letter in here]

    def customers_waiting(self) -> set[str]:
        """Customers with something under way, or lost and not recovered yet."""
        waiting = {letter.customer for letter in self._under_way} | set(self.lost.values())
        return {customer for customer in waiting if customer is not None}


def _customer(body: bytes) -> str | None:
    subject = json.loads(body)["data"]["object"]
    if subject.get("object") == "customer":
        return str(subject["id"])
    found = subject.get("customer")
    if found is None and isinstance(subject.get("charge"), str):
        return "*"  # a dispute or refund names a charge alone: whose it was, only Stripe knows
    identifier = found["id"] if isinstance(found, dict) else found
    return identifier if isinstance(identifier, str) else None
