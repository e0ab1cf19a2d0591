"""What statements of policy documents allow, to whom, and what narrows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from policies.documents import Condition, Statement

TENANT_VARIABLE = "${aws:PrincipalTag/tenant_id}"
#: Keys whose value, once fixed, says who calls or for whose resource: AWS's definition of a policy that is not public.
_CALLER_KEYS = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:principalserviceorgid",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourceorgpaths",
        "aws:sourceowner",
        "aws:sourceip",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:vpcsourceip",
        "aws:userid",
        "kms:calleraccount",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
    }
)


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(text, re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """IAM's ``*`` and ``?``, without regard to case."""
    return _pattern(pattern).fullmatch(name.lower()) is not None


def covers_action(statement: Statement, action: str) -> bool:
    """Whether the statement is about ``action``, by name, wildcard or by not naming it in NotAction."""
    if statement.not_actions:
        return not any(matches(each, action) for each in statement.not_actions)
    return any(matches(each, action) for each in statement.actions)


def is_any(pattern: str) -> bool:
    """A pattern of nothing but wildcards."""
    return bool(pattern) and set(pattern) <= {"*", "?"} and "*" in pattern


def whole_service(action: str) -> bool:
    """``*``, ``s3:*`` and what amounts to it."""
    service, colon, verb = action.partition(":")
    return is_any(action) or (bool(colon) and is_any(verb)) or (bool(colon) and is_any(service))


_KINDS = frozenset(
    {
        "alias", "cluster", "db", "function", "group", "instance", "key", "log-group", "parameter", "policy", "role",
        "secret", "security-group", "stream", "table", "user", "volume",
    }
)  # fmt: skip


def any_resource(arn: str) -> bool:
    """``*``, or an ARN that leaves open which resource of a service, or of one of its kinds, it is:
    ``arn:aws:s3:::*``, ``arn:aws:sqs:*:*:*``, ``arn:aws:kms:eu-west-1:111122223333:key/*``."""
    if is_any(arn):
        return True
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return arn.endswith("*")
    first, _, rest = parts[5].replace(":", "/").partition("/")
    return is_any(first) or (first in _KINDS and is_any(rest.replace("/", "")))


def everybody(statement: Statement) -> bool:
    """Whether the statement speaks of whoever calls: ``"*"``, ``{"AWS": "*"}``, or all but some."""
    if statement.not_principals is not None:
        return True
    named = statement.principals or {}
    return any(is_any(each) for kind, names in named.items() if kind.lower() != "service" for each in names)


def fixes_caller(condition: Condition) -> bool:
    """Whether only callers, networks or resources that the condition names are let through."""
    return (
        condition.key in _CALLER_KEYS
        and condition.requires
        and bool(condition.values)
        and not any(_open_value(condition.key, each) for each in condition.values)
    )


def _open_value(key: str, value: str) -> bool:
    if key in ("aws:sourceip", "aws:vpcsourceip"):
        return value in ("0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1")
    # Arn patterns whose account is open are open to all accounts.
    parts = value.split(":", 5)
    if key in ("aws:principalarn", "aws:sourcearn") and len(parts) == 6 and parts[2] != "s3":
        return is_any(parts[4])
    return not value.strip("*?")


def narrowed(statement: Statement) -> bool:
    return any(fixes_caller(each) for each in statement.conditions)


def public(statement: Statement) -> bool:
    """Whether the statement allows something to the whole world."""
    return statement.allows and everybody(statement) and not narrowed(statement)


def pins_tag(conditions: Iterable[Condition], key: str, value: str) -> bool:
    """Whether a condition demands that ``key`` is exactly ``value``."""
    return any(
        each.key == key.lower() and each.operator == "stringequals" and each.requires and set(each.values) == {value}
        for each in conditions
    )


def denies_plain_text(found: Iterable[Statement], actions: Iterable[str]) -> bool:
    """Whether whoever calls one of ``actions`` without TLS is refused, on everything that the document is about."""
    return all(any(_denies_plain_text(each, action) for each in found) for action in actions)


def _denies_plain_text(statement: Statement, action: str) -> bool:
    if statement.effect != "Deny" or not everybody(statement) or statement.not_principals is not None:
        return False
    if not covers_action(statement, action) or statement.not_resources:
        return False
    found = [(each.operator, each.key, tuple(map(str.lower, each.values))) for each in statement.conditions]
    return found == [("bool", "aws:securetransport", ("false",))]
