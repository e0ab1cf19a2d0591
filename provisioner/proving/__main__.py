"""One proof in a process of its own: ``python -m provisioner.proving '{"kind": "tenant", ...}'``, for workers.

Exit code 0: proved and kept, whatever was found; 65: it can't be, 75: it can't be now. Both are recorded.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from types import FrameType

import structlog

from isolation.evidence.document import ScopeKind, Trigger
from provisioner import logs, settings
from provisioner.errors import RetryLater, TenantryError
from provisioner.proving.child import REFUSED, RETRY
from provisioner.proving.prover import prove
from provisioner.proving.request import ProofRequest

log = structlog.get_logger("provisioner.proving")

NICENESS = 10  #: a customer who has paid comes first


def _stop(number: int, frame: FrameType | None) -> None:
    # As an exception, so that rows made up for the proof are removed on the way out.
    raise SystemExit(128 + number)


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    os.nice(NICENESS)
    gc.freeze()
    logs.configure()
    given = json.loads(sys.argv[1])
    request = ProofRequest(
        **{**given, "kind": ScopeKind(given["kind"]), "trigger": Trigger(given["trigger"])}
        | {"tenants": tuple(given["tenants"])}
    )
    try:
        proof = prove(settings.load(), request)
    except TenantryError as error:
        log.warning("proof.not_run", tenants=request.tenants, code=error.code, message=error.message, hint=error.hint)
        return RETRY if isinstance(error, RetryLater) else REFUSED
    row = proof.record
    tell = log.info if row.failed == 0 and row.attempts else log.error
    tell(
        "proof.done",
        proof_id=row.proof_id,
        tenants=row.tenant_ids,
        cell=row.cell,
        fast=row.fast,
        status=str(row.status),
        attempts=row.attempts,
        failed=row.failed,
        reason=row.reason,
        seconds=round((row.ended_at - row.started_at).total_seconds(), 3),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
