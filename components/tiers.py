"""The tiers and their properties: the only table of tiers in the code base.

A new tier is one component file in ``components/tenants`` and one line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    """How strongly a tenant's infrastructure is separated from the others', weakest first."""

    POOL = "pool"
    BRIDGE = "bridge"
    SILO = "silo"


@dataclass(frozen=True)
class TierProperties:
    """What a tier gives a tenant of its own; everything it lacks is shared through the platform stack."""

    isolation: int  #: order of isolation; moving up is a graduation, moving down a demotion
    own_schema: bool
    own_login: bool
    own_instance: bool
    own_key: bool
    own_bucket: bool
    own_role: bool


TIERS: dict[Tier, TierProperties] = {
    Tier.POOL: TierProperties(
        1,
        own_schema=False,
        own_login=False,
        own_instance=False,
        own_key=False,
        own_bucket=False,
        own_role=False,
    ),
    Tier.BRIDGE: TierProperties(
        2,
        own_schema=True,
        own_login=True,
        own_instance=False,
        own_key=False,
        own_bucket=False,
        own_role=False,
    ),
    Tier.SILO: TierProperties(
        3, own_schema=True, own_login=True, own_instance=True, own_key=True, own_bucket=True, own_role=True
    ),
}
