"""KMS keys and aliases."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.policy import Kind, allows_action, check_policy
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
from providers.base import AutoName, Context, InitializationFailed, Properties, has_unknown

_SPECS = (
    "SYMMETRIC_DEFAULT",
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
)
_USES = ("ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT")
_POLICY_BYTES = 32768
_WINDOW_DAYS = 30
_ROTATION_DAYS = 365


class Key(AwsHandler):
    token = "aws:kms/key:Key"
    inputs = frozenset(
        {
            "bypassPolicyLockoutSafetyCheck",
            "customerMasterKeySpec",
            "deletionWindowInDays",
            "description",
            "enableKeyRotation",
            "isEnabled",
            "keyUsage",
            "multiRegion",
            "policy",
            "rotationPeriodInDays",
        }
    )
    outputs = frozenset({"arn", "keyId", "policy", "multiRegion", "rotationPeriodInDays", "description"})
    replace_on = frozenset({"customerMasterKeySpec", "keyUsage", "multiRegion"})
    # moto does not read the rotation period back.
    local_inputs = frozenset({"bypassPolicyLockoutSafetyCheck", "deletionWindowInDays", "rotationPeriodInDays"})
    json_properties = frozenset({"policy"})
    computed_inputs = frozenset({"policy", "description"})
    defaults = MappingProxyType(
        {
            "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "keyUsage": "ENCRYPT_DECRYPT",
            "enableKeyRotation": False,
            "isEnabled": True,
            "multiRegion": False,
        }
    )

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.integer("deletionWindowInDays", 7, 30)
        checks.integer("rotationPeriodInDays", 90, 2560)
        checks.one_of("customerMasterKeySpec", _SPECS)
        checks.one_of("keyUsage", _USES)
        checks.boolean("enableKeyRotation", "isEnabled", "multiRegion", "bypassPolicyLockoutSafetyCheck")
        checks.string("description", r"(?s).*", "", max=8192)
        check_policy(checks, "policy", Kind.RESOURCE, max_bytes=_POLICY_BYTES)
        rotates = is_true(checks.known("enableKeyRotation"))
        if rotates and inputs.get("customerMasterKeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
            checks.fail("enableKeyRotation", "only symmetric keys rotate")
        if "rotationPeriodInDays" in inputs and not rotates and checks.known("enableKeyRotation") is not None:
            checks.fail("rotationPeriodInDays", "needs enableKeyRotation")
        policy = checks.known("policy")
        bypass = is_true(inputs.get("bypassPolicyLockoutSafetyCheck"))
        if policy and not checks.failures and not bypass and not allows_action(policy, "kms:PutKeyPolicy"):
            checks.fail("policy", "would lock everybody out: no statement allows kms:PutKeyPolicy")

    def planned(self, ctx: Context[Aws], inputs: Properties, state: Properties | None) -> Properties:
        known = super().planned(ctx, inputs, state)
        unclear = has_unknown([inputs.get("enableKeyRotation"), inputs.get("rotationPeriodInDays")])
        return known if unclear else {**known, "rotationPeriodInDays": self._period(inputs)}

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        kms = aws.client("kms")
        arguments: dict[str, Any] = {
            "Description": inputs.get("description", ""),
            "KeySpec": inputs.get("customerMasterKeySpec", "SYMMETRIC_DEFAULT"),
            "KeyUsage": inputs.get("keyUsage", "ENCRYPT_DECRYPT"),
            "MultiRegion": is_true(inputs.get("multiRegion")),
            "Tags": tag_list(all_tags(inputs), "TagKey", "TagValue"),
        }
        if "policy" in inputs:
            arguments["Policy"] = inputs["policy"]
            arguments["BypassPolicyLockoutSafetyCheck"] = is_true(inputs.get("bypassPolicyLockoutSafetyCheck"))
        metadata = kms.create_key(**arguments)["KeyMetadata"]
        outputs = self._outputs(aws, metadata, inputs)
        try:
            if is_true(inputs.get("enableKeyRotation")):
                self._enable_rotation(kms, metadata["KeyId"], inputs)
            if not is_true(inputs.get("isEnabled", True)):
                kms.disable_key(KeyId=metadata["KeyId"])
            if "policy" not in inputs:
                outputs["policy"] = kms.get_key_policy(KeyId=metadata["KeyId"], PolicyName="default")["Policy"]
        except ClientError as error:
            raise InitializationFailed(metadata["KeyId"], outputs, [str(error)]) from error
        return metadata["KeyId"], outputs

    @staticmethod
    def _enable_rotation(kms: Any, key_id: str, inputs: Properties) -> None:
        period = (
            {"RotationPeriodInDays": int(inputs["rotationPeriodInDays"])} if "rotationPeriodInDays" in inputs else {}
        )
        kms.enable_key_rotation(KeyId=key_id, **period)

    @staticmethod
    def _period(inputs: Properties) -> Any:
        """Days between rotations; None for a key that doesn't rotate."""
        rotates = is_true(inputs.get("enableKeyRotation"))
        return inputs.get("rotationPeriodInDays", _ROTATION_DAYS) if rotates else None

    @staticmethod
    def _outputs(aws: Aws, metadata: dict[str, Any], inputs: Properties) -> Properties:
        return {
            "arn": metadata["Arn"],
            "keyId": metadata["KeyId"],
            "description": metadata.get("Description", ""),
            "customerMasterKeySpec": metadata.get("KeySpec", "SYMMETRIC_DEFAULT"),
            "keyUsage": metadata.get("KeyUsage", "ENCRYPT_DECRYPT"),
            "multiRegion": bool(metadata.get("MultiRegion", False)),
            "enableKeyRotation": is_true(inputs.get("enableKeyRotation")),
            "isEnabled": is_true(inputs.get("isEnabled", True)),
            "rotationPeriodInDays": Key._period(inputs),
            "tagsAll": all_tags(inputs),
            "region": aws.region,
        }

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        kms = aws.client("kms")
        try:
            metadata = kms.describe_key(KeyId=id)["KeyMetadata"]
        except ClientError as error:
            if missing(error, "NotFoundException"):
                return None
            raise
        if metadata["KeyState"] in ("PendingDeletion", "PendingReplicaDeletion"):
            return None
        key_id = metadata["KeyId"]
        rotates = bool(kms.get_key_rotation_status(KeyId=key_id).get("KeyRotationEnabled"))
        tags = tag_dict(kms.list_resource_tags(KeyId=key_id).get("Tags"), "TagKey", "TagValue")
        live = {
            "policy": kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"],
            "description": metadata.get("Description", ""),
            "customerMasterKeySpec": metadata.get("KeySpec", "SYMMETRIC_DEFAULT"),
            "keyUsage": metadata.get("KeyUsage", "ENCRYPT_DECRYPT"),
            "multiRegion": bool(metadata.get("MultiRegion", False)),
            "enableKeyRotation": rotates,
            "isEnabled": bool(metadata.get("Enabled", True)),
            **live_tags(aws, tags, inputs),
        }
        if rotates and "rotationPeriodInDays" in inputs:
            live["rotationPeriodInDays"] = inputs["rotationPeriodInDays"]
        outputs = {**self._outputs(aws, metadata, live), "tagsAll": tags}
        return key_id, live, outputs

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        kms = self.aws(ctx, state).client("kms")
        # A disabled key refuses most changes: enable it first, disable it last.
        enabled = is_true(inputs.get("isEnabled", True))
        if enabled and not is_true(state.get("isEnabled", True)):
            kms.enable_key(KeyId=id)
        if changed(old_inputs, inputs, "description"):
            kms.update_key_description(KeyId=id, Description=inputs.get("description", ""))
        if "policy" in inputs and changed(old_inputs, inputs, "policy"):
            bypass = is_true(inputs.get("bypassPolicyLockoutSafetyCheck"))
            kms.put_key_policy(
                KeyId=id, PolicyName="default", Policy=inputs["policy"], BypassPolicyLockoutSafetyCheck=bypass
            )
        if changed(old_inputs, inputs, "enableKeyRotation", "rotationPeriodInDays"):
            if is_true(inputs.get("enableKeyRotation")):
                self._enable_rotation(kms, id, inputs)
            else:
                kms.disable_key_rotation(KeyId=id)
        added, removed = tag_changes(state, inputs)
        if removed:
            kms.untag_resource(KeyId=id, TagKeys=removed)
        if added:
            kms.tag_resource(KeyId=id, Tags=tag_list(added, "TagKey", "TagValue"))
        if not enabled and is_true(state.get("isEnabled", True)):
            kms.disable_key(KeyId=id)
        return {
            "enableKeyRotation": is_true(inputs.get("enableKeyRotation")),
            "isEnabled": enabled,
            "rotationPeriodInDays": self._period(inputs),
            "policy": inputs.get("policy", state.get("policy")),
            "description": inputs.get("description", ""),
            "tagsAll": all_tags(inputs),
        }

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        kms = self.aws(ctx, state).client("kms")
        # By key id: moto answers 500 to an ARN here.
        key_id = id.rsplit("/", 1)[-1]
        try:
            kms.schedule_key_deletion(
                KeyId=key_id, PendingWindowInDays=int(state.get("deletionWindowInDays", _WINDOW_DAYS))
            )
        except ClientError as error:
            if not missing(error, "NotFoundException") and "pending deletion" not in str(error).lower():
                raise


