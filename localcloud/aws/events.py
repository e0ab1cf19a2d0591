"""EventBridge rules on the default event bus, and their targets."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    is_true,
    live_tags,
    missing,
    refusal,
    tag_changes,
    tag_dict,
    tag_list,
)
from providers.base import AutoName, Context, Properties

_PATTERN_CHARACTERS = 2048
_GONE = ("ResourceNotFoundException",)
_BUS = "default"
_NAME = r"[.\-_A-Za-z0-9]+"


class EventRule(AwsHandler):
    """The id is the rule's name. Other event buses than the default one are not supported here."""

    token = "aws:cloudwatch/eventRule:EventRule"
    inputs = frozenset({"description", "eventPattern", "scheduleExpression", "state", "eventBusName", "forceDestroy"})
    outputs = frozenset({"arn"})
    replace_on = frozenset({"name", "namePrefix", "eventBusName"})
    json_properties = frozenset({"eventPattern"})
    local_inputs = frozenset({"forceDestroy"})
    defaults = MappingProxyType({"state": "ENABLED", "eventBusName": _BUS, "forceDestroy": False})
    auto_name = AutoName(
        "name",
        64,
        allowed="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.",
        prefix_property="namePrefix",
    )

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", _NAME, "has letters, digits and .-_ only", min=1, max=64)
        checks.string("description", r"(?s).*", "", max=512)
        checks.one_of("state", ("ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"))
        checks.one_of("eventBusName", (_BUS,))
        checks.boolean("forceDestroy")
        checks.exactly_one("eventPattern", "scheduleExpression")
        _check_pattern(checks)

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        # Like AWS: a rule of that name is overwritten.
        aws.client("events").put_rule(**_rule(inputs), Tags=tag_list(all_tags(inputs)))
        return inputs["name"], self._outputs(aws, inputs["name"], all_tags(inputs))

    @staticmethod
    def _outputs(aws: Aws, name: str, tags: dict[str, str]) -> Properties:
        return {"arn": aws.arn("events", f"rule/{name}"), "region": aws.region, "tagsAll": tags}

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        events = aws.client("events")
        try:
            rule = events.describe_rule(Name=id)
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        tags = tag_dict(events.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"])
        live: Properties = {"name": id, "state": rule["State"]}
        for name, key in (
            ("description", "Description"),
            ("eventPattern", "EventPattern"),
            ("scheduleExpression", "ScheduleExpression"),
        ):
            if rule.get(key):
                live[name] = rule[key]
        return id, {**live, **live_tags(aws, tags, inputs)}, self._outputs(aws, id, tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        events = aws.client("events")
        events.put_rule(**_rule(inputs))
        outputs = self._outputs(aws, id, all_tags(inputs))
        added, removed = tag_changes(state, inputs)
        if removed:
            events.untag_resource(ResourceARN=outputs["arn"], TagKeys=removed)
        if added:
            events.tag_resource(ResourceARN=outputs["arn"], Tags=tag_list(added))
        return outputs

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        events = self.aws(ctx, state).client("events")
        try:
            if is_true(state.get("forceDestroy")):
                targets = [each["Id"] for each in events.list_targets_by_rule(Rule=id)["Targets"]]
                if targets:
                    events.remove_targets(Rule=id, Ids=targets)
            events.delete_rule(Name=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


def _check_pattern(checks: Checks) -> None:
    pattern = checks.known("eventPattern")
    if not isinstance(pattern, str):
        return
    if len(pattern) > _PATTERN_CHARACTERS:
        checks.fail("eventPattern", f"has {len(pattern)} characters; at most {_PATTERN_CHARACTERS} are allowed")
    try:
        parsed = json.loads(pattern)
    except ValueError as error:
        checks.fail("eventPattern", f"is no valid JSON: {error}")
        return
    if not isinstance(parsed, dict) or not parsed:
        checks.fail("eventPattern", "must be a JSON object with at least one key")


def _rule(inputs: Properties) -> dict[str, Any]:
    found = {"Name": inputs["name"], "State": inputs.get("state", "ENABLED")}
    for name, key in (
        ("description", "Description"),
        ("eventPattern", "EventPattern"),
        ("scheduleExpression", "ScheduleExpression"),
    ):
        if name in inputs:
            found[key] = inputs[name]
    return found


class EventTarget(AwsHandler):
    """The id is ``<rule>-<target id>``, an import is given ``<rule>/<target id>``."""

    token = "aws:cloudwatch/eventTarget:EventTarget"
    tagged = False
    inputs = frozenset({"arn", "rule", "eventBusName", "input", "inputPath", "forceDestroy"})
    required = frozenset({"arn", "rule"})
    replace_on = frozenset({"rule", "targetId", "eventBusName"})
    json_properties = frozenset({"input"})
    local_inputs = frozenset({"forceDestroy"})
    defaults = MappingProxyType({"eventBusName": _BUS, "forceDestroy": False})
    auto_name = AutoName("targetId", 64)

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("arn", r"arn:aws[a-z-]*:[a-z0-9-]+:\S+", "is no ARN")
        checks.string("rule", _NAME, "has letters, digits and .-_ only", min=1, max=64)
        checks.string("targetId", _NAME, "has letters, digits and .-_ only", min=1, max=64)
        checks.one_of("eventBusName", (_BUS,))
        checks.excludes("input", "inputPath")

    def _put(self, ctx: Context[Aws], inputs: Properties) -> Properties:
        aws = self.aws(ctx, inputs)
        target = {"Id": inputs["targetId"], "Arn": inputs["arn"]}
        for name, key in (("input", "Input"), ("inputPath", "InputPath")):
            if name in inputs:
                target[key] = inputs[name]
        answer = aws.client("events").put_targets(Rule=inputs["rule"], Targets=[target])
        for entry in answer.get("FailedEntries", ()):
            raise refusal("PutTargets", entry["ErrorCode"], entry["ErrorMessage"])
        return {"region": aws.region}

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        return f"{inputs['rule']}-{inputs['targetId']}", self._put(ctx, inputs)

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        rule, target_id = (state["rule"], state["targetId"]) if state else id.rsplit("/", 2)[-2:]
        try:
            targets = aws.client("events").list_targets_by_rule(Rule=rule)["Targets"]
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        target = next((each for each in targets if each["Id"] == target_id), None)
        if target is None:
            return None
        live = {"rule": rule, "targetId": target_id, "arn": target["Arn"]}
        for name, key in (("input", "Input"), ("inputPath", "InputPath")):
            if target.get(key):
                live[name] = target[key]
        return f"{rule}-{target_id}", live, {"region": aws.region}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        return self._put(ctx, inputs)

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("events").remove_targets(Rule=state["rule"], Ids=[state["targetId"]])
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


HANDLERS = (EventRule(), EventTarget())
