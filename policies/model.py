"""Rules, what they look at, and what they find.

A rule is a plain function over one resource or over a whole stack, with what an operator and an auditor need to know
about it. Rules import neither Pulumi nor the service: they run in a test, in a policy pack and in the worker alike.

    Rule(
        id="exposure-subnet", title="A subnet ...", severity=Severity.HIGH, remediation="Set ... to false",
        types=frozenset({"aws:ec2/subnet:Subnet"}), resource=lambda resource, facts: [...],
    )
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from components.spec import Environment, PlatformOutputs, PlatformSpec, TenantSpec
from policies.values import CannotTell, Properties


class Severity(StrEnum):
    """How bad a violation is; Pulumi's names."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Level(StrEnum):
    """What a violation does; Pulumi's names."""

    MANDATORY = "mandatory"  #: stops the operation
    ADVISORY = "advisory"  #: is shown
    DISABLED = "disabled"  #: is not looked for


class Scope(StrEnum):
    RESOURCE = "resource"  #: judged by one resource's inputs
    STACK = "stack"  #: judged by the outputs of a stack's resources and by what they depend on


@dataclass(frozen=True)
class Resource:
    """One resource of a stack, as it will be or as it is.

    ``properties``: names in camelCase; what is secret is a ``Secret``, what only the update tells ``Unknown``. A
    resource rule is given the inputs, a stack rule the outputs (which repeat the inputs), as Pulumi's policy packs are.
    ``depends_on`` maps a property to the URNs of the resources that its value comes from.
    """

    urn: str
    type: str  #: type token: ``aws:kms/key:Key``
    name: str
    properties: Properties
    parent: str = ""
    protect: bool = False
    depends_on: Mapping[str, frozenset[str]] = field(default_factory=dict)
    dependencies: frozenset[str] = frozenset()

    def get(self, name: str) -> Any:
        return self.properties.get(name)


@dataclass(frozen=True)
class Facts:
    """What is known of the stack beside its resources.

    ``spec`` and ``platform`` are absent from stacks that are not Tenantry's. ``parameters`` are the rule's own.
    """

    stack_name: str = ""
    project: str = ""
    spec: TenantSpec | PlatformSpec | None = None
    platform: PlatformOutputs | None = None
    today: date = field(default_factory=lambda: datetime.now(UTC).date())
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tenant(self) -> TenantSpec | None:
        return self.spec if isinstance(self.spec, TenantSpec) else None

    @property
    def tenant_id(self) -> str | None:
        """The tenant whose stack it is; ``platform`` for what tenants share, None for a stack of somebody else's."""
        if self.spec is None:
            return None
        return self.spec.tenant_id if isinstance(self.spec, TenantSpec) else "platform"

    @property
    def environment(self) -> Environment | None:
        """None: not known from a specification; the tag ``environment`` of a resource may tell."""
        return None if self.spec is None else self.spec.environment

    @property
    def protects(self) -> bool:
        """Whether deletion must be prevented: always, but in an offboarding that was authorised."""
        return self.spec is None or self.spec.protect


@dataclass(frozen=True)
class Stack:
    """All resources of a stack."""

    resources: tuple[Resource, ...]

    @cached_property
    def by_urn(self) -> Mapping[str, Resource]:
        return {each.urn: each for each in self.resources}

    def of_type(self, *types: str) -> Iterator[Resource]:
        return (each for each in self.resources if each.type in types)

    def sources(self, resource: Resource, name: str) -> tuple[Resource, ...]:
        """The resources of this stack that the value of property ``name`` comes from directly."""
        urns = resource.depends_on.get(name, frozenset())
        return tuple(self.by_urn[urn] for urn in sorted(urns) if urn in self.by_urn)


@dataclass(frozen=True)
class Violation:
    """``urn``: of the resource at fault, "" for the stack as a whole. ``message``: one sentence without its full stop,
    that says what is wrong and quotes no secret. ``undecided``: it is not known whether the rule is kept."""

    urn: str
    message: str
    undecided: bool = False


Check = Callable[[Stack, Facts], Iterable[Violation]]
ResourceCheck = Callable[[Resource, Facts], Iterable[str]]


def each_resource(types: Iterable[str], judge: Callable[[Resource, Stack, Facts], Iterable[str]]) -> Check:
    """A stack check that judges one resource after the other; one that can't be judged hides no other's violation."""
    wanted = tuple(types)

    def check(stack: Stack, facts: Facts) -> Iterator[Violation]:
        for resource in stack.of_type(*wanted):
            try:
                yield from [Violation(resource.urn, message) for message in judge(resource, stack, facts)]
            except CannotTell as unknown:
                message = f"this can't be judged, because {unknown}"
                yield Violation(resource.urn, message, undecided=True)

    return check


@dataclass(frozen=True)
class Reference:
    """Where a framework asks for it: ``Reference("CIS AWS", "3.6", "https://...")``."""

    framework: str
    control: str
    url: str = ""


@dataclass(frozen=True)
class Parameter:
    """A value that the configuration may set. ``schema``: JSON Schema of it, with a ``description``."""

    name: str
    default: Any
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """Exactly one of ``resource`` (returns sentences) and ``stack`` (returns violations) is set.

    ``types``: the type tokens that a resource rule looks at; empty: all. A check may raise ``values.CannotTell``.
    """

    id: str  #: stable: configurations, exemptions and evidence name it
    title: str
    severity: Severity
    remediation: str  #: what to do, one sentence without its full stop
    types: frozenset[str] = frozenset()
    resource: ResourceCheck | None = None
    stack: Check | None = None
    level: Level = Level.MANDATORY  #: unless the configuration says otherwise
    references: tuple[Reference, ...] = ()
    parameters: tuple[Parameter, ...] = ()

    def __post_init__(self) -> None:
        if (self.resource is None) == (self.stack is None):
            raise ValueError(f"rule {self.id}: it looks at a resource or at a stack")

    @property
    def scope(self) -> Scope:
        return Scope.STACK if self.resource is None else Scope.RESOURCE

    def applies_to(self, resource_type: str) -> bool:
        return not self.types or resource_type in self.types

    @property
    def defaults(self) -> dict[str, Any]:
        return {each.name: each.default for each in self.parameters}