class Alias(AwsHandler):
    token = "aws:kms/alias:Alias"
    tagged = False
    inputs = frozenset({"targetKeyId"})
    outputs = frozenset({"arn", "targetKeyArn"})
    required = frozenset({"targetKeyId"})
    replace_on = frozenset({"name", "namePrefix"})
    changed_by_update = frozenset({"targetKeyArn"})
    auto_name = AutoName("name", 250, prefix_property="namePrefix")

    def normalise(self, inputs: Properties) -> Properties:
        # The AWS provider puts the obligatory prefix before an automatic name.
        name = inputs.get("name")
        if isinstance(name, str) and "name" in inputs.get("__defaults", ()) and not name.startswith("alias/"):
            return {**inputs, "name": f"alias/{name}"}
        return inputs

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", r"alias/[a-zA-Z0-9/_-]+", "an alias is written alias/name", max=256)
        if str(checks.known("name") or "").startswith("alias/aws/"):
            checks.fail("name", "alias/aws/ is reserved for AWS")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        name = inputs["name"]
        key = usable_key(aws, inputs["targetKeyId"], "CreateAlias")
        aws.client("kms").create_alias(AliasName=name, TargetKeyId=key["KeyId"])
        return name, self._outputs(aws, name, key["Arn"])

    @staticmethod
    def _outputs(aws: Aws, name: str, key_arn: str) -> Properties:
        account = key_arn.split(":")[4]
        return {
            "arn": f"{key_arn.split(':kms:')[0]}:kms:{aws.region}:{account}:{name}",
            "targetKeyArn": key_arn,
            "region": aws.region,
        }

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        try:
            metadata = aws.client("kms").describe_key(KeyId=id)["KeyMetadata"]
        except ClientError as error:
            if missing(error, "NotFoundException"):
                return None
            raise
        target = inputs.get("targetKeyId")
        same = target in (metadata["KeyId"], metadata["Arn"])
        live = {"name": id, "targetKeyId": target if same else metadata["KeyId"]}
        return id, live, self._outputs(aws, id, metadata["Arn"])

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        key = usable_key(aws, inputs["targetKeyId"], "UpdateAlias")
        aws.client("kms").update_alias(AliasName=id, TargetKeyId=key["KeyId"])
        return self._outputs(aws, id, key["Arn"])

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("kms").delete_alias(AliasName=id)
        except ClientError as error:
            if not missing(error, "NotFoundException"):
                raise


def usable_key(aws: Aws, key: str, operation: str) -> dict[str, Any]:
    """The metadata of a key that exists and may be used; raises the error AWS gives where moto takes any text."""
    try:
        metadata: dict[str, Any] = aws.client("kms").describe_key(KeyId=key)["KeyMetadata"]
    except ClientError as error:
        if missing(error, "NotFoundException"):
            raise refusal(operation, "NotFoundException", f"the KMS key {key} does not exist") from error
        raise
    if metadata["KeyState"] != "Enabled" and metadata["KeyState"] != "Creating":
        code = "KMSInvalidStateException" if "Pending" in metadata["KeyState"] else "DisabledException"
        raise refusal(operation, code, f"{metadata['Arn']} is {metadata['KeyState']}")
    return metadata


HANDLERS = (Key(), Alias())
