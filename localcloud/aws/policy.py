"""The grammar of policy documents, as AWS enforces it when a document is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

from localcloud.aws.resource import Checks

_ACTION = re.compile(r"\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+")
_ARN = re.compile(r"arn:(aws|aws-cn|aws-us-gov|\*):[^:]*:[^:]*:[^:]*:.+|\*", re.DOTALL)
_PRINCIPAL = re.compile(
    r"\*|\d{12}|A[A-Z0-9]{15,127}|arn:aws[a-z-]*:iam::\d{12}:(root|(user|role|assumed-role|federated-user)/\S+)"
    r"|arn:aws[a-z-]*:sts::\d{12}:(assumed-role|federated-user)/\S+|arn:aws[a-z-]*:iam::cloudfront:user/\S+"
)
_SERVICE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com(\.cn)?|amazon\.com)")
_OPERATOR = re.compile(
    r"(?:ForAllValues:|ForAnyValue:)?(?:String(?:Not)?(?:Equals(?:IgnoreCase)?|Like)|"
    r"Numeric(?:Equals|NotEquals|LessThan(?:Equals)?|GreaterThan(?:Equals)?)|"
    r"Date(?:Equals|NotEquals|LessThan(?:Equals)?|GreaterThan(?:Equals)?)|"
    r"Bool|BinaryEquals|(?:Not)?IpAddress|Arn(?:Not)?(?:Equals|Like))(?:IfExists)?|Null"
)
_ELEMENTS = frozenset(
    {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)
_VERSIONS = ("2012-10-17", "2008-10-17")


class Kind(Enum):
    """What a document is attached to decides which elements it must and must not have."""

    IDENTITY = "an identity-based policy"
    TRUST = "a trust policy"
    RESOURCE = "a resource-based policy"


def check_policy(checks: Checks, name: str, kind: Kind, *, max_bytes: int) -> None:
    """Record everything AWS would refuse about the policy in input ``name``."""
    text = checks.known(name)
    if text is None:
        return
    if not isinstance(text, str):
        checks.fail(name, "must be a JSON text")
        return
    size = len("".join(text.split())) if kind is not Kind.RESOURCE else len(text.encode())
    if size > max_bytes:
        checks.fail(name, f"has {size} bytes; at most {max_bytes} are allowed")
    for reason in problems(text, kind):
        checks.fail(name, reason)


def problems(text: str, kind: Kind) -> Iterator[str]:
    """What is wrong with the document, in the order of its statements."""
    try:
        document = json.loads(text, object_pairs_hook=_no_duplicates)
    except ValueError as error:
        yield f"is no valid JSON: {error}"
        return
    if not isinstance(document, dict):
        yield "must be a JSON object with Version and Statement"
        return
    for key in document.keys() - {"Version", "Id", "Statement"}:
        yield f"has the unknown element {key!r}"
    if "Version" in document and document["Version"] not in _VERSIONS:
        yield f"has the version {document['Version']!r}; it must be {_VERSIONS[0]}"
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        yield "must have at least one Statement"
        return
    seen: set[str] = set()
    for number, statement in enumerate(statements):
        where = f"Statement[{number}]"
        if not isinstance(statement, dict):
            yield f"{where} is no object"
            continue
        sid = statement.get("Sid")
        if isinstance(sid, str) and sid:
            if sid in seen:
                yield f"{where}: the Sid {sid!r} is used twice"
            seen.add(sid)
        for reason in _statement(statement, kind):
            yield f"{where}: {reason}"


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} occurs twice")
        result[key] = value
    return result


def _statement(statement: dict[str, Any], kind: Kind) -> Iterator[str]:
    for key in sorted(statement.keys() - _ELEMENTS):
        yield f"has the unknown element {key!r}"
    sid = statement.get("Sid", "")
    if not isinstance(sid, str) or (kind is not Kind.RESOURCE and not re.fullmatch(r"[A-Za-z0-9]*", sid)):
        yield f"the Sid {sid!r} may have letters and digits only"
    if statement.get("Effect") not in ("Allow", "Deny"):
        yield f"Effect must be Allow or Deny, not {statement.get('Effect')!r}"
    yield from _actions(statement)
    yield from _resources(statement, kind)
    yield from _principals(statement, kind)
    yield from _conditions(statement.get("Condition", {}))


def _one(statement: dict[str, Any], name: str) -> tuple[str | None, list[Any]]:
    for key in (name, f"Not{name}"):
        if key in statement:
            value = statement[key]
            return key, value if isinstance(value, list) else [value]
    return None, []


def _actions(statement: dict[str, Any]) -> Iterator[str]:
    key, actions = _one(statement, "Action")
    if key is None or ("Action" in statement and "NotAction" in statement):
        yield "must have either Action or NotAction"
    elif not actions:
        yield f"{key} must not be empty"
    for action in actions:
        if not isinstance(action, str) or not _ACTION.fullmatch(action):
            yield f"{action!r} is no action: it is written service:Action"


def _resources(statement: dict[str, Any], kind: Kind) -> Iterator[str]:
    key, resources = _one(statement, "Resource")
    if kind is Kind.TRUST:
        if key is not None:
            yield f"a trust policy has no {key}"
        return
    if key is None or ("Resource" in statement and "NotResource" in statement):
        yield "must have either Resource or NotResource"
    elif not resources:
        yield f"{key} must not be empty"
    for resource in resources:
        if not isinstance(resource, str) or not _ARN.fullmatch(resource):
            yield f"{resource!r} is no ARN and not *"


def _principals(statement: dict[str, Any], kind: Kind) -> Iterator[str]:
    given = [key for key in ("Principal", "NotPrincipal") if key in statement]
    if kind is Kind.IDENTITY:
        if given:
            yield f"an identity-based policy has no {given[0]}"
        return
    if len(given) != 1:
        yield "must have a Principal"
        return
    principal = statement[given[0]]
    if principal == "*":
        return
    if not isinstance(principal, dict) or not principal:
        yield f"invalid principal in policy: {principal!r}"
        return
    for type_, values in principal.items():
        values = values if isinstance(values, list) else [values]
        if not values:
            yield f"invalid principal in policy: {type_} is empty"
        for value in values:
            if not _legal_principal(type_, value):
                yield f"invalid principal in policy: {type_}: {value!r}"


def _legal_principal(type_: str, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if type_ == "AWS":
        return _PRINCIPAL.fullmatch(value) is not None
    if type_ == "Service":
        return _SERVICE.fullmatch(value) is not None
    if type_ == "Federated":
        return bool(re.fullmatch(r"\*|[a-z0-9.-]+|arn:aws[a-z-]*:iam::\d{12}:(saml|oidc)-provider/\S+", value))
    return type_ == "CanonicalUser" and bool(re.fullmatch(r"[0-9a-f]{64}", value))


def _conditions(conditions: Any) -> Iterator[str]:
    if not isinstance(conditions, dict):
        yield "Condition must be an object"
        return
    for operator, keys in conditions.items():
        if not _OPERATOR.fullmatch(operator):
            yield f"{operator!r} is no condition operator"
        if not isinstance(keys, dict) or not keys:
            yield f"the condition {operator} must name keys and values"
            continue
        for key, values in keys.items():
            values = values if isinstance(values, list) else [values]
            if not re.fullmatch(r"[A-Za-z0-9-]+:\S+", key):
                yield f"{key!r} is no condition key"
            if any(not isinstance(value, str | bool | int | float) for value in values):
                yield f"the condition key {key} must have texts, numbers or booleans as values"


def is_public(text: str) -> bool:
    """An Allow for everybody that no condition narrows down. (AWS calls a few wider sets public; moto none.)"""
    statements = json.loads(text)["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal")
        named = principal.get("AWS") if isinstance(principal, dict) else principal
        everybody = "*" in (named if isinstance(named, list) else [named])
        if statement["Effect"] == "Allow" and everybody and not statement.get("Condition"):
            return True
    return False


def allows_action(text: str, action: str) -> bool:
    """Whether some Allow statement covers ``action``, whoever its principal is."""
    document = json.loads(text)
    statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    for statement in statements:
        if statement.get("Effect") != "Allow":
            continue
        key, actions = _one(statement, "Action")
        matched = any(_matches(str(pattern), action) for pattern in actions)
        if matched == (key == "Action"):
            return True
    return False


def _matches(pattern: str, action: str) -> bool:
    regex = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch(regex, action, re.IGNORECASE) is not None
