"""What a preflight raises."""

from __future__ import annotations

from provisioner.errors import OperatorNeeded, RetryLater
from provisioner.quotas.decision import Shortfall


class QuotaShortfall(OperatorNeeded):
    """AWS would refuse some of the operation's resources; nothing was changed. ``shortfalls``: at least one."""

    code = "quota_shortfall"
    #: Seconds until the operation is worth another look: a person asks AWS, who may take days, or minutes.
    look_again_s = 600.0

    def __init__(self, stack_name: str, shortfalls: tuple[Shortfall, ...]) -> None:
        reasons = "; ".join(found.message for found in shortfalls)
        super().__init__(
            f"stack {stack_name}: nothing was changed, AWS would refuse resources: {reasons}",
            hint=_hint(shortfalls),
            detail={"shortfalls": [found.document() for found in shortfalls]},
        )
        self.shortfalls = shortfalls


class QuotasUnreadable(OperatorNeeded):
    """The worker may not read what the account uses."""

    code = "quotas_unreadable"


class QuotasUnavailable(RetryLater):
    """AWS throttled the questions, or did not answer."""

    code = "quotas_unavailable"


def _hint(shortfalls: tuple[Shortfall, ...]) -> str:
    hints = [f"run: {found.command}" for found in shortfalls if found.adjustable]
    fixed = [found.quota_name for found in shortfalls if not found.adjustable]
    if fixed:
        hints.append(f"AWS does not raise {', '.join(fixed)}: delete what is not needed, or use another cell")
    if any(found.problem and found.adjustable for found in shortfalls):
        hints.append("allow the worker servicequotas:GetServiceQuota, so that the account's own limit is known")
    return "; ".join(hints) + "; the operation is tried again by itself once there is room"
