"""A rule: a plain function over one resource's properties, with what an operator needs to know about it.

Rules see properties as the engine gives them to a policy pack: names in camelCase, secrets and outputs resolved.
They import neither Pulumi nor the rest of the project, so they run in a test, in the pack and in-process alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Properties = Mapping[str, Any]


class Severity(StrEnum):
    MANDATORY = "mandatory"  #: a violation stops the operation
    ADVISORY = "advisory"  #: a violation is shown


@dataclass(frozen=True)
class Rule:
    """``check`` returns one sentence per violation, none when the resource keeps the rule."""

    id: str  #: stable: exemptions and evidence name it
    title: str
    severity: Severity
    remediation: str
    types: frozenset[str]  #: resource type tokens it looks at; empty: every type
    check: Callable[[Properties], list[str]]

    def applies_to(self, resource_type: str) -> bool:
        return not self.types or resource_type in self.types


def violations(rule: Rule, resource_type: str, properties: Properties) -> list[str]:
    """What ``rule`` finds on one resource; each message ends with the remediation."""
    if not rule.applies_to(resource_type):
        return []
    return [f"{message}. {rule.remediation}" for message in rule.check(properties)]
