"""IAM roles and policies."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.policy import Kind, check_policy
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
from providers.base import AutoName, Context, Properties

_NAME = r"[\w+=,.@-]+"
_NAME_SAYS = "an IAM name has letters, digits and +=,.@_- only"
_PATH = r"/|/[\x21-\x7e]+/"
_PATH_SAYS = "a path begins and ends with a slash"
_ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@_-"
_GONE = ("NoSuchEntity",)
_TRUST_BYTES = 2048
_ROLE_POLICY_BYTES = 10240
_POLICY_BYTES = 6144
_VERSIONS = 5


class Role(AwsHandler):
    token = "aws:iam/role:Role"
    regional = False
    inputs = frozenset(
        {"assumeRolePolicy", "description", "forceDetachPolicies", "maxSessionDuration", "path", "permissionsBoundary"}
    )
    outputs = frozenset({"arn", "createDate", "uniqueId"})
    required = frozenset({"assumeRolePolicy"})
    replace_on = frozenset({"name", "namePrefix", "path"})
    json_properties = frozenset({"assumeRolePolicy"})
    defaults = MappingProxyType(
        {"path": "/", "maxSessionDuration": 3600, "forceDetachPolicies": False, "description": ""}
    )
    local_inputs = frozenset({"forceDetachPolicies"})
    auto_name = AutoName("name", 64, allowed=_ALLOWED, prefix_property="namePrefix")

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", _NAME, _NAME_SAYS, min=1, max=64)
        checks.string("path", _PATH, _PATH_SAYS, max=512)
        checks.string("description", r"[\t\n\r\x20-\x7e\xa1-\xff]*", "has characters that IAM refuses", max=1000)
        checks.integer("maxSessionDuration", 3600, 43200)
        checks.boolean("forceDetachPolicies")
        check_policy(checks, "assumeRolePolicy", Kind.TRUST, max_bytes=_TRUST_BYTES)
        checks.string("permissionsBoundary", r"arn:aws[a-z-]*:iam::(aws|\d{12}):policy/\S+", "is no policy ARN")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        iam = ctx.client.client("iam")
        arguments: dict[str, Any] = {}
        if "permissionsBoundary" in inputs:
            _require_policy(iam, inputs["permissionsBoundary"], "CreateRole")
            arguments["PermissionsBoundary"] = inputs["permissionsBoundary"]
        if all_tags(inputs):
            arguments["Tags"] = tag_list(all_tags(inputs))
        role = iam.create_role(
            RoleName=inputs["name"],
            Path=inputs.get("path", "/"),
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            Description=inputs.get("description", ""),
            MaxSessionDuration=int(inputs.get("maxSessionDuration", 3600)),
            **arguments,
        )["Role"]
        return inputs["name"], self._outputs(role, all_tags(inputs))

    @staticmethod
    def _outputs(role: dict[str, Any], tags: dict[str, str]) -> Properties:
        return {
            "arn": role["Arn"],
            "createDate": role["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "uniqueId": role["RoleId"],
            "path": role.get("Path", "/"),
            "maxSessionDuration": role.get("MaxSessionDuration", 3600),
            "tagsAll": tags,
        }

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        try:
            role = ctx.client.client("iam").get_role(RoleName=id)["Role"]
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        tags = tag_dict(role.get("Tags"))
        live = {
            "name": id,
            "assumeRolePolicy": _document(role["AssumeRolePolicyDocument"]),
            "description": role.get("Description", ""),
            "maxSessionDuration": role.get("MaxSessionDuration", 3600),
            "path": role.get("Path", "/"),
            "permissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            **live_tags(ctx.client, tags, inputs),
        }
        return id, live, self._outputs(role, tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        iam = ctx.client.client("iam")
        if changed(old_inputs, inputs, "permissionsBoundary"):
            boundary = inputs.get("permissionsBoundary")
            if boundary:
                _require_policy(iam, boundary, "PutRolePermissionsBoundary")
                iam.put_role_permissions_boundary(RoleName=id, PermissionsBoundary=boundary)
            else:
                iam.delete_role_permissions_boundary(RoleName=id)
        if changed(old_inputs, inputs, "assumeRolePolicy"):
            iam.update_assume_role_policy(RoleName=id, PolicyDocument=inputs["assumeRolePolicy"])
        if changed(old_inputs, inputs, "description", "maxSessionDuration"):
            iam.update_role(
                RoleName=id,
                Description=inputs.get("description", ""),
                MaxSessionDuration=int(inputs.get("maxSessionDuration", 3600)),
            )
        added, removed = tag_changes(state, inputs)
        if removed:
            iam.untag_role(RoleName=id, TagKeys=removed)
        if added:
            iam.tag_role(RoleName=id, Tags=tag_list(added))
        return {"tagsAll": all_tags(inputs), "maxSessionDuration": int(inputs.get("maxSessionDuration", 3600))}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        iam = ctx.client.client("iam")
        try:
            if is_true(state.get("forceDetachPolicies")):
                for policy in iam.list_attached_role_policies(RoleName=id)["AttachedPolicies"]:
                    iam.detach_role_policy(RoleName=id, PolicyArn=policy["PolicyArn"])
                for name in iam.list_role_policies(RoleName=id)["PolicyNames"]:
                    iam.delete_role_policy(RoleName=id, PolicyName=name)
            iam.delete_role(RoleName=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


class Policy(AwsHandler):
    token = "aws:iam/policy:Policy"
    regional = False
    inputs = frozenset({"description", "path", "policy"})
    outputs = frozenset({"arn", "attachmentCount", "policyId"})
    required = frozenset({"policy"})
    replace_on = frozenset({"name", "namePrefix", "path", "description"})
    json_properties = frozenset({"policy"})
    defaults = MappingProxyType({"path": "/", "description": ""})
    auto_name = AutoName("name", 128, allowed=_ALLOWED, prefix_property="namePrefix")

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", _NAME, _NAME_SAYS, min=1, max=128)
        checks.string("path", _PATH, _PATH_SAYS, max=512)
        checks.string("description", r"(?s).*", "", max=1000)
        check_policy(checks, "policy", Kind.IDENTITY, max_bytes=_POLICY_BYTES)

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        optional = {"Tags": tag_list(all_tags(inputs))} if all_tags(inputs) else {}
        policy = ctx.client.client("iam").create_policy(
            PolicyName=inputs["name"],
            Path=inputs.get("path", "/"),
            PolicyDocument=inputs["policy"],
            Description=inputs.get("description", ""),
            **optional,
        )["Policy"]
        return policy["Arn"], self._outputs(policy, all_tags(inputs))

    @staticmethod
    def _outputs(policy: dict[str, Any], tags: dict[str, str]) -> Properties:
        return {
            "arn": policy["Arn"],
            "policyId": policy["PolicyId"],
            "attachmentCount": policy.get("AttachmentCount", 0),
            "path": policy.get("Path", "/"),
            "tagsAll": tags,
        }

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        iam = ctx.client.client("iam")
        try:
            policy = iam.get_policy(PolicyArn=id)["Policy"]
            version = iam.get_policy_version(PolicyArn=id, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        tags = tag_dict(policy.get("Tags"))
        live = {
            "name": policy["PolicyName"],
            "path": policy.get("Path", "/"),
            "description": policy.get("Description", inputs.get("description", "")),
            "policy": _document(version["Document"]),
            **live_tags(ctx.client, tags, inputs),
        }
        return id, live, self._outputs(policy, tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        iam = ctx.client.client("iam")
        if changed(old_inputs, inputs, "policy"):
            versions = iam.list_policy_versions(PolicyArn=id)["Versions"]
            if len(versions) >= _VERSIONS:
                oldest = min((v for v in versions if not v["IsDefaultVersion"]), key=lambda v: v["CreateDate"])
                iam.delete_policy_version(PolicyArn=id, VersionId=oldest["VersionId"])
            iam.create_policy_version(PolicyArn=id, PolicyDocument=inputs["policy"], SetAsDefault=True)
        added, removed = tag_changes(state, inputs)
        if removed:
            iam.untag_policy(PolicyArn=id, TagKeys=removed)
        if added:
            iam.tag_policy(PolicyArn=id, Tags=tag_list(added))
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        iam = ctx.client.client("iam")
        try:
            for version in iam.list_policy_versions(PolicyArn=id)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=id, VersionId=version["VersionId"])
            iam.delete_policy(PolicyArn=id)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


class RolePolicy(AwsHandler):
    """The id is ``<role>:<policy name>``."""

    token = "aws:iam/rolePolicy:RolePolicy"
    regional = False
    tagged = False
    inputs = frozenset({"policy", "role"})
    required = frozenset({"policy", "role"})
    replace_on = frozenset({"name", "namePrefix", "role"})
    json_properties = frozenset({"policy"})
    auto_name = AutoName("name", 128, allowed=_ALLOWED, prefix_property="namePrefix")

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", _NAME, _NAME_SAYS, min=1, max=128)
        checks.string("role", _NAME, _NAME_SAYS, min=1, max=64)
        check_policy(checks, "policy", Kind.IDENTITY, max_bytes=_ROLE_POLICY_BYTES)

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        self._put(ctx, inputs)
        return f"{inputs['role']}:{inputs['name']}", {}

    @staticmethod
    def _put(ctx: Context[Aws], inputs: Properties) -> None:
        ctx.client.client("iam").put_role_policy(
            RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
        )

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        role, _, name = id.partition(":")
        try:
            found = ctx.client.client("iam").get_role_policy(RoleName=role, PolicyName=name)
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        return id, {"role": role, "name": name, "policy": _document(found["PolicyDocument"])}, {}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        self._put(ctx, inputs)
        return {}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        role, _, name = id.partition(":")
        try:
            ctx.client.client("iam").delete_role_policy(RoleName=role, PolicyName=name)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


class RolePolicyAttachment(AwsHandler):
    """The id is ``<role>/<policy ARN>``."""

    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    regional = False
    tagged = False
    inputs = frozenset({"policyArn", "role"})
    required = frozenset({"policyArn", "role"})
    replace_on = frozenset({"policyArn", "role"})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("role", _NAME, _NAME_SAYS, min=1, max=64)
        checks.string("policyArn", r"arn:aws[a-z-]*:iam::(aws|\d{12}):policy/\S+", "is no policy ARN")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        ctx.client.client("iam").attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return f"{inputs['role']}/{inputs['policyArn']}", {}

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        role, _, arn = id.partition("/")
        pages = ctx.client.client("iam").get_paginator("list_attached_role_policies").paginate(RoleName=role)
        try:
            attached = any(policy["PolicyArn"] == arn for page in pages for policy in page["AttachedPolicies"])
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        return (id, {"role": role, "policyArn": arn}, {}) if attached else None

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        role, _, arn = id.partition("/")
        try:
            ctx.client.client("iam").detach_role_policy(RoleName=role, PolicyArn=arn)
        except ClientError as error:
            if not missing(error, *_GONE):
                raise


def _document(value: Any) -> str:
    """botocore decodes policy documents when they are JSON and leaves them URL-encoded when they are not."""
    return unquote(value) if isinstance(value, str) else json.dumps(value)


def _require_policy(iam: Any, arn: str, operation: str) -> None:
    if arn.split(":")[4] == "aws":
        return  # AWS's own policies are not in every moto
    try:
        iam.get_policy(PolicyArn=arn)
    except ClientError as error:
        if missing(error, *_GONE):
            message = f"Scope ARN: {arn} does not exist or is not attachable."
            raise refusal(operation, "NoSuchEntity", message) from error
        raise


HANDLERS = (Role(), Policy(), RolePolicy(), RolePolicyAttachment())
