"""Cases of the rules on networks, resilience, records, ownership, versions and anti-patterns."""

from __future__ import annotations

from typing import Any

from policies.rules.ownership import REQUIRED_TAGS
from tests.unit.policies.stacks import PLATFORM, POOL, SILO, Case, R, one, r, unknown

INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OLD_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INSTANCE = "aws:rds/instance:Instance"
CLUSTER = "aws:rds/cluster:Cluster"
MEMBER = "aws:rds/clusterInstance:ClusterInstance"
TABLE = "aws:dynamodb/table:Table"
BUCKET = "aws:s3/bucket:Bucket"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
SECRET = "aws:secretsmanager/secret:Secret"
KEY = "aws:kms/key:Key"
SUBNET = "aws:ec2/subnet:Subnet"
SUBNETS = "aws:rds/subnetGroup:SubnetGroup"
LOGS = "aws:cloudwatch/logGroup:LogGroup"
PRODUCTION = {"tags": {"environment": "production"}}
TCP = {"ipProtocol": "tcp", "fromPort": 5432, "toPort": 5432}
OLD_TCP = {"type": "ingress", "protocol": "tcp", "fromPort": 5432, "toPort": 5432}

NETWORKS = [
    Case(
        "exposure-ingress-rule",
        keeps=(
            *one(INGRESS, {**TCP, "cidrIpv4": "10.0.0.0/8"}, {**TCP, "cidrIpv4": "203.0.113.0/24"}),
            *one(INGRESS, {"ipProtocol": "-1", "referencedSecurityGroupId": "sg-1"}, {**TCP, "cidrIpv6": "fd00::/8"}),
            *one(OLD_RULE, {**OLD_TCP, "type": "egress", "cidrBlocks": ["0.0.0.0/0"]}),
        ),
        breaks=(
            *one(
                INGRESS,
                *({**TCP, "cidrIpv4": each} for each in ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "8.0.0.0/5", "x")),
                *({**TCP, "cidrIpv6": each} for each in ("::/0", "8000::/1", "2000::/3")),
                {"ipProtocol": "-1", "cidrIpv4": "10.0.0.0/8"},
            ),
            *one(
                OLD_RULE,
                {**OLD_TCP, "ipv6CidrBlocks": ["::/0"]},
                {**OLD_TCP, "cidrBlocks": ["10.0.0.0/8", "0.0.0.0/0"]},
            ),
        ),
        undecided=unknown(INGRESS, TCP, "cidrIpv4"),
    ),
    Case(
        "exposure-security-group",
        keeps=one(GROUP, {}, {"ingress": [{"protocol": "tcp", "cidrBlocks": ["10.0.0.0/16"]}]}),
        breaks=one(
            GROUP,
            {"ingress": [{"protocol": "tcp", "ipv6CidrBlocks": ["::/0"]}]},
            {"ingress": [{"protocol": "-1", "cidrBlocks": ["10.0.0.0/16"]}]},
        ),
        undecided=unknown(GROUP, {}, "ingress"),
    ),
    Case(
        "exposure-default-security-group",
        keeps=one("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", {}),
        breaks=one(
            "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
            {"ingress": [{"self": True}]},
            {"egress": [{"protocol": "-1"}]},
        ),
        undecided=unknown("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", {}, "ingress"),
    ),
    Case(
        "exposure-subnet",
        keeps=one(SUBNET, {}),
        breaks=one(SUBNET, {"mapPublicIpOnLaunch": True}),
        undecided=unknown(SUBNET, {}, "mapPublicIpOnLaunch"),
    ),
    Case(
        "exposure-instance",
        keeps=one("aws:ec2/instance:Instance", {"associatePublicIpAddress": False}),
        breaks=(
            *one("aws:ec2/instance:Instance", {"associatePublicIpAddress": True}),
            *one(
                "aws:ec2/launchTemplate:LaunchTemplate", {"networkInterfaces": [{"associatePublicIpAddress": "true"}]}
            ),
        ),
        undecided=unknown("aws:ec2/instance:Instance", {}, "associatePublicIpAddress"),
    ),
]


