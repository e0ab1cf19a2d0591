"""Rules over a stack: what they found, and whether that stops an operation.

The same functions serve the policy pack, the worker's gate and ``tenantry policy check``, so their verdicts agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from policies.configuration import Configuration, Exemption, RuleSettings
from policies.model import Facts, Level, Resource, Rule, Scope, Stack, Violation
from policies.values import CannotTell


class Outcome(StrEnum):
    VIOLATED = "violated"
    UNDECIDED = "undecided"  #: the rule could not be evaluated: never taken for kept
    EXEMPTED = "exempted"  #: violated or undecided, and somebody answers for it until a day


@dataclass(frozen=True)
class Finding:
    """One rule that one resource (``urn``; "" for the stack) does not keep, or may not keep."""

    rule: Rule
    level: Level
    outcome: Outcome
    urn: str
    message: str  #: a sentence without its full stop
    exemption: Exemption | None = None  #: the one that covers it, in force or expired

    @property
    def blocks(self) -> bool:
        return self.level is Level.MANDATORY and self.outcome is not Outcome.EXEMPTED

    @property
    def text(self) -> str:
        """What is wrong and what to do: the same wherever it is shown."""
        return f"{self.message}. {self.rule.remediation}."

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rule": self.rule.id,
            "level": self.level.value,
            "severity": self.rule.severity.value,
            "outcome": self.outcome.value,
            "urn": self.urn,
            "message": self.message,
            "remediation": self.rule.remediation,
        }


@dataclass(frozen=True)
class Report:
    findings: tuple[Finding, ...]
    evaluated: tuple[str, ...]  #: ids of the rules that were looked at

    @property
    def blocking(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.blocks)

    @property
    def passed(self) -> bool:
        return not self.blocking


def evaluate(
    rules: Sequence[Rule],
    inputs: Stack,
    outputs: Stack,
    facts: Facts,
    configuration: Configuration | None = None,
) -> Report:
    """Every rule that is not disabled. ``inputs``: the stack as its program asks for it, ``outputs``: as it will be or
    is. Raises nothing: a rule that can't be evaluated, for whatever reason, is a finding."""
    configuration = configuration or Configuration()
    findings: list[Finding] = []
    evaluated = []
    for rule in rules:
        if configuration.level(rule) is Level.DISABLED:
            continue
        evaluated.append(rule.id)
        if rule.scope is Scope.STACK:
            findings += judge_stack(rule, outputs, facts, configuration)
        else:
            for resource in inputs.resources:
                if rule.applies_to(resource.type):
                    findings += judge_resource(rule, resource, facts, configuration)
    return Report(tuple(findings), tuple(evaluated))


def judge_resource(rule: Rule, resource: Resource, facts: Facts, configuration: Configuration) -> list[Finding]:
    """What a resource rule finds on one resource of a type it applies to."""
    assert rule.resource is not None
    facts = replace(facts, parameters=configuration.parameters(rule))
    try:
        found = [(Outcome.VIOLATED, message) for message in rule.resource(resource, facts)]
    except Exception as error:
        found = [(Outcome.UNDECIDED, _undecided(rule, error))]
    return [_finding(rule, outcome, resource.urn, text, facts, configuration) for outcome, text in found]


def judge_stack(rule: Rule, stack: Stack, facts: Facts, configuration: Configuration) -> list[Finding]:
    """What a stack rule finds. Violations that it named before it could not go on are kept."""
    assert rule.stack is not None
    facts = replace(facts, parameters=configuration.parameters(rule))
    found: list[tuple[Outcome, Violation]] = []
    try:
        for violation in rule.stack(stack, facts):
            found.append((Outcome.UNDECIDED if violation.undecided else Outcome.VIOLATED, violation))
    except Exception as error:
        found.append((Outcome.UNDECIDED, Violation("", _undecided(rule, error))))
    return [_finding(rule, outcome, each.urn, each.message, facts, configuration) for outcome, each in found]


def _undecided(rule: Rule, error: Exception) -> str:
    if isinstance(error, CannotTell):
        return f"{rule.title}: this can't be judged, because {error}"
    # The message of any other error may quote a property.
    return f"{rule.title}: this can't be judged, because the rule failed with {type(error).__name__}"


def _finding(
    rule: Rule, outcome: Outcome, urn: str, message: str, facts: Facts, configuration: Configuration
) -> Finding:
    settings: RuleSettings = configuration.of(rule)
    covering = [each for each in settings.exemptions if each.covers(facts.stack_name, urn)]
    level = configuration.level(rule)
    for exemption in covering:
        if exemption.holds(facts.today):
            return Finding(rule, level, Outcome.EXEMPTED, urn, message, exemption)
    if covering:
        last = max(covering, key=lambda each: each.expires)
        message = f"{message} (the exemption that {last.owner} answers for expired on {last.expires:%Y-%m-%d})"
        return Finding(rule, level, outcome, urn, message, last)
    return Finding(rule, level, outcome, urn, message)
