"""An operator's answer to an update that would destroy data: to exactly what was shown, by name, and recorded."""

from __future__ import annotations

from datetime import UTC, datetime

from psycopg import AsyncConnection

from provisioner.errors import NotFound, Reject
from provisioner.registry import approvals, operations, platforms, queue, tenants, timeline
from provisioner.registry.approvals import Answer, ApprovalRecord
from provisioner.registry.queue import Priority
from provisioner.registry.timeline import EntryKind


class NotAwaited(Reject):
    """The operation waits for no answer: it was given, has expired, or was to another diff."""

    code = "not_awaited"


async def require(connection: AsyncConnection, operation_id: int) -> ApprovalRecord:
    """What an operation asks. ``NotFound`` for one that asks nothing."""
    record = await approvals.get(connection, operation_id)
    if record is None:
        if await operations.get(connection, operation_id) is None:
            raise NotFound(f"there is no operation {operation_id}", hint="`tenantry approvals` lists what waits")
        raise NotAwaited(
            f"operation {operation_id} never waited for an approval", hint="`tenantry approvals` lists what waits"
        )
    return record


async def answer(
    connection: AsyncConnection,
    operation_id: int,
    given: Answer,
    *,
    by: str,
    reason: str,
    diff_hash: str | None = None,
) -> ApprovalRecord:
    """Approve or reject. ``diff_hash``: of the diff that was looked at; None takes the recorded one.

    An approval queues the operation anew, and is good for that diff alone, once, until it expires.
    """
    record = await require(connection, operation_id)
    if diff_hash is not None and diff_hash != record.diff_hash:
        raise NotAwaited(
            f"operation {operation_id} asks about another diff ({record.diff_hash[:12]})", hint="look at it again"
        )
    if not await approvals.decide(connection, operation_id, given, by=by, reason=reason, diff_hash=record.diff_hash):
        raise _closed(await require(connection, operation_id))
    told = f"{by} {given} operation {operation_id} (diff {record.diff_hash[:12]}): {reason}"
    if record.tenant_id is None:
        if given is Answer.APPROVED:
            cell = _cell(record.stack_name)
            await platforms.clear_failure(connection, cell)
            await queue.defer_platform(connection, cell, reason=told)
        return await require(connection, operation_id)
    await timeline.add(
        connection,
        record.tenant_id,
        EntryKind.OPERATOR,
        told,
        operation_id=operation_id,
        detail={"by": by, "reason": reason, "diff_hash": record.diff_hash},
    )
    if given is Answer.APPROVED:
        await tenants.unpark(connection, record.tenant_id)
        await queue.defer_reconcile(
            connection, [record.tenant_id], reason=f"approved by {by}", priority=Priority.OPERATOR
        )
    else:
        await _tell(connection, record.tenant_id, operation_id, by, reason)
    return await require(connection, operation_id)


async def _tell(connection: AsyncConnection, tenant_id: str, operation_id: int, by: str, reason: str) -> None:
    """The tenant's failure says that the question is closed; a failure that came after it is left alone."""
    record = await tenants.get(connection, tenant_id)
    failure = dict(record.failure or {}) if record is not None else {}
    if failure.get("operation_id") == operation_id:
        failure |= {
            "code": "approval_rejected",
            "message": f"{by} rejected operation {operation_id}: {reason}",
            "hint": "change what is asked of the tenant: its plan, its specification or the program",
            "at": datetime.now(UTC).isoformat(),
        }
        await tenants.record_failure(connection, tenant_id, failure, None)


def _closed(record: ApprovalRecord) -> NotAwaited:
    if record.decision == Answer.SUPERSEDED:
        return NotAwaited(
            f"operation {record.operation_id} was superseded: a later one on stack {record.stack_name} asks anew",
            hint="`tenantry approvals` lists what waits",
        )
    if record.decision is not None:
        when = f"{record.decided_at:%Y-%m-%d %H:%M} UTC" if record.decided_at else "before"
        return NotAwaited(
            f"operation {record.operation_id} was {record.decision} by {record.decided_by} at {when}",
            hint="`tenantry approvals` lists what waits",
        )
    anew = (
        f"tenants reconcile {record.tenant_id}"
        if record.tenant_id
        else f"platform up --cell {_cell(record.stack_name)}"
    )
    return NotAwaited(
        f"the question of operation {record.operation_id} expired at {record.expires_at:%Y-%m-%d %H:%M} UTC",
        hint=f"have it asked anew: tenantry {anew}",
    )


def _cell(stack_name: str) -> str:
    _, _, cell = stack_name.partition(".")
    return cell or "default"
