"""Decides whether a tenant's call is let through: by counting in this process, or with a store that processes share.

Alone, the count is exact for this process, and every process lets each tenant make all its calls. With a store, a
process takes calls in shares and spends them without asking; so all of them together never let more through than the
amount, and one may refuse early while others hold shares (``rates.SHARE`` of the amount each, at most). When the store
does not answer, each process counts for itself until it does (``fail_open``), or refuses.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tenantry.entitlements import Rate
from tenantry.errors import RateLimited, RateStoreUnavailable
from tenantry.rates import Share, Taken, Wanted, Window

log = logging.getLogger(__name__)

RETRY_AFTER = 1.0  #: seconds in which a store that did not answer is not asked


class RateStore(Protocol):
    """What processes share. An answer that takes too long is given up by the limiter."""

    #: what is raised when it does not answer
    failures: tuple[type[Exception], ...]

    async def take(self, tenant_id: str, wanted: Sequence[Wanted]) -> Sequence[Taken]:
        """One answer for each, in their order. Raises one of ``failures``."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class RateState:
    """``remaining`` calls of ``rate``, as far as this process knows; ``resets_in`` seconds its window ends."""

    rate: Rate
    remaining: int
    resets_in: float
    exceeded: bool = False
    free_in: float = 0.0


@dataclass(frozen=True)
class RateVerdict:
    """``degraded``: the store did not answer, this process counted for itself."""

    tenant_id: str
    states: tuple[RateState, ...]
    degraded: bool = False

    @property
    def refused(self) -> tuple[RateState, ...]:
        """The hard rates that are exceeded; the call is let through if there is none."""
        return tuple(state for state in self.states if state.exceeded and not state.rate.soft)

    @property
    def reported(self) -> tuple[RateState, ...]:
        """The soft rates that are exceeded."""
        return tuple(state for state in self.states if state.exceeded and state.rate.soft)

    @property
    def retry_after(self) -> float:
        """Seconds until every rate that refuses lets a call through again, if nobody else takes it."""
        return max((state.free_in for state in self.refused), default=0.0)

    def require(self) -> None:
        """Raises RateLimited."""
        for state in self.refused:
            rate = state.rate
            raise RateLimited(
                self.tenant_id, rate.name, amount=rate.amount, seconds=rate.seconds, retry_after=self.retry_after
            )


class LocalRateLimiter:
    """Counts in this process alone. Thread-safe."""

    def __init__(self, *, max_tenants: int = 10_000, wall: Callable[[], float] = time.time) -> None:
        self._max_tenants = max_tenants
        self._wall = wall
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, dict[str, Window]] = OrderedDict()

    def take(self, tenant_id: str, rates: Iterable[Rate], calls: int = 1) -> RateVerdict:
        """Take ``calls`` of every rate, or of none if a hard one has too few left."""
        now = self._wall()
        with self._lock:
            windows = self._windows.setdefault(tenant_id, {})
            self._windows.move_to_end(tenant_id)
            if len(self._windows) > self._max_tenants:
                self._windows.popitem(last=False)
            pairs = []
            refused = False
            for rate in rates:
                window = windows.get(rate.name)
                if window is None:
                    window = windows[rate.name] = Window()
                state = window.take(rate, 0, now)
                refused = refused or (state.remaining < calls and not rate.soft)
                pairs.append((rate, window, state))
            if not refused:
                pairs = [
                    (rate, window, window.take(rate, calls, now, partly=False) if state.remaining >= calls else state)
                    for rate, window, state in pairs
                ]
            return RateVerdict(
                tenant_id,
                tuple(
                    RateState(
                        rate,
                        taken.remaining,
                        taken.ends_in,
                        taken.granted < calls if not refused else taken.remaining < calls,
                        taken.free_in,
                    )
                    for rate, _, taken in pairs
                ),
            )


