"""SNS topics, their policies and subscriptions."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.policy import Kind, check_policy
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    is_true,
    live_tags,
    missing,
    tag_changes,
    tag_dict,
    tag_list,
)
from providers.base import AutoName, Context, Properties

_POLICY_BYTES = 30720
_GONE = ("NotFound", "NotFoundException")
#: property -> topic attribute
_ATTRIBUTES = {
    "displayName": "DisplayName",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "policy": "Policy",
    "deliveryPolicy": "DeliveryPolicy",
    "signatureVersion": "SignatureVersion",
    "tracingConfig": "TracingConfig",
    "contentBasedDeduplication": "ContentBasedDeduplication",
}
_OWNER_ACTIONS = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
)
_PROTOCOLS = ("sqs", "sms", "lambda", "firehose", "application", "email", "email-json", "http", "https")


class Topic(AwsHandler):
    """The id is the ARN."""

    token = "aws:sns/topic:Topic"
    inputs = frozenset({"fifoTopic", *_ATTRIBUTES})
    outputs = frozenset({"arn", "owner", "policy"})
    replace_on = frozenset({"name", "namePrefix", "fifoTopic"})
    json_properties = frozenset({"policy", "deliveryPolicy"})
    computed_inputs = frozenset({"policy", "signatureVersion", "tracingConfig"})
    # moto does not store it.
    local_inputs = frozenset({"signatureVersion"})
    defaults = MappingProxyType({"fifoTopic": False, "contentBasedDeduplication": False, "displayName": ""})
    auto_name = AutoName("name", 256, prefix_property="namePrefix")

    def normalise(self, inputs: Properties) -> Properties:
        name = inputs.get("name")
        if (
            isinstance(name, str)
            and is_true(inputs.get("fifoTopic", False))
            and "name" in inputs.get("__defaults", ())
            and not name.endswith(".fifo")
        ):
            return {**inputs, "name": f"{name[:251]}.fifo"}
        return inputs

    def validate(self, checks: Checks, inputs: Properties) -> None:
        fifo = is_true(checks.known("fifoTopic"))
        pattern = r"[A-Za-z0-9_-]+\.fifo" if fifo else r"[A-Za-z0-9_-]+"
        checks.string("name", pattern, "has letters, digits, - and _ only, and ends with .fifo if it is one", max=256)
        checks.string("displayName", r".*", "", max=100)
        checks.one_of("signatureVersion", (1, 2, "1", "2"))
        checks.one_of("tracingConfig", ("PassThrough", "Active"))
        check_policy(checks, "policy", Kind.RESOURCE, max_bytes=_POLICY_BYTES)

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        sns = aws.client("sns")
        attributes = {api: _text(inputs[name]) for name, api in _ATTRIBUTES.items() if name in inputs}
        if is_true(inputs.get("fifoTopic")):
            attributes["FifoTopic"] = "true"
        # Like AWS: an existing topic of that name is the answer.
        arn = sns.create_topic(Name=inputs["name"], Attributes=attributes, Tags=tag_list(all_tags(inputs)))["TopicArn"]
        return arn, self._outputs(aws, arn, inputs.get("policy"), all_tags(inputs))

    @staticmethod
    def _outputs(aws: Aws, arn: str, policy: str | None, tags: dict[str, str]) -> Properties:
        return {
            "arn": arn,
            "owner": arn.split(":")[4],
            "policy": policy or default_policy(arn),
            "region": aws.region,
            "tagsAll": tags,
        }

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        sns = aws.client("sns")
        attributes = _attributes(sns, id)
        if attributes is None:
            return None
        tags = tag_dict(sns.list_tags_for_resource(ResourceArn=id)["Tags"])
        live: Properties = {"name": id.rsplit(":", 1)[-1], "fifoTopic": is_true(attributes.get("FifoTopic"))}
        live |= {name: attributes[api] for name, api in _ATTRIBUTES.items() if attributes.get(api)}
        return id, {**live, **live_tags(aws, tags, inputs)}, self._outputs(aws, id, attributes.get("Policy"), tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        sns = self.aws(ctx, state).client("sns")
        for name, api in _ATTRIBUTES.items():
            before, after = old_inputs.get(name), inputs.get(name)
            if before != after and not (after is None and name in self.computed_inputs):
                value = "" if after is None else _text(after)
                sns.set_topic_attributes(TopicArn=id, AttributeName=api, AttributeValue=value)
        added, removed = tag_changes(state, inputs)
        if removed:
            sns.untag_resource(ResourceArn=id, TagKeys=removed)
        if added:
            sns.tag_resource(ResourceArn=id, Tags=tag_list(added))
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("sns").delete_topic(TopicArn=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


def default_policy(arn: str) -> str:
    """What a topic has without a policy of its own: its owner's account may do everything."""
    statement = {
        "Effect": "Allow",
        "Sid": "__default_statement_ID",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{action}" for action in _OWNER_ACTIONS],
        "Resource": arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": arn.split(":")[4]}},
    }
    document = {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}
    return json.dumps(document, separators=(",", ":"))


