"""SQS queues and their policies."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.policy import Kind, check_policy
from localcloud.aws.resource import AwsHandler, Checks, all_tags, is_true, live_tags, missing, tag_changes
from providers.base import AutoName, Context, Properties

_POLICY_BYTES = 30720
_GONE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
#: property -> (queue attribute, default)
_ATTRIBUTES: dict[str, tuple[str, Any]] = {
    "contentBasedDeduplication": ("ContentBasedDeduplication", False),
    "deduplicationScope": ("DeduplicationScope", None),
    "delaySeconds": ("DelaySeconds", 0),
    "fifoThroughputLimit": ("FifoThroughputLimit", None),
    "kmsDataKeyReusePeriodSeconds": ("KmsDataKeyReusePeriodSeconds", None),
    "kmsMasterKeyId": ("KmsMasterKeyId", None),
    "maxMessageSize": ("MaximumMessageSize", None),
    "messageRetentionSeconds": ("MessageRetentionPeriod", 345600),
    "policy": ("Policy", None),
    "receiveWaitTimeSeconds": ("ReceiveMessageWaitTimeSeconds", 0),
    "redriveAllowPolicy": ("RedriveAllowPolicy", None),
    "redrivePolicy": ("RedrivePolicy", None),
    "sqsManagedSseEnabled": ("SqsManagedSseEnabled", None),
    "visibilityTimeoutSeconds": ("VisibilityTimeout", 30),
}
_BOOLEANS = frozenset({"contentBasedDeduplication", "sqsManagedSseEnabled"})
_NUMBERS = frozenset(
    {
        "delaySeconds",
        "kmsDataKeyReusePeriodSeconds",
        "maxMessageSize",
        "messageRetentionSeconds",
        "receiveWaitTimeSeconds",
        "visibilityTimeoutSeconds",
    }
)


class Queue(AwsHandler):
    """The id is the queue's URL."""

    token = "aws:sqs/queue:Queue"
    inputs = frozenset({"fifoQueue", *_ATTRIBUTES})
    outputs = frozenset({"arn", "url", "maxMessageSize", "sqsManagedSseEnabled", "kmsDataKeyReusePeriodSeconds"})
    replace_on = frozenset({"name", "namePrefix", "fifoQueue"})
    json_properties = frozenset({"policy", "redrivePolicy", "redriveAllowPolicy"})
    computed_inputs = frozenset(
        {
            "policy",
            "sqsManagedSseEnabled",
            "kmsDataKeyReusePeriodSeconds",
            "maxMessageSize",
            "deduplicationScope",
            "fifoThroughputLimit",
            "redrivePolicy",
            "redriveAllowPolicy",
        }
    )
    defaults = MappingProxyType(
        {"fifoQueue": False, **{n: default for n, (_, default) in _ATTRIBUTES.items() if default is not None}}
    )
    auto_name = AutoName("name", 80, prefix_property="namePrefix")

    def normalise(self, inputs: Properties) -> Properties:
        name = inputs.get("name")
        automatic = isinstance(name, str) and "name" in inputs.get("__defaults", ())
        if automatic and is_true(inputs.get("fifoQueue", False)) and not str(name).endswith(".fifo"):
            return {**inputs, "name": f"{str(name)[:75]}.fifo"}
        return inputs

    def validate(self, checks: Checks, inputs: Properties) -> None:
        fifo = is_true(checks.known("fifoQueue"))
        pattern = r"[A-Za-z0-9_-]+\.fifo" if fifo else r"[A-Za-z0-9_-]+"
        checks.string("name", pattern, "has letters, digits, - and _ only, and ends with .fifo if it is one", max=80)
        checks.integer("delaySeconds", 0, 900)
        checks.integer("maxMessageSize", 1024, 1048576)
        checks.integer("messageRetentionSeconds", 60, 1209600)
        checks.integer("receiveWaitTimeSeconds", 0, 20)
        checks.integer("visibilityTimeoutSeconds", 0, 43200)
        checks.integer("kmsDataKeyReusePeriodSeconds", 60, 86400)
        checks.boolean("fifoQueue", "contentBasedDeduplication", "sqsManagedSseEnabled")
        if is_true(checks.known("sqsManagedSseEnabled")):
            checks.excludes("sqsManagedSseEnabled", "kmsMasterKeyId")
        if not fifo and is_true(checks.known("contentBasedDeduplication")):
            checks.fail("contentBasedDeduplication", "goes with fifoQueue only")
        check_policy(checks, "policy", Kind.RESOURCE, max_bytes=_POLICY_BYTES)

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        attributes = {api: _text(inputs[name]) for name, (api, _) in _ATTRIBUTES.items() if name in inputs}
        if is_true(inputs.get("fifoQueue")):
            attributes["FifoQueue"] = "true"
        url = aws.client("sqs").create_queue(QueueName=inputs["name"], Attributes=attributes, tags=all_tags(inputs))[
            "QueueUrl"
        ]
        attributes = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return url, self._outputs(aws, url, attributes, all_tags(inputs))

    @staticmethod
    def _outputs(aws: Aws, url: str, attributes: dict[str, str], tags: dict[str, str]) -> Properties:
        found = {name: _value(name, attributes[api]) for name, (api, _) in _ATTRIBUTES.items() if attributes.get(api)}
        return {**found, "arn": attributes["QueueArn"], "url": url, "region": aws.region, "tagsAll": tags}

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        sqs = aws.client("sqs")
        try:
            attributes = sqs.get_queue_attributes(QueueUrl=id, AttributeNames=["All"])["Attributes"]
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        tags = sqs.list_queue_tags(QueueUrl=id).get("Tags", {})
        name = id.rsplit("/", 1)[-1]
        live: Properties = {"name": name, "fifoQueue": is_true(attributes.get("FifoQueue"))}
        outputs = self._outputs(aws, id, attributes, tags)
        live |= {name: outputs[name] for name in _ATTRIBUTES if name in outputs}
        return id, {**live, **live_tags(aws, tags, inputs)}, outputs

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        sqs = self.aws(ctx, state).client("sqs")
        attributes = {}
        for name, (api, default) in _ATTRIBUTES.items():
            if old_inputs.get(name, default) != inputs.get(name, default):
                value = inputs.get(name, default)
                attributes[api] = "" if value is None else _text(value)
        if attributes:
            sqs.set_queue_attributes(QueueUrl=id, Attributes=attributes)
        added, removed = tag_changes(state, inputs)
        if removed:
            sqs.untag_queue(QueueUrl=id, TagKeys=removed)
        if added:
            sqs.tag_queue(QueueUrl=id, Tags=added)
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("sqs").delete_queue(QueueUrl=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


class QueuePolicy(AwsHandler):
    """The id is the queue's URL."""

    token = "aws:sqs/queuePolicy:QueuePolicy"
    tagged = False
    inputs = frozenset({"policy", "queueUrl"})
    required = frozenset({"policy", "queueUrl"})
    replace_on = frozenset({"queueUrl"})
    json_properties = frozenset({"policy"})
    name_property = "queueUrl"

    def validate(self, checks: Checks, inputs: Properties) -> None:
        check_policy(checks, "policy", Kind.RESOURCE, max_bytes=_POLICY_BYTES)

    def _put(self, ctx: Context[Aws], inputs: Properties) -> None:
        self.aws(ctx, inputs).client("sqs").set_queue_attributes(
            QueueUrl=inputs["queueUrl"], Attributes={"Policy": inputs["policy"]}
        )

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        self._put(ctx, inputs)
        return inputs["queueUrl"], {"region": self.aws(ctx, inputs).region}

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        try:
            found = aws.client("sqs").get_queue_attributes(QueueUrl=id, AttributeNames=["Policy"])
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        policy = found.get("Attributes", {}).get("Policy")
        return (id, {"queueUrl": id, "policy": policy}, {"region": aws.region}) if policy else None

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        self._put(ctx, inputs)
        return {}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("sqs").set_queue_attributes(QueueUrl=id, Attributes={"Policy": ""})
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(name: str, text: str) -> Any:
    if name in _BOOLEANS:
        return text == "true"
    return int(text) if name in _NUMBERS else text


HANDLERS = (Queue(), QueuePolicy())
