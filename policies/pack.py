"""Rules as policies of a Pulumi policy pack: what the engine shows of a resource, turned into what rules look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from policies.configuration import Configuration
from policies.configuration_file import rule_settings, schema_of
from policies.evaluate import Finding, Outcome, judge_resource, judge_stack
from policies.model import Level, Resource, Rule, Scope, Stack
from policies.pack_stack import facts, inputs
from policies.values import Unknown

_LEVELS = {
    Level.MANDATORY: EnforcementLevel.MANDATORY,
    Level.ADVISORY: EnforcementLevel.ADVISORY,
    Level.DISABLED: EnforcementLevel.DISABLED,
}


def policies(rules: tuple[Rule, ...]) -> list[Policy]:
    return [_of_stack(rule) if rule.scope is Scope.STACK else _of_resource(rule) for rule in rules]


def _described(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.id,
        "description": rule.title,
        "enforcement_level": _LEVELS[rule.level],
        "severity": Severity(rule.severity.value),
        "remediation_steps": rule.remediation,
        "config_schema": PolicyConfigSchema({name: dict(schema) for name, schema in schema_of(rule).items()}),
    }


def _of_resource(rule: Rule) -> ResourceValidationPolicy:
    def validate(arguments: ResourceValidationArgs, report: ReportViolation) -> None:
        if not rule.applies_to(arguments.resource_type):
            return
        resource = Resource(
            arguments.urn,
            arguments.resource_type,
            arguments.name,
            plain(arguments.props),
            protect=bool(arguments.opts.protect),
        )
        _report(judge_resource(rule, resource, facts(), _configuration(rule, arguments.get_config)), report)

    return ResourceValidationPolicy(validate=validate, **_described(rule))


def _of_stack(rule: Rule) -> StackValidationPolicy:
    def validate(arguments: StackValidationArgs, report: ReportViolation) -> None:
        stack = Stack(tuple(_resource(each) for each in arguments.resources))
        _report(judge_stack(rule, stack, facts(), _configuration(rule, arguments.get_config)), report)

    return StackValidationPolicy(validate=validate, **_described(rule))


def _resource(shown: PolicyResource) -> Resource:
    return Resource(
        shown.urn,
        shown.resource_type,
        shown.name,
        {**plain(inputs(shown.urn)), **plain(shown.props)},
        parent=shown.parent.urn if shown.parent is not None else "",
        protect=bool(shown.opts.protect),
        depends_on={
            name: frozenset(each.urn for each in sources) for name, sources in shown.property_dependencies.items()
        },
        dependencies=frozenset(each.urn for each in shown.dependencies),
    )


def _configuration(rule: Rule, get_config: Callable[[], Mapping[str, Any]]) -> Configuration:
    # The level is the engine's to apply: it knows it from the same configuration.
    return Configuration({rule.id: rule_settings(rule, get_config() or {})})


def _report(findings: list[Finding], report: ReportViolation) -> None:
    for finding in findings:
        if finding.outcome is not Outcome.EXEMPTED:
            report(finding.text, finding.urn or None)


def plain(value: Any, path: str = "") -> Any:
    """What the SDK wraps so that unknown values raise, with those as ``Unknown``; whole numbers as such, which travel
    as floats."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _member(value, key, f"{path}.{key}" if path else str(key)) for key in value}
    if isinstance(value, str | bytes) or not hasattr(value, "__getitem__"):
        return value
    return [_member(value, index, f"{path}[{index}]") for index in range(len(value))]


def _member(container: Any, key: Any, path: str) -> Any:
    try:
        return plain(container[key], path)
    except UnknownValueError:
        return Unknown(path)
