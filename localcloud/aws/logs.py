"""CloudWatch log groups, and the policies that let AWS services write to them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.kms import usable_key
from localcloud.aws.policy import Kind, check_policy
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    changed,
    is_true,
    live_tags,
    missing,
    tag_changes,
)
from providers.base import AutoName, Context, InitializationFailed, Properties

_RETENTION_DAYS = (
    *(0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922),
    *(3288, 3653),
)
_GONE = ("ResourceNotFoundException",)
_POLICY_BYTES = 5120


class LogGroup(AwsHandler):
    token = "aws:cloudwatch/logGroup:LogGroup"
    inputs = frozenset({"kmsKeyId", "logGroupClass", "retentionInDays", "skipDestroy"})
    outputs = frozenset({"arn"})
    replace_on = frozenset({"name", "namePrefix", "logGroupClass"})
    defaults = MappingProxyType({"retentionInDays": 0, "skipDestroy": False, "logGroupClass": "STANDARD"})
    local_inputs = frozenset({"skipDestroy"})
    auto_name = AutoName(
        "name",
        512,
        allowed="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/.#",
        prefix_property="namePrefix",
    )

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", r"[A-Za-z0-9_/.#-]+", "has letters, digits and _-/.# only", min=1, max=512)
        checks.one_number_of("retentionInDays", _RETENTION_DAYS)
        checks.one_of("logGroupClass", ("STANDARD", "INFREQUENT_ACCESS", "DELIVERY"))
        checks.string("kmsKeyId", r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/\S+", "must be the ARN of a KMS key")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        logs = aws.client("logs")
        name = inputs["name"]
        arguments: dict[str, Any] = {}
        if "kmsKeyId" in inputs:
            usable_key(aws, inputs["kmsKeyId"], "CreateLogGroup")
            arguments["kmsKeyId"] = inputs["kmsKeyId"]
        if all_tags(inputs):
            arguments["tags"] = all_tags(inputs)
        if "logGroupClass" in inputs:
            arguments["logGroupClass"] = inputs["logGroupClass"]
        logs.create_log_group(logGroupName=name, **arguments)
        outputs = {"arn": aws.arn("logs", f"log-group:{name}"), "region": aws.region, "tagsAll": all_tags(inputs)}
        try:
            if inputs.get("retentionInDays"):
                logs.put_retention_policy(logGroupName=name, retentionInDays=int(inputs["retentionInDays"]))
        except ClientError as error:
            raise InitializationFailed(name, outputs, [str(error)]) from error
        return name, outputs

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        logs = aws.client("logs")
        pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=id)
        group = next((g for page in pages for g in page["logGroups"] if g["logGroupName"] == id), None)
        if group is None:
            return None
        arn = aws.arn("logs", f"log-group:{id}")
        tags = logs.list_tags_for_resource(resourceArn=arn).get("tags", {})
        live = {
            "name": id,
            "retentionInDays": group.get("retentionInDays", 0),
            "kmsKeyId": group.get("kmsKeyId"),
            "logGroupClass": group.get("logGroupClass", "STANDARD"),
            **live_tags(aws, tags, inputs),
        }
        return id, live, {"arn": arn, "region": aws.region, "tagsAll": tags}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        logs = aws.client("logs")
        if changed(old_inputs, inputs, "retentionInDays"):
            if inputs.get("retentionInDays"):
                logs.put_retention_policy(logGroupName=id, retentionInDays=int(inputs["retentionInDays"]))
            else:
                logs.delete_retention_policy(logGroupName=id)
        if changed(old_inputs, inputs, "kmsKeyId"):
            if inputs.get("kmsKeyId"):
                usable_key(aws, inputs["kmsKeyId"], "AssociateKmsKey")
                logs.associate_kms_key(logGroupName=id, kmsKeyId=inputs["kmsKeyId"])
            else:
                logs.disassociate_kms_key(logGroupName=id)
        added, removed = tag_changes(state, inputs)
        if removed:
            logs.untag_resource(resourceArn=state["arn"], tagKeys=removed)
        if added:
            logs.tag_resource(resourceArn=state["arn"], tags=added)
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        if is_true(state.get("skipDestroy")):
            return
        try:
            self.aws(ctx, state).client("logs").delete_log_group(logGroupName=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


class LogResourcePolicy(AwsHandler):
    """The id is the policy's name. A policy of one log group (``resourceArn``) is not supported here."""

    token = "aws:cloudwatch/logResourcePolicy:LogResourcePolicy"
    tagged = False
    inputs = frozenset({"policyDocument", "policyName"})
    required = frozenset({"policyDocument", "policyName"})
    replace_on = frozenset({"policyName"})
    json_properties = frozenset({"policyDocument"})
    name_property = "policyName"

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("policyName", r".+", "must not be empty", min=1, max=255)
        check_policy(checks, "policyDocument", Kind.RESOURCE, max_bytes=_POLICY_BYTES)

    def _put(self, ctx: Context[Aws], inputs: Properties) -> Properties:
        aws = self.aws(ctx, inputs)
        aws.client("logs").put_resource_policy(policyName=inputs["policyName"], policyDocument=inputs["policyDocument"])
        return {"region": aws.region}

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        return inputs["policyName"], self._put(ctx, inputs)

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        policies = aws.client("logs").describe_resource_policies()["resourcePolicies"]
        found = next((each for each in policies if each["policyName"] == id), None)
        if found is None:
            return None
        return id, {"policyName": id, "policyDocument": found["policyDocument"]}, {"region": aws.region}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        return self._put(ctx, inputs)

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("logs").delete_resource_policy(policyName=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


HANDLERS = (LogGroup(), LogResourcePolicy())
