"""Somebody is told when a database, a bucket or a key is in trouble."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from policies.model import Facts, Parameter, Resource, Rule, Severity, Stack, Violation
from policies.references import cis, saas_lens, soc2
from policies.relations import BUCKETS
from policies.values import CannotTell, is_on, is_unknown, listed

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
EVENT_RULE = "aws:cloudwatch/eventRule:EventRule"
EVENT_TARGET = "aws:cloudwatch/eventTarget:EventTarget"
_DATABASES = (
    ("aws:rds/instance:Instance", "AWS/RDS", "DBInstanceIdentifier", "identifier"),
    ("aws:rds/cluster:Cluster", "AWS/RDS", "DBClusterIdentifier", "clusterIdentifier"),
)
_KEY_EVENTS = frozenset({"DisableKey", "ScheduleKeyDeletion"})


def _judge(stack: Stack, facts: Facts) -> Iterator[Violation]:
    if facts.spec is None and not facts.parameters.get("everywhere"):
        return
    alarms = [each for each in stack.of_type(ALARM) if _tells_somebody(each)]
    for type_, namespace, dimension, name in _DATABASES:
        for database in stack.of_type(type_):
            told = {each.get("metricName") for each in _of(alarms, namespace, dimension, database, name)}
            missing = [metric for metric in facts.parameters["database_metrics"] if metric not in told]
            if missing:
                yield Violation(database.urn, f"no alarm of the database looks at {', '.join(missing)}")
    for bucket in stack.of_type(*BUCKETS):
        if not any(_of(alarms, "AWS/S3", "BucketName", bucket, "bucket")):
            yield Violation(bucket.urn, "the bucket has no alarm")
    yield from _keys(stack, facts, alarms)


def _tells_somebody(alarm: Resource) -> bool:
    actions = alarm.get("alarmActions")
    if is_unknown(actions):
        return bool(alarm.depends_on.get("alarmActions"))
    return bool(actions) and (alarm.get("actionsEnabled") is None or is_on(alarm.get("actionsEnabled")))


def _of(alarms: list[Resource], namespace: str, dimension: str, owner: Resource, name: str) -> Iterator[Resource]:
    """The alarms on ``owner``, by the name in their dimension, or by where an unknown one comes from."""
    for alarm in alarms:
        if alarm.get("namespace") != namespace:
            continue
        dimensions = alarm.get("dimensions")
        value = dimensions if is_unknown(dimensions) else (dimensions or {}).get(dimension)
        known = owner.get(name)
        if not is_unknown(value) and not is_unknown(known):
            if value == known and known:
                yield alarm
        elif owner.urn in alarm.depends_on.get("dimensions", frozenset()):
            yield alarm


def _keys(stack: Stack, facts: Facts, alarms: list[Resource]) -> Iterator[Violation]:
    keys = list(stack.of_type("aws:kms/key:Key"))
    if not keys or facts.parameters.get("keys_watched_elsewhere"):
        return
    if facts.tenant is not None and facts.platform is not None and facts.platform.tampering_rule_arn:
        return  # the cell's rule sees every key of the account and region
    if any(_watches_keys(each, stack, alarms) for each in stack.of_type(EVENT_RULE)):
        return
    for key in keys:
        yield Violation(key.urn, "nobody is told when the key is disabled or its deletion scheduled")


def _watches_keys(rule: Resource, stack: Stack, alarms: list[Resource]) -> bool:
    if rule.get("state") == "DISABLED" or (rule.get("isEnabled") is not None and not is_on(rule.get("isEnabled"))):
        return False
    pattern = rule.get("eventPattern")
    if is_unknown(pattern):
        raise CannotTell("an event pattern")
    if not isinstance(pattern, str):
        return False
    try:
        parsed = json.loads(pattern)
    except ValueError:
        return False
    if not isinstance(parsed, Mapping) or "aws.kms" not in listed(parsed.get("source")):
        return False
    if not set(_named_events(parsed.get("detail"))) >= _KEY_EVENTS:
        return False
    targets = [each for each in stack.of_type(EVENT_TARGET) if _names(each, "rule", rule)]
    if any(_is_topic(each, stack) for each in targets):
        return True
    # without a target the rule does nothing, and nobody can look up what happened
    return bool(targets) and any(_of(alarms, "AWS/Events", "RuleName", rule, "name"))


def _named_events(value: Any) -> Iterator[str]:
    """Names of events that are matched whoever causes them: not those beside a condition on who it is."""
    if isinstance(value, Mapping):
        if "eventName" in value and "userIdentity" not in value:
            yield from (each for each in listed(value["eventName"]) if isinstance(each, str))
        for each in listed(value.get("$or")):
            yield from _named_events(each)


def _names(part: Resource, name: str, owner: Resource) -> bool:
    value, known = part.get(name), owner.get("name")
    if is_unknown(value) or is_unknown(known):
        return owner.urn in part.depends_on.get(name, frozenset())
    return bool(value == known)


def _is_topic(target: Resource, stack: Stack) -> bool:
    arn = target.get("arn")
    if is_unknown(arn):
        return any(each.type == "aws:sns/topic:Topic" for each in stack.sources(target, "arn"))
    return isinstance(arn, str) and ":sns:" in arn


RULES: tuple[Rule, ...] = (
    Rule(
        id="tenancy-alarms",
        title="Every database, bucket and key has an alarm that reaches somebody",
        severity=Severity.MEDIUM,
        remediation="Add DatabaseAlarms, BucketAlarm or TamperingAlarm with the topic of who is on call",
        stack=_judge,
        references=(*cis("4.7", "4.7"), *soc2("CC7.2"), *saas_lens("SaaS OPS 1")),
        parameters=(
            Parameter(
                "database_metrics",
                ["CPUUtilization", "FreeStorageSpace"],
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "metrics of AWS/RDS that each database has an alarm on",
                },
            ),
            Parameter(
                "keys_watched_elsewhere",
                False,
                {"type": "boolean", "description": "something outside of the stack watches the account's keys"},
            ),
            Parameter(
                "everywhere",
                False,
                {"type": "boolean", "description": "also in stacks that are not Tenantry's"},
            ),
        ),
    ),
)
