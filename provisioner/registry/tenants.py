"""Tenants: the registry is the truth for what each one should be and is."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from components.spec import Access, TenantOutputs, TenantSpec
from components.tiers import Tier
from provisioner.lifecycle import TenantState
from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("tenants"))


@dataclass(frozen=True)
class TenantRecord:
    """A row of ``registry.tenant``; the columns are described in ``schema/10_core.sql``."""

    tenant_id: str
    generation: int
    cell: str
    state: str
    stripe_customer_id: str | None
    subscription_id: str | None
    subscription_status: str | None
    plan: str | None
    tier: str | None
    pending_graduation: str | None
    access: str
    features: list[str]
    limits: dict[str, int]
    epoch: int
    retain_until: datetime | None
    destruction: dict[str, Any] | None
    spec: dict[str, Any] | None
    outputs: dict[str, Any] | None
    fingerprint: str | None
    failure: dict[str, Any] | None
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None
    rates: list[dict[str, Any]] = field(default_factory=list)
    soft_limits: list[str] = field(default_factory=list)
    access_since: datetime | None = None
    access_reason: str | None = None
    review_at: datetime | None = None
    seats: int | None = None
    billing: dict[str, Any] = field(default_factory=dict)
    payment_cases: list[dict[str, Any]] | None = None

    @property
    def stands(self) -> bool:
        """Whether a stack of this life has been begun: its tier and placement are then facts."""
        return self.spec is not None

    @property
    def tenant_spec(self) -> TenantSpec | None:
        return None if self.spec is None else TenantSpec.model_validate(self.spec)

    @property
    def stack_name(self) -> str:
        return self.tenant_id if self.generation == 1 else f"{self.tenant_id}.{self.generation}"

    @property
    def shown_state(self) -> str:
        """The state, or ``failed``/``retrying`` when the last attempt to change the tenant failed."""
        if self.failure is None:
            return self.state
        return "failed" if self.failure.get("class") == "operator" else "retrying"


@dataclass(frozen=True)
class Entitlement:
    """What the tenant pays for, known before any stack is touched."""

    subscription_id: str | None
    subscription_status: str | None
    plan: str | None
    tier: Tier | None
    pending_graduation: Tier | None
    features: Sequence[str]
    limits: dict[str, int]
    retain_until: datetime | None
    rates: Sequence[Mapping[str, Any]] = ()  #: as ``provisioner.entitlements.entitled`` makes them
    soft_limits: Sequence[str] = ()
    review_at: datetime | None = None
    seats: int | None = None
    billing: dict[str, Any] = field(default_factory=dict)


async def get(connection: AsyncConnection, tenant_id: str) -> TenantRecord | None:
    return await _one(connection, "get", {"tenant_id": tenant_id})


async def get_by_customer(connection: AsyncConnection, customer_id: str) -> TenantRecord | None:
    return await _one(connection, "get_by_customer", {"customer_id": customer_id})


async def all_tenants(connection: AsyncConnection) -> list[TenantRecord]:
    async with connection.cursor(row_factory=class_row(TenantRecord)) as cursor:
        await cursor.execute(_sql("all"))
        return await cursor.fetchall()


async def count_by_state(connection: AsyncConnection) -> dict[str, tuple[int, int]]:
    """State -> (tenants, those of them that wait for an operator)."""
    cursor = await connection.execute(_sql("count_by_state"))
    return {str(state): (int(count), int(failed)) for state, count, failed in await cursor.fetchall()}


class Binding(StrEnum):
    BOUND = "bound"  #: just now
    KNOWN = "known"  #: the two belong together already
    REFUSED = "refused"  #: the tenant, or the customer, is bound elsewhere


async def bind(connection: AsyncConnection, tenant_id: str, customer_id: str, *, cell: str) -> Binding:
    """Create the tenant with its customer, or give one without a customer this one."""
    if (known := await binding(connection, tenant_id, customer_id)) is not None:
        return known
    parameters = {"tenant_id": tenant_id, "cell": cell, "customer_id": customer_id}
    inserted = await connection.execute(_sql("insert"), parameters)
    if inserted.rowcount == 1:
        return Binding.BOUND
    if (known := await binding(connection, tenant_id, customer_id)) is not None:  # another event of it was quicker
        return known
    bound = await connection.execute(_sql("bind"), parameters)
    return Binding.BOUND if bound.rowcount == 1 else Binding.REFUSED


async def binding(connection: AsyncConnection, tenant_id: str, customer_id: str) -> Binding | None:
    """What the customer's own binding says of the pair; None: it has none."""
    cursor = await connection.execute(_sql("tenant_of_customer"), {"customer_id": customer_id})
    row = await cursor.fetchone()
    if row is None:
        return None
    return Binding.KNOWN if row[0] == tenant_id else Binding.REFUSED


async def unbind(connection: AsyncConnection, tenant_id: str) -> None:
    await connection.execute(_sql("unbind"), {"tenant_id": tenant_id})


