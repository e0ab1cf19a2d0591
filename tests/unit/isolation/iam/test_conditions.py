"""Every condition operator, in tables drawn from AWS's reference."""

from __future__ import annotations

import pytest

from isolation.iam import conditions
from isolation.iam.elements import Condition, PolicyError

CONTEXT = {
    "aws:principaltag/tenant_id": ("acme",),
    "aws:sourceip": ("203.0.113.7",),
    "aws:currenttime": ("2026-06-01T12:00:00Z",),
    "aws:epochtime": ("1780315200",),
    "aws:securetransport": ("false",),
    "aws:tagkeys": ("tenant_id", "stage"),
    "aws:sourcearn": ("arn:aws:sns:us-east-1:111122223333:topic",),
    "s3:max-keys": ("10",),
    "kms:encryptioncontextkeys": (),
    "star": ("*",),
    "binary": ("QmluYXJ5",),
}


@pytest.mark.parametrize(
    ("operator", "key", "values", "expected"),
    [
        ("StringEquals", "aws:PrincipalTag/tenant_id", ["acme"], True),
        ("StringEquals", "AWS:principaltag/TENANT_ID", ["acme"], True),
        ("StringEquals", "aws:PrincipalTag/tenant_id", ["Acme"], False),
        ("StringEquals", "aws:PrincipalTag/tenant_id", ["globex", "acme"], True),
        ("StringEquals", "aws:PrincipalTag/tenant_id", ["ac*"], False),
        ("StringEquals", "star", ["*"], True),
        ("StringEquals", "missing", ["x"], False),
        ("StringEqualsIfExists", "missing", ["x"], True),
        ("StringEqualsIfExists", "aws:PrincipalTag/tenant_id", ["x"], False),
        ("StringNotEquals", "aws:PrincipalTag/tenant_id", ["acme"], False),
        ("StringNotEquals", "aws:PrincipalTag/tenant_id", ["globex", "acme"], False),
        ("StringNotEquals", "aws:PrincipalTag/tenant_id", ["globex"], True),
        ("StringNotEquals", "missing", ["x"], True),
        ("StringEqualsIgnoreCase", "aws:PrincipalTag/tenant_id", ["ACME"], True),
        ("StringNotEqualsIgnoreCase", "aws:PrincipalTag/tenant_id", ["ACME"], False),
        ("StringLike", "aws:PrincipalTag/tenant_id", ["ac*"], True),
        ("StringLike", "aws:PrincipalTag/tenant_id", ["AC*"], False),
        ("StringLike", "aws:PrincipalTag/tenant_id", ["a?me"], True),
        ("StringLike", "aws:PrincipalTag/tenant_id", ["a?e"], False),
        ("StringLike", "star", ["${*}"], True),
        ("StringLike", "aws:PrincipalTag/tenant_id", ["${*}"], False),
        ("StringNotLike", "aws:PrincipalTag/tenant_id", ["ac*"], False),
        ("StringNotLike", "missing", ["ac*"], True),
        ("StringEquals", "aws:PrincipalTag/tenant_id", ["${aws:PrincipalTag/tenant_id}"], True),
        ("StringEquals", "aws:PrincipalTag/tenant_id", ["${aws:PrincipalTag/none}"], False),
        ("StringEquals", "aws:PrincipalTag/tenant_id", ["${aws:PrincipalTag/none, 'acme'}"], True),
        ("StringLike", "aws:PrincipalTag/tenant_id", ["${star}"], False),
        ("StringNotEquals", "aws:PrincipalTag/tenant_id", ["${aws:PrincipalTag/none}"], True),
        ("NumericEquals", "s3:max-keys", ["10"], True),
        ("NumericEquals", "s3:max-keys", ["10.0"], True),
        ("NumericNotEquals", "s3:max-keys", ["10"], False),
        ("NumericLessThan", "s3:max-keys", ["10"], False),
        ("NumericLessThanEquals", "s3:max-keys", ["10"], True),
        ("NumericLessThan", "s3:max-keys", ["9", "11"], True),
        ("NumericGreaterThan", "s3:max-keys", ["9"], True),
        ("NumericGreaterThanEquals", "s3:max-keys", ["11"], False),
        ("NumericEquals", "aws:PrincipalTag/tenant_id", ["10"], False),
        ("NumericEquals", "s3:max-keys", ["NaN"], False),
        ("DateGreaterThan", "aws:CurrentTime", ["2026-01-01T00:00:00Z"], True),
        ("DateLessThan", "aws:CurrentTime", ["2026-01-01T00:00:00Z"], False),
        ("DateEquals", "aws:CurrentTime", ["2026-06-01T14:00:00+02:00"], True),
        ("DateNotEquals", "aws:CurrentTime", ["2026-06-01T12:00:00Z"], False),
        ("DateLessThanEquals", "aws:EpochTime", ["1780315200"], True),
        ("DateGreaterThanEquals", "aws:EpochTime", ["2026-06-01T12:00:00Z"], True),
        ("DateGreaterThan", "aws:CurrentTime", ["tomorrow"], False),
        ("Bool", "aws:SecureTransport", ["false"], True),
        ("Bool", "aws:SecureTransport", ["False"], True),
        ("Bool", "aws:SecureTransport", ["true"], False),
        ("Bool", "missing", ["false"], False),
        ("BoolIfExists", "missing", ["false"], True),
        ("BinaryEquals", "binary", ["QmluYXJ5"], True),
        ("BinaryEquals", "binary", ["AAAA"], False),
        ("IpAddress", "aws:SourceIp", ["203.0.113.0/24"], True),
        ("IpAddress", "aws:SourceIp", ["203.0.113.7"], True),
        ("IpAddress", "aws:SourceIp", ["10.0.0.0/8", "2001:db8::/32"], False),
        ("NotIpAddress", "aws:SourceIp", ["203.0.113.0/24"], False),
        ("NotIpAddress", "missing", ["203.0.113.0/24"], True),
        ("ArnLike", "aws:SourceArn", ["arn:aws:sns:*:111122223333:*"], True),
        ("ArnEquals", "aws:SourceArn", ["arn:aws:sns:*:111122223333:to?ic"], True),
        ("ArnLike", "aws:SourceArn", ["arn:aws:sns:*:topic"], False),
        ("ArnLike", "aws:SourceArn", ["*"], True),
        ("ArnNotLike", "aws:SourceArn", ["arn:aws:sns:*:*:topic"], False),
        ("ArnNotEquals", "missing", ["arn:aws:sns:*:*:topic"], True),
        ("Null", "missing", ["true"], True),
        ("Null", "missing", ["false"], False),
        ("Null", "aws:SourceIp", ["false"], True),
        ("Null", "kms:EncryptionContextKeys", ["true"], True),
        # AWS has no meaning for several values without a qualifier; here a negated operator must hold for all of them
        ("StringEquals", "aws:TagKeys", ["stage"], True),
        ("StringNotEquals", "aws:TagKeys", ["stage"], False),
        ("StringNotEquals", "aws:TagKeys", ["other"], True),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["tenant_id", "stage", "more"], True),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["tenant_id"], False),
        ("ForAllValues:StringEquals", "missing", ["tenant_id"], True),
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["tenant_id"], True),
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["none"], False),
        ("ForAnyValue:StringEquals", "missing", ["tenant_id"], False),
        ("ForAnyValue:StringNotEquals", "aws:TagKeys", ["tenant_id"], True),
        ("ForAnyValue:StringNotEquals", "missing", ["tenant_id"], False),
        ("ForAllValues:StringNotEquals", "aws:TagKeys", ["none"], True),
        ("ForAllValues:StringLike", "aws:TagKeys", ["t*", "s*"], True),
        ("ForAnyValue:StringEqualsIfExists", "missing", ["x"], True),
    ],
)
def test_operator(operator: str, key: str, values: list[str], expected: bool) -> None:
    assert conditions.holds(Condition(operator, key, tuple(values)), CONTEXT, variables=True) is expected


def test_variables_are_text_in_documents_of_the_old_version() -> None:
    condition = Condition("StringEquals", "aws:PrincipalTag/tenant_id", ("${aws:PrincipalTag/tenant_id}",))
    assert not conditions.holds(condition, CONTEXT, variables=False)


@pytest.mark.parametrize(
    "operator", ["StringEqual", "ForSomeValues:StringEquals", "NullIfExists", "ForAllValues:Null", "stringequals", ""]
)
def test_an_operator_that_does_not_exist_is_refused(operator: str) -> None:
    with pytest.raises(PolicyError):
        conditions.check(Condition(operator, "x", ("y",)))
