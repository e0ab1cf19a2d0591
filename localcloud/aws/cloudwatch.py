"""CloudWatch alarms on a metric."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from localcloud.aws.client import Aws
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    is_true,
    live_tags,
    tag_changes,
    tag_dict,
    tag_list,
)
from providers.base import AutoName, Context, Properties

_COMPARISONS = (
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
    "LessThanLowerOrGreaterThanUpperThreshold",
    "LessThanLowerThreshold",
    "GreaterThanUpperThreshold",
)
_STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_MISSING = ("missing", "ignore", "breaching", "notBreaching")
#: property -> parameter of PutMetricAlarm, for what is passed on as it is
_PARAMETERS = {
    "alarmActions": "AlarmActions",
    "alarmDescription": "AlarmDescription",
    "comparisonOperator": "ComparisonOperator",
    "datapointsToAlarm": "DatapointsToAlarm",
    "evaluateLowSampleCountPercentiles": "EvaluateLowSampleCountPercentile",
    "evaluationPeriods": "EvaluationPeriods",
    "extendedStatistic": "ExtendedStatistic",
    "insufficientDataActions": "InsufficientDataActions",
    "metricName": "MetricName",
    "namespace": "Namespace",
    "okActions": "OKActions",
    "period": "Period",
    "statistic": "Statistic",
    "threshold": "Threshold",
    "treatMissingData": "TreatMissingData",
    "unit": "Unit",
}


class MetricAlarm(AwsHandler):
    """The id is the alarm's name."""

    token = "aws:cloudwatch/metricAlarm:MetricAlarm"
    inputs = frozenset({"actionsEnabled", "dimensions", *_PARAMETERS})
    outputs = frozenset({"arn"})
    required = frozenset({"comparisonOperator", "evaluationPeriods"})
    replace_on = frozenset({"name"})
    set_properties = frozenset({"alarmActions", "okActions", "insufficientDataActions"})
    defaults = MappingProxyType({"actionsEnabled": True, "treatMissingData": "missing"})
    auto_name = AutoName("name", 255)

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", r"[^\x00-\x1f]+", "has control characters", min=1, max=255)
        checks.string("alarmDescription", r"(?s).*", "", max=1024)
        checks.one_of("comparisonOperator", _COMPARISONS)
        checks.one_of("statistic", _STATISTICS)
        checks.one_of("treatMissingData", _MISSING)
        checks.integer("evaluationPeriods", 1, 86400)
        checks.integer("datapointsToAlarm", 1, 86400)
        checks.excludes("statistic", "extendedStatistic")
        if "metricName" not in inputs:
            checks.fail("metricName", "is required")
        elif "statistic" not in inputs and "extendedStatistic" not in inputs:
            checks.fail("statistic", "either statistic or extendedStatistic is required")
        period = checks.known("period")
        if period is None and "period" not in inputs:
            checks.fail("period", "is required")
        elif isinstance(period, int) and period not in (10, 20, 30) and (period < 60 or period % 60):
            checks.fail("period", f"{period} is not 10, 20, 30 or a multiple of 60 seconds")
        for name in ("alarmActions", "okActions", "insufficientDataActions"):
            actions = checks.known(name) or []
            if len(actions) > 5:
                checks.fail(name, f"{len(actions)} actions; at most 5 are allowed")
            for action in actions:
                if not str(action).startswith("arn:"):
                    checks.fail(name, f"{action!r} is no ARN")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        name = inputs["name"]
        # Like AWS: an alarm of that name is overwritten.
        aws.client("cloudwatch").put_metric_alarm(**_arguments(inputs), Tags=tag_list(all_tags(inputs)))
        return name, self._outputs(aws, name, all_tags(inputs))

    @staticmethod
    def _outputs(aws: Aws, name: str, tags: dict[str, str]) -> Properties:
        return {"arn": aws.arn("cloudwatch", f"alarm:{name}"), "region": aws.region, "tagsAll": tags}

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        cloudwatch = aws.client("cloudwatch")
        alarms = cloudwatch.describe_alarms(AlarmNames=[id])["MetricAlarms"]
        if not alarms:
            return None
        alarm = alarms[0]
        tags = tag_dict(cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"])
        live: Properties = {"name": id, "actionsEnabled": bool(alarm.get("ActionsEnabled", True))}
        for name, parameter in _PARAMETERS.items():
            value = alarm.get(parameter)
            if value not in (None, "", []) or name in inputs:
                live[name] = value
        if alarm.get("Dimensions"):
            live["dimensions"] = {d["Name"]: d["Value"] for d in alarm["Dimensions"]}
        return id, {**live, **live_tags(aws, tags, inputs)}, self._outputs(aws, id, tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        cloudwatch = aws.client("cloudwatch")
        cloudwatch.put_metric_alarm(**_arguments(inputs))
        outputs = self._outputs(aws, id, all_tags(inputs))
        added, removed = tag_changes(state, inputs)
        if removed:
            cloudwatch.untag_resource(ResourceARN=outputs["arn"], TagKeys=removed)
        if added:
            cloudwatch.tag_resource(ResourceARN=outputs["arn"], Tags=tag_list(added))
        return outputs

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        self.aws(ctx, state).client("cloudwatch").delete_alarms(AlarmNames=[id])


def _arguments(inputs: Properties) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "AlarmName": inputs["name"],
        "ActionsEnabled": is_true(inputs.get("actionsEnabled", True)),
        "Dimensions": tag_list(inputs.get("dimensions") or {}, "Name", "Value"),
    }
    arguments |= {parameter: inputs[name] for name, parameter in _PARAMETERS.items() if name in inputs}
    return arguments


HANDLERS = (MetricAlarm(),)
