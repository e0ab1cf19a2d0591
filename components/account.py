"""The AWS account and region a stack lives in, and the ARNs that follow from them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ACCOUNT_ID = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]")


@dataclass(frozen=True)
class Account:
    """Raises ``ValueError`` for an id that isn't 12 digits or a region that isn't one's name."""

    id: str
    region: str

    def __post_init__(self) -> None:
        if not _ACCOUNT_ID.fullmatch(self.id):
            raise ValueError(f"account id {self.id!r}: want 12 digits")
        if not _REGION.fullmatch(self.region):
            raise ValueError(f"region {self.region!r}: want the name of a region, such as eu-central-1")

    @property
    def partition(self) -> str:
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    @property
    def root(self) -> str:
        """Every principal of the account that an IAM policy of the account allows."""
        return f"arn:{self.partition}:iam::{self.id}:root"

    def service(self, name: str) -> str:
        """The regional endpoint as ``kms:ViaService`` names it."""
        return f"{name}.{self.region}.amazonaws.com"

    def arn(self, service: str, resource: str) -> str:
        """An ARN of a regional service."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.id}:{resource}"

    def role_arn(self, path: str, name: str) -> str:
        return f"arn:{self.partition}:iam::{self.id}:role{path}{name}"

    def bucket_arn(self, bucket: str) -> str:
        return f"arn:{self.partition}:s3:::{bucket}"
