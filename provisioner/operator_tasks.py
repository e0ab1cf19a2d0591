"""What an operator asks for, from the API or the command line: each is recorded, and done by a worker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from psycopg import AsyncConnection

from provisioner.errors import NotFound, Reject
from provisioner.lifecycle import TenantState
from provisioner.registry import events, queue, tenants, timeline
from provisioner.registry.queue import Priority
from provisioner.registry.tenants import TenantRecord
from provisioner.registry.timeline import EntryKind

#: States in which destruction may be authorised: nobody pays for the tenant.
DESTRUCTIBLE = (TenantState.SUSPENDED, TenantState.HIBERNATED, TenantState.RETAINED, TenantState.DESTROYING)


class StillPaidFor(Reject):
    """A tenant with access is never destroyed: its subscription ends first."""

    code = "still_paid_for"


async def require(connection: AsyncConnection, tenant_id: str) -> TenantRecord:
    """``NotFound`` unless there is such a tenant."""
    record = await tenants.get(connection, tenant_id)
    if record is None:
        raise NotFound(f"there is no tenant {tenant_id}", hint="`tenantry tenants list` shows all")
    return record


async def reconcile(connection: AsyncConnection, tenant_id: str, *, by: str) -> TenantRecord:
    """Queue a reconcile before all others."""
    record = await require(connection, tenant_id)
    await timeline.add(connection, tenant_id, EntryKind.OPERATOR, f"{by} asked for a reconcile")
    await tenants.unpark(connection, tenant_id)
    await queue.defer_reconcile(connection, [tenant_id], reason=f"asked for by {by}", priority=Priority.OPERATOR)
    return record


async def destroy(connection: AsyncConnection, tenant_id: str, *, by: str, reason: str) -> TenantRecord:
    """Authorise the destruction of a tenant that nobody pays for: protection off, final snapshot, then the stack."""
    record = await require(connection, tenant_id)
    if record.state not in DESTRUCTIBLE:
        standing = "nothing of it stands" if record.spec is None else f"it is {record.state}"
        raise StillPaidFor(
            f"tenant {tenant_id} can't be destroyed: {standing}",
            hint="end its subscription in Stripe first; access closes, then it can be destroyed",
        )
    authorisation = {"by": by, "reason": reason, "at": datetime.now(UTC).isoformat()}
    await tenants.authorise_destruction(connection, tenant_id, authorisation)
    await timeline.add(
        connection, tenant_id, EntryKind.OPERATOR, f"{by} authorised its destruction: {reason}", detail=authorisation
    )
    await queue.defer_reconcile(
        connection, [tenant_id], reason=f"destruction authorised by {by}", priority=Priority.OPERATOR
    )
    return record


async def retry_events(connection: AsyncConnection, event_ids: Sequence[str] | None) -> list[str]:
    """Queue quarantined events again, all of them for None; returns which. ``NotFound`` for an id that is not one."""
    wanted = await events.quarantined(connection) if event_ids is None else list(event_ids)
    reopened = await events.reopen(connection, wanted)
    missing = [event_id for event_id in wanted if event_id not in reopened]
    if missing:
        raise NotFound(
            f"no quarantined event {', '.join(missing[:5])}", hint="`tenantry events list` shows those that are"
        )
    await queue.defer_events(connection, reopened)
    return reopened
