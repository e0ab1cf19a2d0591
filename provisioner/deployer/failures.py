"""Decides what a failed operation means: try again, ask the operator, or wait for the lock."""

from __future__ import annotations

import re
from collections.abc import Iterable

from provisioner.deployer.command import Finished
from provisioner.deployer.events import STACK_TYPE, EventLog, plain
from provisioner.deployer.types import StackRequest
from provisioner.engine.scrubbing import Scrubber
from provisioner.errors import EngineFailed, ProtectedResource, StackLocked, TenantryError, UpdateRejected
from provisioner.urns import split_urn

_LOCKED = "the stack is currently locked by"
_NO_STACK = re.compile(r"no stack named '[^']*' found")
_PROTECTED = re.compile(
    r"(?i)resource \S+ cannot be deleted\s+because it is protected|unable to (?:delete|replace) resource"
)
#: Of StopDBInstance: it passes by no repetition.
_REPLICA = re.compile(r"(?i)InvalidDBInstanceState.*read replica")
_STILL_LOCKED = re.compile(r"created by (\S+)@(\S+) \(pid (\d+)\) at (\S+)")

#: What passes by itself. AWS's codes as their SDKs name them, gRPC's, and the network's.
_TRANSIENT = re.compile(
    r"(?i)throttl|TooManyRequests|RequestLimitExceeded|SlowDown|rate exceeded|ServiceUnavailable|service unavailable"
    r"|InternalFailure|InternalError|internal server error|\b50[0234]\b|RequestTimeout|timed? ?out|deadline exceeded"
    r"|connection (?:refused|reset|closed|error)|could not connect|EndpointConnectionError|broken pipe|EOF\b"
    r"|temporarily|try again|transport is closing|error reading from server|code = Unavailable|ResourceInUse"
    r"|DependencyViolation|OperationAborted|ConcurrentModification|InvalidDBInstanceState|ExpiredToken"
    r"|too many connections|the database system is (?:starting up|shutting down)|server closed the connection"
    r"|terminating connection|provider .* (?:exited|crashed)|cancell?ed|interrupted"
)


def stack_is_missing(finished: Finished) -> bool:
    return bool(_NO_STACK.search(finished.stderr + finished.stdout))


def classify(request: StackRequest, finished: Finished, log: EventLog, scrub: Scrubber) -> TenantryError:
    """The error for a command that exited with a code other than 0."""
    stack = request.stack_name
    text = plain(finished.stderr + "\n" + finished.stdout)
    if _LOCKED in text:
        owner = _STILL_LOCKED.search(text)
        by = f" by {owner[1]}@{owner[2]} (pid {owner[3]}, since {owner[4]})" if owner else ""
        return StackLocked(f"stack {stack}: another update holds the lock{by}", hint="it is tried again")
    if log.violations:
        what = "; ".join(f"{_resource(step.urn)}{step.message}" for step in log.violations[:3])
        return UpdateRejected(
            f"stack {stack}: a policy refused the change: {scrub(what)}",
            hint="change the plan or the specification so that the policy passes",
        )
    reasons = _reasons(log)
    summary = scrub("; ".join(reasons[:3]) or _last_lines(text) or f"exit code {finished.code}")
    if _PROTECTED.search(" ".join(reasons) + text):
        return ProtectedResource(
            f"stack {stack}: {summary}",
            hint="offboarding is authorised in two steps: `tenantry tenants destroy TENANT` takes the protection off "
            "(leaving a final snapshot), then destroys",
        )
    if finished.interrupted or finished.code < 0:
        return EngineFailed(f"stack {stack}: the update was interrupted: {summary}", hint="it is resumed")
    if _REPLICA.search(summary):
        return UpdateRejected(
            f"stack {stack}: {summary}",
            hint="RDS stops no instance that is or has a read replica: remove the replica, which no stack of ours made",
        )
    if _TRANSIENT.search(summary):
        return EngineFailed(f"stack {stack}: {summary}", hint="it is tried again")
    return UpdateRejected(f"stack {stack}: {summary}", hint=f"`tenantry explain {stack}` shows every step")


def _resource(urn: str) -> str:
    type_, name = split_urn(urn)
    return "" if type_ in ("", STACK_TYPE) else f"{type_} {name}: "


def _reasons(log: EventLog) -> list[str]:
    """Errors about resources first: the one about the stack only says that the update failed."""
    named = [step for step in log.errors if step.urn and step.type != STACK_TYPE]
    return [f"{_resource(step.urn)}{_one_line(step.message)}" for step in named or log.errors]


def _one_line(text: str) -> str:
    return " ".join(_without_traceback(text.splitlines()))


def _without_traceback(lines: Iterable[str]) -> list[str]:
    """A program's error ends in a traceback of which only the last line tells the reason."""
    kept = [line.strip() for line in lines if line.strip()]
    for index, line in enumerate(kept):
        if line.startswith("Traceback"):
            return [*kept[:index], kept[-1]]
    return kept


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-3:])
