"""The tags every resource carries: who it belongs to, how to find it after a crash, whom it costs."""

from __future__ import annotations

from components.spec import PlatformSpec, TenantSpec

Tags = dict[str, str]

REQUIRED_TAGS = frozenset(
    {"tenant_id", "generation", "tier", "plan", "managed-by", "installation", "environment", "cost-center"}
)
PLATFORM = "platform"


def tenant_tags(spec: TenantSpec) -> Tags:
    return {
        "tenant_id": spec.tenant_id,
        "generation": str(spec.generation),
        "tier": spec.tier.value,
        "plan": spec.plan,
        "managed-by": "tenantry",
        "installation": spec.installation,
        "environment": spec.environment.value,
        "cost-center": spec.tenant_id,
    }


def platform_tags(spec: PlatformSpec) -> Tags:
    """A cell's shared resources belong to no tenant: ``tenant_id``, ``tier`` and ``plan`` read ``platform``."""
    return {
        "tenant_id": PLATFORM,
        "generation": "1",
        "tier": PLATFORM,
        "plan": PLATFORM,
        "managed-by": "tenantry",
        "installation": spec.installation,
        "environment": spec.environment.value,
        "cost-center": spec.stack_name,
    }


def named(tags: Tags, name: str) -> Tags:
    """``tags`` and the ``Name`` that the console shows for what has no name of its own."""
    return {**tags, "Name": name}
