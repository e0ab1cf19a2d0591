"""What a preview can show of a stack that does not stand yet: every document that a rule has to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from components.app_schema import AppMigrations
from components.tiers import Tier
from stacks import platform, tenant
from tests.unit.components.recording import PLATFORM, Run, platform_spec, run, tenant_spec

MIGRATIONS = AppMigrations("/srv/app_schema", ({"version": 1, "name": "one", "sha256": "0" * 64},))
DOCUMENTS = {"policy", "policyDocument", "assumeRolePolicy", "inlinePolicies", "eventPattern"}
"""Inputs that hold a JSON document, whatever the resource."""


def _platform() -> Run:
    return run(
        lambda: platform.program(platform_spec(app_schema_version=1), MIGRATIONS), stack_name="platform", preview=True
    )


def _tenant(tier: Tier) -> Run:
    spec = tenant_spec(tier, app_schema_version=1)
    return run(lambda: tenant.program(spec, PLATFORM, MIGRATIONS), stack_name=spec.stack_name, preview=True)


STACKS: dict[str, Callable[[], Run]] = {
    "platform": _platform,
    **{tier.value: lambda tier=tier: _tenant(tier) for tier in Tier},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", STACKS)
def test_every_document_is_known_before_anything_exists(name: str) -> None:
    documents: list[tuple[str, Any]] = [
        (f"{each.type} {each.name}: {key}", value)
        for each in STACKS[name]().custom
        for key, value in each.inputs.items()
        if key in DOCUMENTS
    ]
    assert [where for where, value in documents if not isinstance(value, str) or not json.loads(value)] == []
    assert len(documents) == {"platform": 12, "pool": 0, "bridge": 0, "silo": 4}[name]


def test_a_preview_knows_no_id_that_the_cloud_gives() -> None:
    (instance,) = _tenant(Tier.SILO).of_type("aws:rds/instance:Instance")
    assert not isinstance(instance.inputs["kmsKeyId"], str)
    assert any("aws:kms/key:Key" in urn for urn in instance.dependencies)
