"""What the registry is asked before a proof, and told after it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg import AsyncConnection

from components.spec import PlatformOutputs
from isolation.evidence.document import ScopeKind, SignedDocument, Trigger
from isolation.evidence.signing import PublicKey
from provisioner.errors import ConfigurationInvalid, TenantryError
from provisioner.lifecycle import OperationState
from provisioner.proving.request import Proof, ProofRequest
from provisioner.proving.words import words
from provisioner.registry import operations, platforms, proofs, tenants, timeline
from provisioner.registry.proofs import ProofRecord, ProofStatus, Word
from provisioner.registry.tenants import TenantRecord
from provisioner.registry.timeline import EntryKind
from provisioner.settings import Settings


async def _connect(settings: Settings) -> AsyncConnection:
    try:
        return await AsyncConnection.connect(
            settings.database_url.get_secret_value(), connect_timeout=5, application_name="tenantry-proof"
        )
    except psycopg.OperationalError as error:
        raise ConfigurationInvalid(
            f"the control plane's PostgreSQL can't be reached: {str(error).strip().splitlines()[0]}",
            hint="check TENANTRY_DATABASE_URL, and that the server runs",
        ) from None


@dataclass(frozen=True)
class Standing:
    """``tenants``: all; ``changing``: stacks on which an operation runs; ``platforms``: those that stand."""

    tenants: list[TenantRecord]
    changing: frozenset[str]
    platforms: list[PlatformOutputs]


async def load(settings: Settings) -> Standing:
    async with await _connect(settings) as connection:
        found = [each.platform_outputs for each in await platforms.all_platforms(connection)]
        running = await operations.list_operations(connection, status=OperationState.RUNNING, limit=1000)
        return Standing(
            await tenants.all_tenants(connection),
            frozenset(each.stack_name for each in running),
            [each for each in found if each is not None],
        )


async def keep(settings: Settings, proof: Proof, key: PublicKey) -> None:
    """The document, the word on each tenant, and a line in the timelines of those to whom it is news."""
    assert proof.document is not None
    assert proof.content is not None
    signed = SignedDocument.model_validate_json(proof.content)
    async with await _connect(settings) as connection:
        if await proofs.is_revoked(connection, key.key_id):
            raise ConfigurationInvalid(
                f"evidence key {key.key_id} is revoked: what it signs is not believed",
                hint="make another one and let TENANTRY_EVIDENCE_KEY name it",
            )
        await proofs.put_key(connection, key.key_id, key.pem)
        await proofs.put(connection, proof.record, signature=signed.signature.value, document=proof.content)
        said = words(proof.document)
        news = await proofs.put_words(connection, proof.record, said)
        named = {} if proof.document.scope.kind is ScopeKind.ALL else proof.record.tenant_ids
        for tenant_id, word in said.items():
            if tenant_id in news or tenant_id in named or word.status is ProofStatus.NOT_ISOLATED:
                await _tell(connection, proof.record, tenant_id, word)


async def keep_not_run(
    settings: Settings, request: ProofRequest, started_at: datetime, error: TenantryError
) -> ProofRecord:
    """That nothing was proved, and why: silence could be taken for a proof."""
    row = ProofRecord(
        proof_id=str(uuid.uuid4()),
        scope=request.kind.value,
        tenant_ids=list(request.tenants),
        cell=request.cell or settings.cell,
        fast=request.fast,
        trigger=request.trigger.value,
        operation_id=request.operation_id,
        status=ProofStatus.NOT_RUN,
        reason=str(error),
        attempts=0,
        failed=0,
        started_at=started_at,
        ended_at=datetime.now(UTC),
        digest=None,
        key_id=None,
    )
    async with await _connect(settings) as connection:
        await proofs.put(connection, row)
        concerned: list[str] = []
        if request.trigger is Trigger.OPERATOR:
            pass  # whoever asked is told; what was proved before stands
        elif request.kind is ScopeKind.TENANT:
            concerned = list(request.tenants)
        elif request.kind is ScopeKind.ALL:
            records = await tenants.all_tenants(connection)
            concerned = [each.tenant_id for each in records if each.cell == row.cell and each.outputs is not None]
        word = Word(ProofStatus.NOT_RUN, row.reason)
        news = await proofs.put_words(connection, row, dict.fromkeys(concerned, word))
        for tenant_id in concerned:
            if tenant_id in news:
                await _tell(connection, row, tenant_id, word)
    return row


async def _tell(connection: AsyncConnection, row: ProofRecord, tenant_id: str, word: Word) -> None:
    subset = "fast subset" if row.fast else "full"
    match word.status:
        case ProofStatus.ISOLATED:
            summary = f"isolation proved ({subset}): {row.attempts} attempts, none got through"
        case ProofStatus.NOT_ISOLATED:
            summary = f"NOT ISOLATED ({subset}): {word.reason}"
        case ProofStatus.NOT_RUN:
            summary = f"isolation not proved: {word.reason}"
    # The operation is only in the detail: its own line shows it with all its resources already.
    detail = {"proof_id": row.proof_id, "status": word.status.value, "trigger": row.trigger}
    detail |= {} if row.operation_id is None else {"operation_id": str(row.operation_id)}
    await timeline.add(connection, tenant_id, EntryKind.PROOF, summary, detail=detail)
