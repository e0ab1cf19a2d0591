"""A CloudWatch log group: encrypted, and gone after its days instead of never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup as CloudWatchLogGroup

from components.spec import Environment

PRODUCTION_RETENTION_DAYS = 365
RETENTION_DAYS = 30


@dataclass(frozen=True)
class LogGroupArgs:
    log_group_name: str
    kms_key_arn: pulumi.Input[str]
    environment: Environment
    tags: Mapping[str, str]
    protect: bool = True

    def __post_init__(self) -> None:
        if not 1 <= len(self.log_group_name) <= 512:
            raise ValueError(f"log group name {self.log_group_name!r}: want 1 to 512 characters")


class LogGroup(pulumi.ComponentResource):
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: LogGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:LogGroup", name, None, opts)
        production = args.environment is Environment.PRODUCTION
        self.log_group = CloudWatchLogGroup(
            name,
            name=args.log_group_name,
            kms_key_id=args.kms_key_arn,
            retention_in_days=PRODUCTION_RETENTION_DAYS if production else RETENTION_DAYS,
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.arn = self.log_group.arn
        self.register_outputs({"arn": self.arn})
