"""One story of a tenant: what was heard, what was decided, what was done to which resource, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection

from components.spec import Access
from provisioner.billing.verdict import Reason
from provisioner.errors import NotFound
from provisioner.lifecycle import TenantState
from provisioner.registry import events, operations, placements, proofs, tenants, timeline
from provisioner.registry.events import EventStatus
from provisioner.registry.proofs import ProofStatus, Verdict
from provisioner.registry.tenants import TenantRecord

#: What brings access back where it is not simply a payment that is owed, by the reason why it is less than full.
_WAY_BACK: Mapping[str, str] = {
    Reason.PAYMENT_DISPUTED: "it comes back when the dispute is won",
    Reason.DISPUTE_LOST: "the next payment brings it back",
    Reason.PAYMENT_REFUNDED: "the next payment brings it back",
    Reason.TRIAL_PAUSED: "it comes back when the customer gives a payment method and resumes the subscription",
    Reason.TRIAL_REFUSED: "its customer, or the customer's company, has had a trial: a payment brings it back, or "
    "an operator:  `tenantry trials allow {tenant_id} --reason ...`",
    Reason.COLLECTION_PAUSED: "it comes back when the collection of payments is resumed in Stripe",
    Reason.FIRST_PAYMENT_OPEN: "its first payment opens it",
}

#: Failures after which the tenant follows by itself: an operator's answer queues it.
_ANSWERED_ELSEWHERE = frozenset({"approval_needed", "platform_parked", "quota_shortfall"})
MAX_ENTRIES = 200
OPERATIONS_WITH_STEPS = 20


async def explain(connection: AsyncConnection, tenant_id: str) -> dict[str, Any]:
    """``{tenant, placement, isolation, timeline: [...], events_open: [...], next}``; times are datetimes. ``NotFound``.

    Each entry of the timeline that has an operation holds it, with its steps, as ``operation``.
    """
    record = await tenants.get(connection, tenant_id)
    if record is None:
        raise NotFound(f"there is no tenant {tenant_id}", hint="`tenantry tenants list` shows all")
    entries = await timeline.of_tenant(connection, tenant_id, limit=MAX_ENTRIES)
    recent = await operations.list_operations(connection, tenant_id=tenant_id, limit=OPERATIONS_WITH_STEPS)
    shown = {operation.operation_id: {**vars(operation), "steps": []} for operation in recent}
    for operation_id, step in await operations.steps_of(connection, list(shown)):
        shown[operation_id]["steps"].append({k: v for k, v in vars(step).items() if k != "started_at"})
    placement = await placements.get(connection, tenant_id)
    waiting = await events.list_events(connection, status=EventStatus.QUARANTINED, tenant_id=tenant_id)
    told = []
    for entry in entries:
        line = {name: value for name, value in vars(entry).items() if name != "tenant_id"}
        if entry.operation_id in shown:
            line["operation"] = shown[entry.operation_id]
        told.append(line)
    verdict = (await proofs.verdicts(connection, tenant_id)).get(tenant_id)
    running = [op for op in shown.values() if op["status"] == "running"]
    return {
        "tenant": tenant_document(record, verdict),
        "placement": None if placement is None else vars(placement),
        "isolation": None if verdict is None else vars(verdict),
        "timeline": told,
        "running": running,
        "events_open": [event.summary() for event in waiting],
        "next": next_action(record, running=bool(running), verdict=verdict, doing=_doing(running)),
    }


def tenant_document(record: TenantRecord, verdict: Verdict | None = None) -> dict[str, Any]:
    """What the API and the CLI show of a tenant."""
    hidden = {"spec", "outputs", "fingerprint"}
    document = {name: value for name, value in vars(record).items() if name not in hidden}
    isolation = None if verdict is None else verdict.status.value
    return {**document, "isolation": isolation, "shown_state": record.shown_state, "stack": record.stack_name}


def _doing(running: Sequence[Mapping[str, Any]]) -> str | None:
    """What the running operations wait for, if one of their steps says so."""
    steps = (step for operation in running for step in operation["steps"])
    return next((step["message"] for step in steps if step["status"] == "running" and step["message"]), None)


def _way_back(record: TenantRecord) -> str:
    """What brings a tenant's access back, to go on a sentence."""
    told = _WAY_BACK.get(record.access_reason or "", "a payment brings it back")
    return told.format(tenant_id=record.tenant_id)


def next_action(
    record: TenantRecord, *, running: bool = False, verdict: Verdict | None = None, doing: str | None = None
) -> str:
    """The safe next thing to do, as a sentence. ``verdict``: the last word on the tenant's isolation; ``doing``: what
    the running operation waits for."""
    if verdict is not None and verdict.status is ProofStatus.NOT_ISOLATED:
        return (
            f"A proof got through. See how: tenantry prove export {verdict.proof_id}; what drifted, a reconcile mends: "
            f"tenantry tenants reconcile {record.tenant_id}; then: tenantry prove {record.tenant_id}"
        )
    if running:
        return f"Nothing: an operation is running{f' ({doing})' if doing else ''}."
    if record.failure is not None:
        return _after_failure(record.failure, record)
    match TenantState(record.state):
        case TenantState.PENDING:
            return (
                f"Nothing is built until subscription {record.subscription_id or '(none)'} "
                f"({record.subscription_status or 'no status'}) is paid."
            )
        case TenantState.PROVISIONING:
            return "Nothing: its first operation is due or running."
        case TenantState.READY if record.pending_graduation:
            return (
                f"It pays for {record.pending_graduation} and stands in {record.tier}: entitlements are in force, "
                "its data stays where it is until it is moved."
            )
        case TenantState.READY if record.access != Access.FULL:
            since = f" since {record.access_since:%Y-%m-%d}" if record.access_since else ""
            then = f", less from {record.review_at:%Y-%m-%d %H:%M} UTC" if record.review_at else ""
            return f"Its access is {record.access}{since} ({record.access_reason}){then}; {_way_back(record)}."
        case TenantState.READY:
            return "Nothing: it is ready."
        case TenantState.HIBERNATED:
            return "Access comes back by itself when the subscription is paid; an own instance is started for it first."
        case TenantState.SUSPENDED if record.access_reason in _WAY_BACK:
            return f"Its access is suspended ({record.access_reason}); {_way_back(record)}."
        case TenantState.SUSPENDED:
            return "Access comes back by itself when the subscription is paid."
        case TenantState.RETAINED:
            until = f"{record.retain_until:%Y-%m-%d %H:%M} UTC" if record.retain_until else "the plan's days are over"
            return (
                f"Its data is kept until {until}; a new subscription brings it back. To destroy it sooner: "
                f"tenantry tenants destroy {record.tenant_id}"
            )
        case TenantState.DESTROYING:
            return "Nothing: its destruction is due or running."
        case TenantState.DESTROYED:
            return "Nothing stands. A new subscription begins the id's next generation."


def _after_failure(failure: Mapping[str, Any], record: TenantRecord) -> str:
    if record.next_attempt_at is not None and failure.get("class") == "retry":
        seconds = max(0, round((record.next_attempt_at - datetime.now(UTC)).total_seconds()))
        return f"Nothing: it is tried again in {seconds} s. To try now: tenantry tenants reconcile {record.tenant_id}"
    hint = str(failure.get("hint") or "Correct what the failure names").rstrip(".")
    if failure.get("code") in _ANSWERED_ELSEWHERE:
        return f"{hint}."
    return f"{hint}; then: tenantry tenants reconcile {record.tenant_id}"
