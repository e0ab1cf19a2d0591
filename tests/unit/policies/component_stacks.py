"""The stacks of our own components, as rules see them: previewed before they exist, and as they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import pulumi.output

from components.app_schema import AppMigrations
from components.spec import Budget, PlatformOutputs
from components.tiers import Tier
from policies.model import Facts, Resource, Stack
from policies.values import Unknown
from stacks import platform, tenant
from tests.unit.components.recording import PLATFORM, Recorded, Run, platform_spec, run, tenant_spec

MIGRATIONS = AppMigrations("/srv/app_schema", ({"version": 1, "name": "one", "sha256": "0" * 64},))
TENANT = "acme"
OTHER = "globex"
AMPLE: dict[str, Any] = {"max_resources": 100, "monthly_usd": 1000}
STACKS = ("platform", *(tier.value for tier in Tier))
Moment = Literal["preview", "standing"]
MOMENTS: tuple[Moment, ...] = ("preview", "standing")


@dataclass(frozen=True)
class Judged:
    """A stack and what is known of it beside."""

    stack: Stack
    facts: Facts

    def changed(self, part: str, **properties: Any) -> Judged:
        """With other properties of the resources whose type or URN ends in ``part``; None takes one away. A property
        that is set has no source any more."""
        resources = []
        for each in self.stack.resources:
            if each.type.endswith(part) or each.urn.endswith(part):
                kept = {**each.properties, **properties}
                each = replace(
                    each,
                    properties={name: value for name, value in kept.items() if value is not None},
                    depends_on={name: urns for name, urns in each.depends_on.items() if name not in properties},
                )
            resources.append(each)
        return replace(self, stack=Stack(tuple(resources)))

    def without(self, *types: str) -> Judged:
        kept = tuple(each for each in self.stack.resources if not each.type.endswith(types))
        return replace(self, stack=Stack(kept))

    def having(self, type_: str, properties: Mapping[str, Any], **sources: str) -> Judged:
        """With one more resource. ``sources``: property to the ending of the type that its unknown value comes from."""
        name = f"added-{len(self.stack.resources)}"
        depends_on = {key: frozenset({self.one(ending).urn}) for key, ending in sources.items()}
        unknown = {key: Unknown(key) for key in sources}
        added = Resource(
            f"urn:pulumi:acme::tenantry::{type_}::{name}", type_, name, {**properties, **unknown}, depends_on=depends_on
        )
        return replace(self, stack=Stack((*self.stack.resources, added)))

    def one(self, ending: str) -> Resource:
        (found,) = [each for each in self.stack.resources if each.type.endswith(ending)]
        return found

    def budget(self, **limits: Any) -> Judged:
        assert self.facts.tenant is not None
        spec = self.facts.tenant.model_copy(update={"budget": Budget.model_validate({**AMPLE, **limits})})
        return replace(self, facts=replace(self.facts, spec=spec))

    def platform(self, **changes: Any) -> Judged:
        assert self.facts.platform is not None
        changed = PlatformOutputs.model_validate({**self.facts.platform.model_dump(), **changes})
        return replace(self, facts=replace(self.facts, platform=changed))


@cache
def component_stack(name: str, moment: Moment = "preview", **changes: Any) -> Judged:
    """``name``: ``platform`` or a tier; ``changes``: of its specification."""
    if name == "platform":
        shared = platform_spec(app_schema_version=1, **changes)
        done = _run(lambda: platform.program(shared, MIGRATIONS), "platform", moment)
        return Judged(_stack(done), Facts("platform", "tenantry", shared))
    spec = tenant_spec(name, tenant_id=TENANT, app_schema_version=1, **changes)
    done = _run(lambda: tenant.program(spec, PLATFORM, MIGRATIONS), spec.stack_name, moment)
    return Judged(_stack(done), Facts(spec.stack_name, "tenantry", spec, PLATFORM))


def _run(program: Callable[[], Any], stack_name: str, moment: Moment) -> Run:
    return run(program, stack_name=stack_name, preview=moment == "preview")


def _stack(done: Run) -> Stack:
    return Stack(tuple(_resource(each) for each in done.resources))


def _resource(recorded: Recorded) -> Resource:
    properties = {**recorded.inputs, **recorded.outputs}
    return Resource(
        recorded.urn,
        recorded.type,
        recorded.name,
        {key: _plain(value, key) for key, value in properties.items()},
        parent=recorded.parent,
        protect=recorded.protect,
        depends_on=recorded.property_dependencies,
        dependencies=recorded.dependencies,
    )


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, pulumi.output.Unknown):
        return Unknown(path)
    if isinstance(value, Mapping):
        return {key: _plain(each, f"{path}.{key}") for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, f"{path}[{index}]") for index, each in enumerate(value)]
    return value