def _attributes(sns: Any, arn: str) -> dict[str, str] | None:
    try:
        found: dict[str, str] = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    except ClientError as error:
        if missing(error, *_GONE):
            return None
        raise
    return found


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class TopicPolicy(AwsHandler):
    """The id is the topic's ARN."""

    token = "aws:sns/topicPolicy:TopicPolicy"
    tagged = False
    inputs = frozenset({"arn", "policy"})
    outputs = frozenset({"owner"})
    required = frozenset({"arn", "policy"})
    replace_on = frozenset({"arn"})
    json_properties = frozenset({"policy"})
    name_property = "arn"

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("arn", r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:\S+", "is no topic ARN")
        check_policy(checks, "policy", Kind.RESOURCE, max_bytes=_POLICY_BYTES)

    def _put(self, ctx: Context[Aws], inputs: Properties) -> Properties:
        aws = self.aws(ctx, inputs)
        aws.client("sns").set_topic_attributes(
            TopicArn=inputs["arn"], AttributeName="Policy", AttributeValue=inputs["policy"]
        )
        return {"owner": inputs["arn"].split(":")[4], "region": aws.region}

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        return inputs["arn"], self._put(ctx, inputs)

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        attributes = _attributes(aws.client("sns"), id)
        if attributes is None or json.loads(attributes.get("Policy") or "{}") == json.loads(default_policy(id)):
            return None
        return id, {"arn": id, "policy": attributes["Policy"]}, {"owner": id.split(":")[4], "region": aws.region}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        return self._put(ctx, inputs)

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        """Back to what a topic has by default: its owner may do everything."""
        try:
            self.aws(ctx, state).client("sns").set_topic_attributes(
                TopicArn=id, AttributeName="Policy", AttributeValue=default_policy(id)
            )
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


class TopicSubscription(AwsHandler):
    """The id is the subscription's ARN."""

    token = "aws:sns/topicSubscription:TopicSubscription"
    tagged = False
    _names = MappingProxyType(
        {
            "rawMessageDelivery": "RawMessageDelivery",
            "filterPolicy": "FilterPolicy",
            "filterPolicyScope": "FilterPolicyScope",
            "deliveryPolicy": "DeliveryPolicy",
            "redrivePolicy": "RedrivePolicy",
            "subscriptionRoleArn": "SubscriptionRoleArn",
        }
    )
    inputs = frozenset({"topic", "protocol", "endpoint", "endpointAutoConfirms", *_names})
    outputs = frozenset({"arn", "confirmationWasAuthenticated", "ownerId", "pendingConfirmation"})
    required = frozenset({"topic", "protocol", "endpoint"})
    replace_on = frozenset({"topic", "protocol", "endpoint"})
    json_properties = frozenset({"filterPolicy", "deliveryPolicy", "redrivePolicy"})
    computed_inputs = frozenset({"filterPolicyScope"})
    local_inputs = frozenset({"endpointAutoConfirms"})
    defaults = MappingProxyType({"rawMessageDelivery": False, "endpointAutoConfirms": False})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("topic", r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:\S+", "is no topic ARN")
        checks.one_of("protocol", _PROTOCOLS)
        endpoint, protocol = checks.known("endpoint"), checks.known("protocol")
        if endpoint is not None and protocol in ("sqs", "lambda", "firehose") and not endpoint.startswith("arn:"):
            checks.fail("endpoint", f"{endpoint!r} is no ARN, as the protocol {protocol} needs")
        if endpoint is not None and protocol in ("http", "https") and not endpoint.startswith(f"{protocol}://"):
            checks.fail("endpoint", f"{endpoint!r} does not begin with {protocol}://")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        attributes = {api: _text(inputs[name]) for name, api in self._names.items() if name in inputs}
        arn = aws.client("sns").subscribe(
            TopicArn=inputs["topic"],
            Protocol=inputs["protocol"],
            Endpoint=inputs["endpoint"],
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        live = aws.client("sns").get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        return arn, self._outputs(aws, arn, live)

    @staticmethod
    def _outputs(aws: Aws, arn: str, attributes: dict[str, str]) -> Properties:
        return {
            "arn": arn,
            "ownerId": arn.split(":")[4],
            "pendingConfirmation": is_true(attributes.get("PendingConfirmation")),
            "confirmationWasAuthenticated": is_true(attributes.get("ConfirmationWasAuthenticated")),
            "region": aws.region,
        }

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        try:
            attributes = aws.client("sns").get_subscription_attributes(SubscriptionArn=id)["Attributes"]
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        live: Properties = {
            "topic": attributes["TopicArn"],
            "protocol": attributes["Protocol"],
            "endpoint": attributes["Endpoint"],
        }
        live |= {name: attributes[api] for name, api in self._names.items() if attributes.get(api)}
        live["rawMessageDelivery"] = is_true(attributes.get("RawMessageDelivery"))
        return id, live, self._outputs(aws, id, attributes)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        sns = self.aws(ctx, state).client("sns")
        for name, api in self._names.items():
            if old_inputs.get(name) != inputs.get(name):
                value = _text(inputs.get(name, "false" if name == "rawMessageDelivery" else ""))
                sns.set_subscription_attributes(SubscriptionArn=id, AttributeName=api, AttributeValue=value)
        return {}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("sns").unsubscribe(SubscriptionArn=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


HANDLERS = (Topic(), TopicPolicy(), TopicSubscription())
