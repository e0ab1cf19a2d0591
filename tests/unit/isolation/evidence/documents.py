"""Documents of proofs that nobody ran."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from components.spec import Access, DatabaseEndpoint, TenantOutputs
from components.tiers import Tier
from isolation.attempts import Allow, Attempt, Layer
from isolation.evidence.compose import Circumstances, compose
from isolation.evidence.document import Document, LeftOut, Product, Scope, ScopeKind, Trigger

STARTED = datetime(2026, 11, 24, 2, 30, 0, 125, UTC)
SCOPE = Scope(kind=ScopeKind.ALL, tenants=[], cell="default", fast=False, trigger=Trigger.NIGHTLY, operation_id=None)


def attempt(
    attacker: str = "acme",
    victim: str = "globex",
    *,
    name: str = "raw-select",
    layer: Layer = Layer.DATABASE,
    refused: bool = True,
    allowed: bool = True,
    **changes: Any,
) -> Attempt:
    values: dict[str, Any] = {
        "tried": f"reads the rows of {victim}",
        "expected": "no rows",
        "actual": "no rows: in project" if refused else f"ok: reads a row of {victim} in project",
        "decided_by": "no rows" if refused else "ok",
    }
    allow = Allow("reads its own rows", "ok: reads its own rows in project", "ok", allowed)
    return Attempt(
        name=name, layer=layer, attacker=attacker, victim=victim, refused=refused, allow=allow, **{**values, **changes}
    )


def tenant(tenant_id: str, tier: Tier = Tier.POOL) -> TenantOutputs:
    return TenantOutputs(
        tenant_id=tenant_id,
        generation=1,
        cell="default",
        tier=tier,
        epoch=1,
        access=Access.FULL,
        database=DatabaseEndpoint(address="127.0.0.1", port=5432, name="tenantry"),
        db_schema="pool",
        login="pool_app",
        login_secret_arn="arn:aws:secretsmanager:us-east-1:123456789012:secret:login-AbCdEf",
        bucket="shared",
        prefix=f"{tenant_id}/",
        kms_key_arn="arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000",
        role_arn="arn:aws:iam::123456789012:role/shared",
        app_schema_version=2,
    )


def document(
    attempts: Sequence[Attempt] | None = None,
    tenants: Sequence[TenantOutputs] = (),
    *,
    scope: Scope = SCOPE,
    left_out: Sequence[LeftOut] = (),
    started_at: datetime = STARTED,
    seconds: float = 7.5,
) -> Document:
    circumstances = Circumstances(
        installation="test",
        environment="development",
        product=Product(version="0.1.0", commit="0" * 40),
        scope=scope,
        started_at=started_at,
        ended_at=started_at + timedelta(seconds=seconds),
        others=max(1, len(tenants)) - 1,
        left_out=left_out,
        proof_id="6f1c2f3e-1111-4222-8333-444455556666",
    )
    made = [attempt(), attempt("globex", "acme", name="get-object", layer=Layer.FILES)]
    return compose(circumstances, tenants or [tenant("acme"), tenant("globex")], made if attempts is None else attempts)
