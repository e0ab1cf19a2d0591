"""What a plan entitles a tenant to at its present access; pure. Exceptions of one tenant are ``overriding``'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.spec import Access
from provisioner.billing.catalogue import Plan


@dataclass(frozen=True)
class Entitled:
    """``rates``: [{"name", "amount", "seconds", "soft"}], as ``registry.tenant.rates`` keeps them."""

    features: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    rates: tuple[Mapping[str, Any], ...] = ()
    soft_limits: tuple[str, ...] = ()


def entitled(plan: Plan | None, access: Access) -> Entitled:
    """What the plan gives; from ``throttled`` on ``terms.throttled_percent`` of its quotas and rates; nothing to a
    tenant that may not read its data."""
    if plan is None or not access.serves:
        return Entitled()
    # A step down keeps what the one before it took.
    percent = plan.terms.throttled_percent if access in (Access.THROTTLED, Access.READ_ONLY) else 100
    return Entitled(
        features=plan.entitlements,
        limits={name: cut(value, percent) for name, value in plan.limits.items()},
        rates=tuple(
            {"name": rate.name, "amount": cut(rate.amount, percent), "seconds": rate.seconds, "soft": rate.soft}
            for rate in sorted(plan.rates, key=lambda rate: rate.name)
        ),
        soft_limits=tuple(sorted(plan.soft_limits)),
    )


def cut(value: int, percent: int) -> int:
    """``percent`` of ``value``, rounded down; what is not nothing stays at least 1, unless nothing is to be left."""
    return min(value, max(value * percent // 100, 1 if percent else 0))
