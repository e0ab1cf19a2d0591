"""Every resource type and function of the local AWS provider."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from localcloud.aws import iam, kms, s3
from localcloud.aws.client import Aws, check_config, configure
from providers.base import Function, Handler, Provider

HANDLERS: tuple[Handler[Aws], ...] = (*kms.HANDLERS, *s3.HANDLERS, *iam.HANDLERS)
FUNCTIONS: tuple[Function[Aws], ...] = ()


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
