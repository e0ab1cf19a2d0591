"""A second evaluator, to compare with: AWS's logic as formulas over raw documents and regular expressions.

It shares nothing with ``isolation.iam`` and knows less: no grants, no control policies, users and sessions only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: a character of a variable's value stands for itself, never for a wildcard
_SPOKEN_FOR = str.maketrans("*?", "\ue000\ue001")
_WRITTEN = str.maketrans("\ue000\ue001", "*?")


@dataclass(frozen=True)
class Situation:
    """``names``: level -> what a Principal element may call the requester. ``context``: keys in lower case."""

    names: Mapping[str, frozenset[str]]
    account: str
    action: str
    resource: str
    owner: str
    context: Mapping[str, list[str]]
    identity: list[dict[str, Any]] = field(default_factory=list)
    boundary: dict[str, Any] | None = None
    sessions: list[dict[str, Any]] = field(default_factory=list)
    attached: dict[str, Any] | None = None
    required: bool = False


def decide(it: Situation) -> str:
    documents = [*it.identity, *it.sessions, *([it.boundary] if it.boundary else [])]
    if any(_applying(it, document, "Deny") for document in documents) or _levels(it, "Deny"):
        return "explicit deny"
    granted = _levels(it, "Allow")
    limits = [it.boundary is None or bool(_applying(it, it.boundary, "Allow"))]
    limits += [not it.sessions or any(_applying(it, document, "Allow") for document in it.sessions)]
    of_identity = all(limits) and any(_applying(it, document, "Allow") for document in it.identity)
    if it.account != it.owner:
        allowed = of_identity and bool(granted)
    else:
        allowed = "direct" in granted or ("behind" in granted and all(limits))
        allowed = allowed or (of_identity and (bool(granted) or not it.required))
    return "allowed" if allowed else "implicit deny"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _applying(it: Situation, document: dict[str, Any], effect: str) -> list[dict[str, Any]]:
    old = document.get("Version") != "2012-10-17"
    return [each for each in _list(document["Statement"]) if each["Effect"] == effect and _speaks(it, each, old)]


def _levels(it: Situation, effect: str) -> set[str]:
    found: set[str] = set()
    for statement in _applying(it, it.attached, effect) if it.attached else []:
        principal = statement["Principal"]
        listed = {"*"} if principal == "*" else set(_list(principal.get("AWS", [])))
        found |= {level for level, names in it.names.items() if names & listed}
    return found


def _speaks(it: Situation, statement: dict[str, Any], old: bool) -> bool:
    actions = [_regex(each.lower()) for each in _list(statement.get("Action", statement.get("NotAction")))]
    acts = any(re.fullmatch(each, it.action.lower(), re.DOTALL) for each in actions)
    listed = _list(statement.get("Resource", statement.get("NotResource")))
    covers = any(
        re.fullmatch(expression, it.resource, re.DOTALL)
        for each in listed
        for text in _filled(each, it.context, old)
        for expression in _resource(text)
    )
    return (
        acts == ("Action" in statement)
        and covers == ("Resource" in statement)
        and all(
            _holds(operator, it.context.get(key.lower(), []), _list(values), it.context, old)
            for operator, block in statement.get("Condition", {}).items()
            for key, values in block.items()
        )
    )


def _filled(text: str, context: Mapping[str, list[str]], old: bool) -> Iterator[str]:
    """The text with its variables replaced; nothing if one has no value."""
    if old:
        yield text
        return
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = found[1].partition(",")
        if name in ("*", "?", "$"):
            return name.translate(_SPOKEN_FOR)
        values = context.get(name.strip().lower(), [])
        if len(values) == 1:
            return values[0].translate(_SPOKEN_FOR)
        missing = missing or bool(values) or not default
        return default.strip().strip("'").translate(_SPOKEN_FOR)

    filled = re.sub(r"\$\{(.*?)\}", value, text)
    if not missing:
        yield filled


def _regex(text: str, any_: str = ".*", one: str = ".") -> str:
    return "".join({"*": any_, "?": one}.get(each, re.escape(each.translate(_WRITTEN))) for each in text)


def _resource(text: str) -> Iterator[str]:
    if text == "*":
        yield ".*"
        return
    for completed in {text, text + ":*" * max(0, 5 - text.count(":"))}:
        parts = completed.split(":", 5)
        closed = [
            _regex(part[:-1], "[^:]*", "[^:]") + ".*" if part.endswith("*") else _regex(part, "[^:]*", "[^:]")
            for part in parts[:5]
        ]
        yield ":".join([*closed, *(_regex(part) for part in parts[5:])])


def _arn(wanted: str, given: str) -> bool:
    parts, values = wanted.split(":", 5), given.split(":", 5)
    same = len(parts) == len(values) == 6
    return same and all(re.fullmatch(_regex(part), value) for part, value in zip(parts, values, strict=True))


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, given: wanted.translate(_WRITTEN) == given,
    "StringEqualsIgnoreCase": lambda wanted, given: wanted.translate(_WRITTEN).lower() == given.lower(),
    "StringLike": lambda wanted, given: re.fullmatch(_regex(wanted), given, re.DOTALL) is not None,
    "NumericEquals": lambda wanted, given: float(given) == float(wanted),
    "NumericLessThan": lambda wanted, given: float(given) < float(wanted),
    "NumericGreaterThanEquals": lambda wanted, given: float(given) >= float(wanted),
    "DateLessThanEquals": lambda wanted, given: _moment(given) <= _moment(wanted),
    "DateGreaterThan": lambda wanted, given: _moment(given) > _moment(wanted),
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
    "IpAddress": lambda wanted, given: ipaddress.ip_address(given) in ipaddress.ip_network(wanted),
    "ArnLike": _arn,
    "ArnEquals": _arn,
}


def _holds(operator: str, given: list[str], wanted: list[str], context: Mapping[str, list[str]], old: bool) -> bool:
    if operator == "Null":
        return str(not given).lower() in wanted
    qualifier, _, name = operator.rpartition(":")
    base = name.removesuffix("IfExists")
    positive = base if base in _TESTS else base.replace("Not", "", 1)
    texts = [text for each in wanted for text in _filled(each, context, old)]
    meets = [any(_TESTS[positive](text, value) for text in texts) == (positive == base) for value in given]
    if qualifier == "ForAllValues":
        return all(meets)
    if not given:
        return base != name or (positive != base and not qualifier)
    return any(meets)
