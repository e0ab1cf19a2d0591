"""Tier ``pool``: a registration in the shared tables; everything else is the platform's.

Imports nothing of AWS's: 100,000 such stacks are updated, and none has an AWS resource.
"""

from __future__ import annotations

import pulumi

from components import postgres
from components.naming import POOL_SCHEMA
from components.tenants.tenant import Tenant, TenantArgs, shared_parts, shared_server
from components.tiers import Tier


class PoolTenant(Tenant):
    TIER = Tier.POOL

    def __init__(self, name: str, args: TenantArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        spec, platform = args.spec, args.platform
        server = shared_server(f"{name}-server", platform, self)
        registration = postgres.PoolTenant(
            name,
            database=platform.shared_database.name,
            schema=POOL_SCHEMA,
            tenant_id=spec.tenant_id,
            epoch=spec.epoch,
            # nothing of a pool can be stopped for one tenant
            access=spec.access.value if spec.access.serves else "suspended",
            opts=pulumi.ResourceOptions(parent=self, provider=server, protect=spec.protect),
        )
        self._finish(
            spec,
            **shared_parts(spec, platform),
            database=platform.shared_database.model_dump(),
            db_schema=registration.schema,
            login=platform.pool_login,
            login_secret_arn=platform.pool_login_secret_arn,
            app_schema_version=platform.app_schema_version,
        )
