"""Placements to test with."""

from __future__ import annotations

from typing import Any

from tenantry import Placement


def placement(tenant_id: str = "acme", **changes: Any) -> Placement:
    """Of a tenant of the pool, but for ``changes``."""
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "generation": 1,
        "cell": "default",
        "region": "us-east-1",
        "tier": "pool",
        "epoch": 1,
        "access": "full",
        "db_host": "db.internal",
        "db_port": 5432,
        "db_name": "tenantry",
        "db_schema": "pool",
        "db_login": "pool_app",
        "bucket": "bucket",
        "prefix": f"{tenant_id}/",
        "kms_key_arn": "arn:aws:kms:us-east-1:111122223333:key/k",
        "role_arn": "arn:aws:iam::111122223333:role/shared",
        "plan": "starter",
    }
    return Placement(**(values | changes))
