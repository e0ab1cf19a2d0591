"""Stack rules about tenancy, on our own components' stacks: nothing is found in them, and each fault is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from components.naming import Names
from policies.configuration import Configuration, RuleSettings
from policies.evaluate import Finding, Outcome, evaluate, judge_stack
from policies.model import Stack
from policies.rules import RULES, tenancy
from policies.values import Unknown
from tests.unit.components.recording import ACCOUNT, PLATFORM
from tests.unit.policies.component_stacks import MOMENTS, OTHER, STACKS, Judged, Moment, component_stack

BY_ID = {rule.id: rule for rule in tenancy.RULES}
THEIRS = Names("demo", OTHER)
FOREIGN_KEY = ACCOUNT.arn("kms", "key/99999999-8888-7777-6666-555555555555")
SSE = "BucketServerSideEncryptionConfiguration"


def found(rule_id: str, judged: Judged) -> list[Finding]:
    return judge_stack(BY_ID[rule_id], judged.stack, judged.facts, Configuration())


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("rule_id", BY_ID)
def test_our_own_stacks_keep_every_rule(rule_id: str, stack: str, moment: Moment) -> None:
    assert found(rule_id, component_stack(stack, moment)) == []


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stack", STACKS)
def test_no_rule_of_the_pack_finds_anything_in_our_own_stacks(stack: str, moment: Moment) -> None:
    judged = component_stack(stack, moment)
    report = evaluate(RULES, judged.stack, judged.stack, judged.facts)
    assert [each.text for each in report.findings] == []
    assert set(BY_ID) < set(report.evaluated)


@pytest.mark.parametrize("stack", ["pool", "bridge", "silo"])
@pytest.mark.parametrize("rule_id", BY_ID)
def test_a_second_life_keeps_every_rule(rule_id: str, stack: str) -> None:
    assert found(rule_id, component_stack(stack, generation=2)) == []


def statement(**elements: Any) -> str:
    whole = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/*", **elements}
    return json.dumps({"Version": "2012-10-17", "Statement": [whole]})


def sse(key: Any) -> list[dict[str, Any]]:
    return [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}}]


def ingress(judged: Judged, **properties: Any) -> Judged:
    return judged.having("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", {"fromPort": 5432, **properties})


Fault = Callable[[Judged], Judged]
FAULTS: list[tuple[str, str, Fault]] = [
    # whose key
    ("tenancy-encryption-key", "silo", lambda s: s.changed("Instance", kmsKeyId=FOREIGN_KEY)),
    ("tenancy-encryption-key", "silo", lambda s: s.changed("Instance", kmsKeyId=PLATFORM.platform_key_arn)),
    ("tenancy-encryption-key", "silo", lambda s: s.changed("Instance", masterUserSecretKmsKeyId=FOREIGN_KEY)),
    ("tenancy-encryption-key", "silo", lambda s: s.changed("Instance", performanceInsightsKmsKeyId=FOREIGN_KEY)),
    ("tenancy-encryption-key", "silo", lambda s: s.changed(SSE, rules=sse(FOREIGN_KEY))),
    ("tenancy-encryption-key", "silo", lambda s: s.changed("Secret", kmsKeyId="alias/aws/secretsmanager")),
    ("tenancy-encryption-key", "silo", lambda s: s.changed("LogGroup", kmsKeyId=FOREIGN_KEY)),
    ("tenancy-encryption-key", "silo", lambda s: s.changed("Secret", replicas=[{"kmsKeyId": FOREIGN_KEY}])),
    (
        "tenancy-encryption-key",
        "silo",
        lambda s: s.having("aws:sqs/queue:Queue", {}, kmsMasterKeyId="aws:s3/bucket:Bucket"),
    ),
    ("tenancy-encryption-key", "bridge", lambda s: s.changed("Secret", kmsKeyId=FOREIGN_KEY)),
    (
        "tenancy-encryption-key",
        "bridge",
        lambda s: s.having("aws:kms/key:Key", {}).having("aws:sqs/queue:Queue", {}, kmsMasterKeyId="key:Key"),
    ),
    ("tenancy-encryption-key", "platform", lambda s: s.changed("Topic", kmsMasterKeyId=FOREIGN_KEY)),
    ("tenancy-key-grants", "silo", lambda s: s.having("aws:kms/grant:Grant", {"keyId": "x"})),
    # who is named
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.changed("Instance", snapshotIdentifier=f"{THEIRS.instance}-final"),
    ),
    ("tenancy-foreign-reference", "silo", lambda s: s.changed("Instance", tags={"tenant_id": OTHER})),
    ("tenancy-foreign-reference", "bridge", lambda s: s.changed("Schema", name=THEIRS.postgres)),
    ("tenancy-foreign-reference", "bridge", lambda s: s.changed("Privileges", role=THEIRS.postgres_login)),
    ("tenancy-foreign-reference", "bridge", lambda s: s.changed("AppSchema", tenantId=OTHER)),
    ("tenancy-foreign-reference", "pool", lambda s: s.changed("PoolTenant", tenantId=OTHER)),
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.changed("RolePolicy", policy=statement(Resource=f"{ACCOUNT.bucket_arn(THEIRS.bucket(ACCOUNT))}/*")),
    ),
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.changed(
            "RolePolicy", policy=statement(Resource=f"arn:aws:s3:::{PLATFORM.shared_bucket}/{OTHER}/*")
        ),
    ),
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.changed("RolePolicy", policy=statement(Resource=f"arn:aws:s3:::{PLATFORM.shared_bucket}/*")),
    ),
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.changed(
            "RolePolicy",
            policy=statement(
                Action="s3:ListBucket",
                Resource=f"arn:aws:s3:::{PLATFORM.shared_bucket}",
                Condition={"StringLike": {"s3:prefix": [f"{OTHER}/*"]}},
            ),
        ),
    ),
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.changed(
            "role:Role",
            assumeRolePolicy=statement(Condition={"StringEquals": {"aws:RequestTag/tenant_id": ["acme", OTHER]}}),
        ),
    ),
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.changed("key:Key", policy=statement(Principal={"AWS": THEIRS.role_arn(ACCOUNT)}, Resource="*")),
    ),
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.having("pulumi:pulumi:StackReference", {"name": f"organization/tenantry/{OTHER}"}),
    ),
    ("tenancy-placement", "silo", lambda s: s.having("aws:s3/bucket:Bucket", {"region": "us-east-1"})),
    ("tenancy-placement", "silo", lambda s: s.changed("providers:aws", allowedAccountIds='["999999999999"]')),
    ("tenancy-placement", "bridge", lambda s: s.changed("providers:aws", allowedAccountIds=None)),
    ("tenancy-placement", "platform", lambda s: s.changed("providers:aws", region="us-west-2")),
    # what a tier has
    ("tenancy-shared-tier", "pool", lambda s: s.having("aws:rds/instance:Instance", {})),
    ("tenancy-shared-tier", "pool", lambda s: s.having("tenantry-postgres:index:Schema", {})),
    ("tenancy-shared-tier", "pool", lambda s: s.having("aws:kms/key:Key", {})),
    ("tenancy-shared-tier", "pool", lambda s: s.having("aws:s3/bucket:Bucket", {})),
    ("tenancy-shared-tier", "pool", lambda s: s.having("aws:iam/role:Role", {})),
    ("tenancy-shared-tier", "pool", lambda s: s.having("tenantry-postgres:index:Role", {"login": True})),
    ("tenancy-shared-tier", "bridge", lambda s: s.having("tenantry-postgres:index:Database", {})),
    ("tenancy-dedicated-tier", "silo", lambda s: s.without("instance:Instance")),
    ("tenancy-dedicated-tier", "silo", lambda s: s.without("key:Key")),
    ("tenancy-dedicated-tier", "silo", lambda s: s.without("bucket:Bucket")),
    ("tenancy-dedicated-tier", "silo", lambda s: s.without("role:Role")),
    ("tenancy-dedicated-tier", "bridge", lambda s: s.without("index:Schema")),
    ("tenancy-credentials", "bridge", lambda s: s.changed("index:Role", secretArn=PLATFORM.pool_login_secret_arn)),
    (
        "tenancy-credentials",
        "bridge",
        lambda s: s.changed("acme-login", secretArn=None),
    ),
    ("tenancy-credentials", "bridge", lambda s: s.changed("acme-login", name=PLATFORM.pool_login)),
    (
        "tenancy-credentials",
        "silo",
        lambda s: s.having("tenantry-postgres:index:Role", {"login": True, "name": "x"}, secretArn="secret:Secret"),
    ),
    # who reaches it
    ("tenancy-silo-network", "silo", lambda s: s.having("aws:ec2/securityGroup:SecurityGroup", {})),
    ("tenancy-silo-network", "silo", lambda s: s.changed("Instance", vpcSecurityGroupIds=["sg-of-another"])),
    ("tenancy-silo-network", "silo", lambda s: s.changed("Instance", vpcSecurityGroupIds=[])),
    ("tenancy-silo-network", "silo", lambda s: ingress(s, referencedSecurityGroupId="sg-other")),
    ("tenancy-silo-network", "silo", lambda s: ingress(s, cidrIpv4="10.0.0.0/8")),
    ("tenancy-silo-network", "silo", lambda s: ingress(s, prefixListId="pl-1")),
    ("tenancy-silo-network", "silo", lambda s: ingress(s)),
    (
        "tenancy-silo-network",
        "silo",
        lambda s: s.changed("securityGroup:SecurityGroup", ingress=[{"cidrBlocks": ["10.0.0.0/8"], "fromPort": 5432}]),
    ),
    (
        "tenancy-silo-network",
        "silo",
        lambda s: s.changed("securityGroup:SecurityGroup", ingress=[{"securityGroups": ["sg-other"]}]),
    ),
    # who is told
    ("tenancy-alarms", "silo", lambda s: s.without("MetricAlarm")),
    ("tenancy-alarms", "silo", lambda s: s.changed("acme-database-storage", alarmActions=[])),
    ("tenancy-alarms", "silo", lambda s: s.changed("acme-database-cpu", actionsEnabled=False)),
    ("tenancy-alarms", "silo", lambda s: s.changed("acme-database-cpu", dimensions={"DBInstanceIdentifier": "x"})),
    ("tenancy-alarms", "silo", lambda s: s.changed("acme-files-size", dimensions={"BucketName": "x"})),
    ("tenancy-alarms", "silo", lambda s: s.platform(tampering_rule_arn="")),
    ("tenancy-alarms", "platform", lambda s: s.without("EventRule")),
    ("tenancy-alarms", "platform", lambda s: s.changed("EventRule", state="DISABLED")),
    ("tenancy-alarms", "platform", lambda s: s.changed("EventRule", eventPattern='{"source": ["aws.s3"]}')),
    (
        "tenancy-alarms",
        "platform",
        lambda s: s.changed(
            "EventRule",
            eventPattern=json.dumps(
                {
                    "source": ["aws.kms"],
                    "detail": {"eventName": ["DisableKey", "ScheduleKeyDeletion"], "userIdentity": {}},
                }
            ),
        ),
    ),
    ("tenancy-alarms", "platform", lambda s: s.changed("platform-tampering", alarmActions=[])),
    # what it costs
    ("tenancy-budget", "silo", lambda s: s.budget(max_resources=10)),
    ("tenancy-budget", "silo", lambda s: s.budget(monthly_usd=100)),
    ("tenancy-budget", "silo", lambda s: s.budget(instance_classes=["db.t4g.small"])),
    ("tenancy-budget", "silo", lambda s: s.budget(monthly_usd=150).changed("Instance", instanceClass="db.r7g.large")),
    ("tenancy-budget", "bridge", lambda s: s.budget(monthly_usd=0.1)),
    ("tenancy-budget", "pool", lambda s: s.budget(max_resources=1).having("tenantry-postgres:index:PoolTenant", {})),
]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("rule_id", "stack", "fault"), FAULTS)
def test_a_fault_is_found(rule_id: str, stack: str, fault: Fault, moment: Moment) -> None:
    findings = found(rule_id, fault(component_stack(stack, moment)))
    assert {each.outcome for each in findings} == {Outcome.VIOLATED}
    assert all(each.blocks for each in findings)


@pytest.mark.parametrize("moment", MOMENTS)
def test_of_two_security_groups_the_one_without_the_database_is_named(moment: Moment) -> None:
    judged = component_stack("silo", moment).having("aws:ec2/securityGroup:SecurityGroup", {})
    turned = replace(judged, stack=Stack(tuple(reversed(judged.stack.resources))))
    for each in (judged, turned):
        (finding,) = found("tenancy-silo-network", each)
        assert "added" in finding.urn


def test_every_rule_has_a_fault() -> None:
    assert {rule_id for rule_id, _, _ in FAULTS} == set(BY_ID)


UNDECIDED: list[tuple[str, str, Fault]] = [
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.having("aws:iam/rolePolicy:RolePolicy", {}, policy="bucket:Bucket"),
    ),
    ("tenancy-silo-network", "silo", lambda s: ingress(s, cidrIpv4=Unknown("cidrIpv4"))),
    ("tenancy-alarms", "platform", lambda s: s.changed("EventRule", eventPattern=Unknown("eventPattern"))),
    ("tenancy-budget", "silo", lambda s: s.budget().changed("Instance", instanceClass="db.x99.large")),
    ("tenancy-budget", "silo", lambda s: s.budget().changed("Instance", instanceClass=Unknown("instanceClass"))),
    ("tenancy-budget", "silo", lambda s: s.budget().having("aws:ec2/natGateway:NatGateway", {})),
]


@pytest.mark.parametrize(("rule_id", "stack", "fault"), UNDECIDED)
def test_what_a_preview_can_not_know_blocks(rule_id: str, stack: str, fault: Fault) -> None:
    findings = found(rule_id, fault(component_stack(stack)))
    assert {each.outcome for each in findings} == {Outcome.UNDECIDED}
    assert all(each.blocks for each in findings)


@pytest.mark.parametrize("rule_id", ["tenancy-encryption-key", "tenancy-foreign-reference", "tenancy-silo-network"])
def test_without_the_platforms_outputs_nothing_is_waved_through(rule_id: str) -> None:
    stack = "bridge" if rule_id == "tenancy-encryption-key" else "silo"
    judged = component_stack(stack)
    findings = found(rule_id, replace(judged, facts=replace(judged.facts, platform=None)))
    assert {each.outcome for each in findings} == {Outcome.UNDECIDED}


@pytest.mark.parametrize("rule_id", BY_ID)
def test_somebody_elses_stack_is_not_judged_by_our_tiers(rule_id: str) -> None:
    judged = component_stack("silo")
    assert found(rule_id, replace(judged, facts=replace(judged.facts, spec=None, platform=None))) == []


@pytest.mark.parametrize(
    "text",
    [
        "tenantry-acme-",
        "arn:aws:s3:::tenantry-${aws:PrincipalTag/tenant_id}-????????",
        "a tenantry-postgres provider",
        "tenantry-acme-two",
    ],
)
def test_what_only_looks_like_a_name_is_none(text: str) -> None:
    assert found("tenancy-foreign-reference", component_stack("silo").changed("instance:Instance", note=text)) == []


def test_a_tenant_whose_id_begins_with_anothers_is_another() -> None:
    theirs = Names("demo", "acme-deadbeef").aws
    assert found("tenancy-foreign-reference", component_stack("silo").changed("instance:Instance", note=theirs))


def test_keys_may_be_watched_by_something_outside_of_the_stack() -> None:
    judged = component_stack("platform").without("EventRule")
    settings = Configuration({"tenancy-alarms": RuleSettings(parameters={"keys_watched_elsewhere": True})})
    assert judge_stack(BY_ID["tenancy-alarms"], judged.stack, judged.facts, settings) == []


def test_a_rule_whose_target_is_a_topic_watches_keys_as_well() -> None:
    judged = component_stack("platform").without("MetricAlarm")
    judged = judged.having("aws:cloudwatch/eventTarget:EventTarget", {"rule": "x"}, arn="topic:Topic")
    judged = judged.changed("EventRule", name="x")
    messages = [each.message for each in found("tenancy-alarms", judged)]
    assert messages
    assert not [each for each in messages if "key" in each]
