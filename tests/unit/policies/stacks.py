"""Small stacks to judge: resources by type and properties, with references that a preview can't know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from components.spec import Environment, InstanceSpec, PlatformSpec, TenantSpec
from components.tiers import Tier
from policies.model import Facts, Resource, Stack
from policies.values import Unknown

TODAY = date(2026, 11, 24)
SILO = TenantSpec(
    installation="test",
    environment=Environment.PRODUCTION,
    tenant_id="acme",
    tier=Tier.SILO,
    plan="enterprise",
    instance=InstanceSpec(instance_class="db.t4g.medium", storage_gib=20, multi_az=True),
)
POOL = TenantSpec(
    installation="test", environment=Environment.PRODUCTION, tenant_id="acme", tier=Tier.POOL, plan="starter"
)
OFFBOARDED = SILO.model_copy(update={"protect": False, "final_snapshot": False})
PLATFORM = PlatformSpec(installation="test", environment=Environment.PRODUCTION)
FOREIGN = None

Spec = TenantSpec | PlatformSpec | None


@dataclass(frozen=True)
class R:
    """A resource. ``refs``: property to the names of other resources of the case, whose outputs are its value.

    ``{case}`` in a text becomes the case's own prefix, so that cases can stand in one stack.
    """

    type: str
    properties: Mapping[str, Any]
    name: str = "it"
    refs: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    protect: bool = False


def r(
    type_: str,
    name: str = "it",
    refs: Mapping[str, str | tuple[str, ...]] | None = None,
    protect: bool = False,
    **props: Any,
) -> R:
    return R(type_, props, name, refs or {}, protect)


def sources(resource: R, name: str) -> tuple[str, ...]:
    named = resource.refs[name]
    return (named,) if isinstance(named, str) else named


def filled(value: Any, prefix: str) -> Any:
    """``value`` with the case's prefix in the place of ``{case}``."""
    if isinstance(value, str):
        return value.replace("{case}", prefix)
    if isinstance(value, list):
        return [filled(each, prefix) for each in value]
    if isinstance(value, Mapping):
        return {key: filled(each, prefix) for key, each in value.items()}
    return value


def urn(type_: str, name: str, owner: str = "dev::shop") -> str:
    return f"urn:pulumi:{owner}::{type_}::{name}"


def stack_of(resources: Iterable[R], prefix: str = "x", owner: str = "dev::shop") -> Stack:
    """As a preview shows it: references are unknown, and say where they come from. ``owner``: stack and project."""
    listed = list(resources)
    urns = {each.name: urn(each.type, f"{prefix}-{each.name}", owner) for each in listed}
    return Stack(
        tuple(
            Resource(
                urns[each.name],
                each.type,
                f"{prefix}-{each.name}",
                {**filled(each.properties, prefix), **{name: Unknown(name) for name in each.refs}},
                protect=each.protect,
                depends_on={name: frozenset(urns[source] for source in sources(each, name)) for name in each.refs},
            )
            for each in listed
        )
    )


def facts_of(spec: Spec) -> Facts:
    return Facts("acme" if spec else "dev", "tenantry" if spec else "shop", spec, today=TODAY)


def policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, resource: Any = None, condition: Any = None, principal: Any = None) -> dict[str, Any]:
    found = {"Effect": "Allow", "Action": action}
    if resource is not None:
        found["Resource"] = resource
    if condition is not None:
        found["Condition"] = condition
    if principal is not None:
        found["Principal"] = principal
    return found


@dataclass(frozen=True)
class Case:
    """Stacks that keep a rule, that break it, and of which a preview can't tell; ``spec``: whose stack it is."""

    rule: str
    keeps: tuple[tuple[R, ...], ...] = ()
    breaks: tuple[tuple[R, ...], ...] = ()
    undecided: tuple[tuple[R, ...], ...] = ()
    spec: Spec = FOREIGN


def one(type_: str, *properties: Mapping[str, Any]) -> tuple[tuple[R, ...], ...]:
    """Stacks of one resource each."""
    return tuple((R(type_, each),) for each in properties)


def unknown(type_: str, properties: Mapping[str, Any], *names: str) -> tuple[tuple[R, ...], ...]:
    """For each of ``names`` a stack in which that property of the resource is another's output."""
    return tuple((R("aws:ec2/eip:Eip", {}, "source"), R(type_, properties, refs={name: "source"})) for name in names)
