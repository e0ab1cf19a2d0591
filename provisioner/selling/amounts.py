"""What a quantity costs at a price of Stripe, to compare plans by. Invoices are computed by Stripe alone."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_MONTHS = {"month": 1, "year": 12}


def monthly(price: Mapping[str, Any], quantity: int) -> Decimal:
    """In the currency's smallest unit a month; ``price`` has its tiers expanded."""
    recurring = price["recurring"]
    months = _MONTHS.get(recurring["interval"], 1) * int(recurring.get("interval_count") or 1)
    return amount(price, quantity) / months


def amount(price: Mapping[str, Any], quantity: int) -> Decimal:
    """Of one period."""
    if price.get("billing_scheme") != "tiered":
        return _unit(price) * quantity
    tiers = price.get("tiers") or ()
    if price.get("tiers_mode") == "volume":
        return next((_tier(tier, quantity) for tier in tiers if _reaches(tier, quantity)), Decimal(0))
    total, below = Decimal(0), 0
    for tier in tiers:
        end = tier.get("up_to")
        here = (quantity if end is None else min(quantity, int(end))) - below
        if here <= 0:
            break
        total += _tier(tier, here)
        below += here
    return total


def _reaches(tier: Mapping[str, Any], quantity: int) -> bool:
    return tier.get("up_to") is None or quantity <= int(tier["up_to"])


def _tier(tier: Mapping[str, Any], quantity: int) -> Decimal:
    return _unit(tier) * quantity + Decimal(str(tier.get("flat_amount_decimal") or tier.get("flat_amount") or 0))


def _unit(priced: Mapping[str, Any]) -> Decimal:
    return Decimal(str(priced.get("unit_amount_decimal") or priced.get("unit_amount") or 0))
