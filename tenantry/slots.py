"""Which connection to use, open, close or wait for: the bookkeeping of a pool of many logins. No I/O, no locking.

psycopg_pool has a pool a login, with threads of its own, and hides why a connection can't be opened; a thousand
tenants with a login each need one bound over all logins, and the SQLSTATE of the refusal to decide what to re-read.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

C = TypeVar("C")


@dataclass
class Slot(Generic[C]):
    """One connection, or the right to open one."""

    key: Hashable
    connection: C | None = None
    tenant_id: str | None = None  #: the last tenant that was entered on it
    opened_at: float = 0.0
    idle_since: float = 0.0


@dataclass
class Take(Generic[C]):
    """``slot`` is yours if set, else wait. ``close``: connections to close, outside of any lock."""

    slot: Slot[C] | None
    close: list[C] = field(default_factory=list)


class Slots(Generic[C]):
    def __init__(
        self, *, limit: int, idle_timeout: float, max_lifetime: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._idle_timeout = idle_timeout
        self._max_lifetime = max_lifetime
        self._clock = clock
        self._idle: OrderedDict[Hashable, deque[Slot[C]]] = OrderedDict()  # least recently used key first
        self._busy: dict[Hashable, int] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """Connections open or being opened."""
        return self._total

    @property
    def busy(self) -> int:
        return sum(self._busy.values())

    def take(self, key: Hashable, tenant_id: str | None, limit: int) -> Take[C]:
        """A slot of ``key``: an idle connection (the same tenant's last one by preference), else a new one while
        ``key`` has fewer than ``limit`` and all together fewer than the pool's, an idle one of another key making room.
        """
        close = self.reap()
        if not self.available(key, limit):
            return Take(None, close)
        queue = self._idle.get(key)
        if queue:
            slot = next((each for each in reversed(queue) if each.tenant_id == tenant_id), queue[-1])
            queue.remove(slot)
            if not queue:
                del self._idle[key]
            self._busy[key] = self._busy.get(key, 0) + 1
            return Take(slot, close)
        if self._total >= self._limit:
            close.extend(self._evict())
        self._total += 1
        self._busy[key] = self._busy.get(key, 0) + 1
        return Take(Slot(key, opened_at=self._clock()), close)

    def available(self, key: Hashable, limit: int) -> bool:
        """Whether ``take`` would find a slot now."""
        if key in self._idle:
            return True
        return self._busy.get(key, 0) < limit and (self._total < self._limit or bool(self._idle))

    def give(self, slot: Slot[C], *, reusable: bool) -> list[C]:
        """Return a slot; what must be closed comes back."""
        left = self._busy[slot.key] - 1
        if left:
            self._busy[slot.key] = left
        else:
            del self._busy[slot.key]
        now = self._clock()
        if slot.connection is not None and reusable and now - slot.opened_at < self._max_lifetime:
            slot.idle_since = now
            self._idle.setdefault(slot.key, deque()).append(slot)
            self._idle.move_to_end(slot.key)
            return self.reap()
        self._total -= 1
        connection, slot.connection = slot.connection, None
        return ([] if connection is None else [connection]) + self.reap()

    def forget(self, key: Hashable) -> list[C]:
        """Give up the idle connections of ``key``: its server restarted, or its login was closed."""
        return [self._leave(slot) for slot in self._idle.pop(key, ())]

    def reap(self) -> list[C]:
        """Give up what has been idle for too long."""
        oldest = self._clock() - self._idle_timeout
        close: list[C] = []
        for key in list(self._idle):
            queue = self._idle[key]
            while queue and queue[0].idle_since <= oldest:
                close.append(self._leave(queue.popleft()))
            if not queue:
                del self._idle[key]
        return close

    def clear(self) -> list[C]:
        close = [self._leave(slot) for queue in self._idle.values() for slot in queue]
        self._idle.clear()
        return close

    def _evict(self) -> list[C]:
        key, queue = next(iter(self._idle.items()))
        slot = queue.popleft()
        if not queue:
            del self._idle[key]
        return [self._leave(slot)]

    def _leave(self, slot: Slot[C]) -> C:
        self._total -= 1
        connection, slot.connection = slot.connection, None
        assert connection is not None
        return connection
