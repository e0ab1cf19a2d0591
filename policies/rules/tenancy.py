"""What keeps tenants apart in infrastructure: rules over whole stacks."""

from __future__ import annotations

from policies.model import Rule
from policies.rules import (
    tenancy_alarms,
    tenancy_budget,
    tenancy_keys,
    tenancy_network,
    tenancy_references,
    tenancy_tier,
)

RULES: tuple[Rule, ...] = (
    *tenancy_keys.RULES,
    *tenancy_references.RULES,
    *tenancy_tier.RULES,
    *tenancy_network.RULES,
    *tenancy_alarms.RULES,
    *tenancy_budget.RULES,
)
