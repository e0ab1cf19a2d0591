"""A tenant as AWS sees it: its session, its objects, its key, from what its stack put out and the cloud holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from components.spec import TenantOutputs
from isolation.iam import (
    AssumedRole,
    Decision,
    PolicyDocument,
    Principal,
    Request,
    ResourcePolicies,
    Role,
    User,
    assume_role,
    authorize,
)
from isolation.iam.collect import Cloud

TAG = "tenant_id"
OBJECT = "tenantry-proof"


class Wall(StrEnum):
    """Each keeps a tenant's session from another tenant's files even if the others fall."""

    ROLE = "the role's own policies"
    BOUNDARY = "the permissions boundary"
    BUCKET = "the bucket's policy"


@dataclass(frozen=True)
class CloudSubject:
    """Reads through ``cloud``, which keeps what it read: all attempts of a proof judge one moment's documents."""

    outputs: TenantOutputs
    cloud: Cloud

    @property
    def id(self) -> str:
        return self.outputs.tenant_id

    @property
    def role(self) -> Role:
        return self.cloud.role(self.outputs.role_arn)

    @property
    def partition(self) -> str:
        return self.outputs.role_arn.split(":")[1]

    @property
    def account(self) -> str:
        return self.outputs.role_arn.split(":")[4]

    @property
    def region(self) -> str:
        return self.outputs.kms_key_arn.split(":")[3]

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.outputs.bucket}"

    @property
    def object_arn(self) -> str:
        """An object among the tenant's files; whether it exists makes no difference to what is allowed."""
        return f"{self.bucket_arn}/{self.outputs.prefix}{OBJECT}"

    @property
    def principal(self) -> AssumedRole:
        """The session that the broker gives to whoever acts for this tenant."""
        return AssumedRole(self.role, f"tenantry-{self.id}", {TAG: self.id}, frozenset({TAG}))

    def brokers(self) -> list[Principal]:
        """Whom the role's trust policy lets in, as principals."""
        allowing = (each for each in self.role.trust.statements if each.allow)
        names = {name for each in allowing for kind, name in each.principals or () if kind == "AWS"}
        return [self._broker(name) for name in sorted(names)]

    def _broker(self, name: str) -> Principal:
        arn = name if name.startswith("arn:") else f"arn:{self.partition}:iam::{name}:root"
        if ":role/" not in arn:
            return User(arn)
        # named by its ARN it needs no policy of its own, so its own are of no interest
        return AssumedRole(Role(arn, PolicyDocument.parse(_NOBODY, f"role {arn.rsplit('/', 1)[1]}, trust")), "broker")

    def on_files(self, principal: Principal, action: str, resource: str, **context: str) -> Decision:
        """Whether ``principal`` may do ``action`` of S3 with ``resource`` of this tenant's bucket."""
        request = Request(principal, action, resource, self.account, context)
        return authorize(request, self.cloud.bucket(self.outputs.bucket))

    def on_wall(self, wall: Wall, principal: AssumedRole) -> Decision:
        """Whether ``principal`` could read this tenant's object if ``wall`` were all there is."""
        role = principal.role
        if wall is Wall.ROLE:
            alone, resource = replace(role, boundary=None), ResourcePolicies()
        elif wall is Wall.BOUNDARY:
            policies = () if role.boundary is None else (role.boundary,)
            alone, resource = replace(role, policies=policies, boundary=None), ResourcePolicies()
        else:
            alone = replace(role, policies=(_EVERYTHING,), boundary=None)
            resource = self.cloud.bucket(self.outputs.bucket)
        request = Request(replace(principal, role=alone), "s3:GetObject", self.object_arn, self.account)
        return authorize(request, resource)

    def on_key(self, principal: Principal, action: str, *, through_s3: bool, of: str | None = None) -> Decision:
        """Whether ``principal`` may use this tenant's key; S3 names the object that it is used for (``of``)."""
        arn = self.outputs.kms_key_arn
        context: dict[str, str | Sequence[str]] = {
            f"aws:ResourceTag/{key}": value for key, value in self.cloud.key_tags(arn).items()
        }
        context["kms:ResourceAliases"] = self.cloud.key_aliases(arn)
        context["kms:EncryptionContext:aws:s3:arn"] = of or self.object_arn
        if through_s3:
            context["kms:ViaService"] = f"s3.{self.region}.amazonaws.com"
        return authorize(Request(principal, action, arn, self.account, context), self.cloud.key(arn))

    def on_login_secret(self, principal: Principal) -> Decision:
        arn = self.outputs.login_secret_arn
        request = Request(principal, "secretsmanager:GetSecretValue", arn, arn.split(":")[4])
        return authorize(request, self.cloud.secret(arn))

    def session_for(self, caller: Principal, tags: dict[str, str]) -> tuple[Decision, AssumedRole | None]:
        """Whether ``caller`` gets a session of this tenant's role with ``tags``."""
        transitive = tuple(key for key in tags if key == TAG)
        return assume_role(self.role, caller, session_name=f"tenantry-{self.id}", tags=tags, transitive=transitive)


_NOBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}],
}
_EVERYTHING = PolicyDocument.parse(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}, "a policy of all"
)
