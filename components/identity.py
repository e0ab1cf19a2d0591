"""Who may act for a tenant in AWS: the role, who may assume it, what it may do, and the boundary around it.

A session's tag ``tenant_id`` says which tenant it acts for. A shared role can only require that the tag is there, so
whoever may assume it chooses the tenant: that is the credential broker alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws.iam.policy import Policy
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy

from components.account import Account
from components.documents import (
    DATA_ACTIONS,
    READ_ACTIONS,
    TENANT_TAG,
    WRITE_ACTIONS,
    Document,
    KeyIdentity,
    Statement,
    document,
    to_json,
)
from components.naming import HASH_LENGTH, IAM_PATH, PREFIX
from components.spec import Access

TRUST_POLICY_LIMIT = 2048
ROLE_POLICY_LIMIT = 10240
MANAGED_POLICY_LIMIT = 6144
MAX_SESSION_SECONDS = 3600  #: the least AWS accepts as a role's maximum; the broker asks for 15 minutes


def trust_policy(
    account: Account, brokers: tuple[str, ...], *, tenant_id: str | None = None, access: Access = Access.FULL
) -> Document:
    """Only ``brokers`` (none: whom IAM policies of the account allow) assume the role, with the tag and no other.

    ``tenant_id`` pins the tag to one tenant; without it any tenant's tag is accepted, but no session without one.
    Where the tenant may not even read, the statement is a denial.
    """
    tag: Statement = (
        {"StringEquals": {"aws:RequestTag/tenant_id": tenant_id}}
        if tenant_id
        else {"StringLike": {"aws:RequestTag/tenant_id": "?*"}}
    )
    principals = sorted(set(brokers)) or [account.root]
    if not access.serves:
        return document(
            {
                "Sid": "Suspended",
                "Effect": "Deny",
                "Principal": {"AWS": principals},
                "Action": ["sts:AssumeRole", "sts:TagSession"],
            }
        )
    return document(
        {
            "Sid": "BrokerActsForTenant",
            "Effect": "Allow",
            "Principal": {"AWS": principals},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {
                **tag,
                # ForAllValues holds when no tag is passed at all: Null closes that.
                "ForAllValues:StringEquals": {"aws:TagKeys": ["tenant_id"]},
                "Null": {"aws:RequestTag/tenant_id": "false"},
            },
        }
    )


def data_policy(
    account: Account, bucket: str, key: KeyIdentity, *, tenant_id: str | None = None, access: Access = Access.FULL
) -> Document:
    """What a session may do: the files of its tenant, and the key through S3 for them.

    Without ``tenant_id`` the bucket is shared and a session reaches the prefix of its own tag only. With it the bucket
    is the tenant's own, and the session must carry that tenant's tag too. A tenant that may only read is denied what
    writes, one that may not even read all of it and every key: to sessions already issued as well.
    """
    bucket_arn = account.bucket_arn(bucket)
    if not access.serves:
        return document(
            {
                "Sid": "Suspended",
                "Effect": "Deny",
                "Action": [*DATA_ACTIONS, "s3:ListBucket", "kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": [bucket_arn, f"{bucket_arn}/*", key.resource(account)],
            }
        )
    shared = tenant_id is None
    objects = f"{bucket_arn}/{TENANT_TAG}/*" if shared else f"{bucket_arn}/*"
    tagged: Statement = {} if shared else {"StringEquals": {"aws:PrincipalTag/tenant_id": tenant_id}}
    prefixes = {"StringLike": {"s3:prefix": [f"{TENANT_TAG}/*"]}} if shared else {}
    own_files: Statement = {
        "Sid": "OwnFiles",
        "Effect": "Allow",
        "Action": list(DATA_ACTIONS if access.writes else READ_ACTIONS),
        "Resource": objects,
    }
    if tagged:
        own_files["Condition"] = dict(tagged)
    read_only: Statement = {
        "Sid": "ReadOnly",
        "Effect": "Deny",
        "Action": [*WRITE_ACTIONS, "kms:GenerateDataKey"],
        "Resource": [f"{bucket_arn}/*", key.resource(account)],
    }
    return document(
        *(() if access.writes else (read_only,)),
        own_files,
        {
            "Sid": "ListOwnFiles",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket_arn,
            "Condition": {**tagged, **prefixes},
        },
        {
            "Sid": "KeyForOwnFiles",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", *(["kms:GenerateDataKey"] if access.writes else [])],
            "Resource": key.resource(account),
            "Condition": {
                **key.conditions,
                "StringEquals": {
                    "kms:ViaService": account.service("s3"),
                    **key.conditions["StringEquals"],
                    **tagged.get("StringEquals", {}),
                },
                "StringLike": {"kms:EncryptionContext:aws:s3:arn": [bucket_arn, objects]},
            },
        },
    )


def boundary_policy(account: Account, shared_bucket: str, platform_key: KeyIdentity) -> Document:
    """The most any tenant role of the cell can ever do, whatever policy it is given.

    The tenant's prefix of the shared bucket, or a bucket named after the tenant; keys tagged with the tenant or the
    platform's, through S3.
    """
    shared = account.bucket_arn(shared_bucket)
    own = account.bucket_arn(f"{PREFIX}-{TENANT_TAG}-{'?' * HASH_LENGTH}")
    via_s3 = {"kms:ViaService": account.service("s3"), "kms:CallerAccount": account.id}
    return document(
        {
            "Sid": "FilesOfTheTenant",
            "Effect": "Allow",
            "Action": list(DATA_ACTIONS),
            "Resource": [f"{shared}/{TENANT_TAG}/*", f"{own}/*"],
        },
        {
            "Sid": "ListSharedByPrefix",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": shared,
            "Condition": {"StringLike": {"s3:prefix": [f"{TENANT_TAG}/*"]}},
        },
        {"Sid": "ListOwn", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": own},
        {
            "Sid": "PlatformKey",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": platform_key.resource(account),
            "Condition": {
                **platform_key.conditions,
                "StringEquals": {**via_s3, **platform_key.conditions["StringEquals"]},
                "StringLike": {"kms:EncryptionContext:aws:s3:arn": [shared, f"{shared}/{TENANT_TAG}/*"]},
            },
        },
        {
            "Sid": "KeyOfTheTenant",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": account.arn("kms", "key/*"),
            "Condition": {
                "StringEquals": {
                    **via_s3,
                    **platform_key.conditions["StringEquals"],
                    "aws:ResourceTag/tenant_id": TENANT_TAG,
                },
                "StringLike": {"kms:EncryptionContext:aws:s3:arn": [own, f"{own}/*"]},
            },
        },
    )


@dataclass(frozen=True)
class PermissionsBoundaryArgs:
    policy_name: str
    account: pulumi.Input[Account]
    shared_bucket: pulumi.Input[str]
    platform_key: KeyIdentity
    tags: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(self.policy_name) > 128:
            raise ValueError(f"policy name {self.policy_name!r}: AWS allows 128 characters")


class PermissionsBoundary(pulumi.ComponentResource):
    """One managed policy for all tenant roles of a cell: an account has 1,500 of them."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: PermissionsBoundaryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:PermissionsBoundary", name, None, opts)
        text = pulumi.Output.all(args.account, args.shared_bucket).apply(
            lambda known: to_json(
                boundary_policy(known[0], known[1], args.platform_key),
                limit=MANAGED_POLICY_LIMIT,
                what="the permissions boundary",
            )
        )
        self.policy = Policy(
            name,
            name=args.policy_name,
            path=IAM_PATH,
            description="The most a tenant role can do",
            policy=text,
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = self.policy.arn
        self.register_outputs({"arn": self.arn})


@dataclass(frozen=True)
class TenantRoleArgs:
    """``tenant_id`` is set for a role of one tenant and absent for the one that tenants share."""

    role_name: str
    account: pulumi.Input[Account]
    bucket: pulumi.Input[str]
    key: KeyIdentity
    boundary_arn: pulumi.Input[str]
    brokers: tuple[str, ...]
    tags: Mapping[str, str]
    tenant_id: str | None = None
    access: Access = Access.FULL

    def __post_init__(self) -> None:
        if not 1 <= len(self.role_name) <= 64:
            raise ValueError(f"role name {self.role_name!r}: AWS allows 64 characters")


class TenantRole(pulumi.ComponentResource):
    """``arn`` becomes known only when the role's policy stands too: who is given it can use it at once."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: TenantRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:TenantRole", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        trust = pulumi.Output.from_input(args.account).apply(
            lambda account: to_json(
                trust_policy(account, args.brokers, tenant_id=args.tenant_id, access=args.access),
                limit=TRUST_POLICY_LIMIT,
                what="the trust policy",
            )
        )
        self.role = Role(
            name,
            name=args.role_name,
            path=IAM_PATH,
            description="Acts for the tenant its session is tagged with",
            assume_role_policy=trust,
            permissions_boundary=args.boundary_arn,
            max_session_duration=MAX_SESSION_SECONDS,
            tags=dict(args.tags),
            opts=child,
        )
        allowed = pulumi.Output.all(args.account, args.bucket).apply(
            lambda known: to_json(
                data_policy(known[0], known[1], args.key, tenant_id=args.tenant_id, access=args.access),
                limit=ROLE_POLICY_LIMIT,
                what="the role's policy",
            )
        )
        self.policy = RolePolicy(name, name="tenant-data", role=self.role.name, policy=allowed, opts=child)
        self.arn = pulumi.Output.all(self.role.arn, self.policy.id).apply(lambda known: str(known[0]))
        self.register_outputs({"arn": self.arn})
