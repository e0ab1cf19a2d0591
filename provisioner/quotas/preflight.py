"""Asks the account's quotas before an operation creates anything; keeps what it read, and what was taken since.

A hundred tenants in a burst must neither ask AWS a hundred times nor overshoot: figures are kept, the more room there
is the longer, and what this process's operations take is added until figures are read that have seen it. A shortfall is
only found on figures of this moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from provisioner.quotas import limits, usage
from provisioner.quotas.aws import AwsClients, Place
from provisioner.quotas.decision import (
    FAR_S,
    Assessment,
    Finding,
    LimitSource,
    Taken,
    limit_is_believed_for,
    taken_since,
    use_is_believed_for,
)
from provisioner.quotas.errors import QuotaShortfall, QuotasUnavailable
from provisioner.quotas.limits import Told
from provisioner.quotas.needs import Needs
from provisioner.quotas.table import QUOTAS, Counter, Quota
from provisioner.quotas.usage import Uses

T = TypeVar("T")

log = structlog.get_logger(__name__)

_THREADS = 8  #: AWS is asked for several quotas at a time


@dataclass(frozen=True)
class _Read(Generic[T]):
    value: T
    at: float  #: before AWS was asked: what happens while it answers may be missing


@dataclass
class _Account:
    """What is known of one place."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    told: dict[str, _Read[Told]] = field(default_factory=dict)  #: by quota key
    uses: dict[Counter, _Read[Uses]] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)


class Preflight:
    """One a process. Thread-safe; every method may call AWS, and blocks while it does."""

    def __init__(self, clients: AwsClients, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clients = clients
        self._clock = clock
        self._accounts: dict[Place, _Account] = {}
        self._lock = threading.Lock()

    def check(self, place: Place, needs: Needs) -> Assessment:
        """Every quota that ``needs`` touches. Raises QuotasUnreadable or QuotasUnavailable when use can't be read."""
        account = self._account(place)
        with account.lock:
            return Assessment(self._findings(place, account, needs.amounts), needs.unchecked)

    def survey(self, place: Place) -> Assessment:
        """Every quota of the table as it stands now. Raises as ``check`` does."""
        account = self._account(place)
        with account.lock:
            account.told.clear()
            account.uses.clear()
            return Assessment(self._findings(place, account, dict.fromkeys(QUOTAS, 0)))

    def prepare(self, place: Place) -> None:
        """Make the clients and read the limits ahead: the first operation need not wait for that. Never raises."""
        account = self._account(place)
        for service, region in usage.clients_of(place):
            self._clients(service, region)
        with account.lock:
            self._load(place, account, {quota for quota in QUOTAS.values() if quota.key not in account.told}, set())

    @contextmanager
    def admitted(self, stack_name: str, place: Place, needs: Needs) -> Iterator[Assessment]:
        """Keeps what is needed for the operation in the body. ``QuotaShortfall`` when it does not fit.

        Raises QuotasUnavailable instead when the limit that it does not fit in is a mere default, because Service
        Quotas did not answer this time; and what ``check`` raises.
        """
        account = self._account(place)
        with account.lock:
            assessment = Assessment(self._findings(place, account, needs.amounts), needs.unchecked)
            _require(stack_name, assessment)
            taken = Taken(dict(needs.amounts))
            account.taken.append(taken)
        try:
            yield assessment
        finally:
            taken.ended_at = self._clock()

    def _account(self, place: Place) -> _Account:
        with self._lock:
            return self._accounts.setdefault(place, _Account())

    def _findings(self, place: Place, account: _Account, amounts: Mapping[str, int]) -> tuple[Finding, ...]:
        quotas = [QUOTAS[key] for key in amounts]
        # Figures as old as FAR_S are read again anyway: they will have seen what ended before.
        horizon = self._clock() - FAR_S
        account.taken[:] = [t for t in account.taken if t.ended_at is None or t.ended_at >= horizon]
        self._load(
            *(place, account),
            {quota for quota in quotas if quota.key not in account.told},
            {quota.counter for quota in quotas if quota.counter not in account.uses},
        )
        findings = self._judge(place, account, quotas, amounts)
        doubted = self._doubted(account, findings)
        if any(doubted):
            self._load(place, account, *doubted)
            findings = self._judge(place, account, quotas, amounts)
        return findings

    def _judge(
        self, place: Place, account: _Account, quotas: list[Quota], amounts: Mapping[str, int]
    ) -> tuple[Finding, ...]:
        findings = []
        for quota in quotas:
            region = place.region_of(quota)
            uses = account.uses[quota.counter]
            use = uses.value[quota.key]
            limit = limits.resolve(account.told[quota.key].value, use, quota, region)
            used = use.used + taken_since(account.taken, quota.key, uses.at)
            findings.append(Finding(quota, region, limit, used, amounts[quota.key]))
        return tuple(findings)

    def _doubted(self, account: _Account, findings: tuple[Finding, ...]) -> tuple[set[Quota], set[Counter]]:
        """What is too old to be believed, for how near the limit it is."""
        now = self._clock()
        told, uses = set(), set()
        for finding in findings:
            quota = finding.quota
            if now - account.told[quota.key].at > limit_is_believed_for(finding.limit, fits=finding.fits):
                told.add(quota)
            read = account.uses[quota.counter]
            # An operation that ended since may have taken less than it was to: its figures are only known afresh.
            overtaken = any(t.ended_at is not None and t.ended_at >= read.at for t in account.taken)
            believed = use_is_believed_for(finding.used, finding.needed, finding.limit.value)
            if now - read.at > believed or (not finding.fits and overtaken and now > read.at):
                uses.add(quota.counter)
        return told, uses

    def _load(self, place: Place, account: _Account, quotas: set[Quota], counters: set[Counter]) -> None:
        if not quotas and not counters:
            return
        with ThreadPoolExecutor(min(_THREADS, len(quotas) + len(counters)), thread_name_prefix="quotas") as pool:
            at = self._clock()
            told = {quota.key: pool.submit(limits.ask, self._clients, place, quota) for quota in quotas}
            uses = {counter: pool.submit(usage.read, self._clients, place, counter) for counter in counters}
        # The limits first: they are kept although use could not be read.
        for key, answer in told.items():
            account.told[key] = _Read(answer.result(), at)
            if answer.result().problem:
                log.warning("quotas.limit_not_told", quota=key, region=place.region, problem=answer.result().problem)
        for counter, reading in uses.items():
            account.uses[counter] = _Read(reading.result(), at)


def _require(stack_name: str, assessment: Assessment) -> None:
    short = [finding for finding in assessment.findings if not finding.fits]
    if not short:
        return
    for finding in short:
        if finding.limit.source is LimitSource.DOCUMENTED and finding.limit.passing:
            raise QuotasUnavailable(
                f"stack {stack_name}: whether there is room for {finding.quota.name} is not known: "
                f"{finding.limit.problem}, and {finding.used} are in use of the default of {finding.limit.value}",
                hint="Service Quotas is asked again",
            )
    raise QuotaShortfall(stack_name, assessment.shortfalls)
