"""The gate as operations use it: judgements are opened with what stands and what was approved, parked, and recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from psycopg import AsyncConnection

from provisioner.errors import ApprovalNeeded, OperatorNeeded, TenantryError
from provisioner.gate.gatekeeper import Gatekeeper, Judgement
from provisioner.lifecycle import OperationState
from provisioner.registry import approvals, timeline
from provisioner.registry.operations import OperationKind
from provisioner.registry.timeline import EntryKind

APPROVAL_VALID = timedelta(hours=72)
#: Updates that take access or protection away: a violation that stands already never keeps them from happening.
TOLERANT = frozenset({OperationKind.SUSPEND, OperationKind.UNPROTECT, OperationKind.EXPORT})
_BLOCKING = frozenset({"policy_blocked", "quota_shortfall"})


class Deployments(Protocol):
    """What ``provisioner.engine.state.PostgresState`` answers."""

    def deployment(self, stack_name: str) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True)
class StackGate:
    keeper: Gatekeeper
    state: Deployments
    approval_valid: timedelta = APPROVAL_VALID

    async def open(
        self, connection: AsyncConnection, stack_name: str, kind: OperationKind, config: Mapping[str, str]
    ) -> Judgement:
        """The judgement of the next update of a stack that is held. Raises PolicyBlocked for an unreadable spec."""
        approved = await approvals.approved(connection, stack_name)
        standing = await asyncio.to_thread(self.state.deployment, stack_name)
        return self.keeper.open(stack_name, config, standing or {}, approved=approved, tolerant=kind in TOLERANT)

    async def note_standing(
        self, connection: AsyncConnection, judgement: Judgement, tenant_id: str | None, operation_id: int
    ) -> None:
        """Put on the timeline what violates the rules before anything is done: somebody went past the gate."""
        found = await asyncio.to_thread(lambda: judgement.found_standing)
        if found and tenant_id is not None:
            named = "; ".join(f"{each.rule.id}: {each.message}" for each in found[:3])
            await timeline.add(
                connection,
                tenant_id,
                EntryKind.POLICY,
                f"what stands violates {len(found)} policy rule{'s' if len(found) > 1 else ''}: it was changed past "
                f"the gate, or the rules have changed: {named}",
                operation_id=operation_id,
                detail={"findings": [each.as_dict() for each in found]},
            )

    async def recheck(self, judgement: Judgement, stack_name: str) -> None:
        """After the update: by the values that the cloud gave. Raises PolicyBlocked."""
        deployment = await asyncio.to_thread(self.state.deployment, stack_name)
        await asyncio.to_thread(judgement.recheck, deployment or {})

    async def settle(
        self,
        connection: AsyncConnection,
        judgement: Judgement | None,
        *,
        operation_id: int,
        tenant_id: str | None,
        stack_name: str,
        error: TenantryError | None,
    ) -> None:
        """With the end of the operation, in its transaction: ask for an approval, or use up the one relied on."""
        if isinstance(error, ApprovalNeeded):
            await approvals.request(
                connection,
                operation_id=operation_id,
                tenant_id=tenant_id,
                stack_name=stack_name,
                diff=error.diff,
                diff_hash=error.diff_hash,
                valid_for=self.approval_valid,
            )
        elif error is None and judgement is not None and judgement.approval is not None:
            await approvals.use(connection, stack_name, judgement.approval, operation_id=operation_id)


def state_after(error: TenantryError) -> OperationState:
    """How an operation ends that failed with ``error``."""
    if isinstance(error, ApprovalNeeded):
        return OperationState.AWAITING_APPROVAL
    blocked = isinstance(error, OperatorNeeded) and error.code in _BLOCKING
    return OperationState.BLOCKED if blocked else OperationState.FAILED