def production(type_: str, name: str = "it", **properties: Any) -> R:
    return R(type_, {**PRODUCTION, **properties}, name)


RESILIENCE = [
    Case(
        "resilience-backup",
        keeps=(
            *one(INSTANCE, {"backupRetentionPeriod": 1}, {**PRODUCTION, "backupRetentionPeriod": 7}),
            *one(CLUSTER, {}),
            *one(TABLE, {"pointInTimeRecovery": {"enabled": True}}),
        ),
        breaks=(
            *one(INSTANCE, {}, {"backupRetentionPeriod": 0}, {**PRODUCTION, "backupRetentionPeriod": 6}),
            *one(CLUSTER, PRODUCTION),
            *one(TABLE, {}),
        ),
        undecided=unknown(INSTANCE, {}, "backupRetentionPeriod"),
    ),
    Case(
        "resilience-deletion-protection",
        keeps=(*one(INSTANCE, {"deletionProtection": True}), *one(TABLE, {"deletionProtectionEnabled": True})),
        breaks=(*one(INSTANCE, {}), *one(CLUSTER, {"deletionProtection": False}), *one(TABLE, {})),
        undecided=unknown(INSTANCE, {}, "deletionProtection"),
    ),
    Case("resilience-protect", keeps=one(INSTANCE, {})),
    Case(
        "resilience-protect",
        keeps=((r(INSTANCE, protect=True),),),
        breaks=(*one(INSTANCE, {}), *one(KEY, {}), *one(BUCKET, {}), *one(SECRET, {})),
        spec=SILO,
    ),
    Case(
        "resilience-final-snapshot",
        keeps=one(INSTANCE, {"skipFinalSnapshot": False}, {}),
        breaks=(*one(INSTANCE, {"skipFinalSnapshot": True}), *one(CLUSTER, {"skipFinalSnapshot": True})),
        undecided=unknown(INSTANCE, {}, "skipFinalSnapshot"),
    ),
    Case(
        "resilience-recoverable",
        keeps=(
            *one(BUCKET, {}),
            *one(SECRET, {"recoveryWindowInDays": 7}),
            *one(KEY, {"deletionWindowInDays": 7}, {**PRODUCTION, "deletionWindowInDays": 30}),
        ),
        breaks=(
            *one(BUCKET, {"forceDestroy": True}),
            *one(SECRET, {"recoveryWindowInDays": 0}),
            *one(KEY, {**PRODUCTION, "deletionWindowInDays": 7}),
        ),
        undecided=unknown(BUCKET, {}, "forceDestroy"),
    ),
    Case(
        "resilience-multi-az",
        keeps=one(
            INSTANCE,
            {},
            {**PRODUCTION, "multiAz": True},
            {"tags": {"environment": "staging"}},
        ),
        breaks=(
            *one(INSTANCE, PRODUCTION, {**PRODUCTION, "multiAz": False}),
            *one("aws:elasticache/replicationGroup:ReplicationGroup", PRODUCTION),
        ),
        undecided=unknown(INSTANCE, {}, "tags"),
    ),
    Case("resilience-multi-az", keeps=one(INSTANCE, {"multiAz": True}), breaks=one(INSTANCE, {}), spec=SILO),
    Case(
        "resilience-cluster-members",
        keeps=(
            (
                production(CLUSTER, "c", clusterIdentifier="{case}-c"),
                r(MEMBER, "a", clusterIdentifier="{case}-c"),
                r(MEMBER, "b", clusterIdentifier="{case}-c"),
            ),
            (production(CLUSTER, "c", dbClusterInstanceClass="db.m6gd.large"),),
            (r(CLUSTER, "c"),),
        ),
        breaks=(
            (production(CLUSTER, "c", clusterIdentifier="{case}-c"), r(MEMBER, "a", clusterIdentifier="{case}-c")),
            (production(CLUSTER, "c"), r(MEMBER, "a", refs={"clusterIdentifier": "c"})),
        ),
        undecided=unknown(CLUSTER, {}, "tags"),
    ),
    Case(
        "resilience-zones",
        keeps=(
            (
                r(SUBNET, "a", availabilityZone="us-east-1a"),
                r(SUBNET, "b", availabilityZone="us-east-1b"),
                R(SUBNETS, PRODUCTION, "g", {"subnetIds": ("a", "b")}),
            ),
            (R(SUBNETS, {**PRODUCTION, "subnetIds": ["subnet-of-another-stack"]}, "g"),),
        ),
        breaks=((r(SUBNET, "a", availabilityZone="us-east-1a"), R(SUBNETS, PRODUCTION, "g", {"subnetIds": "a"})),),
        undecided=((r(SUBNET, "a"), R(SUBNETS, PRODUCTION, "g", {"subnetIds": "a"})),),
    ),
    Case(
        "resilience-bucket-versioning",
        keeps=(
            (
                r(BUCKET, "b", bucket="{case}-b"),
                r(VERSIONING, "v", bucket="{case}-b", versioningConfiguration={"status": "Enabled"}),
            ),
            (r(BUCKET, "b", versioning={"enabled": True}),),
        ),
        breaks=(
            (r(BUCKET, "b"),),
            (
                r(BUCKET, "b", bucket="{case}-b"),
                r(VERSIONING, "v", bucket="{case}-b", versioningConfiguration={"status": "Suspended"}),
            ),
        ),
        undecided=((r(BUCKET, "b"), r(VERSIONING, "v", refs={"bucket": "b", "versioningConfiguration": "b"})),),
    ),
]

