"""How an installation sets its rules: levels, parameters, and exemptions that somebody answers for until a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

from policies.model import Level, Rule


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
        return fnmatchcase(stack_name, self.stack) and any(fnmatchcase(each, self.resource) for each in (urn, name))

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


def rule_settings(rule: Rule, raw: Mapping[str, Any]) -> RuleSettings:
    """``raw``: the rule's object in Pulumi's policy configuration, with ``enforcementLevel``, ``exemptions`` and the
    rule's own parameters. Raises ConfigurationError."""
    known = {each.name for each in rule.parameters}
    unexpected = set(raw) - known - {"enforcementLevel", "exemptions"}
    if unexpected:
        raise ConfigurationError(f"{rule.id}: there is no setting {', '.join(sorted(unexpected))}")
    level = raw.get("enforcementLevel")
    if level is not None and level not in {each.value for each in Level}:
        raise ConfigurationError(f"{rule.id}.enforcementLevel: {level!r} is none of {', '.join(Level)}")
    exemptions = tuple(_exemption(rule, index, each) for index, each in enumerate(raw.get("exemptions") or ()))
    return RuleSettings(Level(level) if level else None, {name: raw[name] for name in known if name in raw}, exemptions)


def _exemption(rule: Rule, index: int, raw: Mapping[str, Any]) -> Exemption:
    where = f"{rule.id}.exemptions[{index}]"
    try:
        expires = date.fromisoformat(raw["expires"])
        return Exemption(raw["owner"], raw["reason"], expires, raw["resource"], raw.get("stack", "*"))
    except KeyError as missing:
        raise ConfigurationError(f"{where}: {missing.args[0]} is missing") from None
    except ValueError as wrong:
        raise ConfigurationError(f"{where}.expires: {wrong}; write a date as 2027-01-31") from None
