"""The catalogue: every plan, what Stripe sells it as and what a tenant gets for it. One file, ``plans.toml``.

``docs/catalogue.md`` describes the file, ``catalogue_file.py`` reads it. Everything here is frozen.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from components.spec import Budget, InstanceSpec
from components.tiers import Tier
from provisioner.billing.pricing import Coupon, Meter, PlanPrice
from provisioner.billing.terms import DEFAULT_PORTAL, DEFAULT_TERMS, Portal, Terms
from provisioner.errors import ConfigurationInvalid, NotFound

ALL_FEATURES = "*"


@dataclass(frozen=True)
class RateLimit:
    """``amount`` calls in ``seconds``, of one tenant. A soft one is reported and let through."""

    name: str
    amount: int
    seconds: int
    soft: bool = False


@dataclass(frozen=True)
class Plan:
    name: str
    title: str
    tier: Tier
    prices: tuple[PlanPrice, ...]
    entitlements: tuple[str, ...]  #: sorted feature names, or ``("*",)``
    limits: Mapping[str, int] = field(hash=False)
    retention_days: int
    connection_limit: int
    instance: InstanceSpec | None  #: set for tiers with an own instance, and only then
    budget: Budget | None = None
    terms: Terms = DEFAULT_TERMS
    rates: tuple[RateLimit, ...] = ()
    soft_limits: tuple[str, ...] = ()  #: names of ``limits`` that are reported when exceeded, not refused
    #: units of a meter that cost nothing more, a month; who pays by the year has twelve times as many for the year
    included: Mapping[str, int] = field(default_factory=dict, hash=False)

    def price(self, interval: str) -> PlanPrice:
        """The price of an interval that the plan itself is paid by; ``NotFound`` when the plan isn't sold so."""
        for price in self.prices:
            if price.interval == interval and not price.metered:
                return price
        sold = ", ".join(sorted({price.interval for price in self.prices}))
        raise NotFound(f"plan {self.name} has no price with interval {interval}", hint=f"It is sold per {sold}")

    def metered_prices(self, interval: str) -> tuple[PlanPrice, ...]:
        """What use beyond the plan is billed by, beside ``price(interval)``."""
        return tuple(price for price in self.prices if price.interval == interval and price.metered)

    @property
    def per_seat(self) -> bool:
        return any(price.seats for price in self.prices)


@dataclass(frozen=True)
class Catalogue:
    """``automatic_tax``: whether Stripe Tax computes taxes. ``features``: name -> title, for those that have one."""

    source: str  #: the file it was read from, for messages
    plans: Mapping[str, Plan] = field(hash=False)
    meters: Mapping[str, Meter] = field(default_factory=dict, hash=False)
    features: Mapping[str, str] = field(default_factory=dict, hash=False)
    automatic_tax: bool = False
    coupons: Mapping[str, Coupon] = field(default_factory=dict, hash=False)
    portal: Portal = DEFAULT_PORTAL
    _sold: Mapping[str, Plan] = field(init=False, repr=False, compare=False)  #: lookup key -> plan

    def __post_init__(self) -> None:
        sold = {price.lookup_key: plan for plan in self.plans.values() for price in plan.prices}
        object.__setattr__(self, "_sold", sold)

    def plan(self, name: str) -> Plan:
        """``NotFound`` with the nearest name."""
        found = self.plans.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.plans, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(self.plans)}"
            raise NotFound(f"no plan {name!r} in {self.source}", hint=hint)
        return found

    def plan_of_price(self, lookup_key: str) -> Plan | None:
        """The plan that a price with this lookup key is for."""
        return self._sold.get(lookup_key)

    @property
    def lookup_keys(self) -> tuple[str, ...]:
        return tuple(self._sold)


@dataclass(frozen=True)
class Problem:
    """One thing wrong in the file."""

    key: str  #: dotted path, for example ``plans.team.tier``
    message: str
    fix: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.key}: {self.message} ({self.fix})"


class CatalogueInvalid(ConfigurationInvalid):
    """All that is wrong with a catalogue, at once."""

    code = "catalogue_invalid"

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        listed = "; ".join(str(problem) for problem in problems)
        super().__init__(f"{source}: {listed}", hint=f"Correct {source} and run: tenantry catalogue check {source}")
        self.source = source
        self.problems = problems


def load(path: Path) -> Catalogue:
    """Read ``plans.toml``. ``CatalogueInvalid`` names file, line, key and fix of everything that is wrong."""
    from provisioner.billing import catalogue_file

    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationInvalid(
            f"the catalogue {path} can't be read: {reason}", hint="Set TENANTRY_CATALOGUE to your plans.toml"
        ) from None
    except UnicodeDecodeError:
        raise CatalogueInvalid(str(path), (Problem("file", "is not UTF-8", "save it as UTF-8"),)) from None
    return catalogue_file.parse(text, str(path))


def freeze(limits: dict[str, int]) -> Mapping[str, int]:
    return MappingProxyType(dict(sorted(limits.items())))
