"""What the tenant components of all tiers have in common: arguments in, ``TenantOutputs`` out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pulumi

from components import postgres
from components.app_schema import AppMigrations
from components.spec import PlatformOutputs, TenantOutputs, TenantSpec
from components.tiers import Tier


@dataclass(frozen=True)
class TenantArgs:
    """``app_schema``: the migrations that apply to this tenant; the pool's are the platform's business."""

    spec: TenantSpec
    platform: PlatformOutputs
    app_schema: AppMigrations | None = None

    def __post_init__(self) -> None:
        if self.spec.cell != self.platform.cell:
            raise ValueError(
                f"tenant {self.spec.tenant_id} belongs to cell {self.spec.cell}, "
                f"the platform outputs are those of cell {self.platform.cell}"
            )
        version = self.app_schema.version if self.app_schema else 0
        if version > self.spec.app_schema_version:
            raise ValueError(
                f"tenant {self.spec.tenant_id}: migration {version} is past the spec's app_schema_version "
                f"{self.spec.app_schema_version}"
            )


class Tenant(pulumi.ComponentResource):
    """A tenant's infrastructure. ``outputs`` is known when all of it stands."""

    TIER: ClassVar[Tier]
    outputs: pulumi.Output[TenantOutputs]

    def __init__(self, name: str, args: TenantArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        if args.spec.tier is not self.TIER:
            raise ValueError(f"{type(self).__name__} is tier {self.TIER}, the spec asks for {args.spec.tier}")
        super().__init__(f"tenantry:index:{type(self).__name__}", name, None, opts)

    def _finish(self, spec: TenantSpec, **parts: pulumi.Input[Any]) -> None:
        """Set and register the outputs: ``parts`` are the fields that don't follow from the spec."""
        self.outputs = pulumi.Output.all(**parts).apply(
            lambda known: TenantOutputs.model_validate(
                {
                    "tenant_id": spec.tenant_id,
                    "generation": spec.generation,
                    "cell": spec.cell,
                    "tier": spec.tier,
                    "epoch": spec.epoch,
                    "access": spec.access,
                    **known,
                }
            )
        )
        self.register_outputs({"outputs": self.outputs.apply(lambda known: known.model_dump(mode="json"))})


def shared_server(name: str, platform: PlatformOutputs, parent: pulumi.Resource) -> postgres.Provider:
    """The provider for the cell's shared instance."""
    return postgres.Provider(
        name,
        host=platform.shared_database.address,
        port=platform.shared_database.port,
        master_secret_arn=platform.shared_master_secret_arn,
        region=platform.region,
        opts=pulumi.ResourceOptions(parent=parent),
    )


def shared_parts(spec: TenantSpec, platform: PlatformOutputs) -> dict[str, Any]:
    """What a tenant without bucket, key and role of its own uses: its prefix of the cell's."""
    return {
        "bucket": platform.shared_bucket,
        "prefix": f"{spec.tenant_id}/",
        "kms_key_arn": platform.platform_key_arn,
        "role_arn": platform.shared_role_arn,
    }
