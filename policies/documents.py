"""IAM, bucket, key and topic policies as statements, however they were written down."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.values import listed, seen

_ELEMENTS = {
    name.lower(): name
    for name in (
        "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
    )
}  # fmt: skip
_TOP = {"version": "Version", "id": "Id", "statement": "Statement"}


class Malformed(ValueError):
    """A document that AWS would refuse: the message says why, and quotes names of elements only."""


@dataclass(frozen=True)
class Condition:
    """One key of a statement's conditions. ``operator`` without qualifier and ``IfExists``, in lower case, as ``key``;
    ``qualifier``: ``forallvalues``, ``foranyvalue`` or "". The values are alternatives."""

    operator: str
    key: str
    values: tuple[str, ...]
    qualifier: str = ""
    if_exists: bool = False

    @property
    def requires(self) -> bool:
        """Whether a request without the key, or with another value, is turned away."""
        negated = "not" in self.operator.removeprefix("null")
        return not negated and not self.if_exists and self.qualifier != "forallvalues" and self.operator != "null"


@dataclass(frozen=True)
class Statement:
    """``principals``: type to names, as ``{"AWS": ("*",)}``; None in a policy of an identity, which names none."""

    effect: str  #: ``Allow`` or ``Deny``
    sid: str = ""
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    not_resources: tuple[str, ...] = ()
    principals: Mapping[str, tuple[str, ...]] | None = None
    not_principals: Mapping[str, tuple[str, ...]] | None = None
    conditions: tuple[Condition, ...] = ()
    number: int = 1  #: its place in the document

    @property
    def allows(self) -> bool:
        return self.effect == "Allow"

    @property
    def name(self) -> str:
        return f"statement {self.sid}" if self.sid else f"statement {self.number}"

    def condition(self, key: str) -> Iterator[Condition]:
        return (each for each in self.conditions if each.key == key.lower())


def statements(value: Any) -> tuple[Statement, ...]:
    """The statements of a document given as JSON text or as an object. Element names are taken in any case.

    Raises Malformed, or CannotTell if the document, or a part of it that is asked for, is not known yet.
    """
    seen(value)
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=_no_duplicates)
        except (json.JSONDecodeError, RecursionError):
            raise Malformed("is no JSON") from None
    if not isinstance(value, Mapping):
        raise Malformed("is no object")
    top = _named(value, _TOP, "the document")
    found = listed(top.get("Statement"))
    if not found:
        raise Malformed("has no Statement")
    return tuple(_statement(each, index) for index, each in enumerate(found, start=1))


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("names an element twice")
    return found


def _named(raw: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in raw.items():
        name = names.get(str(key).lower())
        if name is None:
            raise Malformed(f"{where} has an element {str(key)[:40]!r}, which there is not")
        if name in found:
            raise Malformed(f"{where} has {name} twice")
        found[name] = value
    return found


def _statement(raw: Any, number: int) -> Statement:
    where = f"statement {number}"
    seen(raw)
    if not isinstance(raw, Mapping):
        raise Malformed(f"{where} is no object")
    element = _named(raw, _ELEMENTS, where)
    effect: Any = element.get("Effect")
    seen(effect)
    if not isinstance(effect, str) or effect.lower() not in ("allow", "deny"):
        raise Malformed(f"{where} has no Effect Allow or Deny")
    if ("Action" in element) == ("NotAction" in element):
        raise Malformed(f"{where} has not exactly one of Action and NotAction")
    if "Resource" in element and "NotResource" in element:
        raise Malformed(f"{where} has both Resource and NotResource")
    if "Principal" in element and "NotPrincipal" in element:
        raise Malformed(f"{where} has both Principal and NotPrincipal")
    return Statement(
        effect.capitalize(),
        str(element.get("Sid") or ""),
        _texts(element.get("Action"), f"{where}.Action"),
        _texts(element.get("NotAction"), f"{where}.NotAction"),
        _texts(element.get("Resource"), f"{where}.Resource"),
        _texts(element.get("NotResource"), f"{where}.NotResource"),
        _principals(element["Principal"], where) if "Principal" in element else None,
        _principals(element["NotPrincipal"], where) if "NotPrincipal" in element else None,
        tuple(_conditions(element.get("Condition"), where)),
        number,
    )


def _texts(value: Any, where: str) -> tuple[str, ...]:
    found = []
    for each in listed(value):
        seen(each)
        if isinstance(each, bool):
            each = str(each).lower()
        elif isinstance(each, int | float):
            each = str(each)
        if not isinstance(each, str):
            raise Malformed(f"{where} is not text")
        found.append(each)
    return tuple(found)


def _principals(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    seen(value)
    if isinstance(value, str):
        if value != "*":
            raise Malformed(f"{where}.Principal is neither '*' nor an object")
        return {"AWS": ("*",)}
    if not isinstance(value, Mapping) or not value:
        raise Malformed(f"{where}.Principal is neither '*' nor an object")
    return {str(kind): _texts(names, f"{where}.Principal") for kind, names in value.items()}


def _conditions(value: Any, where: str) -> Iterator[Condition]:
    if value is None:
        return
    seen(value)
    if not isinstance(value, Mapping):
        raise Malformed(f"{where}.Condition is no object")
    for operator, keys in value.items():
        seen(keys)
        if not isinstance(keys, Mapping):
            raise Malformed(f"{where}.Condition.{str(operator)[:40]} is no object")
        qualifier, _, base = str(operator).lower().rpartition(":")
        if_exists = base.endswith("ifexists")
        for key, values in keys.items():
            texts = _texts(values, f"{where}.Condition")
            yield Condition(base.removesuffix("ifexists"), str(key).lower(), texts, qualifier, if_exists)
