"""What has to be done first when a tenant whose instance is stopped is to change. Pure."""

from __future__ import annotations

from components.spec import Access, TenantSpec
from components.tiers import TIERS


def first_step(standing: TenantSpec | None, stands_with: str | None, wanted: TenantSpec) -> TenantSpec | None:
    """The spec to deploy before ``wanted``; None if there is nothing to do before.

    RDS modifies no stopped instance, and an update modifies it before it starts it: what was missed while the tenant
    slept (another size, a protection that comes off) comes after the start. ``standing``: the spec recorded last;
    ``stands_with``: the access that the stack's outputs show. Deployed again after a crash it changes nothing.
    """
    if standing is None or stands_with != Access.HIBERNATED or wanted.access is Access.HIBERNATED:
        return None
    if not TIERS[standing.tier].own_instance:
        return None
    awake = standing.model_copy(update={"access": wanted.access})
    return None if awake == wanted else awake