RECORDS = [
    Case(
        "records-retention",
        keeps=one(LOGS, {"retentionInDays": 30}),
        breaks=one(LOGS, {}, {"retentionInDays": 0}, {"retentionInDays": 1}),
        undecided=unknown(LOGS, {}, "retentionInDays"),
    ),
    Case(
        "records-database",
        keeps=one(INSTANCE, {"enabledCloudwatchLogsExports": ["postgresql"]}),
        breaks=one(INSTANCE, {}, {"enabledCloudwatchLogsExports": []}),
        undecided=unknown(INSTANCE, {}, "enabledCloudwatchLogsExports"),
    ),
]

OWN_TAGS = {
    "tenant_id": "acme",
    "generation": "1",
    "tier": "silo",
    "plan": "enterprise",
    "managed-by": "tenantry",
    "installation": "test",
    "environment": "production",
    "cost-center": "acme",
}
SHARED = dict.fromkeys(("tenant_id", "tier", "plan"), "platform")
OWNERSHIP = [
    Case(
        "ownership-tags",
        keeps=(*one(KEY, {"tags": {}, "tagsAll": {"environment": "dev", "cost-center": "4711"}}),),
        breaks=one(KEY, {}, {"tags": {"environment": "dev", "cost-center": ""}}),
        undecided=unknown(KEY, {}, "tags", "tagsAll"),
    ),
    Case(
        "ownership-tags",
        keeps=one(KEY, {"tags": OWN_TAGS}),
        breaks=one(
            KEY,
            *({"tags": {**OWN_TAGS, name: ""}} for name in REQUIRED_TAGS),
            *({"tags": {**OWN_TAGS, name: "other"}} for name in REQUIRED_TAGS if name != "cost-center"),
        ),
        spec=SILO,
    ),
    Case(
        "ownership-tags",
        keeps=one(KEY, {"tags": {**OWN_TAGS, **SHARED}}),
        breaks=one(KEY, {"tags": OWN_TAGS}),
        spec=PLATFORM,
    ),
]

