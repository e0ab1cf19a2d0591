"""A catalogue and subscriptions of it, for tests of selling."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from provisioner.billing import catalogue_file
from provisioner.billing.catalogue import Catalogue

#: Every kind of plan that selling has to tell apart; small, so that a test reads with it.
PLANS = """
[meters.api_calls]
title = "API calls"

[plans.free_trial]
tier = "pool"
limits = { seats = 3 }
[plans.free_trial.trial]
days = 14
[[plans.free_trial.prices]]
lookup_key = "free_trial_monthly"
interval = "month"
unit_amount = 1000

[plans.basic]
tier = "pool"
limits = { seats = 5 }
[[plans.basic.prices]]
lookup_key = "basic_monthly"
interval = "month"
unit_amount = 2000
[[plans.basic.prices]]
lookup_key = "basic_annual"
interval = "year"
unit_amount = 20000

[plans.team]
tier = "pool"
limits = { seats = 10 }
[[plans.team.prices]]
lookup_key = "team_monthly"
interval = "month"
unit_amount = 1500
model = "per_seat"
[[plans.team.prices]]
lookup_key = "team_annual"
interval = "year"
unit_amount = 15000
model = "per_seat"

[plans.metered]
tier = "pool"
[[plans.metered.prices]]
lookup_key = "metered_monthly"
interval = "month"
unit_amount = 5000
[[plans.metered.prices]]
lookup_key = "metered_calls_monthly"
interval = "month"
unit_amount = 2
model = "metered"
meter = "api_calls"
"""


def catalogue() -> Catalogue:
    return catalogue_file.parse(PLANS, "plans.toml")


def price(key: str, /, **changes: Any) -> dict[str, Any]:
    """As Stripe has it after a push."""
    for plan in catalogue().plans.values():
        for each in plan.prices:
            if each.lookup_key == key:
                return {
                    "id": f"price_{key}",
                    "lookup_key": key,
                    "billing_scheme": "per_unit",
                    "unit_amount": None if each.unit_amount is None else int(each.unit_amount),
                    "unit_amount_decimal": str(each.unit_amount or Decimal(0)),
                    "metadata": {"tenantry_plan": plan.name},
                    "recurring": {
                        "interval": each.interval,
                        "interval_count": 1,
                        "usage_type": "metered" if each.metered else "licensed",
                        "meter": f"mtr_{each.meter}" if each.metered else None,
                    },
                    **changes,
                }
    raise AssertionError(key)


PRICES = {key: price(key) for key in catalogue().lookup_keys}
START, END = 1_800_000_000, 1_802_678_400


def item(key: str, quantity: int = 1, /, **changes: Any) -> dict[str, Any]:
    found = price(key, **changes)
    return {
        "id": f"si_{found['id']}",
        "price": found,
        "quantity": None if found["recurring"]["usage_type"] == "metered" else quantity,
        "current_period_start": START,
        "current_period_end": END,
    }


def subscription(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "sub_1",
        "object": "subscription",
        "livemode": False,
        "status": "active",
        "created": START,
        "currency": "usd",
        "customer": {"id": "cus_1", "metadata": {"tenant_id": "acme"}},
        "metadata": {},
        "items": {"data": list(items)},
        "schedule": None,
        **changes,
    }
