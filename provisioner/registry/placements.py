"""Placements: where a tenant lives now. Every change is announced on the channel ``tenantry_placement``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from components.spec import Access, PlatformOutputs, TenantOutputs
from components.tiers import TIERS
from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("placements"))


@dataclass(frozen=True)
class PlacementRecord:
    """A row of ``registry.placement``."""

    tenant_id: str
    generation: int
    cell: str
    region: str
    tier: str
    epoch: int
    access: str
    db_host: str
    db_port: int
    db_name: str
    db_schema: str
    db_login: str
    login_secret_arn: str
    token_secret_arn: str | None
    bucket: str
    prefix: str
    kms_key_arn: str
    role_arn: str
    app_schema_version: int
    updated_at: datetime


async def put(connection: AsyncConnection, outputs: TenantOutputs, platform: PlatformOutputs, access: Access) -> None:
    """``access``: what the tenant may do; a stack knows only what it enforces of it."""
    await connection.execute(
        _sql("put"),
        {
            "tenant_id": outputs.tenant_id,
            "generation": outputs.generation,
            "cell": outputs.cell,
            "region": platform.region,
            "tier": outputs.tier,
            "epoch": outputs.epoch,
            "access": access,
            "db_host": outputs.database.address,
            "db_port": outputs.database.port,
            "db_name": outputs.database.name,
            "db_schema": outputs.db_schema,
            "db_login": outputs.login,
            "login_secret_arn": outputs.login_secret_arn,
            "token_secret_arn": None if TIERS[outputs.tier].own_login else platform.pool_token_secret_arn,
            "bucket": outputs.bucket,
            "prefix": outputs.prefix,
            "kms_key_arn": outputs.kms_key_arn,
            "role_arn": outputs.role_arn,
            "app_schema_version": outputs.app_schema_version,
        },
    )


async def get(connection: AsyncConnection, tenant_id: str) -> PlacementRecord | None:
    async with connection.cursor(row_factory=class_row(PlacementRecord)) as cursor:
        await cursor.execute(_sql("get"), {"tenant_id": tenant_id})
        return await cursor.fetchone()


async def set_access(connection: AsyncConnection, tenant_id: str, access: Access) -> bool:
    """At once, before the stack follows: the broker and the SDK read it here. True if that is news."""
    cursor = await connection.execute(_sql("set_access"), {"tenant_id": tenant_id, "access": access})
    return cursor.rowcount == 1


async def delete(connection: AsyncConnection, tenant_id: str) -> None:
    await connection.execute(_sql("delete"), {"tenant_id": tenant_id})
