"""What a quantity costs at a price: per unit, packages, graduated and volume tiers. Pure and exact.

A price gives parts, each of which becomes a line of the invoice and is rounded by itself, half away from zero, to the
currency's smallest unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from localcloud.stripe.store import Object


@dataclass(frozen=True)
class Part:
    """``quantity`` units at ``unit_amount`` each (Decimal of the smallest unit); a flat fee is one unit of itself."""

    quantity: int
    unit_amount: Decimal
    description: str | None = None
    flat: bool = False

    @property
    def amount(self) -> int:
        return rounded(self.quantity * self.unit_amount)


def rounded(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def share(amount: int, part: int, whole: int) -> int:
    """``amount * part / whole`` for a positive ``whole``, rounded half away from zero."""
    sign = -1 if (amount < 0) != (part < 0) else 1
    return sign * ((2 * abs(amount) * abs(part) + whole) // (2 * whole))


def cost(price: Object, quantity: int) -> int:
    """What ``quantity`` costs altogether, in the currency's smallest unit."""
    return sum(part.amount for part in parts(price, quantity))


def parts(price: Object, quantity: int) -> list[Part]:
    """The parts of the cost, in the order of the tiers; nothing bought is one part of quantity 0."""
    if price["billing_scheme"] == "tiered":
        found = _volume if price["tiers_mode"] == "volume" else _graduated
        return found(price["_tiers"], quantity) or [Part(0, Decimal(0))]
    unit = Decimal(price["unit_amount_decimal"])
    transform = price["transform_quantity"]
    if transform:
        whole, rest = divmod(quantity, transform["divide_by"])
        quantity = whole + (1 if rest and transform["round"] == "up" else 0)
    return [Part(quantity, unit)]


def _graduated(tiers: list[Object], quantity: int) -> list[Part]:
    """Each tier's price for the units that fall into it. Nothing bought still pays the first tier's flat fee."""
    found: list[Part] = []
    below = 0
    for number, tier in enumerate(tiers):
        upper = quantity if tier["up_to"] is None else min(quantity, tier["up_to"])
        if upper <= below and number:
            break
        found += _of_tier(tier, upper - below, f"Tier {number + 1}")
        below = max(below, upper)
    return found


def _volume(tiers: list[Object], quantity: int) -> list[Part]:
    """All units at the price of the tier that the quantity reaches."""
    number, tier = next(
        (number, tier) for number, tier in enumerate(tiers) if tier["up_to"] is None or quantity <= tier["up_to"]
    )
    return _of_tier(tier, quantity, f"Tier {number + 1}")


def _of_tier(tier: Object, quantity: int, name: str) -> list[Part]:
    found = []
    if tier["unit_amount_decimal"] is not None:
        found.append(Part(quantity, Decimal(tier["unit_amount_decimal"]), name))
    if tier["flat_amount_decimal"] is not None:
        found.append(Part(1, Decimal(tier["flat_amount_decimal"]), f"{name} flat fee", flat=True))
    return found
