"""What metering asks of Stripe: its meters, taking an event, and what it has counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from provisioner.billing.pricing import Aggregation

#: Hours are summed up before Stripe gets them, so its meter sums: of what is counted, too.
FORMULAS = {Aggregation.SUM: "sum", Aggregation.COUNT: "sum", Aggregation.LAST: "last"}


@dataclass(frozen=True)
class MeterEvent:
    """``identifier``: Stripe takes it once within 24 hours. ``value``: a whole number; a negative one corrects."""

    meter: str  #: Stripe's ``event_name``
    customer_id: str
    value: int
    at: datetime
    identifier: str


class Outcome(StrEnum):
    TAKEN = "taken"
    KNOWN = "known"  #: it was taken before: the identifier is recognised
    NO_METER = "no_meter"  #: no active meter has the name: nothing of the kind will be taken now
    REFUSED = "refused"


@dataclass(frozen=True)
class Receipt:
    outcome: Outcome
    reason: str = ""  #: of a refusal, for people; never a secret


@dataclass(frozen=True)
class BilledMeter:
    meter_id: str
    name: str
    formula: str  #: sum, count or last
    active: bool


class MeterGateway(Protocol):
    """Every method may raise ``StripeUnavailable``, which leaves open whether an event was taken, and
    ``ConfigurationInvalid``."""

    async def send(self, event: MeterEvent) -> Receipt: ...

    async def hours(self, meter_id: str, customer_id: str, since: datetime, until: datetime) -> Mapping[datetime, int]:
        """Begin of an hour (UTC) -> what the meter made of its events; hours without events are absent. Both ends are
        full hours. Stripe counts with a delay of minutes."""
        ...

    async def meters(self) -> Mapping[str, BilledMeter]:
        """By name; an active one goes before inactive ones of the same name."""
        ...

    async def close(self) -> None: ...