LIFECYCLE = [
    Case(
        "lifecycle-engine-version",
        keeps=one(
            INSTANCE,
            {"engine": "postgres", "engineVersion": "18"},
            {"engine": "postgres", "engineVersion": "14.17"},
            {"engine": "postgres", "engineVersion": "99.1"},
            {"engine": "postgres"},
            {"engine": "mysql", "engineVersion": "8.4.5"},
            {"engine": "mariadb", "engineVersion": "10.11.9"},
            {"engine": "aurora-mysql", "engineVersion": "8.0.mysql_aurora.3.08.0"},
            {"engine": "oracle-ee", "engineVersion": "19"},
        ),
        breaks=(
            *one(
                INSTANCE,
                {"engine": "postgres", "engineVersion": "13.20"},
                {"engine": "postgres", "engineVersion": "9.6.24"},
                {"engine": "postgres", "engineVersion": "8.4"},
                {"engine": "mysql", "engineVersion": "8.0"},
                {"engine": "mariadb", "engineVersion": "10.5.28"},
            ),
            *one(CLUSTER, {"engine": "aurora-mysql", "engineVersion": "5.7.mysql_aurora.2.11.1"}),
        ),
        undecided=unknown(INSTANCE, {"engine": "postgres"}, "engineVersion"),
    ),
    Case(
        "lifecycle-minor-upgrade",
        keeps=one(INSTANCE, {}, {"autoMinorVersionUpgrade": True}),
        breaks=one(INSTANCE, {"autoMinorVersionUpgrade": False}),
    ),
    Case(
        "limits-instance-class",
        keeps=one(INSTANCE, {"instanceClass": "db.r8g.48xlarge"}),
        breaks=one(INSTANCE, {"instanceClass": "m"}),
    ),
    Case(
        "limits-instance-class",
        keeps=one(INSTANCE, {"instanceClass": "db.t4g.medium", "allocatedStorage": 20}),
        breaks=one(
            INSTANCE,
            {"instanceClass": "db.r8g.large"},
            {"instanceClass": "db.t4g.medium", "allocatedStorage": 100},
            {"instanceClass": "mysql"},
        ),
        undecided=unknown(INSTANCE, {}, "instanceClass"),
        spec=SILO,
    ),
]

SCHEMA = "tenantry-postgres:index:AppSchema"
SECURITY = "tenantry-postgres:index:PoolSecurity"
PLACE: dict[str, Any] = {"database": "{case}", "schema": "app"}
ANTIPATTERNS = [
    Case(
        "antipattern-table-per-tenant",
        keeps=(
            (
                r(TABLE, "a", hashKey="{case}-a", tags={"tenant_id": "acme"}),
                r(TABLE, "b", hashKey="{case}-b", tags={"tenant_id": "globex"}),
            ),
            (r(TABLE, "a", hashKey="{case}"), r(TABLE, "b", hashKey="{case}")),
        ),
        breaks=(
            (
                r(TABLE, "a", hashKey="{case}", tags={"tenant_id": "acme"}),
                r(TABLE, "b", hashKey="{case}", tags={"tenant_id": "globex"}),
            ),
        ),
        undecided=unknown(TABLE, {}, "tags"),
    ),
    Case("antipattern-table-per-tenant", breaks=one(TABLE, {"hashKey": "id"}), spec=POOL),
    Case(
        "antipattern-application-isolation",
        keeps=(
            (r(SCHEMA, "s", mode="pool", **PLACE), r(SECURITY, "p", **PLACE)),
            (r(SCHEMA, "s", mode="dedicated", **PLACE),),
        ),
        breaks=(
            (r(SCHEMA, "s", mode="pool", **PLACE),),
            (r(SCHEMA, "s", mode="pool", **PLACE), r(SECURITY, "p", database="{case}", schema="other")),
        ),
        undecided=unknown(SCHEMA, PLACE, "mode"),
    ),
]

CASES = (*NETWORKS, *RESILIENCE, *RECORDS, *OWNERSHIP, *LIFECYCLE, *ANTIPATTERNS)
