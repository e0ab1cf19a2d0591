"""What an operator asks for at the end of a tenant: to be forgotten, in whatever state it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import AsyncConnection

from provisioner import operator_tasks
from provisioner.lifecycle import TenantState
from provisioner.operator_tasks import StillPaidFor
from provisioner.registry import deletions, queue, tenants, timeline
from provisioner.registry.deletions import Cause
from provisioner.registry.queue import Priority
from provisioner.registry.timeline import EntryKind

#: States in which nothing stands, so that there is nothing to destroy.
_NOTHING_STANDS = (TenantState.PENDING, TenantState.DESTROYED)


@dataclass(frozen=True)
class Erased:
    """``queued``: what stands is destroyed by a worker, which redacts then. Otherwise it was done at once: ``events``
    and ``timeline`` entries were redacted, ``copies`` of former lives are deleted by the next round."""

    queued: bool
    events: int = 0
    timeline: int = 0
    copies: int = 0


async def erase(
    connection: AsyncConnection,
    tenant_id: str,
    *,
    by: str,
    reason: str,
    forget_customer: bool,
    billing_now: datetime,
    forget: Callable[[str], Awaitable[None]],
) -> Erased:
    """Forget a tenant that nobody pays for, and every copy of its former lives. NotFound, StillPaidFor."""
    record = await operator_tasks.require(connection, tenant_id)
    state = TenantState(record.state)
    if state not in _NOTHING_STANDS and state not in operator_tasks.DESTRUCTIBLE:
        raise StillPaidFor(
            f"tenant {tenant_id} can't be erased: it is {record.state}",
            hint="end its subscription in Stripe first; access closes, then it can be erased",
        )
    ended = await deletions.end_copies(connection, tenant_id, billing_now)
    authorisation = {
        "by": by,
        "reason": reason,
        "at": datetime.now(UTC).isoformat(),
        "cause": Cause.ERASURE.value,
        "forget_customer": forget_customer,
    }
    await timeline.add(connection, tenant_id, EntryKind.OPERATOR, f"{by} had it erased: {reason}", detail=authorisation)
    if record.stands:
        await tenants.authorise_destruction(connection, tenant_id, authorisation)
        await queue.defer_reconcile(
            connection, [tenant_id], reason=f"erasure asked for by {by}", priority=Priority.OPERATOR
        )
        return Erased(queued=True, copies=ended)
    redacted = await deletions.redact(connection, tenant_id, record.stripe_customer_id)
    if forget_customer and record.stripe_customer_id is not None:
        await forget(record.stripe_customer_id)
    return Erased(False, redacted["events"], redacted["timeline"], ended)
