"""Violations in the shapes that programs and AWS let them have, which a rule must not take for kept."""

from __future__ import annotations

from typing import Any

import pytest

from policies.evaluate import Finding, evaluate
from policies.rules import RULES
from tests.unit.policies.stacks import R, Spec, allow, facts_of, policy, stack_of

BY_ID = {rule.id: rule for rule in RULES}
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
PERMISSION = "aws:lambda/permission:Permission"
POLICY = "aws:iam/policy:Policy"
CLUSTER = "aws:rds/cluster:Cluster"
WORST: dict[str, Any] = {"engine": "aurora-postgresql", "skipFinalSnapshot": True, "masterPassword": "x"}
PRODUCTION = {"tags": {"environment": "production"}}
TAGGED = {"tags": {"tenant_id": "acme"}}
TENANT = "${aws:PrincipalTag/tenant_id}"


def found(rule: str, type_: str, properties: dict[str, Any], spec: Spec = None) -> tuple[Finding, ...]:
    stack = stack_of([R(type_, properties)])
    return evaluate([BY_ID[rule]], stack, stack, facts_of(spec)).findings


def opened(principal: Any, condition: Any = None) -> dict[str, Any]:
    return {"policy": policy(allow("s3:GetObject", "arn:aws:s3:::shared/*", condition, principal))}


@pytest.mark.parametrize(
    "rule",
    [
        "encryption-database",
        "credentials-master-password",
        "resilience-backup",
        "resilience-deletion-protection",
        "resilience-final-snapshot",
        "records-database",
    ],
)
def test_a_cluster_that_has_a_name_is_judged(rule: str) -> None:
    assert found(rule, CLUSTER, {**WORST, **PRODUCTION, "clusterIdentifier": "orders"})
    if rule != "credentials-master-password":  # RDS can't manage that of a global cluster
        assert found(rule, CLUSTER, {**WORST, **PRODUCTION, "globalClusterIdentifier": "world"})


