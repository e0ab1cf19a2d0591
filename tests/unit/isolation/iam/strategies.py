"""Policies, principals and requests out of few enough parts that they meet one another."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

ACCOUNT, OTHER = "111122223333", "444455556666"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
USER = f"arn:aws:iam::{ACCOUNT}:user/alice"
OTHERS_SESSION = f"arn:aws:sts::{OTHER}:assumed-role/app/s1"
OBJECT = "arn:aws:s3:::bucket/tenants/acme/a:b"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"

requests = st.sampled_from([("s3:GetObject", OBJECT), ("s3:PutObject", OBJECT), ("kms:Decrypt", KEY)])
principals = st.sampled_from([SESSION, SESSION, USER, OTHERS_SESSION])
tags = st.sampled_from([{}, {"tenant_id": "acme"}, {"Tenant_ID": "globex"}, {"tenant_id": "*"}, {"tenant_id": "acm?"}])

_ACTIONS = st.sampled_from(
    [
        "*",
        "*",
        "*",
        "s3:*",
        "S3:getobject",
        "s3:?etObject",
        "s3:G*t",
        "kms:*",
        "KMS:DECRYPT",
        ["s3:PutObject", "kms:Decrypt"],
    ]
)
_RESOURCES = st.sampled_from(
    [
        *("*",) * 8,
        "arn:aws:s3:::bucket/*",
        "arn:aws:s3:::Bucket/*",
        "arn:aws:s3:::bucket/tenants/${aws:PrincipalTag/tenant_id}/*",
        "arn:aws:s3:::bucket/tenants/${aws:PrincipalTag/tenant_id, 'acme'}/*",
        "arn:aws:s3:::bucket/tenants/acme/a?b",
        "arn:aws:s3:::bucket/tenants/${*}/*",
        "arn:aws:kms:*",
        "arn:aws:kms",
        f"arn:aws:kms:*:{ACCOUNT}:key/*",
        "arn:aws:kms:*:key/k",
        "arn:aws:kms:us-*-1:key/k",
        f"arn:aws:kms:us-east-1?{ACCOUNT}:key/k",
        ["arn:aws:s3:::none", KEY],
    ]
)
_NAMES = ["*", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ROLE, SESSION, USER, OTHER, OTHERS_SESSION]
_PRINCIPALS = st.sampled_from(
    [
        "*",
        *({"AWS": name} for name in _NAMES),
        {"AWS": [f"arn:aws:iam::{OTHER}:role/app", USER]},
        {"Service": "s3.amazonaws.com"},
    ]
)

_STRINGS = ["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"]
_STRINGS += ["StringLike", "StringNotLike"]
_ARNS = ["ArnLike", "ArnEquals", "ArnNotLike", "ArnNotEquals"]


def _block(
    operators: list[str], keys: list[str], values: list[Any], suffixes: tuple[str, ...] = ("", "IfExists")
) -> Any:
    names = st.builds(str.__add__, st.sampled_from(operators), st.sampled_from(suffixes))
    return st.builds(
        lambda name, key, value: {name: {key: value}}, names, st.sampled_from(keys), st.sampled_from(values)
    )


_TEXTS: list[Any] = [
    "acme",
    "ACME",
    "a*",
    "acm?",
    ["globex", "acme"],
    "${aws:PrincipalTag/tenant_id}",
    "${s3:prefix}",
    "*",
    "${*}",
]
_CONDITIONS = st.one_of(
    _block(_STRINGS, ["aws:PrincipalTag/tenant_id", "AWS:principaltag/TENANT_ID", "s3:prefix"], _TEXTS),
    _block(
        [f"{qualifier}:{name}" for qualifier in ("ForAllValues", "ForAnyValue") for name in _STRINGS],
        ["aws:TagKeys"],
        ["acme", ["acme", "stage"], "*", "A*"],
    ),
    _block(["Null"], ["aws:TagKeys", "aws:PrincipalTag/tenant_id", "s3:prefix"], ["true", "false"], ("",)),
    _block(
        ["NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericGreaterThanEquals"],
        ["s3:max-keys"],
        ["5", "10.0", ["9", "11"]],
    ),
    _block(
        ["DateLessThanEquals", "DateGreaterThan"], ["aws:CurrentTime"], ["2026-06-01T12:00:00Z", "2026-06-02T00:00:00Z"]
    ),
    _block(["Bool"], ["aws:SecureTransport", "aws:MultiFactorAuthPresent"], ["true", "FALSE"]),
    _block(["IpAddress", "NotIpAddress"], ["aws:SourceIp"], ["203.0.113.0/24", ["10.0.0.0/8", "2001:db8::/32"]]),
    _block(_ARNS, ["aws:PrincipalArn"], [ROLE, "arn:aws:iam::*:role/a*", f"arn:aws:*:{ACCOUNT}:*", USER]),
)


_EVERYTHING = {"Action": "*", "Resource": "*"}
_WHAT = st.builds(
    lambda action, actions, resource, resources: {action: actions, resource: resources},
    st.sampled_from(["Action", "Action", "NotAction"]),
    _ACTIONS,
    st.sampled_from(["Resource", "Resource", "NotResource"]),
    _RESOURCES,
)
_EFFECTS = st.sampled_from(["Allow", "Allow", "Allow", "Deny"])
_VERSIONS = st.sampled_from(["2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17"])


def _documents(what: st.SearchStrategy[dict[str, Any]], most: int) -> st.SearchStrategy[dict[str, Any]]:
    statements = st.builds(lambda effect, rest: {"Effect": effect, **rest}, _EFFECTS, what)
    return st.builds(
        lambda version, listed: {"Version": version, "Statement": listed},
        _VERSIONS,
        st.lists(statements, min_size=1, max_size=most),
    )


def _and(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda drawn: {key: value for part in drawn for key, value in part.items()})


def _named(key: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return values.map(lambda value: {key: value})


def documents(*, principal: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Of everything there is."""
    parts = [_WHAT, st.just({}) | _named("Condition", _CONDITIONS)]
    parts += [_named("Principal", _PRINCIPALS)] if principal else []
    return _documents(_and(*parts), most=3)


#: which actions and resources a statement speaks of
matching_documents = _documents(_WHAT, most=2)

#: all or nothing, under conditions
conditional_documents = _documents(_and(st.just(_EVERYTHING), _named("Condition", _CONDITIONS)), most=2)


def plain_documents(*, principal: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """All or nothing, so that what decides is how the kinds of policies add up."""
    what = st.sampled_from([_EVERYTHING, {"Action": "iam:*", "Resource": "*"}])
    if not principal:
        return _documents(what, most=1)
    names = st.sampled_from([{"AWS": ROLE}, {"AWS": SESSION}]) | _PRINCIPALS
    return _documents(_and(st.just(_EVERYTHING), _named("Principal", names)), most=2)


contexts = st.fixed_dictionaries(
    {"aws:SecureTransport": st.sampled_from(["true", "false"])},
    optional={
        "s3:prefix": st.sampled_from(["acme", "globex", "*"]),
        "s3:max-keys": st.sampled_from(["5", "10"]),
        "aws:SourceIp": st.sampled_from(["203.0.113.7", "10.1.1.1", "2001:db8::1"]),
        "aws:MultiFactorAuthPresent": st.sampled_from(["true", "false"]),
        "aws:TagKeys": st.sampled_from([[], ["acme"], ["acme", "stage"], ["other"]]),
    },
)
