"""What ``tenantry doctor`` looks at: independent probes, run side by side, each with a time limit.

``machine`` has those of this machine, ``environment`` those of what is exported to this process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from provisioner.errors import TenantryError

#: Seconds that a probe may take; what it asks answers, or is reported as not answering.
LIMIT_S = 12.0  #: what is there answers in 2; a machine under load in 6
#: Seconds for one connection of a probe, so that its own, better message comes before the limit.
CONNECT_S = 3


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"  #: works, but something will be missed
    FAIL = "fail"  #: has to be fixed
    SKIPPED = "skipped"  #: there was nothing to check


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    message: str
    fix: str = ""


def ok(message: str) -> Finding:
    return Finding(Verdict.OK, message)


def warn(message: str, fix: str = "") -> Finding:
    return Finding(Verdict.WARN, message, fix)


def fail(message: str, fix: str = "") -> Finding:
    return Finding(Verdict.FAIL, message, fix)


def skipped(message: str, fix: str = "") -> Finding:
    return Finding(Verdict.SKIPPED, message, fix)


@dataclass(frozen=True)
class Check:
    group: str  #: ``machine`` or ``environment``
    name: str
    probe: Callable[[], Finding]


@dataclass(frozen=True)
class Result:
    """A finding without secrets, and the seconds it took."""

    group: str
    name: str
    verdict: Verdict
    message: str
    fix: str
    seconds: float
    answered: bool  #: false: the probe is waiting still


def run(checks: Iterable[Check], *, scrub: Callable[[str], str], limit_s: float = LIMIT_S) -> list[Result]:
    """Results in the order of ``checks``; returns after ``limit_s`` at the latest, whatever a probe waits for."""
    runs = [_Run(check) for check in checks]
    deadline = time.monotonic() + limit_s
    for each in runs:
        each.thread.join(max(0.0, deadline - time.monotonic()))
    return [each.result(scrub, limit_s) for each in runs]


class _Run:
    """One probe in a thread that does not keep the process alive."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._finding: Finding | None = None
        self._began = time.monotonic()
        self._seconds: float | None = None
        self.thread = threading.Thread(target=self._probe, daemon=True)
        self.thread.start()

    def _probe(self) -> None:
        try:
            finding = self._check.probe()
        except TenantryError as error:
            finding = fail(error.message, error.hint)
        except Exception as error:
            finding = fail(f"the check itself failed: {type(error).__name__}: {error}", "report it")
        self._seconds = time.monotonic() - self._began
        self._finding = finding

    def result(self, scrub: Callable[[str], str], limit_s: float) -> Result:
        finding = self._finding or fail(f"no answer within {limit_s:g} s", "check the network and what it asks")
        return Result(
            self._check.group,
            self._check.name,
            finding.verdict,
            scrub(finding.message),
            scrub(finding.fix),
            round(limit_s if self._seconds is None else self._seconds, 3),
            self._finding is not None,
        )