@pytest.mark.parametrize(
    "condition",
    [
        {"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "0.0.0.0/2"]}},
        {"IpAddress": {"aws:SourceIp": "2000::/3"}},
        {"IpAddress": {"aws:SourceIp": "somewhere"}},
        {"StringLike": {"aws:SourceIp": "*.*.*.*"}},
        {"IpAddress": {"aws:VpcSourceIp": "10.0.0.0/8"}},
        {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*"}},
        {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::????????????:role/app"}},
        {"StringLike": {"aws:PrincipalAccount": "1*"}},
        {"StringEquals": {"aws:PrincipalAccount": "${aws:PrincipalAccount}"}},
        {"NumericLessThan": {"aws:PrincipalAccount": "999999999999"}},
        {"StringLike": {"aws:PrincipalOrgID": "o-*"}},
        {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-*/*"}},
        {"StringLike": {"aws:SourceVpc": "vpc-*"}},
        {"StringLike": {"aws:SourceVpce": ["vpce-0a1b", "vpce-*"]}},
        {"StringLike": {"aws:userid": "*:app"}},
        {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}},
        {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::logs-*"}},
    ],
    ids=str,
)
def test_a_condition_that_anybody_can_meet_narrows_nothing(condition: dict[str, Any]) -> None:
    assert found("exposure-resource-policy", BUCKET_POLICY, opened("*", condition))


@pytest.mark.parametrize(
    "condition",
    [
        {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}},
        {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/*"}},
        {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::logs/*"}},
        {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-a1b2/*"}},
        {"StringEquals": {"aws:PrincipalOrgID": "${aws:ResourceOrgID}"}},
        {"StringLike": {"aws:userid": "AROAEXAMPLE:*"}},
        {"StringEquals": {"aws:SourceVpce": "vpce-0a1b"}},
    ],
    ids=str,
)
def test_a_condition_that_names_callers_narrows(condition: dict[str, Any]) -> None:
    assert not found("exposure-resource-policy", BUCKET_POLICY, opened("*", condition))


@pytest.mark.parametrize("principal", [{"Service": "*"}, {"AWS": "arn:aws:iam::*:root"}, {"*": "*"}], ids=str)
def test_a_principal_with_a_wildcard_is_everybody(principal: Any) -> None:
    assert found("exposure-resource-policy", BUCKET_POLICY, opened(principal))


def test_a_functions_permission_for_any_bucket_is_for_everybody() -> None:
    permission = {"action": "lambda:InvokeFunction", "principal": "*"}
    assert found("exposure-resource-policy", PERMISSION, {**permission, "sourceArn": "arn:aws:s3:::*"})
    assert not found("exposure-resource-policy", PERMISSION, {**permission, "sourceArn": "arn:aws:s3:::inbox"})


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::111122223333:ro*",
        "arn:aws:iam::111122223333:role*",
        "arn:aws:iam::*:r*/*",
        "arn:aws:i?m::111122223333:*role/*",
    ],
)
def test_any_role_has_many_spellings(arn: str) -> None:
    assert found("access-pass-role", POLICY, {"policy": policy(allow("iam:PassRole", arn))})


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:*-??????",
        "arn:aws:kms:eu-west-1:111122223333:key/*-*-*-*-*",
        "arn:aws:kms:*:*:k*",
        "arn:aws:dynamodb:eu-west-1:111122223333:t*",
    ],
)
def test_any_resource_has_many_spellings(arn: str) -> None:
    assert found("access-wildcard-resource", POLICY, {"policy": policy(allow("kms:Decrypt", arn))})


def test_names_that_begin_alike_are_not_whatever_there_is() -> None:
    for arn in ("arn:aws:s3:::al*", "arn:aws:iam::111122223333:role/app-*", "arn:aws:sqs:eu-west-1:1:key-*"):
        assert not found("access-wildcard-resource", POLICY, {"policy": policy(allow("s3:GetObject", arn))})


@pytest.mark.parametrize("name", [f"{TENANT}*", f"{TENANT}-*", f"{TENANT}?*", f"*{TENANT}/*", f"x-*{TENANT}/*"])
def test_a_tenants_name_as_part_of_another_does_not_divide_tenants(name: str) -> None:
    """``acme`` must not get what is ``acme-labs``'s or ``big-acme``'s."""
    statement = allow("s3:GetObject", f"arn:aws:s3:::shared/{name}")
    assert found("access-tenant-scope", POLICY, {"policy": policy(statement), **TAGGED})
    condition = {"StringLike": {"s3:prefix": name}}
    statement = allow("s3:ListBucket", "arn:aws:s3:::shared", condition)
    assert found("access-tenant-scope", POLICY, {"policy": policy(statement), **TAGGED})


@pytest.mark.parametrize("name", [f"{TENANT}/*", f"tenantry-{TENANT}-????????/*", TENANT])
def test_a_tenants_whole_name_divides_tenants(name: str) -> None:
    statement = allow("s3:GetObject", f"arn:aws:s3:::shared/{name}")
    assert not found("access-tenant-scope", POLICY, {"policy": policy(statement), **TAGGED})


@pytest.mark.parametrize(
    "condition",
    [
        {"StringLike": {"aws:ResourceTag/tenant_id": f"*{TENANT}*"}},
        {"StringLike": {"aws:ResourceTag/tenant_id": f"{TENANT}-????????"}},
        {"ForAnyValue:StringEquals": {"dynamodb:LeadingKeys": TENANT}},
    ],
    ids=str,
)
def test_a_condition_that_other_tenants_resources_meet_limits_nothing(condition: dict[str, Any]) -> None:
    assert found("access-tenant-scope", POLICY, {"policy": policy(allow("dynamodb:GetItem", "*", condition)), **TAGGED})


@pytest.mark.parametrize("action", ["?3:GetObject", "*:GetObject", "s*:Get*"])
def test_a_service_may_be_written_as_a_pattern(action: str) -> None:
    statement = allow(action, "arn:aws:s3:::shared/*")
    assert found("access-tenant-scope", POLICY, {"policy": policy(statement), **TAGGED})


def test_a_redirect_to_plain_http_is_plain_http() -> None:
    for redirect in ({"protocol": "HTTP", "port": "8080"}, {"host": "example.com"}):
        listener = {"protocol": "HTTP", "defaultActions": [{"type": "redirect", "redirect": redirect}]}
        assert found("transport-listener", "aws:lb/listener:Listener", listener)
