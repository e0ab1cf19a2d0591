"""Tenants as the registry has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from components.tiers import Tier
from provisioner.registry.tenants import TenantRecord
from tests.unit.isolation.evidence.documents import tenant

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def registered(tenant_id: str, tier: Tier = Tier.POOL, **changes: Any) -> TenantRecord:
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "generation": 1,
        "cell": "default",
        "state": "ready",
        "stripe_customer_id": None,
        "subscription_id": None,
        "subscription_status": "active",
        "plan": "starter",
        "tier": tier.value,
        "pending_graduation": None,
        "access": "full",
        "features": [],
        "limits": {},
        "epoch": 1,
        "retain_until": None,
        "destruction": None,
        "spec": {},
        "outputs": tenant(tenant_id, tier).model_dump(mode="json"),
        "fingerprint": "1",
        "failure": None,
        "attempts": 0,
        "next_attempt_at": None,
        "created_at": AT,
        "updated_at": AT,
        "ready_at": AT,
    }
    return TenantRecord(**{**values, **changes})
