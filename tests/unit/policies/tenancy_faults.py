"""One fault each in the stacks of our own components, with the rule that finds it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from components.naming import Names
from policies.values import Unknown
from tests.unit.components.recording import ACCOUNT, PLATFORM
from tests.unit.policies.component_stacks import OTHER, Judged

THEIRS = Names("demo", OTHER)
FOREIGN_KEY = ACCOUNT.arn("kms", "key/99999999-8888-7777-6666-555555555555")
SSE = "BucketServerSideEncryptionConfiguration"


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
    *(
        (
            "tenancy-foreign-reference",
            "silo",
            lambda s, principal=principal: s.changed("key:Key", policy=statement(Principal=principal, Resource="*")),
        )
        for principal in ({"AWS": "arn:aws:iam::999999999999:root"}, {"AWS": ["999999999999"]}, {"CanonicalUser": "7"})
    ),
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.having("pulumi:pulumi:StackReference", {"name": f"organization/tenantry/{OTHER}"}),
    ),
    (
        "tenancy-foreign-reference",
        "silo",
        lambda s: s.changed("RolePolicy", policy=statement(Action="kms:Decrypt", Resource=FOREIGN_KEY)),
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
    ("tenancy-server", "silo", lambda s: s.changed("providers:tenantry-postgres", host="shared.example")),
    (
        "tenancy-server",
        "silo",
        lambda s: s.changed("providers:tenantry-postgres", masterSecretArn=PLATFORM.shared_master_secret_arn),
    ),
    ("tenancy-server", "bridge", lambda s: s.changed("providers:tenantry-postgres", host="theirs.example")),
    ("tenancy-server", "pool", lambda s: s.changed("providers:tenantry-postgres", masterSecretArn="arn:aws:x")),
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
