"""Who asks, and with which documents between: what the attacks on policies are put together from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from isolation.cloud_subject import OBJECT, TAG
from isolation.iam import (
    Anonymous,
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
from isolation.state.holder import Holder

Context = dict[str, str | Sequence[str]]

EVERYTHING = PolicyDocument.parse(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}, "a policy of all"
)
_NOBODY = PolicyDocument.parse(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}]},
    "a trust policy of none",
)
NO_POLICIES = ResourcePolicies()
FOREIGN_ACCOUNT = "999999999999"
STRANGER = "somebody-else"  #: a tenant that is none of ours


@dataclass(frozen=True)
class Documents:
    """A holder's documents, and requests to what it holds. ``tenant``: the member that asks."""

    holder: Holder
    tenant: str
    cloud: Cloud

    @cached_property
    def role(self) -> Role:
        return self.cloud.role(self.holder.role_arn)

    @property
    def prefix(self) -> str:
        return "" if self.holder.own else f"{self.tenant}/"

    @property
    def object(self) -> str:
        return f"{self.holder.bucket_arn}/{self.prefix}{OBJECT}"

    # -- who asks ----------------------------------------------------------------------------------------------------

    def session(
        self,
        tag: str | None = "",
        *,
        policies: tuple[PolicyDocument, ...] | None = None,
        boundary: PolicyDocument | None = None,
    ) -> AssumedRole:
        """A session of the holder's role, tagged with ``tag`` (the member, if empty; if None, neither is the role).

        ``policies`` takes the place of the role's own; without ``boundary`` there is none.
        """
        own = self.role.policies if policies is None else policies
        role = replace(self.role, policies=own, boundary=boundary, tags={} if tag is None else self.role.tags)
        tags = {} if tag is None else {TAG: tag or self.tenant}
        return AssumedRole(role, "proof", tags, frozenset(tags))

    def anything(self, tag: str | None = "") -> AssumedRole:
        """The same, but its role may do everything: what it can't do is kept from it by the resource's policy."""
        return self.session(tag, policies=(EVERYTHING,))

    def administrator(self, tag: str | None = None) -> AssumedRole:
        """A session of another role of the account that may do everything."""
        arn = f"arn:{self.holder.partition}:iam::{self.holder.account}:role/administrator"
        return AssumedRole(Role(arn, _NOBODY, (EVERYTHING,)), "proof", {} if tag is None else {TAG: tag})

    def root(self) -> User:
        return User(f"arn:{self.holder.partition}:iam::{self.holder.account}:root")

    def foreigner(self) -> User:
        """A user of another account that may do everything there."""
        return User(f"arn:{self.holder.partition}:iam::{FOREIGN_ACCOUNT}:user/anybody", (EVERYTHING,))

    def nobody(self) -> Anonymous:
        return Anonymous()

    # -- what is asked -----------------------------------------------------------------------------------------------

    def on_bucket(
        self,
        principal: Principal,
        action: str,
        resource: str = "",
        *,
        policy: bool = True,
        context: Context | None = None,
    ) -> Decision:
        """S3, of the member's object unless ``resource`` says otherwise; without ``policy`` past the bucket's."""
        policies = self.cloud.bucket(self.holder.bucket) if policy else NO_POLICIES
        return self._decide(principal, f"s3:{action}", resource or self.object, policies, context or {})

    def listing(self, principal: Principal, prefix: str | None, *, policy: bool = True) -> Decision:
        context: Context = {} if prefix is None else {"s3:prefix": prefix}
        return self.on_bucket(principal, "ListBucket", self.holder.bucket_arn, policy=policy, context=context)

    def through_s3(self, encrypted: str | None = None) -> Context:
        """The context in which S3 uses a key for an object, the member's unless another is named."""
        service = f"s3.{self.holder.region}.amazonaws.com"
        return {"kms:ViaService": service, "kms:EncryptionContext:aws:s3:arn": encrypted or self.object}

    def on_key(self, principal: Principal, action: str, context: Context, *, policy: bool = True) -> Decision:
        """KMS, of the holder's key; without ``policy`` past the key's."""
        arn = self.holder.key_arn
        about: Context = {f"aws:ResourceTag/{name}": value for name, value in self.cloud.key_tags(arn).items()}
        about["kms:ResourceAliases"] = self.cloud.key_aliases(arn)
        policies = self.cloud.key(arn) if policy else NO_POLICIES
        return self._decide(principal, f"kms:{action}", arn, policies, about | context)

    def on_other_key(
        self, principal: Principal, action: str, tags: dict[str, str], aliases: tuple[str, ...]
    ) -> Decision:
        """A key of the account that has ``tags`` and ``aliases``, through S3 and past its policy."""
        arn = self.holder.key_arn.rsplit("/", 1)[0] + "/00000000-0000-4000-8000-000000000000"
        about: Context = {f"aws:ResourceTag/{name}": value for name, value in tags.items()}
        about["kms:ResourceAliases"] = aliases
        return self._decide(principal, f"kms:{action}", arn, NO_POLICIES, about | self.through_s3())

    def on_secret(self, principal: Principal, arn: str, action: str = "GetSecretValue") -> Decision:
        return self._decide(principal, f"secretsmanager:{action}", arn, self.cloud.secret(arn), {})

    def assume(self, caller: Principal, tags: dict[str, str], *, transitive: tuple[str, ...] = (TAG,)) -> Decision:
        keys = tuple(key for key in transitive if key in tags)
        return assume_role(self.role, caller, session_name="proof", tags=tags, transitive=keys)[0]

    def _decide(
        self, principal: Principal, action: str, resource: str, policies: ResourcePolicies, context: Context
    ) -> Decision:
        return authorize(Request(principal, action, resource, self.holder.account, context), policies)

    def brokers(self) -> list[Principal]:
        """Whom the role's trust policy lets in; its account's root stands for whoever IAM allows it there."""
        allowing = (each for each in self.role.trust.statements if each.allow)
        names = sorted({name for each in allowing for kind, name in each.principals or () if kind == "AWS"})
        found: list[Principal] = []
        for name in names:
            arn = name if name.startswith("arn:") else f"arn:{self.holder.partition}:iam::{name}:root"
            is_role = ":role/" in arn
            found.append(AssumedRole(Role(arn, _NOBODY), "broker") if is_role else User(arn))
        return found
