"""Work that comes round: each piece is run by the worker that leads, when its time has come, and fails alone."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
import structlog

from provisioner.errors import TenantryError

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Periodic:
    """``run`` gets billing time; run twice, or by two workers in turn, it does no harm. ``every_s``: seconds of real
    time between two runs; what has a time of day of its own looks at ``now``."""

    name: str
    every_s: float
    run: Callable[[datetime], Awaitable[object]]


@dataclass
class Rounds:
    """Which pieces are due, and what became of the last run of each."""

    work: Sequence[Periodic]
    clock: Callable[[], float] = time.monotonic
    failures: dict[str, str] = field(default_factory=dict)  #: name -> what went wrong in its last run
    _ran_at: dict[str, float] = field(default_factory=dict)

    async def run_due(self, now: datetime) -> list[str]:
        """The names of what ran. A failure is logged, and the others run all the same."""
        ran = []
        for each in self.work:
            last = self._ran_at.get(each.name)
            if last is not None and self.clock() - last < each.every_s:
                continue
            self._ran_at[each.name] = self.clock()
            ran.append(each.name)
            try:
                await each.run(now)
            except TenantryError as error:
                self.failures[each.name] = error.code
                log.warning("periodic.failed", work=each.name, code=error.code, message=error.message)
            except psycopg.Error as error:
                self.failures[each.name] = "database"
                log.warning("periodic.failed", work=each.name, error=str(error).splitlines()[:1])
            except Exception as error:  # a bug in one piece must not end the others
                self.failures[each.name] = "unexpected"
                log.error("periodic.unexpected", work=each.name, exc_info=error)
            else:
                self.failures.pop(each.name, None)
        return ran
