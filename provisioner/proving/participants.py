"""Who takes part in a proof, and who can't."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from components.spec import Access, TenantOutputs
from components.tiers import Tier
from isolation.evidence.document import LeftOut, ScopeKind
from provisioner.errors import NotFound
from provisioner.lifecycle import TenantState
from provisioner.proving.request import NothingToProve, ProofRequest
from provisioner.registry.tenants import TenantRecord

OTHERS = 30  #: of many tenants, those among whom one finds its neighbours


@dataclass(frozen=True)
class Participants:
    """``named``: who was asked for, or everybody; ``others``: their possible neighbours, out of ``available``."""

    cell: str
    named: tuple[TenantOutputs, ...]
    others: tuple[TenantOutputs, ...]
    available: int
    left_out: tuple[LeftOut, ...]


def choose(
    request: ProofRequest, records: Sequence[TenantRecord], changing: Collection[str] = frozenset()
) -> Participants:
    """``records``: of all tenants; ``changing``: stacks on which an operation runs.

    Raises NotFound, and NothingToProve when a named tenant can't take part.
    """
    by_id = {record.tenant_id: record for record in records}
    if request.kind is ScopeKind.ALL:
        return _all(request.cell or "default", records, changing)
    named = []
    for tenant_id in request.tenants:
        if tenant_id not in by_id:
            raise NotFound(f"there is no tenant {tenant_id}", hint="`tenantry tenants list` shows all")
        record = by_id[tenant_id]
        obstacle = why_not(record, changing)
        if obstacle is not None:
            raise NothingToProve(f"tenant {tenant_id} can't be proved isolated now: {obstacle}")
        named.append(record)
    outputs = tuple(_outputs(record) for record in named)
    cell = named[0].cell
    if request.kind is ScopeKind.PAIR:
        if named[0].tenant_id == named[1].tenant_id:
            raise NothingToProve("a pair is two tenants", hint="for one against all others: tenantry prove TENANT")
        if named[1].cell != cell:
            raise NothingToProve(
                f"{named[0].tenant_id} is in cell {cell}, {named[1].tenant_id} in {named[1].cell}: one session can't "
                "read both accounts' policies",
                hint="cells share nothing; prove each: tenantry prove --all --cell CELL",
            )
        return Participants(cell, outputs, (), 1, ())
    others = [record for record in records if record.cell == cell and record not in named]
    there = [record for record in others if why_not(record, changing) is None]
    chosen = sample(there, OTHERS)
    return Participants(cell, outputs, tuple(_outputs(record) for record in chosen), len(there), ())


def _all(cell: str, records: Iterable[TenantRecord], changing: Collection[str]) -> Participants:
    there, left_out = [], []
    for record in records:
        if record.cell != cell or record.outputs is None or record.state == TenantState.DESTROYED:
            continue
        obstacle = why_not(record, changing)
        if obstacle is None:
            there.append(_outputs(record))
        else:
            left_out.append(LeftOut(tenant_id=record.tenant_id, reason=obstacle))
    if not there:
        raise NothingToProve(f"no tenant of cell {cell} can take part in a proof", hint="`tenantry tenants list`")
    return Participants(cell, tuple(there), (), max(0, len(there) - 1), tuple(left_out))


def why_not(record: TenantRecord, changing: Collection[str]) -> str | None:
    """Why the tenant can't take part; None if it can. One whose last operation failed or is parked can: it stands."""
    if record.outputs is None:
        return f"nothing of it stands yet (it is {record.shown_state})"
    access = Access(record.access)
    if not access.serves:
        asleep = (
            " and its instance is stopped" if access.enforced is Access.HIBERNATED and record.tier == Tier.SILO else ""
        )
        return f"its access is {access}: its login is closed{asleep}, so that no probe could be shown to work"
    if not access.writes:
        return f"its access is {access}: the permitted half of the probes that write would be refused as well"
    if record.state != TenantState.READY:
        return f"it is {record.state}"
    if record.stack_name in changing:
        return "its stack is being changed"
    return None


def sample(records: Sequence[TenantRecord], number: int) -> list[TenantRecord]:
    """At most ``number``, of every tier that there is; others each time, so that in time all have been attacked."""
    by_tier: dict[str | None, list[TenantRecord]] = defaultdict(list)
    for record in random.sample(records, len(records)):
        by_tier[record.tier].append(record)
    chosen: list[TenantRecord] = []
    while len(chosen) < number and any(by_tier.values()):
        for waiting in by_tier.values():
            if waiting and len(chosen) < number:
                chosen.append(waiting.pop())
    return chosen


def _outputs(record: TenantRecord) -> TenantOutputs:
    return TenantOutputs.model_validate(record.outputs)
