"""The state machines of tenants and operations.

``python -m provisioner.lifecycle_document`` writes ``docs/lifecycle.md`` from them.
"""

from __future__ import annotations

from enum import StrEnum

from components.spec import Access


class TenantState(StrEnum):
    PENDING = "pending"
    PROVISIONING = "provisioning"
    READY = "ready"
    SUSPENDED = "suspended"
    HIBERNATED = "hibernated"
    RETAINED = "retained"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"


class OperationState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BLOCKED = "blocked"
    AWAITING_APPROVAL = "awaiting_approval"


MEANING: dict[TenantState, str] = {
    TenantState.PENDING: "bound to a Stripe customer; nothing stands yet (or nothing is paid for)",
    TenantState.PROVISIONING: "its first stack operation has begun and not yet succeeded",
    TenantState.READY: "stands and serves: access is full, grace, throttled or read_only",
    TenantState.SUSPENDED: "stands; logins are closed, the broker refuses; the subscription may come back by itself",
    TenantState.HIBERNATED: "as suspended; an instance of its own is stopped, and is started again by a payment",
    TenantState.RETAINED: "as suspended, later as hibernated; the subscription has ended, the data is kept until the "
    "plan's days are over",
    TenantState.DESTROYING: "destruction is authorised: protection off with a final snapshot, then the stack goes",
    TenantState.DESTROYED: "nothing stands; the id may only be used again as its next generation",
}

#: What a tenant that stands is in, by its access.
STATE_OF_ACCESS: dict[Access, TenantState] = {
    Access.FULL: TenantState.READY,
    Access.GRACE: TenantState.READY,
    Access.THROTTLED: TenantState.READY,
    Access.READ_ONLY: TenantState.READY,
    Access.SUSPENDED: TenantState.SUSPENDED,
    Access.HIBERNATED: TenantState.HIBERNATED,
    Access.RETAINED: TenantState.RETAINED,
    Access.DELETED: TenantState.DESTROYED,
}

#: States of a tenant whose stack is what it should be.
SETTLED = (TenantState.READY, TenantState.SUSPENDED, TenantState.HIBERNATED, TenantState.RETAINED)

#: State -> (what happens, next state). Nothing else is a legal move.
MOVES: dict[TenantState, tuple[tuple[str, TenantState], ...]] = {
    TenantState.PENDING: (("a subscription grants access", TenantState.PROVISIONING),),
    TenantState.PROVISIONING: (
        ("the stack operation succeeds", TenantState.READY),
        ("the subscription stops granting access, and the stack closes it", TenantState.SUSPENDED),
        ("nothing was paid for so long that a closed one sleeps", TenantState.HIBERNATED),
        ("the subscription ends, and the stack closes access", TenantState.RETAINED),
        (
            "its retention is over, or an operator destroys it",
            TenantState.DESTROYING,
        ),
    ),
    TenantState.READY: (
        ("the subscription stops granting access", TenantState.SUSPENDED),
        ("nobody looked while its payment was overdue until it sleeps", TenantState.HIBERNATED),
        ("the subscription ends", TenantState.RETAINED),
        ("the subscription has ended for longer than its plan retains data", TenantState.DESTROYING),
    ),
    TenantState.SUSPENDED: (
        ("a payment arrives", TenantState.READY),
        ("nothing is paid for the plan's days", TenantState.HIBERNATED),
        ("the subscription ends", TenantState.RETAINED),
        ("its retention is over, or an operator destroys it", TenantState.DESTROYING),
    ),
    TenantState.HIBERNATED: (
        ("a payment arrives", TenantState.READY),
        ("another subscription awaits its payment", TenantState.SUSPENDED),
        ("the subscription ends", TenantState.RETAINED),
        ("its retention is over, or an operator destroys it", TenantState.DESTROYING),
    ),
    TenantState.RETAINED: (
        ("the customer subscribes again", TenantState.READY),
        ("a new subscription awaits its payment", TenantState.SUSPENDED),
        ("a subscription that nobody pays has come to light", TenantState.HIBERNATED),
        ("the retention days are over, or an operator destroys it", TenantState.DESTROYING),
    ),
    TenantState.DESTROYING: (("protection is off and the stack is gone", TenantState.DESTROYED),),
    TenantState.DESTROYED: (("the customer subscribes again: next generation", TenantState.PENDING),),
}

OPERATION_MOVES: dict[OperationState, tuple[tuple[str, OperationState], ...]] = {
    OperationState.RUNNING: (
        ("the engine reports success", OperationState.SUCCEEDED),
        ("the engine reports a failure", OperationState.FAILED),
        ("the worker hands it back, or dies and another one takes over", OperationState.INTERRUPTED),
        ("a policy rule or a quota refuses what its preview shows, or a rule what it has made", OperationState.BLOCKED),
        ("its preview would destroy data that no operator has approved", OperationState.AWAITING_APPROVAL),
    ),
    OperationState.SUCCEEDED: (),
    OperationState.FAILED: (),
    OperationState.INTERRUPTED: (),
    OperationState.BLOCKED: (),
    OperationState.AWAITING_APPROVAL: (),
}

OPERATION_MEANING: dict[OperationState, str] = {
    OperationState.RUNNING: "its engine runs, or its worker died and the next one has not taken over yet",
    OperationState.SUCCEEDED: "the stack is what was asked for, and keeps every policy rule",
    OperationState.FAILED: "the error says whether it is tried again or an operator must act",
    OperationState.INTERRUPTED: "the next operation resolves what it left",
    OperationState.BLOCKED: "parked, not retried: an operator, another plan or another policy configuration must "
    "change what was refused",
    OperationState.AWAITING_APPROVAL: "parked: `tenantry approve OPERATION` queues another operation that may do "
    "exactly what this one showed; `tenantry reject` closes it",
}


def may_move(before: TenantState, after: TenantState) -> bool:
    """Whether ``after`` may follow ``before``; staying is always legal."""
    return before == after or any(target is after for _, target in MOVES[before])
