"""Secrets Manager: secrets, their versions and policies."""

from __future__ import annotations

import base64
import binascii
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.kms import usable_key
from localcloud.aws.policy import Kind, check_policy, is_public
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    changed,
    is_true,
    live_tags,
    missing,
    refusal,
    tag_changes,
    tag_dict,
    tag_list,
)
from providers.base import AutoName, Context, InitializationFailed, Properties

_GONE = ("ResourceNotFoundException",)
_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_+=.@!-"
_POLICY_BYTES = 20480
_VALUE_BYTES = 65536
_WINDOW_DAYS = 30
_CURRENT = "AWSCURRENT"


class Secret(AwsHandler):
    """The id is the ARN; an import takes the name as well. Its values are versions, see :class:`SecretVersion`."""

    token = "aws:secretsmanager/secret:Secret"
    inputs = frozenset({"description", "forceOverwriteReplicaSecret", "kmsKeyId", "policy", "recoveryWindowInDays"})
    outputs = frozenset({"arn", "policy", "replicas"})
    replace_on = frozenset({"name", "namePrefix"})
    json_properties = frozenset({"policy"})
    computed_inputs = frozenset({"policy"})
    local_inputs = frozenset({"forceOverwriteReplicaSecret", "recoveryWindowInDays"})
    defaults = MappingProxyType({"forceOverwriteReplicaSecret": False, "recoveryWindowInDays": _WINDOW_DAYS})
    auto_name = AutoName("name", 512, allowed=_NAME_CHARACTERS, prefix_property="namePrefix")

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", r"[A-Za-z0-9/_+=.@!-]+", "has letters, digits and /_+=.@!- only", min=1, max=512)
        checks.string("description", r"(?s).*", "", max=2048)
        checks.integer("recoveryWindowInDays", 7, 30, 0)
        checks.boolean("forceOverwriteReplicaSecret")
        check_policy(checks, "policy", Kind.RESOURCE, max_bytes=_POLICY_BYTES)

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        manager = aws.client("secretsmanager")
        arguments: dict[str, Any] = {}
        if inputs.get("kmsKeyId"):
            usable_key(aws, inputs["kmsKeyId"], "CreateSecret")
            arguments["KmsKeyId"] = inputs["kmsKeyId"]
        if inputs.get("description"):
            arguments["Description"] = inputs["description"]
        arn = manager.create_secret(Name=inputs["name"], Tags=tag_list(all_tags(inputs)), **arguments)["ARN"]
        outputs = _outputs(aws, arn, inputs.get("policy", ""), all_tags(inputs))
        try:
            if inputs.get("policy"):
                manager.put_resource_policy(SecretId=arn, ResourcePolicy=inputs["policy"])
        except ClientError as error:
            raise InitializationFailed(arn, outputs, [str(error)]) from error
        return arn, outputs

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        secret = _describe(aws, id)
        if secret is None:
            return None
        tags = tag_dict(secret.get("Tags"))
        policy = _policy(aws, secret["ARN"])
        live = {
            "name": secret["Name"],
            "description": secret.get("Description"),
            "kmsKeyId": secret.get("KmsKeyId"),
            "policy": policy,
            **live_tags(aws, tags, inputs),
        }
        return secret["ARN"], live, _outputs(aws, secret["ARN"], policy or "", tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        manager = aws.client("secretsmanager")
        if changed(old_inputs, inputs, "description", "kmsKeyId"):
            arguments: dict[str, Any] = {"Description": inputs.get("description", "")}
            if inputs.get("kmsKeyId"):
                usable_key(aws, inputs["kmsKeyId"], "UpdateSecret")
                arguments["KmsKeyId"] = inputs["kmsKeyId"]
            manager.update_secret(SecretId=id, **arguments)
        if changed(old_inputs, inputs, "policy"):
            if inputs.get("policy"):
                manager.put_resource_policy(SecretId=id, ResourcePolicy=inputs["policy"])
            elif "policy" in old_inputs:
                manager.delete_resource_policy(SecretId=id)
        added, removed = tag_changes(state, inputs)
        if removed:
            manager.untag_resource(SecretId=id, TagKeys=removed)
        if added:
            manager.tag_resource(SecretId=id, Tags=tag_list(added))
        return {"policy": _policy(aws, id) or "", "tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        days = int(state.get("recoveryWindowInDays", _WINDOW_DAYS))
        window = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        try:
            self.aws(ctx, state).client("secretsmanager").delete_secret(SecretId=id, **window)
        except ClientError as error:
            if not _is_deleted(error):
                raise


class SecretVersion(AwsHandler):
    """The id is ``<secret ARN>|<version id>``. The value is secret in the state."""

    token = "aws:secretsmanager/secretVersion:SecretVersion"
    tagged = False
    inputs = frozenset({"secretBinary", "secretId", "secretString", "versionStages"})
    outputs = frozenset({"arn", "hasSecretStringWo", "versionId", "versionStages"})
    required = frozenset({"secretId"})
    replace_on = frozenset({"secretId", "secretBinary", "secretString"})
    secret_outputs = frozenset({"secretBinary", "secretString"})
    set_properties = frozenset({"versionStages"})
    computed_inputs = frozenset({"versionStages"})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.exactly_one("secretString", "secretBinary")
        value = checks.known("secretString")
        if isinstance(value, str) and len(value.encode()) > _VALUE_BYTES:
            checks.fail("secretString", f"has more than {_VALUE_BYTES} bytes")
        binary = checks.known("secretBinary")
        if isinstance(binary, str) and _decoded(binary) is None:
            checks.fail("secretBinary", "is no base64 text")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        arguments: dict[str, Any] = {}
        if "versionStages" in inputs:
            arguments["VersionStages"] = list(inputs["versionStages"])
        if "secretString" in inputs:
            arguments["SecretString"] = inputs["secretString"]
        else:
            arguments["SecretBinary"] = _decoded(inputs["secretBinary"])
        made = aws.client("secretsmanager").put_secret_value(SecretId=inputs["secretId"], **arguments)
        outputs = self._outputs(aws, made["ARN"], made["VersionId"], made["VersionStages"])
        return f"{made['ARN']}|{made['VersionId']}", outputs

    @staticmethod
    def _outputs(aws: Aws, arn: str, version: str, stages: list[str]) -> Properties:
        return {
            "arn": arn,
            "versionId": version,
            "versionStages": stages,
            "hasSecretStringWo": False,
            "region": aws.region,
        }

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        secret, _, version = id.partition("|")
        try:
            found = aws.client("secretsmanager").get_secret_value(SecretId=secret, VersionId=version)
        except ClientError as error:
            if _is_deleted(error):
                return None
            raise
        stages = found.get("VersionStages") or []
        live: Properties = {"secretId": inputs.get("secretId", found["ARN"]), "versionStages": stages}
        if "SecretString" in found:
            live["secretString"] = found["SecretString"]
        else:
            live["secretBinary"] = base64.b64encode(found["SecretBinary"]).decode()
        return f"{found['ARN']}|{version}", live, self._outputs(aws, found["ARN"], version, stages)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        manager = aws.client("secretsmanager")
        secret, _, version = id.partition("|")
        present, wanted = set(state.get("versionStages") or []), set(inputs.get("versionStages") or [_CURRENT])
        holders = manager.describe_secret(SecretId=secret).get("VersionIdsToStages") or {}
        for stage in sorted(wanted - present):
            holder = next((v for v, stages in holders.items() if stage in stages and v != version), None)
            move = {"RemoveFromVersionId": holder} if holder else {}
            manager.update_secret_version_stage(SecretId=secret, VersionStage=stage, MoveToVersionId=version, **move)
        for stage in sorted(present - wanted - {_CURRENT}):
            manager.update_secret_version_stage(SecretId=secret, VersionStage=stage, RemoveFromVersionId=version)
        return {"versionStages": sorted(wanted)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        # A version without stages is removed by Secrets Manager; the current one stays until the secret goes.
        secret, _, version = id.partition("|")
        manager = self.aws(ctx, state).client("secretsmanager")
        try:
            holders = manager.describe_secret(SecretId=secret).get("VersionIdsToStages") or {}
            for stage in holders.get(version, []):
                if stage != _CURRENT:
                    manager.update_secret_version_stage(
                        SecretId=secret, VersionStage=stage, RemoveFromVersionId=version
                    )
        except ClientError as error:
            if not _is_deleted(error):
                raise


class SecretPolicy(AwsHandler):
    """The id is the secret's ARN."""

    token = "aws:secretsmanager/secretPolicy:SecretPolicy"
    tagged = False
    inputs = frozenset({"blockPublicPolicy", "policy", "secretArn"})
    required = frozenset({"policy", "secretArn"})
    replace_on = frozenset({"secretArn"})
    json_properties = frozenset({"policy"})
    local_inputs = frozenset({"blockPublicPolicy"})
    name_property = "secretArn"

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.boolean("blockPublicPolicy")
        checks.string("secretArn", r"arn:aws[a-z-]*:secretsmanager:\S+", "is no ARN of a secret")
        check_policy(checks, "policy", Kind.RESOURCE, max_bytes=_POLICY_BYTES)

    def _put(self, aws: Aws, inputs: Properties) -> str:
        if is_true(inputs.get("blockPublicPolicy")) and is_public(inputs["policy"]):
            message = "This resource policy grants broad access: blockPublicPolicy refuses it"
            raise refusal("PutResourcePolicy", "PublicPolicyException", message)
        put = aws.client("secretsmanager").put_resource_policy
        return str(put(SecretId=inputs["secretArn"], ResourcePolicy=inputs["policy"])["ARN"])

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        return self._put(aws, inputs), {"region": aws.region}

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        if _describe(aws, id) is None:
            return None
        policy = _policy(aws, id)
        return (id, {"secretArn": id, "policy": policy}, {"region": aws.region}) if policy else None

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        self._put(self.aws(ctx, state), inputs)
        return {}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("secretsmanager").delete_resource_policy(SecretId=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


def _is_deleted(error: ClientError) -> bool:
    """Whether the secret is gone, or scheduled to be ("marked for deletion", "currently marked deleted")."""
    return missing(error, *_GONE) or (missing(error, "InvalidRequestException") and "marked" in str(error))


def _describe(aws: Aws, id: str) -> dict[str, Any] | None:
    """The secret, or None if there is none or it is scheduled for deletion."""
    try:
        secret: dict[str, Any] = aws.client("secretsmanager").describe_secret(SecretId=id)
    except ClientError as error:
        if missing(error, *_GONE):
            return None
        raise
    return None if secret.get("DeletedDate") else secret


def _policy(aws: Aws, id: str) -> str | None:
    found: str | None = aws.client("secretsmanager").get_resource_policy(SecretId=id).get("ResourcePolicy")
    return found


def _outputs(aws: Aws, arn: str, policy: str, tags: dict[str, str]) -> Properties:
    return {"arn": arn, "policy": policy, "replicas": [], "tagsAll": tags, "region": aws.region}


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


HANDLERS = (Secret(), SecretVersion(), SecretPolicy())
