"""One component a tier. A tier's module is imported when it is asked for: a pool tenant loads nothing of AWS's."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from components.tiers import Tier

if TYPE_CHECKING:
    from components.tenants.tenant import Tenant

COMPONENTS: dict[Tier, str] = {
    Tier.POOL: "components.tenants.pool:PoolTenant",
    Tier.BRIDGE: "components.tenants.bridge:BridgeTenant",
    Tier.SILO: "components.tenants.silo:SiloTenant",
}


def component_for(tier: Tier) -> type[Tenant]:
    """The component class of a tier."""
    module, name = COMPONENTS[tier].split(":")
    component: type[Tenant] = getattr(import_module(module), name)
    return component
