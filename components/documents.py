"""What IAM, KMS and S3 policy documents have in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.account import Account

Statement = dict[str, Any]
Document = dict[str, Any]

TENANT_TAG = "${aws:PrincipalTag/tenant_id}"
"""IAM's policy variable for the session tag that says which tenant a session acts for."""

DATA_ACTIONS = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
)
"""What an application does with a tenant's files. No deletion of versions: what it deletes can be brought back."""


READ_ACTIONS = ("s3:GetObject",)
"""What a tenant may do with its files that may only read."""

WRITE_ACTIONS = tuple(action for action in DATA_ACTIONS if action not in READ_ACTIONS)

SESSION_POLICY_LIMIT = 2048

READ_ONLY_SESSION: Document = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "ReadOnly",
            "Effect": "Allow",
            "Action": [*READ_ACTIONS, "s3:ListBucket", "kms:Decrypt"],
            "Resource": "*",
        },
        # What the policy of a key or a bucket allows the session itself is not limited by what is allowed here.
        {"Sid": "NoWrites", "Effect": "Deny", "Action": [*WRITE_ACTIONS, "kms:GenerateDataKey"], "Resource": "*"},
    ],
}
"""Passed when a role is assumed: the session may do what both this and the role's own policy allow, so that a role that
tenants share writes for none of those that may only read."""


@dataclass(frozen=True)
class KeyIdentity:
    """A KMS key by what is known before it exists, so that a policy can be judged before anything is created.

    AWS chooses a key's id. Its alias is ours and names one key of an account and region; its tags are given at its
    creation. See docs/decisions/0020-documents-known-before-the-update.md.
    """

    alias: str
    tenant_id: str  #: the tag: a tenant's id, or ``platform``
    installation: str

    def resource(self, account: Account) -> str:
        return account.arn("kms", "key/*")

    @property
    def conditions(self) -> dict[str, dict[str, str]]:
        """By operator. ``ForAnyValue`` is false where there is no alias."""
        return {
            "ForAnyValue:StringEquals": {"kms:ResourceAliases": self.alias},
            "StringEquals": {
                "aws:ResourceTag/tenant_id": self.tenant_id,
                "aws:ResourceTag/managed-by": "tenantry",
                "aws:ResourceTag/installation": self.installation,
            },
        }


def document(*statements: Statement) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def to_json(value: Document, *, limit: int, what: str) -> str:
    """The document as AWS stores it. Raises ``ValueError`` when it is longer than AWS's ``limit`` for its kind."""
    text = json.dumps(value, separators=(",", ":"))
    if len(text) > limit:
        raise ValueError(f"{what} has {len(text)} characters, AWS allows {limit}: name fewer principals")
    return text
