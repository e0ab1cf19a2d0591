"""Policy documents, parsed strictly: what AWS would refuse is refused, what it defaults is defaulted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import unquote

from isolation.iam import conditions
from isolation.iam.elements import Condition, PolicyError

_DOCUMENT_KEYS = {"Version", "Id", "Statement"}
_STATEMENT_KEYS = {
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}


class Kind(Enum):
    """Where a document is attached: that decides which elements a statement needs, and which it must not have."""

    IDENTITY = "identity-based"  #: of a user or role; also boundaries, session and service control policies
    RESOURCE = "resource-based"
    TRUST = "trust"


#: (alternatives of which one is needed, what may not be there)
_ELEMENTS: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Kind.IDENTITY: (("Resource", "NotResource"), ("Principal", "NotPrincipal")),
    Kind.RESOURCE: (("Principal", "NotPrincipal"), ()),
    Kind.TRUST: (("Principal",), ("NotPrincipal", "Resource", "NotResource")),
}


@dataclass(frozen=True)
class Statement:
    """``principals``/``not_principals``: (type, value) pairs; None where the element is absent."""

    source: str  #: which document: "role tenantry-acme-..., inline policy files"
    sid: str
    index: int
    allow: bool
    variables: bool  #: whether ${...} is replaced: only in documents of version 2012-10-17
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...] | None
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...] | None
    principals: tuple[tuple[str, str], ...] | None
    not_principals: tuple[tuple[str, str], ...] | None
    conditions: tuple[Condition, ...]

    @property
    def name(self) -> str:
        """For evidence: the document, and the Sid or position of the statement."""
        return f"{self.source} / {self.sid or f'statement {self.index + 1}'}"


@dataclass(frozen=True)
class PolicyDocument:
    source: str
    version: str
    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, document: str | Mapping[str, Any], source: str, kind: Kind | None = None) -> PolicyDocument:
        """Of a JSON text (plain or percent-encoded, as IAM returns it) or a mapping. Raises PolicyError.

        Without ``kind`` the elements Principal and Resource may be there or not.
        """
        body = _decoded(document, source)
        _only(body, _DOCUMENT_KEYS, source)
        version = body.get("Version", "2008-10-17")
        if version not in ("2008-10-17", "2012-10-17"):
            raise PolicyError(f"{source}: Version {version!r} does not exist")
        raw = body.get("Statement")
        if isinstance(raw, Mapping):
            raw = [raw]
        if not isinstance(raw, list) or not raw:
            raise PolicyError(f"{source}: Statement is missing or empty")
        statements = tuple(_statement(each, index, version, source) for index, each in enumerate(raw))
        for index, each in enumerate(raw):
            _fits(each, kind, f"{source}, statement {index + 1}")
        sids = [statement.sid for statement in statements if statement.sid]
        if len(sids) != len(set(sids)):
            raise PolicyError(f"{source}: a Sid occurs twice")
        return cls(source, version, statements)


def _decoded(document: str | Mapping[str, Any], source: str) -> Mapping[str, Any]:
    if isinstance(document, str):
        text = document.strip()
        try:
            document = json.loads(unquote(text) if text.startswith("%7B") else text, object_pairs_hook=_no_duplicates)
        except ValueError as error:
            raise PolicyError(f"{source}: not JSON: {error}") from error
    if not isinstance(document, Mapping):
        raise PolicyError(f"{source}: not a JSON object")
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _only(body: Mapping[str, Any], allowed: set[str], where: str) -> None:
    unknown = set(body) - allowed
    if unknown:
        raise PolicyError(f"{where}: unknown element {sorted(unknown)[0]!r}")


def _statement(body: Any, index: int, version: str, source: str) -> Statement:
    where = f"{source}, statement {index + 1}"
    if not isinstance(body, Mapping):
        raise PolicyError(f"{where}: not an object")
    _only(body, _STATEMENT_KEYS, where)
    if body.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"{where}: Effect is neither Allow nor Deny")
    for one, other in (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal")):
        if one in body and other in body:
            raise PolicyError(f"{where}: both {one} and {other}")
    if "Action" not in body and "NotAction" not in body:
        raise PolicyError(f"{where}: neither Action nor NotAction")
    return Statement(
        source=source,
        sid=str(body.get("Sid", "")),
        index=index,
        allow=body["Effect"] == "Allow",
        variables=version == "2012-10-17",
        actions=_strings(body, "Action", where),
        not_actions=_strings(body, "NotAction", where),
        resources=_strings(body, "Resource", where),
        not_resources=_strings(body, "NotResource", where),
        principals=_principals(body, "Principal", where),
        not_principals=_principals(body, "NotPrincipal", where),
        conditions=_conditions(body.get("Condition", {}), where),
    )


def _fits(body: Mapping[str, Any], kind: Kind | None, where: str) -> None:
    if kind is None:
        return
    needed, refused = _ELEMENTS[kind]
    if not any(each in body for each in needed):
        raise PolicyError(f"{where}: a {kind.value} policy needs {' or '.join(needed)}")
    found = next((each for each in refused if each in body), None)
    if found is not None:
        raise PolicyError(f"{where}: a {kind.value} policy has no {found}")


def _strings(body: Mapping[str, Any], key: str, where: str) -> tuple[str, ...] | None:
    if key not in body:
        return None
    value = body[key]
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(each, str) and each for each in values):
        raise PolicyError(f"{where}: {key} is not a string or a list of strings")
    if key.endswith("Action") and not all(each == "*" or ":" in each for each in values):
        raise PolicyError(f"{where}: {key} without a service prefix")
    return tuple(values)


def _principals(body: Mapping[str, Any], key: str, where: str) -> tuple[tuple[str, str], ...] | None:
    if key not in body:
        return None
    value = body[key]
    if value == "*":
        return (("AWS", "*"),)
    if not isinstance(value, Mapping):
        raise PolicyError(f"{where}: {key} is neither '*' nor an object")
    found: list[tuple[str, str]] = []
    for kind, names in value.items():
        if kind not in ("AWS", "Service", "Federated", "CanonicalUser"):
            raise PolicyError(f"{where}: {key} of unknown type {kind!r}")
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str) or ("*" in name and name != "*"):
                raise PolicyError(f"{where}: {key} {name!r}: a wildcard stands alone")
            found.append((kind, name))
    return tuple(found)


def _conditions(body: Any, where: str) -> tuple[Condition, ...]:
    if not isinstance(body, Mapping):
        raise PolicyError(f"{where}: Condition is not an object")
    found: list[Condition] = []
    for operator, keys in body.items():
        if not isinstance(keys, Mapping):
            raise PolicyError(f"{where}: condition {operator} is not an object")
        for key, values in keys.items():
            listed = values if isinstance(values, list) else [values]
            condition = Condition(operator, key, tuple(_scalar(each, f"{where}: {operator} {key}") for each in listed))
            try:
                conditions.check(condition)
            except PolicyError as error:
                raise PolicyError(f"{where}: {error}") from None
            found.append(condition)
    return tuple(found)


def _scalar(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise PolicyError(f"{where}: a value is no scalar")
