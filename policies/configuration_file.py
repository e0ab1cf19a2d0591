"""The configuration file: Pulumi's own format of ``--policy-pack-config``, read strictly.

    {
      "all": "mandatory",
      "exposure-ingress-rule": {
        "enforcementLevel": "advisory",
        "public_ports": [443],
        "exemptions": [
          {"resource": "web-*", "stack": "shop", "owner": "ann@example.com", "reason": "...", "expires": "2027-01-31"}
        ]
      }
    }

Whatever can't be understood is an error that says where it is and what to write: a setting that is passed over leaves
a rule other than its author believes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from policies.configuration import Configuration, ConfigurationError, Exemption, RuleSettings
from policies.model import Level, Rule

LONGEST_EXEMPTION = timedelta(days=366)
"""Somebody looks at every exemption once a year. What is meant to be for ever is a level."""

EXEMPTION_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "resource": {"type": "string", "minLength": 1, "description": "name or URN; `*` and `?` match"},
        "stack": {"type": "string", "minLength": 1, "description": "name of the stack; `*` and `?` match"},
        "owner": {"type": "string", "minLength": 1, "description": "who answers for it"},
        "reason": {"type": "string", "minLength": 1, "description": "why the rule need not be kept"},
        "expires": {"type": "string", "minLength": 1, "description": "the last day on which it holds: 2027-01-31"},
    },
    "required": ["resource", "owner", "reason", "expires"],
    "additionalProperties": False,
}
EXEMPTIONS_SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "items": EXEMPTION_SCHEMA,
    "description": "what need not keep the rule until a day; one that has expired is a violation",
}


def schema_of(rule: Rule) -> dict[str, Mapping[str, Any]]:
    """JSON Schema by property of what a rule's object may hold beside ``enforcementLevel``."""
    return {**{each.name: each.schema for each in rule.parameters}, "exemptions": EXEMPTIONS_SCHEMA}


def load(path: Path, rules: Iterable[Rule], today: date | None = None) -> Configuration:
    """Raises ConfigurationError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise ConfigurationError(f"{path}: the policy configuration can't be read: {what}") from None
    return parse(text, rules, source=str(path), today=today)


def parse(text: str, rules: Iterable[Rule], *, source: str, today: date | None = None) -> Configuration:
    """``source`` names the file in errors. Raises ConfigurationError."""
    try:
        raw = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{source}: line {error.lineno}, column {error.colno}: this is no JSON: {error.msg}"
        ) from None
    except RecursionError:
        raise ConfigurationError(f"{source}: it is nested too deeply") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigurationError(f'{source}: want one object, {{"RULE": {{...}}}}')
    known = {rule.id: rule for rule in rules}
    settings = {}
    every = None
    for name, value in raw.items():
        try:
            if name == "all":
                every = _every(value)
            elif name not in known:
                raise ConfigurationError(f"{name}: there is no such rule{_meant(name, known)}")
            else:
                settings[name] = rule_settings(known[name], value, today)
        except ConfigurationError as error:
            raise ConfigurationError(f"{source}: {error}") from None
    return Configuration(settings, every)


def rule_settings(rule: Rule, raw: Any, today: date | None = None) -> RuleSettings:
    """``raw``: what Pulumi's policy configuration has under the rule's id: a level, or an object. Raises
    ConfigurationError."""
    if isinstance(raw, str):
        return RuleSettings(_level(rule.id, raw))
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"{rule.id}: want a level or an object, not {json.dumps(raw)[:40]}")
    raw = _whole_numbers(dict(raw))
    schemas = schema_of(rule)
    level = _level(f"{rule.id}.enforcementLevel", raw["enforcementLevel"]) if "enforcementLevel" in raw else None
    for name, value in raw.items():
        if name == "enforcementLevel":
            continue
        if name not in schemas:
            raise ConfigurationError(
                f"{rule.id}.{name}: there is no such setting; there are {', '.join(['enforcementLevel', *schemas])}"
            )
        _validate(f"{rule.id}.{name}", value, schemas[name])
    exemptions = tuple(
        _exemption(f"{rule.id}.exemptions[{index}]", each, today or datetime.now(UTC).date())
        for index, each in enumerate(raw.get("exemptions") or ())
    )
    return RuleSettings(level, {each.name: raw[each.name] for each in rule.parameters if each.name in raw}, exemptions)


def _every(value: Any) -> Level:
    if isinstance(value, Mapping) and set(value) == {"enforcementLevel"}:
        return _level("all.enforcementLevel", value["enforcementLevel"])
    if isinstance(value, Mapping):
        raise ConfigurationError("all: a level for all rules is what it may hold; set parameters rule by rule")
    return _level("all", value)


def _level(where: str, value: Any) -> Level:
    if not isinstance(value, str) or value not in {each.value for each in Level}:
        raise ConfigurationError(f"{where}: {json.dumps(value)[:40]} is no level; write {', '.join(Level)}")
    return Level(value)


def _validate(where: str, value: Any, schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator

    for error in sorted(Draft202012Validator(schema).iter_errors(value), key=lambda each: list(each.path)):
        place = where + "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in error.absolute_path)
        meaning = error.schema.get("description") if isinstance(error.schema, Mapping) else None
        raise ConfigurationError(
            f"{place}: {error.message[:200]}" + (f"; it is meant for: {meaning}" if meaning else "")
        )


def _exemption(where: str, raw: Mapping[str, Any], today: date) -> Exemption:
    for name in ("owner", "reason", "resource"):
        if not raw[name].strip():
            raise ConfigurationError(f"{where}.{name}: it is blank")
    text = raw["expires"]
    try:
        expires = date.fromisoformat(text)
        if text != expires.isoformat():
            raise ValueError
    except ValueError:
        raise ConfigurationError(f"{where}.expires: {text[:40]!r} is no date; write it as 2027-01-31") from None
    if expires - today > LONGEST_EXEMPTION:
        raise ConfigurationError(
            f"{where}.expires: {text} is more than {LONGEST_EXEMPTION.days} days ahead; write an earlier day, and "
            "look at it again then"
        )
    found = Exemption(raw["owner"], raw["reason"], expires, raw["resource"], raw.get("stack", "*"))
    if found.covers_everything:
        raise ConfigurationError(
            f"{where}.resource: {raw['resource'][:40]!r} exempts every resource of every stack; name resources or a "
            "stack, or set the rule's enforcementLevel"
        )
    return found


def _whole_numbers(value: Any) -> Any:
    """The engine hands every number over as a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole_numbers(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_whole_numbers(each) for each in value]
    return value


def _meant(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else "; `tenantry policy list` shows them"


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ConfigurationError(f"{key!r} stands twice in one object, and only one of them would count")
        seen.add(key)
    return dict(pairs)


def _no_constant(text: str) -> Any:
    raise ConfigurationError(f"{text} is no number of JSON")
