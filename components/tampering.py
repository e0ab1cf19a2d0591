"""Who touches keys and buckets past us is noticed: one EventBridge rule for all of a cell's, a log of it, an alarm.

KMS and S3 have no metric for this. CloudTrail reports every change to EventBridge, whose rules see the whole account
and region, so a rule of the cell covers each tenant's key and bucket, those of tomorrow too. CloudTrail's events come
only where a trail records management events. EventBridge publishes to a topic by a policy that can't say for whom
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-troubleshooting.html), so the events go to a log group and
an alarm on the rule's metric goes to the topic, as every other alarm does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws.cloudwatch.event_rule import EventRule
from pulumi_aws.cloudwatch.event_target import EventTarget
from pulumi_aws.cloudwatch.log_resource_policy import LogResourcePolicy
from pulumi_aws.cloudwatch.metric_alarm import MetricAlarm

from components.account import Account
from components.documents import Document, document, to_json
from components.logs import LogGroup, LogGroupArgs
from components.naming import Names
from components.spec import Environment

PATTERN_LIMIT = 2048
LOG_POLICY_LIMIT = 5120

DISRUPTIONS = (
    "DisableKey",
    "DisableKeyRotation",
    "ScheduleKeyDeletion",
    "DeleteBucketEncryption",
    "DeleteBucketPolicy",
    "DeleteBucketPublicAccessBlock",
    "PutBucketAcl",
)
"""What no update of ours does: told whoever does it. The end of a silo schedules its key's deletion, and is told."""

CHANGES = (
    "PutKeyPolicy",
    "UpdateAlias",
    "PutBucketEncryption",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketReplication",
    "PutBucketVersioning",
)
"""What updates do as well: told when somebody else than the named provisioners does it."""


def event_pattern(provisioners: tuple[str, ...]) -> dict[str, Any]:
    """``provisioners``: ARNs of roles whose changes are ours; without any, who else changes something can't be told."""
    watched: list[dict[str, Any]] = [{"eventName": list(DISRUPTIONS)}]
    if provisioners:
        issuer = {"arn": [{"anything-but": sorted(set(provisioners))}]}
        watched += [
            {"eventName": list(CHANGES), "userIdentity": {"sessionContext": {"sessionIssuer": issuer}}},
            # Users and the root have no session: a pattern on what is absent would not match them.
            {"eventName": list(CHANGES), "userIdentity": {"type": ["IAMUser", "Root"]}},
        ]
    return {
        "source": ["aws.kms", "aws.s3"],
        "detail-type": ["AWS API Call via CloudTrail"],
        "detail": {"eventSource": ["kms.amazonaws.com", "s3.amazonaws.com"], "$or": watched},
    }


def log_policy(account: Account, log_group: str, rule: str) -> Document:
    """The rule alone writes to the log group. EventBridge names no source when it makes a stream."""
    streams = account.arn("logs", f"log-group:{log_group}:*")
    writer = {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]}
    return document(
        {
            "Sid": "StreamsOfEvents",
            "Effect": "Allow",
            "Principal": writer,
            "Action": "logs:CreateLogStream",
            "Resource": streams,
        },
        {
            "Sid": "EventsOfTheRule",
            "Effect": "Allow",
            "Principal": writer,
            "Action": "logs:PutLogEvents",
            "Resource": streams,
            "Condition": {"ArnEquals": {"aws:SourceArn": account.arn("events", f"rule/{rule}")}},
        },
    )


@dataclass(frozen=True)
class TamperingAlarmArgs:
    names: Names
    account: pulumi.Input[Account]
    key_arn: pulumi.Input[str]
    topic_arn: pulumi.Input[str]
    environment: Environment
    tags: Mapping[str, str]
    provisioners: tuple[str, ...] = ()
    protect: bool = True


class TamperingAlarm(pulumi.ComponentResource):
    """``rule_arn`` is known when events reach the log and the alarm reaches the topic."""

    rule_arn: pulumi.Output[str]

    def __init__(self, name: str, args: TamperingAlarmArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:TamperingAlarm", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        tags, rule_name = dict(args.tags), args.names.tampering
        log = LogGroup(
            name,
            LogGroupArgs(
                log_group_name=args.names.event_log_group,
                kms_key_arn=args.key_arn,
                environment=args.environment,
                tags=args.tags,
                protect=args.protect,
            ),
            opts=child,
        )
        writing = LogResourcePolicy(
            name,
            policy_name=rule_name,
            policy_document=pulumi.Output.from_input(args.account).apply(
                lambda account: to_json(
                    log_policy(account, args.names.event_log_group, rule_name),
                    limit=LOG_POLICY_LIMIT,
                    what="the event log's policy",
                )
            ),
            opts=child,
        )
        rule = EventRule(
            name,
            name=rule_name,
            description="Somebody disables, deletes or opens a key or a bucket",
            event_pattern=to_json(event_pattern(args.provisioners), limit=PATTERN_LIMIT, what="the event pattern"),
            tags=tags,
            opts=child,
        )
        target = EventTarget(
            name,
            rule=rule.name,
            target_id="log",
            arn=log.arn,
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[writing])),
        )
        alarm = MetricAlarm(
            name,
            name=args.names.alarm("tampering"),
            alarm_description=f"A key or bucket was disabled, deleted or opened: see log {args.names.event_log_group}",
            namespace="AWS/Events",
            metric_name="TriggeredRules",
            dimensions={"RuleName": rule.name},
            statistic="Sum",
            comparison_operator="GreaterThanThreshold",
            threshold=0.0,
            period=60,
            evaluation_periods=1,
            treat_missing_data="notBreaching",
            alarm_actions=[args.topic_arn],
            tags=tags,
            opts=child,
        )
        self.rule_arn = pulumi.Output.all(rule.arn, target.id, alarm.id).apply(lambda known: str(known[0]))
        self.register_outputs({"ruleArn": self.rule_arn})
