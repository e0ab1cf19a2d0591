"""What IAM, KMS and S3 policy documents have in common."""

from __future__ import annotations

import json
from typing import Any

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


def document(*statements: Statement) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def to_json(value: Document, *, limit: int, what: str) -> str:
    """The document as AWS stores it. Raises ``ValueError`` when it is longer than AWS's ``limit`` for its kind."""
    text = json.dumps(value, separators=(",", ":"))
    if len(text) > limit:
        raise ValueError(f"{what} has {len(text)} characters, AWS allows {limit}: name fewer principals")
    return text
