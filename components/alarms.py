"""What pages an operator: an encrypted topic, and the alarms of a database instance and of a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws.cloudwatch.metric_alarm import MetricAlarm
from pulumi_aws.sns.topic import Topic

from components.account import Account
from components.documents import Document, document, to_json
from components.naming import Names

TOPIC_POLICY_LIMIT = 30720
GIB = 1024**3
MIB = 1024**2


def topic_policy(account: Account, topic: str) -> Document:
    """CloudWatch's alarms of this account publish, nobody else's, and nobody without TLS."""
    arn = account.arn("sns", topic)
    return document(
        {
            "Sid": "AlarmsOfThisAccount",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": account.id}},
        },
        {
            "Sid": "OnlyTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sns:Publish",
            "Resource": arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    )


@dataclass(frozen=True)
class AlarmTopicArgs:
    topic_name: str
    account: pulumi.Input[Account]
    key_arn: pulumi.Input[str]
    tags: Mapping[str, str]

    def __post_init__(self) -> None:
        if not 1 <= len(self.topic_name) <= 256:
            raise ValueError(f"topic name {self.topic_name!r}: want 1 to 256 characters")


class AlarmTopic(pulumi.ComponentResource):
    """``arn``: subscribe whoever is on call to it."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: AlarmTopicArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:AlarmTopic", name, None, opts)
        self.topic = Topic(
            name,
            name=args.topic_name,
            kms_master_key_id=args.key_arn,
            policy=pulumi.Output.from_input(args.account).apply(
                lambda account: to_json(
                    topic_policy(account, args.topic_name), limit=TOPIC_POLICY_LIMIT, what="the topic policy"
                )
            ),
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = self.topic.arn
        self.register_outputs({"arn": self.arn})


@dataclass(frozen=True)
class Threshold:
    """``statistic`` of ``metric`` over five minutes beyond ``value`` for ``periods`` in a row raises the alarm."""

    metric: str
    slug: str
    statistic: str
    comparison: str
    value: float
    periods: int
    meaning: str


def database_thresholds(storage_gib: int) -> list[Threshold]:
    below, above = "LessThanThreshold", "GreaterThanThreshold"
    return [
        Threshold("CPUUtilization", "cpu", "Average", above, 90, 3, "CPU above 90 % for 15 minutes"),
        Threshold("FreeStorageSpace", "storage", "Minimum", below, storage_gib * GIB // 10, 1, "storage 90 % full"),
        Threshold("FreeableMemory", "memory", "Average", below, 128 * MIB, 3, "less than 128 MiB of memory free"),
        Threshold("DiskQueueDepth", "disk-queue", "Average", above, 64, 3, "the disk can't keep up"),
        # Wraparound stops all writes at 2^31 transactions; autovacuum should have acted at 200 million.
        Threshold("MaximumUsedTransactionIDs", "wraparound", "Maximum", above, 1e9, 1, "vacuum can't keep up"),
        # A slot nobody reads keeps WAL until the disk is full.
        Threshold("OldestReplicationSlotLag", "slot-lag", "Maximum", above, 2 * GIB, 2, "a replication slot lags"),
    ]


@dataclass(frozen=True)
class DatabaseAlarmsArgs:
    names: Names
    instance_identifier: pulumi.Input[str]
    storage_gib: int
    topic_arn: pulumi.Input[str]
    tags: Mapping[str, str]


class DatabaseAlarms(pulumi.ComponentResource):
    def __init__(self, name: str, args: DatabaseAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:DatabaseAlarms", name, None, opts)
        for threshold in database_thresholds(args.storage_gib):
            MetricAlarm(
                f"{name}-{threshold.slug}",
                name=args.names.alarm(threshold.slug),
                alarm_description=threshold.meaning,
                namespace="AWS/RDS",
                metric_name=threshold.metric,
                dimensions={"DBInstanceIdentifier": args.instance_identifier},
                statistic=threshold.statistic,
                comparison_operator=threshold.comparison,
                threshold=float(threshold.value),
                period=300,
                evaluation_periods=threshold.periods,
                treat_missing_data="missing",
                alarm_actions=[args.topic_arn],
                ok_actions=[args.topic_arn],
                tags=dict(args.tags),
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})


STORAGE_GIB = 1024
"""Files beyond this raise the alarm of a bucket whose plan sets no limit."""


@dataclass(frozen=True)
class BucketAlarmArgs:
    """S3 reports a bucket's size once a day, free of charge; its request metrics would cost 5 USD a month."""

    names: Names
    bucket_name: pulumi.Input[str]
    topic_arn: pulumi.Input[str]
    tags: Mapping[str, str]
    storage_gib: int = STORAGE_GIB


class BucketAlarm(pulumi.ComponentResource):
    """Somebody stores more than is paid for. Who opens or breaks a bucket is ``components.tampering``'s business."""

    def __init__(self, name: str, args: BucketAlarmArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:BucketAlarm", name, None, opts)
        MetricAlarm(
            f"{name}-size",
            name=args.names.alarm("bucket-size"),
            alarm_description=f"the bucket holds more than {args.storage_gib} GiB",
            namespace="AWS/S3",
            metric_name="BucketSizeBytes",
            dimensions={"BucketName": args.bucket_name, "StorageType": "StandardStorage"},
            statistic="Average",
            comparison_operator="GreaterThanThreshold",
            threshold=float(args.storage_gib * GIB),
            period=86400,
            evaluation_periods=1,
            treat_missing_data="missing",
            alarm_actions=[args.topic_arn],
            ok_actions=[args.topic_arn],
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
