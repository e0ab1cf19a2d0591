"""A stopped instance is started before anything else is asked of it."""

from __future__ import annotations

from typing import Any

import pytest

from components.spec import Access, Environment, InstanceSpec, TenantSpec
from components.tiers import TIERS, Tier
from provisioner.hibernation.waking import first_step


def spec(tier: Tier = Tier.SILO, **changes: object) -> TenantSpec:
    values: dict[str, object] = {
        "installation": "demo",
        "environment": Environment.PRODUCTION,
        "tenant_id": "acme",
        "tier": tier,
        "plan": "enterprise",
        "instance": InstanceSpec() if TIERS[tier].own_instance else None,
    }
    return TenantSpec.model_validate(values | changes)


ASLEEP = spec(access=Access.HIBERNATED)
LARGER = InstanceSpec(instance_class="db.r7g.large")


@pytest.mark.parametrize("access", [Access.FULL, Access.READ_ONLY, Access.SUSPENDED])
@pytest.mark.parametrize("missed", [{"instance": LARGER}, {"app_schema_version": 3}, {"protect": False}])
def test_what_was_missed_comes_after_the_start(access: Access, missed: dict[str, Any]) -> None:
    wanted = spec(access=access, **missed)
    first = first_step(ASLEEP, "hibernated", wanted)
    assert first == ASLEEP.model_copy(update={"access": access})


def test_an_instance_that_only_has_to_start_starts_with_the_update_itself() -> None:
    assert first_step(ASLEEP, "hibernated", spec()) is None


def test_nothing_comes_first_for_what_does_not_sleep_goes_on_sleeping_or_was_never_there() -> None:
    assert first_step(spec(access=Access.SUSPENDED), "suspended", spec(instance=LARGER)) is None
    assert first_step(ASLEEP, "hibernated", ASLEEP.model_copy(update={"plan": "other"})) is None
    assert first_step(None, None, spec()) is None
    assert first_step(spec(Tier.BRIDGE, access=Access.HIBERNATED), "hibernated", spec(Tier.BRIDGE, plan="team")) is None


def test_after_a_crash_the_first_step_is_taken_again_and_then_no_more() -> None:
    wanted = spec(instance=LARGER)
    first = first_step(ASLEEP, "hibernated", wanted)
    assert first is not None
    assert first_step(first, "hibernated", wanted) == first, "it may not have got that far"
    assert first_step(wanted, "hibernated", wanted) is None, "recorded only once the instance runs"