async def entitle(connection: AsyncConnection, tenant_id: str, entitlement: Entitlement) -> bool:
    """Record what is paid for; True if that is news."""
    cursor = await connection.execute(
        _sql("entitle"),
        {
            "tenant_id": tenant_id,
            "subscription_id": entitlement.subscription_id,
            "subscription_status": entitlement.subscription_status,
            "plan": entitlement.plan,
            "tier": entitlement.tier,
            "pending_graduation": entitlement.pending_graduation,
            "features": list(entitlement.features),
            "limits": Jsonb(entitlement.limits),
            "retain_until": entitlement.retain_until,
            "rates": Jsonb([dict(rate) for rate in entitlement.rates]),
            "soft_limits": list(entitlement.soft_limits),
            "review_at": entitlement.review_at,
            "seats": entitlement.seats,
            "billing": Jsonb(entitlement.billing),
        },
    )
    return cursor.rowcount == 1


async def set_access(
    connection: AsyncConnection, tenant_id: str, access: Access, *, reason: str, since: datetime | None = None
) -> bool:
    """True if that is news. ``since``: when the access began; None: now, if it is another one than before."""
    cursor = await connection.execute(
        _sql("set_access"), {"tenant_id": tenant_id, "access": access, "reason": reason, "since": since}
    )
    return cursor.rowcount == 1


async def set_state(connection: AsyncConnection, tenant_id: str, state: TenantState) -> None:
    await connection.execute(_sql("set_state"), {"tenant_id": tenant_id, "state": state})


async def record_spec(connection: AsyncConnection, spec: TenantSpec, state: TenantState) -> None:
    """Before the stack is touched: what it is about to become, and that what stands is unknown until then."""
    await connection.execute(
        _sql("record_spec"),
        {"tenant_id": spec.tenant_id, "spec": Jsonb(spec.model_dump(mode="json")), "state": state},
    )


async def record_success(
    connection: AsyncConnection, outputs: TenantOutputs, *, state: TenantState, fingerprint: str
) -> None:
    await connection.execute(
        _sql("record_success"),
        {
            "tenant_id": outputs.tenant_id,
            "state": state,
            "outputs": Jsonb(outputs.model_dump(mode="json")),
            "fingerprint": fingerprint,
        },
    )


async def record_failure(
    connection: AsyncConnection, tenant_id: str, failure: dict[str, Any], next_attempt_at: datetime | None
) -> int:
    """Returns how many attempts in a row have failed."""
    cursor = await connection.execute(
        _sql("record_failure"),
        {"tenant_id": tenant_id, "failure": Jsonb(failure), "next_attempt_at": next_attempt_at},
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def clear_failure(connection: AsyncConnection, tenant_id: str) -> None:
    await connection.execute(_sql("clear_failure"), {"tenant_id": tenant_id})


async def unpark(connection: AsyncConnection, tenant_id: str) -> None:
    """Let the next reconcile try again what the gate has refused: an operator has spoken."""
    await connection.execute(_sql("unpark"), {"tenant_id": tenant_id})


async def distrust(connection: AsyncConnection, tenant_id: str) -> None:
    """Have the next reconcile update the stack, whatever is recorded of it."""
    await connection.execute(_sql("distrust"), {"tenant_id": tenant_id})


async def plan_attempt(connection: AsyncConnection, tenant_id: str, at: datetime) -> None:
    """Have the tenant looked at again at ``at``, if not sooner; no failure is recorded."""
    await connection.execute(_sql("plan_attempt"), {"tenant_id": tenant_id, "at": at})


async def wake(connection: AsyncConnection, cell: str, now: datetime) -> None:
    """Have the tenants of the cell that failed for want of its platform tried again now."""
    await connection.execute(_sql("wake"), {"cell": cell, "now": now})


async def claim_due(connection: AsyncConnection, now: datetime) -> list[str]:
    """Tenants whose next attempt is due; each is given out once."""
    cursor = await connection.execute(_sql("claim_due"), {"now": now})
    return [str(row[0]) for row in await cursor.fetchall()]


async def claim_review(connection: AsyncConnection, now: datetime) -> list[str]:
    """Tenants whose access time alone has changed by ``now``, billing time; each is given out once."""
    cursor = await connection.execute(_sql("claim_review"), {"now": now})
    return [str(row[0]) for row in await cursor.fetchall()]


async def authorise_destruction(connection: AsyncConnection, tenant_id: str, authorisation: dict[str, Any]) -> None:
    await connection.execute(
        _sql("authorise_destruction"), {"tenant_id": tenant_id, "authorisation": Jsonb(authorisation)}
    )


async def record_destroyed(connection: AsyncConnection, tenant_id: str, *, since: datetime | None = None) -> None:
    """``since``: billing time."""
    await connection.execute(_sql("record_destroyed"), {"tenant_id": tenant_id, "since": since})


async def begin_generation(connection: AsyncConnection, tenant_id: str) -> bool:
    """The next life of a destroyed id."""
    cursor = await connection.execute(_sql("begin_generation"), {"tenant_id": tenant_id})
    return cursor.rowcount == 1


async def _one(connection: AsyncConnection, name: str, parameters: dict[str, Any]) -> TenantRecord | None:
    async with connection.cursor(row_factory=class_row(TenantRecord)) as cursor:
        await cursor.execute(_sql(name), parameters)
        return await cursor.fetchone()
