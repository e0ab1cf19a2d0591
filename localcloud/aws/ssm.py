"""Parameters of SSM's Parameter Store."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.kms import usable_key
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

_BYTES = {"Standard": 4096, "Advanced": 8192, "Intelligent-Tiering": 8192}
_GONE = ("ParameterNotFound",)


class Parameter(AwsHandler):
    """The id is the parameter's name. ``value`` is always secret."""

    token = "aws:ssm/parameter:Parameter"
    inputs = frozenset(
        {"allowedPattern", "dataType", "description", "insecureValue", "keyId", "overwrite", "tier", "type", "value"}
    )
    outputs = frozenset({"arn", "version", "value", "tier", "dataType", "keyId"})
    required = frozenset({"type"})
    replace_on = frozenset({"name", "dataType"})
    secret_outputs = frozenset({"value"})
    changed_by_update = frozenset({"version"})
    computed_inputs = frozenset({"keyId", "dataType", "tier", "value", "insecureValue"})
    local_inputs = frozenset({"overwrite", "tier"})
    auto_name = AutoName("name", 1011, allowed="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/")
    defaults = MappingProxyType({"description": "", "overwrite": False, "allowedPattern": ""})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", r"[a-zA-Z0-9_.\-/]+", "has letters, digits and _.-/ only", min=1, max=1011)
        name = str(checks.known("name") or "")
        if name.strip("/").lower().startswith(("aws", "ssm")):
            checks.fail("name", f"{name!r}: names that begin with aws or ssm are reserved")
        if "/" in name and not name.startswith("/"):
            checks.fail("name", f"{name!r}: a hierarchical name begins with a slash")
        if name.count("/") > 15:
            checks.fail("name", "has more than 15 levels")
        checks.one_of("type", ("String", "StringList", "SecureString"))
        checks.one_of("tier", tuple(_BYTES))
        checks.one_of("dataType", ("text", "aws:ec2:image", "aws:ssm:integration"))
        checks.string("description", r"(?s).*", "", max=1024)
        checks.exactly_one("value", "insecureValue")
        if checks.known("type") == "SecureString" and "insecureValue" in inputs:
            checks.fail("insecureValue", "a SecureString has a value")
        value = checks.known("value") or checks.known("insecureValue")
        limit = _BYTES.get(str(checks.known("tier") or "Standard"), 8192)
        if isinstance(value, str) and len(value.encode()) > limit:
            checks.fail("value", f"has {len(value.encode())} bytes; at most {limit} are allowed")

    def _put(self, aws: Aws, inputs: Properties, *, overwrite: bool) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "Name": inputs["name"],
            "Type": inputs["type"],
            "Value": inputs.get("value", inputs.get("insecureValue")),
            "Overwrite": overwrite,
        }
        if inputs["type"] == "SecureString" and inputs.get("keyId"):
            usable_key(aws, inputs["keyId"], "PutParameter")
            arguments["KeyId"] = inputs["keyId"]
        for name, api in (
            ("description", "Description"),
            ("allowedPattern", "AllowedPattern"),
            ("tier", "Tier"),
            ("dataType", "DataType"),
        ):
            if name in inputs:
                arguments[api] = inputs[name]
        if not overwrite and all_tags(inputs):
            arguments["Tags"] = tag_list(all_tags(inputs))  # AWS takes tags with a new parameter only
        response: dict[str, Any] = aws.client("ssm").put_parameter(**arguments)
        return response

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        overwrite = is_true(inputs.get("overwrite"))
        response = self._put(aws, inputs, overwrite=overwrite)
        if overwrite and all_tags(inputs):
            self._tag(aws, inputs["name"], all_tags(inputs))
        return inputs["name"], self._outputs(aws, inputs, response["Version"])

    @staticmethod
    def _tag(aws: Aws, name: str, tags: dict[str, str]) -> None:
        aws.client("ssm").add_tags_to_resource(ResourceType="Parameter", ResourceId=name, Tags=tag_list(tags))

    @staticmethod
    def _outputs(aws: Aws, inputs: Properties, version: int) -> Properties:
        outputs: Properties = {
            "arn": aws.arn("ssm", f"parameter/{inputs['name'].removeprefix('/')}"),
            "version": version,
            "value": inputs.get("value", inputs.get("insecureValue")),
            "tier": inputs.get("tier", "Standard"),
            "dataType": inputs.get("dataType", "text"),
            "region": aws.region,
            "tagsAll": all_tags(inputs),
        }
        if inputs["type"] == "SecureString":
            outputs["keyId"] = inputs.get("keyId", "alias/aws/ssm")
        return outputs

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        ssm = aws.client("ssm")
        try:
            parameter = ssm.get_parameter(Name=id, WithDecryption=True)["Parameter"]
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        chosen = [{"Key": "Name", "Option": "Equals", "Values": [id]}]
        found = ssm.describe_parameters(ParameterFilters=chosen)["Parameters"]
        details = found[0] if found else {}
        tags = tag_dict(ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=id).get("TagList"))
        live: Properties = {
            "name": id,
            "type": parameter["Type"],
            "description": details.get("Description", ""),
            "allowedPattern": details.get("AllowedPattern", ""),
            "dataType": parameter.get("DataType", "text"),
            "insecureValue" if "insecureValue" in inputs else "value": parameter["Value"],
            **live_tags(aws, tags, inputs),
        }
        if details.get("KeyId"):
            live["keyId"] = details["KeyId"]
        outputs = {**self._outputs(aws, live, parameter["Version"]), "tagsAll": tags}
        return id, live, outputs

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        version = state["version"]
        ignored = {"tags", "tagsAll", "overwrite", "__defaults"}
        if {k: v for k, v in old_inputs.items() if k not in ignored} != {
            k: v for k, v in inputs.items() if k not in ignored
        }:
            version = self._put(aws, inputs, overwrite=True)["Version"]
        added, removed = tag_changes(state, inputs)
        if removed:
            aws.client("ssm").remove_tags_from_resource(ResourceType="Parameter", ResourceId=id, TagKeys=removed)
        if added:
            self._tag(aws, id, added)
        return self._outputs(aws, inputs, version)

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("ssm").delete_parameter(Name=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


HANDLERS = (Parameter(),)
