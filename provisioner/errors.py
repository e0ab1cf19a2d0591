"""Every error the service raises on purpose, as one tree. The class decides what happens next.

TenantryError
├── RetryLater             transient: the operation is tried again with backoff and jitter
│   ├── LeaseLost            another worker took the tenant over; this one must stop at once
│   ├── StackLocked          a live update holds the stack's lock
│   ├── EngineFailed         the update failed for a reason that may pass (throttling, 5xx, timeouts)
│   └── StripeUnavailable    Stripe could not be reached or answered 5xx/429
├── OperatorNeeded         retrying will not help until a person acts; the tenant shows as `failed`
│   ├── UpdateRejected       the cloud or the engine refused the change (bad input, quota, permission)
│   ├── ProtectedResource    a change would delete a protected resource without authorisation
│   ├── PolicyBlocked        a policy rule refuses what the update would make, or has made
│   ├── ApprovalNeeded       the update would destroy data: a named operator approves exactly that diff, or rejects it
│   ├── PlatformMissing      the cell's platform stack has not been deployed
│   └── ConfigurationInvalid settings or plans.toml are wrong
└── Reject                 the input is refused; nothing changes
    ├── Quarantined          an event that can't be trusted or understood; kept for `tenantry events retry`
    ├── SignatureInvalid     a webhook whose signature does not verify
    └── NotFound             no such tenant, event or operation
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class TenantryError(Exception):
    """``message`` says what and where, ``hint`` what to do. Neither ever holds a secret."""

    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class RetryLater(TenantryError):
    code = "retry"
    #: However often it failed before: what is waited for is sure to come. None: each wait is longer than the last.
    longest_wait_s: float | None = None


class LeaseLost(RetryLater):
    code = "lease_lost"


class StackLocked(RetryLater):
    code = "stack_locked"


class EngineFailed(RetryLater):
    code = "engine_failed"


class StripeUnavailable(RetryLater):
    code = "stripe_unavailable"


class OperatorNeeded(TenantryError):
    """``detail`` is recorded with the failure, for JSON. ``look_again_s``: after that time it is tried once more,
    since what a person did to mend it, elsewhere, is not told here; None: only when something has changed."""

    code = "operator_needed"
    look_again_s: float | None = None

    def __init__(self, message: str, *, hint: str = "", detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.detail = dict(detail or {})


class UpdateRejected(OperatorNeeded):
    code = "update_rejected"


class ProtectedResource(OperatorNeeded):
    code = "protected_resource"


class PolicyBlocked(OperatorNeeded):
    """``findings``: what each violated rule says, for JSON."""

    code = "policy_blocked"

    def __init__(self, message: str, *, hint: str, findings: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(message, hint=hint, detail={"findings": list(findings)})


class ApprovalNeeded(OperatorNeeded):
    """``diff``: every change of the update, for JSON; ``diff_hash``: what an approval is bound to."""

    code = "approval_needed"

    def __init__(self, message: str, *, hint: str, diff: Sequence[Mapping[str, Any]], diff_hash: str) -> None:
        super().__init__(message, hint=hint)
        self.diff = list(diff)
        self.diff_hash = diff_hash

    def parked_as(self, operation_id: int) -> None:
        """Name the operation that waits: an operator answers to it."""
        self.detail["operation_id"] = operation_id
        self.hint = (
            f"`tenantry approve {operation_id}` shows the diff and lets exactly that happen; "
            f"`tenantry reject {operation_id}` refuses it"
        )


class PlatformMissing(OperatorNeeded):
    code = "platform_missing"


class ConfigurationInvalid(OperatorNeeded):
    code = "configuration_invalid"


class Reject(TenantryError):
    code = "rejected"


class Quarantined(Reject):
    code = "quarantined"


class SignatureInvalid(Reject):
    code = "signature_invalid"


class NotFound(Reject):
    code = "not_found"
