"""One proof from the request to its record: who takes part, attack, sign, keep.

Blocks: the attacks are synchronous, and a worker runs this in a process of its own (``child``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpx

from components.spec import TenantOutputs
from isolation.attempts import Attempt
from isolation.evidence import signing
from isolation.evidence.compose import Circumstances, compose
from isolation.evidence.document import Document, Scope
from isolation.evidence.signing import SigningKey
from provisioner.errors import OperatorNeeded, RetryLater
from provisioner.proving import record
from provisioner.proving.attack import Attack
from provisioner.proving.attack import run as run_attacks
from provisioner.proving.key import signing_key
from provisioner.proving.participants import Participants, choose
from provisioner.proving.product import product
from provisioner.proving.record import Standing
from provisioner.proving.request import ChangedMeanwhile, NothingToProve, Proof, ProofImpossible, ProofRequest
from provisioner.proving.words import failures
from provisioner.registry.proofs import ProofRecord, ProofStatus
from provisioner.registry.tenants import TenantRecord
from provisioner.settings import Settings
from tenantry import Config, Tenantry

Seen = Callable[[Attempt], None]
_READY_TIMEOUT_S = 5.0


def prove(
    settings: Settings,
    request: ProofRequest,
    *,
    seen: Seen = lambda attempt: None,
    attack: Attack = run_attacks,
) -> Proof:
    """Prove, sign and keep. What can't be proved is kept as ``not_run`` with the reason, and raised.

    Raises NotFound, NothingToProve, ConfigurationInvalid and what RetryLater is.
    """
    started_at = datetime.now(UTC)
    try:
        return _prove(settings, request, started_at, seen, attack)
    except (NothingToProve, OperatorNeeded, RetryLater) as error:
        asyncio.run(record.keep_not_run(settings, request, started_at, error))
        raise


def _prove(settings: Settings, request: ProofRequest, started_at: datetime, seen: Seen, attack: Attack) -> Proof:
    before = asyncio.run(record.load(settings))
    taking_part = choose(request, before.tenants, before.changing)
    key = signing_key(settings)
    config = sdk_config(settings)
    _require_broker(settings.api_url)
    with Tenantry(config) as sdk:
        attempts = attack(request, taking_part, before.platforms, sdk=sdk, settings=settings, seen=seen)
    if not attempts:
        raise NothingToProve("no attack was made: there is nothing to attack")
    ended_at = datetime.now(UTC)
    if not all(attempt.passed for attempt in attempts):
        _require_unchanged(before, asyncio.run(record.load(settings)), attacked(taking_part, attempts))
    document = _compose(settings, request, taking_part, attempts, started_at, ended_at)
    proof = _signed(document, key)
    asyncio.run(record.keep(settings, proof, key.public))
    return proof


def attacked(taking_part: Participants, attempts: Sequence[Attempt]) -> list[TenantOutputs]:
    """Who was asked for, and of the others those whom an attempt has to do with."""
    met = {name for attempt in attempts for name in (attempt.attacker, attempt.victim)}
    return [*taking_part.named, *(each for each in taking_part.others if each.tenant_id in met)]


def sdk_config(settings: Settings) -> Config:
    """The proof acts as an application does. Raises ProofImpossible without an application's token."""
    if not settings.application_tokens:
        raise ProofImpossible(
            "the proof acts as an application does, and this process has no application token",
            hint="set TENANTRY_APPLICATION_TOKENS for workers as well",
        )
    return Config.from_env(
        database_url=settings.database_url.get_secret_value(),
        api_url=settings.api_url,
        application_token=settings.application_tokens[0].get_secret_value(),
        database_ca=None if settings.database_ca is None else str(settings.database_ca),
        listen=False,
    )


def _require_broker(api_url: str) -> None:
    """A broker that doesn't answer would make every probe of one's own fail: that shows nothing of isolation."""
    try:
        answer = httpx.get(f"{api_url.rstrip('/')}/readyz", timeout=_READY_TIMEOUT_S)
        problem = None if answer.status_code == 200 else f"it answers {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        problem = type(error).__name__
    if problem is not None:
        raise ProofImpossible(
            f"the broker at {api_url} is not ready: {problem}",
            hint="start it: tenantry serve, or check TENANTRY_API_URL",
        )


def _require_unchanged(before: Standing, after: Standing, everybody: Sequence[TenantOutputs]) -> None:
    later = {each.tenant_id: each for each in after.tenants}
    taking_part = {each.tenant_id for each in everybody}
    changed = sorted(
        each.tenant_id
        for each in before.tenants
        if each.tenant_id in taking_part
        and (_state(each) != _state(later.get(each.tenant_id)) or each.stack_name in after.changing)
    )
    shared = {"platform" if each.cell == "default" else f"platform.{each.cell}" for each in everybody}
    changed += sorted(shared & (before.changing | after.changing))
    if changed:
        raise ChangedMeanwhile(
            f"{', '.join(changed[:5])} changed while the proof ran: what failed may be the change's doing",
            hint="prove again when nothing runs for the tenant",
        )


def _state(tenant: TenantRecord | None) -> object:
    return None if tenant is None else (tenant.generation, tenant.outputs, tenant.fingerprint, tenant.access)


def _compose(
    settings: Settings,
    request: ProofRequest,
    taking_part: Participants,
    attempts: Sequence[Attempt],
    started_at: datetime,
    ended_at: datetime,
) -> Document:
    scope = Scope(
        kind=request.kind,
        tenants=list(request.tenants),
        cell=taking_part.cell,
        fast=request.fast,
        trigger=request.trigger,
        operation_id=request.operation_id,
    )
    circumstances = Circumstances(
        installation=settings.installation,
        environment=settings.environment.value,
        product=product(),
        scope=scope,
        started_at=started_at,
        ended_at=ended_at,
        others=taking_part.available,
        left_out=taking_part.left_out,
    )
    return compose(circumstances, attacked(taking_part, attempts), attempts)


def _signed(document: Document, key: SigningKey) -> Proof:
    result = document.result
    content, signature = signing.sign(document, key), signing.signature_of(document, key)
    row = ProofRecord(
        proof_id=document.proof_id,
        scope=document.scope.kind.value,
        tenant_ids=document.scope.tenants,
        cell=document.scope.cell,
        fast=document.scope.fast,
        trigger=document.scope.trigger.value,
        operation_id=document.scope.operation_id,
        status=ProofStatus.ISOLATED if result.isolated else ProofStatus.NOT_ISOLATED,
        reason=None if result.isolated else failures(each for each in document.attempts if not each.passed),
        attempts=result.attempts,
        failed=result.failed,
        started_at=document.started_at,
        ended_at=document.ended_at,
        digest=signature.digest,
        key_id=signature.key_id,
    )
    return Proof(row, document, content)
