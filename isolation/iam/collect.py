"""Policies as the cloud has them, read by boto3: the only evidence that counts."""

from __future__ import annotations

from typing import Any, Protocol

from botocore.exceptions import ClientError

from isolation.iam.documents import PolicyDocument
from isolation.iam.evaluate import ResourcePolicies
from isolation.iam.grants import Grant
from isolation.iam.principals import Role


class Aws(Protocol):
    """A boto3 session, or what makes clients as one does."""

    def client(self, service_name: str, *, region_name: str | None = None) -> Any: ...


class Cloud:
    """Reads each document once and keeps it: one ``Cloud`` is one moment's evidence."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._kept: dict[tuple[str, str], Any] = {}

    def role(self, arn: str) -> Role:
        """Trust, inline and managed policies, boundary and tags of a role."""
        return self._once("role", arn, self._read_role)  # type: ignore[no-any-return]

    def bucket(self, name: str) -> ResourcePolicies:
        return self._once("bucket", name, self._read_bucket)  # type: ignore[no-any-return]

    def key(self, arn: str) -> ResourcePolicies:
        """A KMS key's policy and grants."""
        return self._once("key", arn, self._read_key)  # type: ignore[no-any-return]

    def key_tags(self, arn: str) -> dict[str, str]:
        """A KMS key's tags, which policies read as ``aws:ResourceTag/...``."""
        return self._once("key tags", arn, self._read_key_tags)  # type: ignore[no-any-return]

    def key_aliases(self, arn: str) -> tuple[str, ...]:
        """A KMS key's aliases, which policies read as ``kms:ResourceAliases``."""
        return self._once("key aliases", arn, self._read_key_aliases)  # type: ignore[no-any-return]

    def secret(self, arn: str) -> ResourcePolicies:
        return self._once("secret", arn, self._read_secret)  # type: ignore[no-any-return]

    def account(self) -> str:
        return str(self._once("account", "", lambda _: self._client("sts").get_caller_identity()["Account"]))

    def _once(self, kind: str, name: str, read: Any) -> Any:
        if (kind, name) not in self._kept:
            self._kept[kind, name] = read(name)
        return self._kept[kind, name]

    def _client(self, service: str, region: str | None = None) -> Any:
        if (service, region) not in self._clients:
            self._clients[service, region] = self._aws.client(service, region_name=region)
        return self._clients[service, region]

    def _read_role(self, arn: str) -> Role:
        iam = self._client("iam")
        name = arn.rsplit("/", 1)[1]
        role = iam.get_role(RoleName=name)["Role"]
        policies = []
        for page in iam.get_paginator("list_role_policies").paginate(RoleName=name):
            for policy in page["PolicyNames"]:
                document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                policies.append(PolicyDocument.parse(document, f"role {name}, inline policy {policy}"))
        for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=name):
            policies.extend(self._managed(each["PolicyArn"]) for each in page["AttachedPolicies"])
        boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        return Role(
            arn=role["Arn"],
            trust=PolicyDocument.parse(role["AssumeRolePolicyDocument"], f"role {name}, trust policy"),
            policies=tuple(policies),
            boundary=self._managed(boundary) if boundary else None,
            tags={tag["Key"]: tag["Value"] for tag in role.get("Tags", ())},
            unique_id=role["RoleId"],
            max_session_duration=role.get("MaxSessionDuration", 3600),
        )

    def _managed(self, arn: str) -> PolicyDocument:
        return self._once("policy", arn, self._read_managed)  # type: ignore[no-any-return]

    def _read_managed(self, arn: str) -> PolicyDocument:
        iam = self._client("iam")
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return PolicyDocument.parse(document, f"policy {arn.rsplit('/', 1)[1]}")

    def _read_bucket(self, name: str) -> ResourcePolicies:
        try:
            text = self._client("s3").get_bucket_policy(Bucket=name)["Policy"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucketPolicy":
                return ResourcePolicies()
            raise
        return ResourcePolicies(PolicyDocument.parse(text, f"bucket {name}, policy"))

    def _read_key(self, arn: str) -> ResourcePolicies:
        kms, key_id = self._of_key(arn)
        text = kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"]
        grants = [
            Grant(
                each["GrantId"],
                each["GranteePrincipal"],
                frozenset(each["Operations"]),
                each.get("Constraints", {}).get("EncryptionContextEquals"),
                each.get("Constraints", {}).get("EncryptionContextSubset"),
            )
            for page in kms.get_paginator("list_grants").paginate(KeyId=key_id)
            for each in page["Grants"]
        ]
        return ResourcePolicies(PolicyDocument.parse(text, f"key {key_id}, policy"), tuple(grants), required=True)

    def _read_key_tags(self, arn: str) -> dict[str, str]:
        kms, key_id = self._of_key(arn)
        pages = kms.get_paginator("list_resource_tags").paginate(KeyId=key_id)
        return {tag["TagKey"]: tag["TagValue"] for page in pages for tag in page["Tags"]}

    def _read_key_aliases(self, arn: str) -> tuple[str, ...]:
        kms, key_id = self._of_key(arn)
        pages = kms.get_paginator("list_aliases").paginate(KeyId=key_id)
        return tuple(sorted(alias["AliasName"] for page in pages for alias in page["Aliases"]))

    def _of_key(self, arn: str) -> tuple[Any, str]:
        return self._client("kms", arn.split(":")[3]), arn.rsplit("/", 1)[1]

    def _read_secret(self, arn: str) -> ResourcePolicies:
        text = self._client("secretsmanager", arn.split(":")[3]).get_resource_policy(SecretId=arn).get("ResourcePolicy")
        if not text:
            return ResourcePolicies()
        return ResourcePolicies(PolicyDocument.parse(text, f"secret {arn.rsplit(':', 1)[1]}, policy"))