class SharedRateLimiter:
    """Counts together with other processes. For one event loop. A call waits ``timeout`` seconds for the store."""

    def __init__(
        self,
        store: RateStore,
        *,
        fail_open: bool = True,
        timeout: float = 0.25,
        max_tenants: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._failures: tuple[type[Exception], ...] = (TimeoutError, OSError, *store.failures)
        self._fail_open = fail_open
        self._timeout = timeout
        self._max_tenants = max_tenants
        self._clock = clock
        self._local = LocalRateLimiter(max_tenants=max_tenants, wall=wall)
        self._shares: OrderedDict[str, dict[str, Share]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._failed_at = float("-inf")
        self.failing_since: float | None = None  #: monotonic seconds; None while the store answers

    async def take(self, tenant_id: str, rates: Sequence[Rate], calls: int = 1) -> RateVerdict:
        """As LocalRateLimiter's. Raises RateStoreUnavailable unless ``fail_open``."""
        verdict = self._spend(tenant_id, rates, calls)
        if verdict is None:
            verdict = await self._ask(tenant_id, rates, calls)
        if verdict is not None:
            return verdict
        if not self._fail_open:
            raise RateStoreUnavailable("the calls of tenants can't be counted", hint="check the store of rates")
        found = self._local.take(tenant_id, rates, calls)
        return RateVerdict(tenant_id, found.states, degraded=True)

    async def _ask(self, tenant_id: str, rates: Sequence[Rate], calls: int) -> RateVerdict | None:
        """None: the store does not answer."""
        lock = self._locks.setdefault(tenant_id, asyncio.Lock())
        try:
            async with lock:  # one question for all who wait for the same tenant's calls
                for _ in range(2):  # the second time for what ended, or was spent, meanwhile
                    verdict = self._spend(tenant_id, rates, calls)
                    if verdict is not None:
                        return verdict
                    if not await self._fetch(tenant_id, rates, calls):
                        return None
                return self._spend(tenant_id, rates, calls, final=True)
        finally:
            if not lock.locked():
                self._locks.pop(tenant_id, None)

    async def close(self) -> None:
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._store.close()

    def _spend(self, tenant_id: str, rates: Sequence[Rate], calls: int, *, final: bool = False) -> RateVerdict | None:
        """None: the store must be asked first, unless this is ``final``."""
        now = self._clock()
        shares = self._shares.setdefault(tenant_id, {})
        self._shares.move_to_end(tenant_id)
        if len(self._shares) > self._max_tenants:
            self._shares.popitem(last=False)
        pairs: list[tuple[Rate, Share, bool]] = []
        refused = False
        for rate in rates:
            share = shares.get(rate.name)
            if share is None:
                share = shares[rate.name] = Share(rate)
            share.fit(rate, now)
            enough = share.tokens >= calls
            if not enough and not final and now >= share.free_at:
                return None
            refused = refused or (not enough and not rate.soft)
            pairs.append((rate, share, enough))
        low = False
        if not refused:
            for _, share, enough in pairs:
                if enough:
                    share.tokens -= calls
                    low = low or (share.low and now >= share.free_at)
        if low and tenant_id not in self._fetching:
            task = asyncio.get_running_loop().create_task(self._prefetch(tenant_id, rates))
            self._fetching[tenant_id] = task
        return RateVerdict(
            tenant_id,
            tuple(
                RateState(
                    rate,
                    share.tokens + share.remaining,
                    max(0.0, share.ends_at - now),
                    not enough,
                    max(0.0, share.free_at - now) if not enough else 0.0,
                )
                for rate, share, enough in pairs
            ),
        )

    async def _prefetch(self, tenant_id: str, rates: Sequence[Rate]) -> None:
        """More of what is running low, before anybody must wait for it."""
        try:
            await self._fetch(tenant_id, rates, 1, low=True)
        finally:
            self._fetching.pop(tenant_id, None)

    async def _fetch(self, tenant_id: str, rates: Sequence[Rate], calls: int, *, low: bool = False) -> bool:
        """Ask the store for what is short; False if it did not answer."""
        now = self._clock()
        shares = self._shares.setdefault(tenant_id, {})
        short = []
        for rate in rates:
            share = shares.get(rate.name)
            if share is None:
                share = shares[rate.name] = Share(rate)
            share.fit(rate, now)
            if share.low if low else share.tokens < calls and now >= share.free_at:
                short.append((share, share.wanted(calls, now)))
        if not short:
            return True
        if self.failing_since is not None:
            if now - self._failed_at < RETRY_AFTER:
                return False
            self._failed_at = now  # one asks whether it answers again; the others don't wait for that
        try:
            async with asyncio.timeout(self._timeout):
                answers = await self._store.take(tenant_id, [wanted for _, wanted in short])
        except self._failures as error:
            self._failed_at = self._clock()
            if self.failing_since is None:
                self.failing_since = self._failed_at
                then = "each process counts for itself" if self._fail_open else "calls are refused"
                log.warning("the store of rates does not answer (%s): %s", type(error).__name__, then)
            return False
        if self.failing_since is not None:
            log.info("the store of rates answers again, after %.0f s", self._clock() - self.failing_since)
            self.failing_since = None
        after = self._clock()
        for (share, wanted), taken in zip(short, answers, strict=True):
            share.add(wanted, taken, now, after)
        return True
