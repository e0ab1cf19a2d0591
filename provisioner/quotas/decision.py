"""Whether what is needed fits, by figures that were read before. Pure: no clock, no AWS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from provisioner.quotas.table import Quota

#: What is asked for has this much room above what the operation takes it to: a request takes AWS days.
HEADROOM_PERCENT = 20
_ROUNDING = 10

#: How long, in seconds, figures are believed, by how near they are to the limit.
FRESH_S = 5.0
NEAR_S = 60.0
FAR_S = 900.0
LIMIT_S = 6 * 3600.0
#: A limit that Service Quotas did not tell is asked for again soon; so is one that would park an operation.
UNTOLD_LIMIT_S = 300.0
SHORT_LIMIT_S = 60.0


class LimitSource(StrEnum):
    SERVICE_QUOTAS = "Service Quotas"
    SERVICE_QUOTAS_DEFAULT = "Service Quotas' default"  #: it has no value of this account's own
    SERVICE = "the service's own account attributes"
    DOCUMENTED = "AWS's documented default"


@dataclass(frozen=True)
class Limit:
    """``problem``: why Service Quotas did not tell; ``passing``: that may be another time."""

    value: int
    source: LimitSource
    adjustable: bool = True
    problem: str = ""
    passing: bool = False


@dataclass(frozen=True)
class Finding:
    """One quota: ``used`` and ``needed`` in its unit; ``region`` is where Service Quotas manages it."""

    quota: Quota
    region: str
    limit: Limit
    used: int
    needed: int

    @property
    def fits(self) -> bool:
        return self.used + self.needed <= self.limit.value


@dataclass(frozen=True)
class Shortfall:
    """What keeps an operation from its resources, and the value of the quota to ask AWS for."""

    quota_name: str
    quota_code: str
    service: str
    region: str
    where: str  #: ``us-east-1``, or ``this account`` for a quota that all Regions share
    unit: str
    limit: int
    limit_source: str
    used: int
    needed: int
    ask_for: int
    adjustable: bool
    problem: str

    @property
    def message(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        text = (
            f"{self.quota_name} ({self.quota_code}): {self.limit}{unit} allowed in {self.where}, "
            f"{self.used}{unit} in use, {self.needed}{unit} more needed; ask for at least {self.ask_for}"
        )
        if self.problem:
            text += f" (the limit is {self.limit_source}: {self.problem})"
        return text

    @property
    def command(self) -> str:
        return (
            "aws service-quotas request-service-quota-increase"
            f" --service-code {self.service} --quota-code {self.quota_code}"
            f" --desired-value {self.ask_for} --region {self.region}"
        )

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "command": self.command}


@dataclass(frozen=True)
class Assessment:
    """Every quota that was looked at; ``unchecked``: types whose quotas are not known."""

    findings: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def shortfalls(self) -> tuple[Shortfall, ...]:
        return tuple(shortfall(finding) for finding in self.findings if not finding.fits)


def shortfall(finding: Finding) -> Shortfall:
    quota, limit = finding.quota, finding.limit
    return Shortfall(
        quota_name=quota.name,
        quota_code=quota.code,
        service=quota.service,
        region=finding.region,
        where=finding.region if quota.scope == "Region" else "this account",
        unit=quota.unit,
        limit=limit.value,
        limit_source=limit.source.value,
        used=finding.used,
        needed=finding.needed,
        ask_for=ask_for(finding.used + finding.needed),
        adjustable=limit.adjustable,
        problem=limit.problem,
    )


def ask_for(wanted: int) -> int:
    """``wanted`` and a fifth more, rounded up to tens."""
    roomy = -(-wanted * (100 + HEADROOM_PERCENT) // 100)
    return -(-roomy // _ROUNDING) * _ROUNDING


def use_is_believed_for(used: int, needed: int, limit: int) -> float:
    """Seconds. Other software takes of the same quota: the less room is left, the younger figures must be."""
    after = used + needed
    if after * 10 > limit * 9:
        return FRESH_S
    return NEAR_S if after * 2 > limit else FAR_S


def limit_is_believed_for(limit: Limit, *, fits: bool) -> float:
    """Seconds. A quota that was raised must be noticed soon."""
    if not fits:
        return SHORT_LIMIT_S
    return LIMIT_S if not limit.problem else UNTOLD_LIMIT_S


@dataclass
class Taken:
    """What one operation of this process takes: counted on top of every figure that was read before it ended."""

    amounts: dict[str, int]
    ended_at: float | None = None


def taken_since(taken: Iterable[Taken], key: str, read_at: float) -> int:
    """Of quota ``key``, by operations that run, or ended after a figure was read."""
    return sum(
        operation.amounts.get(key, 0)
        for operation in taken
        if operation.ended_at is None or operation.ended_at >= read_at
    )
