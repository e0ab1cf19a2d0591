"""What is due next on each clock: a queue that follows the store's changes, so nobody has to look at everything."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from localcloud.stripe.due import Due, next_due
from localcloud.stripe.store import Object, Store

#: At one moment invoices come first: a payment counts before the renewal that follows it. Then schedules: a new phase
#: begins with a renewal at its own prices.
_ORDER = ("invoice", "subscription_schedule", "subscription", "checkout.session")


@dataclass(frozen=True)
class Entry:
    """``document`` waits for step ``name`` at ``at`` (Unix seconds of its clock)."""

    at: int
    name: str
    document: Object


class Agenda:
    """Not thread-safe: part of the account's transactions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._touched = {kind: store.watch(kind) for kind in _ORDER}
        self._queues: dict[str | None, list[tuple[int, int, int, str]]] = {}
        self._current: dict[tuple[str, str], Due] = {}

    def next(self, clock: str | None) -> Entry | None:
        """The earliest step on a test clock (None: the account's own time). It stays until its document changes."""
        self._follow()
        queue = self._queues.get(clock, [])
        while queue:
            at, order, _, identifier = queue[0]
            kind = _ORDER[order]
            due = self._current.get((kind, identifier))
            document = self._store.get(kind, identifier)
            if due is not None and due[0] == at and document is not None:
                return Entry(at, due[1], document)
            heapq.heappop(queue)
        return None

    def _follow(self) -> None:
        for order, kind in enumerate(_ORDER):
            touched = self._touched[kind]
            for identifier in touched:
                document = self._store.get(kind, identifier)
                due = None if document is None else next_due(document)
                if due is None or document is None:
                    self._current.pop((kind, identifier), None)
                elif self._current.get((kind, identifier)) != due:
                    self._current[(kind, identifier)] = due
                    queue = self._queues.setdefault(document.get("test_clock", document.get("_clock")), [])
                    heapq.heappush(queue, (due[0], order, self._store.position(document), identifier))
            touched.clear()
