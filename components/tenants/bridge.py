"""Tier ``bridge``: a schema and a login of its own on the shared instance; files and key are the platform's."""

from __future__ import annotations

import pulumi

from components.naming import Names
from components.tags import tenant_tags
from components.tenant_schema import TenantSchema, TenantSchemaArgs
from components.tenants.tenant import Tenant, TenantArgs, shared_parts, shared_server
from components.tiers import Tier


class BridgeTenant(Tenant):
    TIER = Tier.BRIDGE

    def __init__(self, name: str, args: TenantArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        spec, platform = args.spec, args.platform
        schema = TenantSchema(
            name,
            TenantSchemaArgs(
                names=Names.of_tenant(spec),
                tenant_id=spec.tenant_id,
                database=platform.shared_database.name,
                key_arn=platform.platform_key_arn,
                connection_limit=spec.connection_limit,
                access=spec.access,
                environment=spec.environment,
                tags=tenant_tags(spec),
                app_schema=args.app_schema,
                protect=spec.protect,
            ),
            server=shared_server(f"{name}-server", platform, self),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._finish(
            spec,
            **shared_parts(spec, platform),
            database=platform.shared_database.model_dump(),
            db_schema=schema.schema,
            login=schema.login,
            login_secret_arn=schema.login_secret_arn,
            app_schema_version=schema.app_schema_version,
        )
