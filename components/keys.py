"""A KMS key with an alias, and the key policy that keeps broad IAM policies away from what it encrypts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key

from components.account import Account
from components.documents import Document, Statement, document, to_json
from components.naming import PREFIX
from components.spec import Environment

KEY_POLICY_LIMIT = 32 * 1024
PRODUCTION_WINDOW_DAYS = 30
WINDOW_DAYS = 7

_ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)
_CRYPTOGRAPHY = (
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)


@dataclass(frozen=True)
class KeyUse:
    """Who may use a key for what. Whatever is left empty is not allowed at all.

    Names are exact, but ``secret_prefix`` and ``log_group_prefix``, which stand for all names that start with them.
    ``provisioners`` and ``brokers`` are role or user ARNs; when empty, IAM policies of the account decide, still only
    through the service and the encryption context named.
    """

    data_role: str = ""  #: ARN of the role whose sessions read and write the bucket
    tenant_tag: str = "?*"  #: what those sessions' tag ``tenant_id`` must be like
    bucket: str = ""
    secret_prefix: str = ""
    database: bool = False
    log_group_prefix: str = ""
    event_log_group: str = ""
    topic: str = ""
    provisioners: tuple[str, ...] = ()
    brokers: tuple[str, ...] = ()


def key_policy(account: Account, use: KeyUse) -> Document:
    """The key's policy: the account administers it, and nobody decrypts but through the service and data named.

    An IAM policy of the account that allows ``kms:*`` gives no cryptographic operation on this key: each of them
    needs a service that calls for the caller, and the encryption context of this owner's data.
    """
    statements: list[Statement] = [
        {
            "Sid": "Administration",
            "Effect": "Allow",
            "Principal": {"AWS": account.root},
            "Action": list(_ADMINISTRATION),
            "Resource": "*",
        }
    ]
    if use.bucket:
        statements.append(_files(account, use))
    if use.secret_prefix:
        statements.append(_secrets(account, use))
    if use.database:
        statements += _database(account, use)
    if use.log_group_prefix or use.event_log_group:
        statements.append(_logs(account, use))
    if use.topic:
        statements.append(_alarms(account, use))
    return document(*statements)


def _through(account: Account, service: str, *principals: str) -> dict[str, object]:
    """Conditions: called by the service for a principal of this account, one of ``principals`` if there are any."""
    condition: dict[str, object] = {"kms:CallerAccount": account.id, "kms:ViaService": account.service(service)}
    return condition if not principals else {**condition, "aws:PrincipalArn": sorted(set(principals))}


def _files(account: Account, use: KeyUse) -> Statement:
    """With a bucket key S3's encryption context is the bucket, without one it is the object."""
    bucket = account.bucket_arn(use.bucket)
    return {
        "Sid": "FilesOfTenantSessions",
        "Effect": "Allow",
        "Principal": {"AWS": account.root},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": "*",
        "Condition": {
            "StringEquals": _through(account, "s3", use.data_role),
            "StringLike": {
                "kms:EncryptionContext:aws:s3:arn": [bucket, f"{bucket}/*"],
                "aws:PrincipalTag/tenant_id": use.tenant_tag,
            },
        },
    }


def _secrets(account: Account, use: KeyUse) -> Statement:
    """Secrets named by us, and RDS's own ``rds!db-...`` for the master of an instance."""
    names = [use.secret_prefix + "*"] + (["rds!db-*"] if use.database else [])
    principals = use.provisioners + use.brokers if use.provisioners and use.brokers else ()
    return {
        "Sid": "SecretsThroughSecretsManager",
        "Effect": "Allow",
        "Principal": {"AWS": account.root},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": "*",
        "Condition": {
            "StringEquals": _through(account, "secretsmanager", *principals),
            "StringLike": {
                "kms:EncryptionContext:SecretARN": [account.arn("secretsmanager", f"secret:{name}") for name in names]
            },
        },
    }


def _database(account: Account, use: KeyUse) -> list[Statement]:
    """RDS encrypts by grants that whoever creates the instance hands to it, and may hand on to AWS services only."""
    principal = {"AWS": account.root}
    return [
        {
            "Sid": "DatabaseThroughRds",
            "Effect": "Allow",
            "Principal": principal,
            "Action": list(_CRYPTOGRAPHY),
            "Resource": "*",
            "Condition": {"StringEquals": _through(account, "rds", *use.provisioners)},
        },
        {
            "Sid": "GrantsForAwsServices",
            "Effect": "Allow",
            "Principal": principal,
            "Action": "kms:CreateGrant",
            "Resource": "*",
            "Condition": {
                "Bool": {"kms:GrantIsForAWSResource": "true"},
                "StringEquals": {
                    **_through(account, "rds", *use.provisioners),
                    "kms:ViaService": [account.service("rds"), account.service("secretsmanager")],
                },
            },
        },
    ]


def _logs(account: Account, use: KeyUse) -> Statement:
    names = [f"{use.log_group_prefix}*"] if use.log_group_prefix else []
    names += [use.event_log_group] if use.event_log_group else []
    groups = [account.arn("logs", f"log-group:{name}") for name in names]
    return {
        "Sid": "Logs",
        "Effect": "Allow",
        "Principal": {"Service": f"logs.{account.region}.amazonaws.com"},
        "Action": [*_CRYPTOGRAPHY, "kms:DescribeKey"],
        "Resource": "*",
        "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups if len(groups) > 1 else groups[0]}},
    }


def _alarms(account: Account, use: KeyUse) -> Statement:
    """Without it CloudWatch's alarms vanish silently: an encrypted topic takes them only with the key."""
    return {
        "Sid": "AlarmsToTopic",
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": "*",
        "Condition": {
            "StringEquals": {
                "aws:SourceAccount": account.id,
                "kms:EncryptionContext:aws:sns:topicArn": account.arn("sns", use.topic),
            }
        },
    }


@dataclass(frozen=True)
class EncryptionKeyArgs:
    alias: str
    description: str
    account: pulumi.Input[Account]
    use: pulumi.Input[KeyUse]
    environment: Environment
    tags: Mapping[str, str]
    protect: bool = True

    def __post_init__(self) -> None:
        if not self.alias.startswith(f"alias/{PREFIX}-"):
            raise ValueError(f"alias {self.alias!r}: want alias/{PREFIX}-...")


class EncryptionKey(pulumi.ComponentResource):
    """A symmetric KMS key, rotated every year. ``arn``: the key's ARN, known once it can be used by its alias."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: EncryptionKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:EncryptionKey", name, None, opts)
        production = args.environment is Environment.PRODUCTION
        policy = pulumi.Output.all(args.account, args.use).apply(
            lambda known: to_json(key_policy(known[0], known[1]), limit=KEY_POLICY_LIMIT, what="the key policy")
        )
        self.key = Key(
            name,
            description=args.description,
            enable_key_rotation=True,
            deletion_window_in_days=PRODUCTION_WINDOW_DAYS if production else WINDOW_DAYS,
            policy=policy,
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.alias = Alias(
            name, name=args.alias, target_key_id=self.key.key_id, opts=pulumi.ResourceOptions(parent=self)
        )
        self.arn = self.key.arn
        self.register_outputs({"arn": self.arn})
