"""The program of a tenant's stack; call ``program`` from your own program to make a tenant a part of yours."""

from __future__ import annotations

import pulumi

from components.app_schema import AppMigrations
from components.spec import PlatformOutputs, TenantSpec
from components.tenants import component_for
from components.tenants.tenant import Tenant, TenantArgs
from components.tiers import TIERS


def program(spec: TenantSpec, platform: PlatformOutputs, app_schema: AppMigrations | None = None) -> Tenant:
    """Declare the tenant and export ``tenant`` (``TenantOutputs`` as a JSON object).

    ``app_schema`` is for a tier whose tables are its own; the pool's migrations are the platform's.
    """
    own = TIERS[spec.tier]
    in_aws = own.own_login or own.own_instance or own.own_key or own.own_bucket or own.own_role
    tenant = component_for(spec.tier)(
        spec.stack_name,
        TenantArgs(spec=spec, platform=platform, app_schema=app_schema if own.own_schema else None),
        opts=pulumi.ResourceOptions(providers=[_aws(spec, platform)] if in_aws else []),
    )
    pulumi.export("tenant", tenant.outputs.apply(lambda known: known.model_dump(mode="json")))
    return tenant


def _aws(spec: TenantSpec, platform: PlatformOutputs) -> pulumi.ProviderResource:
    """The cell's account and region, and no other: credentials of another account are refused before a change."""
    from pulumi_aws.provider import Provider  # 0.2 s that a pool tenant does without

    return Provider(f"{spec.stack_name}-aws", region=platform.region, allowed_account_ids=[platform.account_id])
