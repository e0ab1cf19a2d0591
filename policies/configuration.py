"""How an installation sets its rules: levels, parameters, and exemptions that somebody answers for until a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

from policies.model import Level, Rule


def _matches(pattern: str, name: str) -> bool:
    """Brackets stand for themselves: names of resources have them."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


@dataclass(frozen=True)
class Exemption:
    """``stack`` and ``resource`` are patterns (``*``, ``?``) for a stack's name and a resource's URN or name."""

    owner: str
    reason: str
    expires: date  #: the last day on which it holds
    resource: str
    stack: str = "*"

    def covers(self, stack_name: str, urn: str) -> bool:
        name = urn.rsplit("::", 1)[-1]
        return _matches(self.stack, stack_name) and any(_matches(self.resource, each) for each in (urn, name))

    @property
    def covers_everything(self) -> bool:
        return self.covers("q0vz7w", "urn:pulumi:q0vz7w::x4k::y9j:w8/v7m:U6::t5h")

    def holds(self, today: date) -> bool:
        return today <= self.expires


@dataclass(frozen=True)
class RuleSettings:
    """``level``: None leaves the rule's own."""

    level: Level | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    exemptions: tuple[Exemption, ...] = ()


@dataclass(frozen=True)
class Configuration:
    """``rules``: settings by rule id. ``all``: the level of rules that name none."""

    rules: Mapping[str, RuleSettings] = field(default_factory=dict)
    all: Level | None = None

    def of(self, rule: Rule) -> RuleSettings:
        return self.rules.get(rule.id, RuleSettings())

    def level(self, rule: Rule) -> Level:
        return self.of(rule).level or self.all or rule.level

    def parameters(self, rule: Rule) -> dict[str, Any]:
        return {**rule.defaults, **self.of(rule).parameters}


class ConfigurationError(ValueError):
    """A configuration that can't be used: the message says where, what is wrong and what to write."""
