"""What becomes of a reconcile that failed: written on the tenant, tried again or left to an operator."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from provisioner import fingerprint
from provisioner.errors import NotFound, OperatorNeeded, Reject, RetryLater, TenantryError
from provisioner.operate import Held, Pool
from provisioner.registry import tenants, timeline
from provisioner.registry.timeline import EntryKind

log = structlog.get_logger(__name__)

BACKOFF_S = (2.0, 10.0, 30.0, 120.0, 300.0, 900.0)  #: before the second, third, ... attempt; the last one repeats


#: Failures of the gate: nothing but another spec, program, rules, stack or an operator's word lets them pass.
PARKED = frozenset({"policy_blocked", "approval_needed", "approval_rejected"})


def may_have_been_mended(
    failure: Mapping[str, Any], *, same_spec: bool, policy_version: str, checkpoint_version: str | None
) -> bool:
    """Whether a failure that only an operator can mend is worth another attempt: what it was judged by has changed."""
    return (
        not same_spec
        or failure.get("judged_by") != fingerprint.judged_by(policy_version)
        or failure.get("checkpoint") != checkpoint_version
    )


async def record(
    pool: Pool,
    tenant_id: str,
    error: TenantryError,
    held: Held | None,
    *,
    policy_version: str,
    checkpoint_version: str | None,
) -> bool:
    """Write down what failed and plan what comes next; whether it is tried again by itself. ``held``: the tenant's
    stack while it still is, so that a failure never overwrites what the next holder achieved.
    """
    if isinstance(error, NotFound):
        log.warning("reconcile.no_such_tenant", message=error.message)
        return False
    retry = isinstance(error, RetryLater) or not isinstance(error, OperatorNeeded | Reject)
    longest_s = error.longest_wait_s if isinstance(error, RetryLater) else None
    async with pool.connection() as connection:
        if held is not None:
            await held.require(connection)
        record = await tenants.get(connection, tenant_id)
        attempts = record.attempts if record is not None else 0
        next_attempt = datetime.now(UTC) + backoff(attempts, longest_s=longest_s) if retry else None
        if isinstance(error, OperatorNeeded) and error.look_again_s is not None:
            next_attempt = datetime.now(UTC) + timedelta(seconds=error.look_again_s)
        failure = {
            "class": "retry" if retry else "operator",
            "checkpoint": checkpoint_version,
            **described(error, policy_version),
        }
        made = await tenants.record_failure(connection, tenant_id, failure, next_attempt)
        then = f"tried again at {next_attempt:%H:%M:%S} UTC" if retry else "an operator must act"
        await timeline.add(
            connection,
            tenant_id,
            EntryKind.FAILURE,
            f"attempt {made} failed, {then}: {error.message}",
            detail=failure,
        )
    log.warning("reconcile.failed", code=error.code, retry=retry, attempts=made, message=error.message)
    return retry


def described(error: TenantryError, policy_version: str) -> dict[str, Any]:
    """``{code, message, hint, at, judged_by}`` and the error's detail, for JSON: what a tenant or a platform keeps."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "at": datetime.now(UTC).isoformat(),
        "judged_by": fingerprint.judged_by(policy_version),
        **(error.detail if isinstance(error, OperatorNeeded) else {}),
    }


def unexpected(error: Exception) -> RetryLater:
    """A bug, or a database that answers with errors: tried again, since what caused it may have passed."""
    return RetryLater(f"unexpected: {type(error).__name__}", hint="the worker's log has the traceback")


def backoff(attempts: int, *, longest_s: float | None = None) -> timedelta:
    """How long to wait after ``attempts`` failures in a row (0: this is the first), half of it by chance."""
    longest = min(BACKOFF_S[min(attempts, len(BACKOFF_S) - 1)], longest_s or BACKOFF_S[-1])
    return timedelta(seconds=longest * random.uniform(0.5, 1.0))  # noqa: S311
