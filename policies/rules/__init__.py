"""All rules, by theme."""

from policies.model import Rule
from policies.rules import (
    access,
    antipatterns,
    credentials,
    encryption,
    exposure,
    firewalls,
    lifecycle,
    ownership,
    records,
    resilience,
    tenancy,
    tenant_access,
    transport,
)

THEMES = (
    encryption,
    exposure,
    firewalls,
    transport,
    credentials,
    access,
    tenancy,
    tenant_access,
    resilience,
    records,
    ownership,
    lifecycle,
    antipatterns,
)
RULES: tuple[Rule, ...] = tuple(rule for theme in THEMES for rule in theme.RULES)
