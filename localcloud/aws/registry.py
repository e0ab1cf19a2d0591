"""Every resource type and function of the local AWS provider."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from localcloud.aws import (
    cloudwatch,
    ec2,
    events,
    iam,
    kms,
    logs,
    policy_document,
    rds,
    rds_state,
    route_tables,
    s3,
    secretsmanager,
    security_groups,
    sns,
    sqs,
    ssm,
    sts,
    vpc_endpoint,
)
from localcloud.aws.client import Aws, check_config, configure
from providers.base import Function, Handler, Provider

HANDLERS: tuple[Handler[Aws], ...] = (
    *kms.HANDLERS,
    *s3.HANDLERS,
    *iam.HANDLERS,
    *ec2.HANDLERS,
    *route_tables.HANDLERS,
    *security_groups.HANDLERS,
    *vpc_endpoint.HANDLERS,
    *logs.HANDLERS,
    *cloudwatch.HANDLERS,
    *events.HANDLERS,
    *sns.HANDLERS,
    *ssm.HANDLERS,
    *sqs.HANDLERS,
    *secretsmanager.HANDLERS,
    *rds.HANDLERS,
    *rds_state.HANDLERS,
)
FUNCTIONS: tuple[Function[Aws], ...] = (*sts.FUNCTIONS, *policy_document.FUNCTIONS)


def aws_provider(endpoint: str | None = None, data_dir: Path | None = None) -> Provider[Aws]:
    """The provider ``aws``, in the version of the installed SDK, for the AWS API at ``endpoint``."""
    return Provider(
        "aws",
        version("pulumi-aws"),
        HANDLERS,
        FUNCTIONS,
        configure=lambda config: configure(config, endpoint, data_dir),
        check_config=check_config,
        unsupported_hint=(
            "The local cloud has only what Tenantry's components use: deploy this resource to AWS, "
            "or add a handler in localcloud/aws."
        ),
    )
