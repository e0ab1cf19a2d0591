"""The program of a cell's platform stack; call ``program`` from your own program to make it a part of yours."""

from __future__ import annotations

import pulumi
from pulumi_aws._inputs import GetAvailabilityZonesFilterArgs
from pulumi_aws.get_availability_zones import get_availability_zones_output
from pulumi_aws.get_caller_identity import get_caller_identity_output
from pulumi_aws.provider import Provider

from components.account import Account
from components.app_schema import AppMigrations
from components.platform import Platform, PlatformArgs
from components.spec import PlatformSpec


def program(spec: PlatformSpec, app_schema: AppMigrations | None = None) -> Platform:
    """Declare the platform of ``spec``'s cell and export ``platform`` (``PlatformOutputs`` as a JSON object)."""
    aws = Provider(f"{spec.stack_name}-aws", region=spec.region)
    invoke = pulumi.InvokeOutputOptions(provider=aws)
    account = get_caller_identity_output(opts=invoke).account_id.apply(lambda known: Account(known, spec.region))
    zones = get_availability_zones_output(
        state="available",
        filters=[GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])],
        opts=invoke,
    ).names.apply(lambda names: sorted(names))
    platform = Platform(
        spec.stack_name,
        PlatformArgs(spec=spec, account=account, availability_zones=zones, app_schema=app_schema),
        opts=pulumi.ResourceOptions(providers=[aws]),
    )
    pulumi.export("platform", platform.outputs.apply(lambda known: known.model_dump(mode="json")))
    return platform
