"""A private, versioned bucket encrypted with one key, reachable over TLS and, for data, by one role only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws.s3._inputs import (
    BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs,
    BucketLifecycleConfigurationRuleArgs,
    BucketLifecycleConfigurationRuleFilterArgs,
    BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs,
    BucketOwnershipControlsRuleArgs,
    BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs,
    BucketServerSideEncryptionConfigurationRuleArgs,
    BucketVersioningVersioningConfigurationArgs,
)
from pulumi_aws.s3.bucket import Bucket as S3Bucket
from pulumi_aws.s3.bucket_lifecycle_configuration import BucketLifecycleConfiguration
from pulumi_aws.s3.bucket_ownership_controls import BucketOwnershipControls
from pulumi_aws.s3.bucket_policy import BucketPolicy
from pulumi_aws.s3.bucket_public_access_block import BucketPublicAccessBlock
from pulumi_aws.s3.bucket_server_side_encryption_configuration import BucketServerSideEncryptionConfiguration
from pulumi_aws.s3.bucket_versioning import BucketVersioning

from components.account import Account
from components.documents import DATA_ACTIONS, TENANT_TAG, Document, Statement, document, to_json

BUCKET_POLICY_LIMIT = 20 * 1024
NONCURRENT_DAYS = 90
UPLOAD_DAYS = 7


def bucket_policy(
    account: Account, bucket: str, data_role_arn: str, *, shared: bool, tenant_id: str | None = None
) -> Document:
    """Denials only: whoever is allowed something is so by an IAM policy, and never more than this leaves.

    Not without TLS; nothing encrypted otherwise than by default, or with a named KMS key of this account and region,
    which of them is for the role's policy, its boundary and the keys' own policies; no file's content but to sessions
    of ``data_role_arn``; and of a shared bucket to these only under the prefix of their tenant's tag.
    """
    arn = account.bucket_arn(bucket)
    objects = f"{arn}/*"

    def deny(sid: str, action: str | list[str], resource: str | list[str], condition: Statement) -> Statement:
        return {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": action,
            "Resource": resource,
            "Condition": condition,
        }

    statements = [
        deny("OnlyTls", "s3:*", [arn, objects], {"Bool": {"aws:SecureTransport": "false"}}),
        # Without these headers the bucket's default applies, which is right: Null leaves such requests alone.
        deny(
            "OnlyKms",
            "s3:PutObject",
            objects,
            {
                "StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"},
                "Null": {"s3:x-amz-server-side-encryption": "false"},
            },
        ),
        deny(
            "OnlyOwnKeys",
            "s3:PutObject",
            objects,
            {
                "StringNotLike": {"s3:x-amz-server-side-encryption-aws-kms-key-id": account.arn("kms", "key/*")},
                "Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "false"},
            },
        ),
        # Asked for KMS without a key S3 takes the account's aws/s3, not the bucket's default.
        deny(
            "OnlyNamedKeys",
            "s3:PutObject",
            objects,
            {
                "Null": {
                    "s3:x-amz-server-side-encryption": "false",
                    "s3:x-amz-server-side-encryption-aws-kms-key-id": "true",
                }
            },
        ),
        deny(
            "NoCustomerKeys",
            "s3:PutObject",
            objects,
            {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
        ),
        deny(
            "ContentForTenantSessionsOnly",
            ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
            objects,
            {"StringNotEquals": {"aws:PrincipalArn": data_role_arn}},
        ),
    ]
    if shared:
        foreign = {
            "Sid": "OwnPrefixOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": list(DATA_ACTIONS),
            "NotResource": f"{arn}/{TENANT_TAG}/*",
            "Condition": {"StringEquals": {"aws:PrincipalArn": data_role_arn}},
        }
        statements.append(foreign)
    else:
        statements.append(
            deny(
                "OwnTenantOnly",
                list(DATA_ACTIONS),
                objects,
                {
                    "StringEquals": {"aws:PrincipalArn": data_role_arn},
                    "StringNotEquals": {"aws:PrincipalTag/tenant_id": tenant_id},
                },
            )
        )
    return document(*statements)


@dataclass(frozen=True)
class BucketArgs:
    """``tenant_id`` is set for a tenant's own bucket and absent for a shared one, divided by prefix."""

    bucket_name: pulumi.Input[str]
    account: pulumi.Input[Account]
    key_arn: pulumi.Input[str]
    data_role_arn: pulumi.Input[str]
    tags: Mapping[str, str]
    tenant_id: str | None = None
    protect: bool = True  #: off: the bucket may be destroyed with what is in it


class Bucket(pulumi.ComponentResource):
    """``name`` becomes known only when the bucket is encrypted, closed to the public and has its policy."""

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:Bucket", name, None, opts)
        self.bucket = S3Bucket(
            name,
            bucket=args.bucket_name,
            force_destroy=not args.protect,
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        child = pulumi.ResourceOptions(parent=self, deleted_with=self.bucket)
        bucket = self.bucket.id
        ownership = BucketOwnershipControls(
            name,
            bucket=bucket,
            rule=BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=child,
        )
        public = BucketPublicAccessBlock(
            name,
            bucket=bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        encryption = BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket,
            rules=[
                BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=(
                        BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                            sse_algorithm="aws:kms", kms_master_key_id=args.key_arn
                        )
                    ),
                    bucket_key_enabled=True,
                )
            ],
            opts=child,
        )
        versioning = BucketVersioning(
            name,
            bucket=bucket,
            versioning_configuration=BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=child,
        )
        # S3 answers 409 OperationAborted to a policy and a public access block written at the same time.
        policy = BucketPolicy(
            name,
            bucket=bucket,
            policy=pulumi.Output.all(args.account, args.bucket_name, args.data_role_arn).apply(
                lambda known: to_json(
                    bucket_policy(*known, shared=args.tenant_id is None, tenant_id=args.tenant_id),
                    limit=BUCKET_POLICY_LIMIT,
                    what="the bucket policy",
                )
            ),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[public])),
        )
        BucketLifecycleConfiguration(
            name,
            bucket=bucket,
            rules=[
                BucketLifecycleConfigurationRuleArgs(
                    id="expire-what-nobody-sees",
                    status="Enabled",
                    filter=BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                    noncurrent_version_expiration=BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                        noncurrent_days=NONCURRENT_DAYS
                    ),
                    abort_incomplete_multipart_upload=(
                        BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                            days_after_initiation=UPLOAD_DAYS
                        )
                    ),
                )
            ],
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[versioning])),
        )
        ready = pulumi.Output.all(bucket, ownership.id, public.id, encryption.id, versioning.id, policy.id)
        self.name = ready.apply(lambda known: str(known[0]))
        self.arn = self.bucket.arn
        self.register_outputs({"name": self.name, "arn": self.arn})
