"""A small cache of values that go stale, whose loads are shared: many askers of one key cause one load."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Slot(Generic[V]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loaded_at: float | None = None
        self.value: V | None = None


class ExpiringCache(Generic[K, V]):
    """At most ``size`` values, the least recently used leave first. Thread-safe; a failed load is not kept."""

    def __init__(self, size: int, *, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: OrderedDict[K, _Slot[V]] = OrderedDict()

    def get(self, key: K, ttl: float, load: Callable[[], V]) -> V:
        """The kept value if it is younger than ``ttl`` seconds, else what ``load`` returns ; its errors pass."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self._size:
                self._slots.popitem(last=False)
        with slot.lock:
            now = self._clock()
            # a clock set back must not make a value immortal
            if slot.loaded_at is None or not 0 <= now - slot.loaded_at < ttl:
                slot.value = load()
                slot.loaded_at = now
            value: V = slot.value  # type: ignore[assignment]
            return value

    def __len__(self) -> int:
        return len(self._slots)
