"""Violations in the shapes that programs and AWS let them have, which a rule must not take for kept."""

from __future__ import annotations

from typing import Any

import pytest

from policies.evaluate import Finding, Outcome, evaluate
from policies.rules import RULES
from policies.values import Secret
from tests.unit.policies.stacks import SILO, R, Spec, allow, facts_of, policy, stack_of

BY_ID = {rule.id: rule for rule in RULES}
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
CACHE = "aws:elasticache/replicationGroup:ReplicationGroup"
INSTANCE = "aws:rds/instance:Instance"
KEY = "aws:kms/key:Key"
RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
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


ALL_FOUR = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
#: Rule, type, properties that keep it, names of those that are switches.
SWITCHES: list[tuple[str, str, dict[str, Any], tuple[str, ...]]] = [
    ("encryption-database", INSTANCE, {"storageEncrypted": True, "kmsKeyId": "k"}, ("storageEncrypted",)),
    ("encryption-key-rotation", KEY, {"enableKeyRotation": True}, ("enableKeyRotation",)),
    ("exposure-bucket", BLOCK, dict.fromkeys(ALL_FOUR, True), ALL_FOUR),
    ("credentials-master-password", INSTANCE, {"manageMasterUserPassword": True}, ("manageMasterUserPassword",)),
    ("resilience-deletion-protection", INSTANCE, {"deletionProtection": True}, ("deletionProtection",)),
    ("resilience-multi-az", INSTANCE, {**PRODUCTION, "multiAz": True}, ("multiAz",)),
    ("transport-cache", CACHE, {"transitEncryptionEnabled": True}, ("transitEncryptionEnabled",)),
    ("exposure-database", INSTANCE, {"publiclyAccessible": False}, ("publiclyAccessible",)),
    ("resilience-final-snapshot", INSTANCE, {"skipFinalSnapshot": False}, ("skipFinalSnapshot",)),
    ("lifecycle-minor-upgrade", INSTANCE, {"autoMinorVersionUpgrade": True}, ("autoMinorVersionUpgrade",)),
]


@pytest.mark.parametrize(("rule", "type_", "kept", "names"), SWITCHES, ids=lambda each: str(each)[:40])
def test_a_switch_may_be_a_text_and_a_secret_one_is_not_taken_for_kept(
    rule: str, type_: str, kept: dict[str, Any], names: tuple[str, ...]
) -> None:
    assert not found(rule, type_, kept)
    for name in names:
        right = kept[name]
        assert not found(rule, type_, {**kept, name: str(right).lower()})
        violated = found(rule, type_, {**kept, name: str(not right).lower()})
        assert {each.outcome for each in violated} == {Outcome.VIOLATED}
        hidden = found(rule, type_, {**kept, name: Secret(name)})
        assert {each.outcome for each in hidden} == {Outcome.UNDECIDED}
        assert f"{name} is a secret" in hidden[0].message


@pytest.mark.parametrize(
    ("rule", "type_", "properties"),
    [
        ("exposure-bucket-acl", "aws:s3/bucketAcl:BucketAcl", {"acl": Secret("acl")}),
        ("exposure-ingress-rule", RULE, {"type": Secret("type"), "protocol": "-1", "cidrBlocks": ["0.0.0.0/0"]}),
        ("exposure-resource-policy", PERMISSION, {"principal": Secret("principal")}),
        ("exposure-resource-policy", BUCKET_POLICY, {"policy": Secret("policy")}),
        ("exposure-function-url", "aws:lambda/functionUrl:FunctionUrl", {"authorizationType": Secret("type")}),
        ("transport-listener", "aws:lb/listener:Listener", {"protocol": Secret("protocol")}),
        ("access-managed-policy", ATTACHMENT, {"policyArn": Secret("policyArn")}),
        ("encryption-database", INSTANCE, {"storageEncrypted": True, "kmsKeyId": Secret("kmsKeyId")}),
        ("lifecycle-engine-version", INSTANCE, {"engine": Secret("engine"), "engineVersion": "9"}),
    ],
)
def test_a_secret_hides_nothing_from_a_rule(rule: str, type_: str, properties: dict[str, Any]) -> None:
    assert {each.outcome for each in found(rule, type_, properties)} == {Outcome.UNDECIDED}


@pytest.mark.parametrize("name", ["AmazonS3ReadOnlyAccess", "ReadOnlyAccess", "job-function/ViewOnlyAccess"])
def test_a_tenants_role_gets_no_policy_that_aws_writes_for_all_of_an_accounts_resources(name: str) -> None:
    attachment = {"role": "acme", "policyArn": f"arn:aws:iam::aws:policy/{name}"}
    assert found("access-managed-policy", ATTACHMENT, attachment, SILO)
    assert not found("access-managed-policy", ATTACHMENT, attachment)
    service = {"policyArn": "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"}
    assert not found("access-managed-policy", ATTACHMENT, service, SILO)


def test_all_ports_are_every_port() -> None:
    rule = {"type": "ingress", "protocol": "tcp", "cidrBlocks": ["10.0.0.0/8"]}
    assert found("exposure-ingress-rule", RULE, {**rule, "fromPort": 0, "toPort": 65535})
    assert not found("exposure-ingress-rule", RULE, {**rule, "fromPort": 5432, "toPort": 5432})


def test_a_public_snapshot_is_a_public_database() -> None:
    for type_ in ("aws:rds/snapshot:Snapshot", "aws:rds/snapshotCopy:SnapshotCopy"):
        assert found("exposure-database", type_, {"sharedAccounts": ["all"]})
        assert not found("exposure-database", type_, {"sharedAccounts": ["111122223333"]})


@pytest.mark.parametrize(
    "tags", [{"Environment": "production"}, {"environment": "Production"}, {"environment": "prod"}]
)
def test_production_has_many_spellings(tags: dict[str, str]) -> None:
    assert found("resilience-multi-az", INSTANCE, {"tags": tags})


@pytest.mark.parametrize(
    "condition",
    [
        {"StringLike": {"kms:ViaService": "*"}},
        {"StringLike": {"kms:EncryptionContext:aws:s3:arn": ["arn:aws:s3:::acme", "*"]}},
        {"StringEquals": {"kms:EncryptionContext:tenant_id": "other"}},
        {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com", "aws:PrincipalTag/tenant_id": ["acme", "b"]}},
    ],
    ids=str,
)
def test_a_condition_of_a_key_policy_that_fits_anything_or_another_tenant_limits_nothing(
    condition: dict[str, Any],
) -> None:
    statement = allow("kms:Decrypt", "*", condition, {"AWS": "arn:aws:iam::111122223333:root"})
    assert found("access-key-policy", KEY, {"policy": policy(statement)}, SILO)
