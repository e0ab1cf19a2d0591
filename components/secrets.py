"""A Secrets Manager secret without a value: what acts on the database puts it in, so it never is in Pulumi's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws.secretsmanager.secret import Secret

from components.spec import Environment

PRODUCTION_RECOVERY_DAYS = 30
RECOVERY_DAYS = 7


@dataclass(frozen=True)
class StoredSecretArgs:
    secret_name: str
    description: str
    kms_key_arn: pulumi.Input[str]
    environment: Environment
    tags: Mapping[str, str]
    protect: bool = True

    def __post_init__(self) -> None:
        if not self.secret_name or len(self.secret_name) > 512:
            raise ValueError(f"secret name {self.secret_name!r}: want 1 to 512 characters")


class StoredSecret(pulumi.ComponentResource):
    """``arn`` is what logins and the broker are given; the value is reached with it and the key only."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: StoredSecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:StoredSecret", name, None, opts)
        production = args.environment is Environment.PRODUCTION
        self.secret = Secret(
            name,
            name=args.secret_name,
            description=args.description,
            kms_key_id=args.kms_key_arn,
            recovery_window_in_days=PRODUCTION_RECOVERY_DAYS if production else RECOVERY_DAYS,
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.arn = self.secret.arn
        self.register_outputs({"arn": self.arn})
