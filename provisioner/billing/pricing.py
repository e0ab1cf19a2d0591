"""What a plan costs, as ``plans.toml`` says it: prices, their tiers, and the meters that usage is counted by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum


class PricingModel(StrEnum):
    """How a price turns a quantity into an amount."""

    FLAT = "flat"  #: ``unit_amount`` a period, whatever the quantity
    PER_SEAT = "per_seat"  #: ``unit_amount`` a seat; the item's quantity is the number of seats
    GRADUATED = "graduated"  #: each unit at the price of the tier that it falls into
    VOLUME = "volume"  #: all units at the price of the tier that the total falls into
    METERED = "metered"  #: ``unit_amount`` a unit that a meter counted; billed for the period past

    @property
    def tiered(self) -> bool:
        return self in (PricingModel.GRADUATED, PricingModel.VOLUME)


class TaxBehavior(StrEnum):
    """https://docs.stripe.com/api/prices/object#price_object-tax_behavior"""

    INCLUSIVE = "inclusive"
    EXCLUSIVE = "exclusive"
    UNSPECIFIED = "unspecified"


class Aggregation(StrEnum):
    """https://docs.stripe.com/api/billing/meter/object#billing_meter_object-default_aggregation"""

    SUM = "sum"
    COUNT = "count"
    LAST = "last"


@dataclass(frozen=True)
class PriceTier:
    """Amounts in the currency's smallest unit; fractions of it are allowed."""

    up_to: int | None  #: the last unit of the tier; None: without end
    unit_amount: Decimal = Decimal(0)
    flat_amount: Decimal = Decimal(0)


@dataclass(frozen=True)
class PlanPrice:
    """One way to pay for a plan, or for its use beyond what is included; found in Stripe by its lookup key."""

    lookup_key: str
    interval: str  #: ``month`` or ``year``
    unit_amount: Decimal | None = None  #: in the currency's smallest unit; None for tiered prices, or if Stripe knows
    currency: str = "usd"
    model: PricingModel = PricingModel.FLAT
    tiers: tuple[PriceTier, ...] = ()  #: of a tiered price, in order; the last has no end
    meter: str | None = None  #: name of the meter whose usage it bills: the price is then for overage or use
    tax_behavior: TaxBehavior = TaxBehavior.UNSPECIFIED

    @property
    def metered(self) -> bool:
        return self.meter is not None

    @property
    def seats(self) -> bool:
        """Whether the item's quantity is the number of the tenant's seats."""
        return self.meter is None and self.model is not PricingModel.FLAT


@dataclass(frozen=True)
class Meter:
    """A billing meter: what an application records, and what Stripe bills."""

    name: str  #: Stripe's ``event_name``
    title: str
    aggregation: Aggregation = Aggregation.SUM
    unit: str = ""  #: for people: "GB", "calls"


class CouponDuration(StrEnum):
    """https://docs.stripe.com/api/coupons/object#coupon_object-duration"""

    ONCE = "once"
    REPEATING = "repeating"
    FOREVER = "forever"


@dataclass(frozen=True)
class Coupon:
    """Either ``percent_off`` or ``amount_off`` (smallest unit of ``currency``). Its terms never change: Stripe's
    coupons can't, and what a customer was promised shouldn't."""

    name: str  #: its id in Stripe
    title: str
    percent_off: Decimal | None = None
    amount_off: int | None = None
    currency: str | None = None
    duration: CouponDuration = CouponDuration.ONCE
    months: int | None = None  #: of a repeating one
    plans: tuple[str, ...] = ()  #: that it is good for; empty: all


def included_tiers(units: int, unit_amount: Decimal) -> tuple[PriceTier, ...]:
    """The graduated tiers of "``units`` cost nothing, each further one ``unit_amount``"."""
    return (PriceTier(units), PriceTier(None, unit_amount))


def units_included(tiers: Iterable[PriceTier]) -> int:
    """How many units graduated ``tiers`` give away before the first one that costs."""
    units = 0
    for tier in tiers:
        if tier.unit_amount or tier.flat_amount or tier.up_to is None:
            break
        units = tier.up_to
    return units


def annual(amount: Decimal, discount_percent: Decimal) -> Decimal:
    """Twelve months of ``amount`` less the discount, rounded to the smallest unit, halves up."""
    return (amount * 12 * (100 - discount_percent) / 100).quantize(Decimal(1), ROUND_HALF_UP)
