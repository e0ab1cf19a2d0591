"""What statements of policy documents allow, to whom, and what narrows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from policies.documents import Condition, Statement
from policies.networks import is_wide, network

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
        "aws:userid",
        "kms:calleraccount",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
    }
)

_SOURCE_IP = "aws:sourceip"
_WIDE_IPV4, _WIDE_IPV6 = 16, 32  #: a public range with a shorter prefix is as good as the internet
_EQUALITIES = ("stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike")
#: Variables that have one value in a policy of a resource: its owner's.
_OWN_VARIABLES = re.compile(r"\$\{aws:Resource(?:Account|OrgID|OrgPaths)\}", re.IGNORECASE)


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
#: Names that nobody has given, as services write them: a pattern that meets one leaves open which resource it is.
_NOBODYS = "q0vz7w"
_NOBODYS_NAMES = {
    "dynamodb": (f"table/{_NOBODYS}", f"table/{_NOBODYS}/index/{_NOBODYS}"),
    "iam": (f"role/{_NOBODYS}", f"user/{_NOBODYS}", f"policy/{_NOBODYS}"),
    "kinesis": (f"stream/{_NOBODYS}",),
    "kms": ("key/00f0b3a9-7c1d-4e52-9f68-b2a4d6c8e0f1", f"alias/{_NOBODYS}"),
    "lambda": (f"function:{_NOBODYS}",),
    "logs": (f"log-group:{_NOBODYS}", f"log-group:{_NOBODYS}:log-stream:{_NOBODYS}"),
    "rds": (f"db:{_NOBODYS}", f"cluster:{_NOBODYS}"),
    "secretsmanager": (f"secret:{_NOBODYS}-q0Vz7w",),
    "ssm": (f"parameter/{_NOBODYS}",),
}


def any_resource(arn: str) -> bool:
    """``*``, or an ARN that leaves open which resource of a service, or of one of its kinds, it is:
    ``arn:aws:s3:::*``, ``arn:aws:sqs:*:*:*``, ``arn:aws:kms:eu-west-1:111122223333:key/*``."""
    if is_any(arn):
        return True
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return arn.endswith("*")
    first, _, rest = parts[5].replace(":", "/").partition("/")
    if is_any(first) or (first in _KINDS and is_any(rest.replace("/", ""))):
        return True
    names = (name for service, names in _NOBODYS_NAMES.items() if matches(parts[2], service) for name in names)
    return any(matches(parts[5], name) for name in names)


def everybody(statement: Statement) -> bool:
    """Whether the statement speaks of whoever calls: ``"*"``, ``{"AWS": "*"}``, or all but some."""
    if statement.not_principals is not None:
        return True
    named = statement.principals or {}
    return any(is_any(each) for kind, names in named.items() if kind.lower() != "service" for each in names)


def fixes_caller(condition: Condition) -> bool:
    """Whether only callers, networks or resources that the condition names are let through."""
    operators = ("ipaddress",) if condition.key == _SOURCE_IP else _EQUALITIES
    return (
        condition.key in _CALLER_KEYS
        and condition.operator in operators
        and condition.requires
        and bool(condition.values)
        and not any(leaves_open(condition.key, each) for each in condition.values)
    )


def leaves_open(key: str, value: str) -> bool:
    """Whether a value of one of the keys that say who calls lets in callers whom nobody has chosen.

    As in AWS's definition of "public", a value is fixed if that part of it which names an account, organization,
    bucket or network holds no wildcard and no policy variable: whoever has an account can meet a pattern.
    """
    if key == _SOURCE_IP:
        try:
            return is_wide(network(value), ipv4=_WIDE_IPV4, ipv6=_WIDE_IPV6)
        except ValueError:
            return True
    decisive = _decisive(key, value)
    return not decisive or any(mark in _OWN_VARIABLES.sub("own", decisive) for mark in ("*", "?", "${"))


def _decisive(key: str, value: str) -> str:
    """The part of a value that says whose it is."""
    if key in ("aws:principalarn", "aws:sourcearn", "s3:dataaccesspointarn"):
        parts = value.split(":", 5)
        if len(parts) < 6:
            return value
        return parts[4] or parts[5].split("/", 1)[0]  # a bucket's ARN has no account
    if key.endswith("orgpaths"):
        return value.split("/", 1)[0]
    return value.split(":", 1)[0] if key == "aws:userid" else value


def narrowed(statement: Statement) -> bool:
    return any(fixes_caller(each) for each in statement.conditions)


def public(statement: Statement) -> bool:
    """Whether the statement allows something to the whole world."""
    named = [name for names in (statement.principals or {}).values() for name in names]
    open_names = any(is_any(each) or (":" in each and leaves_open("aws:principalarn", each)) for each in named)
    return statement.allows and (everybody(statement) or open_names) and not narrowed(statement)


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
