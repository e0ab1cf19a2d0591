"""What can be asked of the proof, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from isolation.evidence.document import Document, ScopeKind, Trigger
from provisioner.errors import Reject, RetryLater
from provisioner.registry.proofs import ProofRecord, ProofStatus


class NothingToProve(Reject):
    """The tenants that were asked for can't take part; the message says why."""

    code = "nothing_to_prove"


class ProofImpossible(RetryLater):
    """What the proof needs isn't there: the broker, a token. The message says what."""

    code = "proof_impossible"


class ChangedMeanwhile(RetryLater):
    """A tenant was changed while it was attacked: what failed may be the change's doing."""

    code = "changed_meanwhile"


@dataclass(frozen=True)
class ProofRequest:
    """``tenants``: one, two (attacker, victim), or none for all of ``cell``."""

    kind: ScopeKind
    tenants: tuple[str, ...] = ()
    cell: str | None = None  #: None: the named tenant's
    fast: bool = False
    trigger: Trigger = Trigger.OPERATOR
    operation_id: int | None = None

    @classmethod
    def of_cell(cls, cell: str, trigger: Trigger) -> ProofRequest:
        return cls(ScopeKind.ALL, cell=cell, trigger=trigger)

    @classmethod
    def after_operation(cls, tenant_id: str, cell: str, operation_id: int | None) -> ProofRequest:
        return cls(ScopeKind.TENANT, (tenant_id,), cell, True, Trigger.OPERATION, operation_id)


class Prover(Protocol):
    """What jobs prove with."""

    async def prove(self, request: ProofRequest) -> None:
        """Returns when what came of it is recorded. Raises what RetryLater is if it is worth another attempt."""


@dataclass(frozen=True)
class Proof:
    """``content``: the signed file; it and ``document`` are None if nothing was proved."""

    record: ProofRecord
    document: Document | None = None
    content: bytes | None = None

    @property
    def status(self) -> ProofStatus:
        return ProofStatus(self.record.status)
