"""The AWS quotas that resources of stacks consume: codes, documented defaults, where they apply.

Codes and defaults are those of AWS's quota pages (``SOURCES``). A default is used only where Service Quotas and the
service itself can't tell the account's own value, and a result says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Scope(StrEnum):
    REGION = "Region"  #: one quota in each Region of an account
    ACCOUNT = "account"  #: one quota an account, asked in the partition's home Region


class Counter(StrEnum):
    """Where present use is read: one reading of ``provisioner.quotas.usage`` each."""

    IAM = "iam"
    RDS = "rds"
    KMS_KEYS = "kms-keys"
    BUCKETS = "buckets"
    SECRETS = "secrets"
    SECURITY_GROUPS = "security-groups"
    VPCS = "vpcs"
    GATEWAY_ENDPOINTS = "gateway-endpoints"
    TOPICS = "topics"
    LOG_GROUPS = "log-groups"


@dataclass(frozen=True)
class Quota:
    service: str  #: Service Quotas' service code
    code: str  #: Service Quotas' quota code
    name: str  #: for people, with the service
    default: int  #: as documented, in ``unit``
    scope: Scope
    counter: Counter
    unit: str = ""  #: of limit and use; "" counts resources
    #: Documented defaults of Regions that have another one.
    exceptions: Mapping[str, int] = field(default_factory=dict, hash=False)
    #: A deleted one goes on counting: a key waits for its deletion for days.
    lingers: bool = False

    @property
    def key(self) -> str:
        """``rds/L-7B6409FD``"""
        return f"{self.service}/{self.code}"

    def documented(self, region: str) -> int:
        return self.exceptions.get(region, self.default)


_MUMBAI_RDS = MappingProxyType({"ap-south-1": 20})

ROLES = Quota("iam", "L-FE177D64", "IAM roles", 1_000, Scope.ACCOUNT, Counter.IAM)
POLICIES = Quota("iam", "L-E95E4862", "IAM customer managed policies", 1_500, Scope.ACCOUNT, Counter.IAM)
INSTANCES = Quota("rds", "L-7B6409FD", "RDS DB instances", 40, Scope.REGION, Counter.RDS, exceptions=_MUMBAI_RDS)
STORAGE = Quota(
    "rds", "L-7ADDB58A", "RDS total storage for all DB instances", 100_000, Scope.REGION, Counter.RDS, unit="GiB"
)
PARAMETER_GROUPS = Quota(
    "rds", "L-DE55804A", "RDS parameter groups", 50, Scope.REGION, Counter.RDS, exceptions=_MUMBAI_RDS
)
SUBNET_GROUPS = Quota(
    "rds", "L-48C6BF61", "RDS DB subnet groups", 50, Scope.REGION, Counter.RDS, exceptions=_MUMBAI_RDS
)
SNAPSHOTS = Quota("rds", "L-272F1212", "RDS manual DB instance snapshots", 100, Scope.REGION, Counter.RDS)
KEYS = Quota("kms", "L-C2F1777E", "KMS customer managed keys", 100_000, Scope.REGION, Counter.KMS_KEYS, lingers=True)
BUCKETS = Quota("s3", "L-DC2B2D3D", "S3 general purpose buckets", 10_000, Scope.ACCOUNT, Counter.BUCKETS)
SECRETS = Quota(
    "secretsmanager", "L-2F66C23C", "Secrets Manager secrets", 500_000, Scope.REGION, Counter.SECRETS, lingers=True
)
SECURITY_GROUPS = Quota("vpc", "L-E79EC296", "VPC security groups", 2_500, Scope.REGION, Counter.SECURITY_GROUPS)
VPCS = Quota("vpc", "L-F678F1CE", "VPCs", 5, Scope.REGION, Counter.VPCS)
GATEWAY_ENDPOINTS = Quota("vpc", "L-1B52E74A", "gateway VPC endpoints", 20, Scope.REGION, Counter.GATEWAY_ENDPOINTS)
TOPICS = Quota("sns", "L-61103206", "SNS topics", 100_000, Scope.REGION, Counter.TOPICS)
LOG_GROUPS = Quota("logs", "L-C7B9AAAB", "CloudWatch log groups", 1_000_000, Scope.REGION, Counter.LOG_GROUPS)

QUOTAS: Mapping[str, Quota] = MappingProxyType(
    {
        quota.key: quota
        for quota in (
            ROLES,
            POLICIES,
            INSTANCES,
            STORAGE,
            PARAMETER_GROUPS,
            SUBNET_GROUPS,
            SNAPSHOTS,
            KEYS,
            BUCKETS,
            SECRETS,
            SECURITY_GROUPS,
            VPCS,
            GATEWAY_ENDPOINTS,
            TOPICS,
            LOG_GROUPS,
        )
    }
)

_ATTACHED = "is part of a resource that is counted itself"

#: Types that are known to consume no quota of the account, and why. Any other type is reported as not checked.
NOT_COUNTED: Mapping[str, str] = MappingProxyType(
    {
        "aws:cloudwatch/metricAlarm:MetricAlarm": "AWS sets no limit on the number of metric alarms",
        "aws:cloudwatch/eventRule:EventRule": "one a cell, of 300 an event bus",
        "aws:cloudwatch/eventTarget:EventTarget": "5 a rule, no quota of the account",
        "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": "one a cell, of 10 a region",
        "aws:rds/instanceDesiredState:InstanceDesiredState": "a property of an instance, which is counted",
        "aws:sqs/queue:Queue": "AWS sets no limit on the number of queues",
        "aws:kms/alias:Alias": "50 a key, no quota of the account",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "adopts the group that came with the VPC",
        "aws:ec2/subnet:Subnet": "200 a VPC, no quota of the account",
        "aws:ec2/routeTable:RouteTable": "200 a VPC, no quota of the account",
        "aws:ec2/routeTableAssociation:RouteTableAssociation": _ATTACHED,
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "60 rules a group, no quota of the account",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "60 rules a group, no quota of the account",
        "aws:iam/rolePolicy:RolePolicy": _ATTACHED,
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "10 a role, no quota of the account",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _ATTACHED,
        "aws:s3/bucketLogging:BucketLogging": _ATTACHED,
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _ATTACHED,
        "aws:s3/bucketPolicy:BucketPolicy": _ATTACHED,
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _ATTACHED,
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _ATTACHED,
        "aws:s3/bucketVersioning:BucketVersioning": _ATTACHED,
        "aws:secretsmanager/secretPolicy:SecretPolicy": _ATTACHED,
        "aws:secretsmanager/secretVersion:SecretVersion": _ATTACHED,
        "aws:sns/topicPolicy:TopicPolicy": _ATTACHED,
        "aws:sns/topicSubscription:TopicSubscription": "12,500,000 a topic, no quota of the account",
        "aws:sqs/queuePolicy:QueuePolicy": _ATTACHED,
    }
)

SOURCES: tuple[str, ...] = (
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html",
    "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html",
    "https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html",
    "https://docs.aws.amazon.com/AmazonS3/latest/userguide/BucketRestrictions.html",
    "https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html",
    "https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html",
    "https://docs.aws.amazon.com/general/latest/gr/sns.html",
    "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html",
    "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html",
)
