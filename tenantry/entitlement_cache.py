"""The entitlements of the tenants that an application serves, kept in the process: a check never waits for the network.

One thread refreshes all of them, many in one read: each after its time to live, at once when it is announced to have
changed, when an exception to its plan ends. While the control plane can't be reached the last known ones serve. The
same thread works beside an event loop; only a tenant's very first load is waited for.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import psycopg

from tenantry.config import Config
from tenantry.deadline import deadline
from tenantry.entitlement_file import EntitlementFile
from tenantry.entitlements import EVERYTHING, QUERY, Entitlements
from tenantry.errors import ControlPlaneUnavailable, PoolTimeout, TenantryError, UnknownTenant
from tenantry.placement import TENANT_ID
from tenantry.pools import ConnectionPools
from tenantry.routing import backoff, open_routing
from tenantry.slots import Slots

log = logging.getLogger(__name__)

BATCH = 500  #: tenants in one read
LEAST_WAIT = 0.05  #: seconds between two reads, so that a burst of announcements becomes one
GATHER = 1 / 15  #: of the time to live: who is due within it is read with whoever is due now
RETRY_AFTER = 1.0  #: seconds in which a control plane that did not answer is not asked for the first load of a tenant
LOOK_EVERY = 5.0  #: seconds at most until it is looked whose time to live has passed
SAVE_EVERY = 5.0
_STRIPES = 64
_FAILURES = (psycopg.Error, OSError, PoolTimeout)


class Reader(Protocol):
    def read(self, tenant_ids: Sequence[str]) -> list[Entitlements]:
        """What is known of them; none of one that doesn't exist. Raises psycopg.Error, OSError or PoolTimeout."""

    def close(self) -> None: ...


class RegistryReader:
    """Reads the control plane's view. Connects at first use; an answer that takes too long is a failure."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pools = ConnectionPools(
            Slots(limit=2, idle_timeout=config.idle_timeout, max_lifetime=config.max_lifetime)
        )

    def read(self, tenant_ids: Sequence[str]) -> list[Entitlements]:
        for last in (False, True):
            try:
                with self._pools.borrow(
                    "entitlements",
                    None,
                    limit=2,
                    timeout=self._config.routing_timeout,
                    connect=lambda: open_routing(self._config),
                ) as slot:
                    assert slot.connection is not None
                    with deadline(slot.connection, self._config.routing_timeout):
                        asked_at = time.time()
                        rows = slot.connection.execute(QUERY, (list(tenant_ids),)).fetchall()
                return [Entitlements.from_row(row, asked_at) for row in rows]
            except psycopg.OperationalError:
                # a connection from before the control plane restarted; the second attempt opens a new one
                self._pools.forget("entitlements")
                if last:
                    raise
        raise AssertionError

    def close(self) -> None:
        self._pools.close()


class Known:
    """What a check looks at. Only the cache writes to it, but for ``used``, which every check sets."""

    __slots__ = ("due_at", "everything", "excluded", "features", "sequence", "snapshot", "used", "used_at")

    def __init__(self, snapshot: Entitlements, sequence: int, due_at: float, now: float) -> None:
        self.used = True
        self.used_at = now
        self.set(snapshot, sequence, due_at)

    def set(self, snapshot: Entitlements, sequence: int, due_at: float) -> None:
        # in an order in which no check in between sees more than either state gives
        self.everything = False
        self.features = snapshot.features if snapshot.serves else frozenset()
        self.excluded = snapshot.excluded
        self.snapshot = snapshot
        self.everything = snapshot.serves and EVERYTHING in snapshot.features
        self.sequence = sequence
        self.due_at = due_at


@dataclass(frozen=True)
class CacheStatus:
    """For a metric. ``staleness``: seconds since the oldest of the ``tenants`` was confirmed. ``failing_for``: seconds
    since which the control plane has not answered, 0 while it does."""

    tenants: int
    staleness: float
    failing_for: float


class EntitlementCache:
    """Thread-safe. ``listen`` is called before a load: it starts what hears of changes."""

    def __init__(
        self,
        config: Config,
        reader: Reader | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._reader = reader or RegistryReader(config)
        self._clock = clock
        self._wall = wall
        self._known: dict[str, Known] = {}
        self.get = self._known.get  #: what is known of a tenant, or None: a check's one look-up
        self._unknown: OrderedDict[str, float] = OrderedDict()  # tenants that don't exist, until when it is believed
        self._loading: dict[str, int] = {}
        self._sequence = itertools.count(1)
        self._changed = threading.Condition()
        self._locks = [threading.Lock() for _ in range(_STRIPES)]
        self._due: OrderedDict[str, None] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._failing_since: float | None = None
        self._failed_at = float("-inf")
        self._attempt = 0
        path = config.entitlements_file
        self._file = None if path is None else EntitlementFile(Path(path))
        self._dirty = False
        self._saved_at = float("-inf")

    # --- what checks use -------------------------------------------------------------------------------------------

    def load(self, tenant_id: str) -> Known:
        """What is known of the tenant; waits for its first load.

        Raises UnknownTenant, or ControlPlaneUnavailable if nothing was ever known of it and no default is configured.
        """
        if not TENANT_ID.fullmatch(tenant_id):
            raise _unknown_tenant(tenant_id)  # never sent to the server: it may be anything that a client made up
        known = self._known.get(tenant_id)
        if known is not None:
            return known
        self._start()
        began = self._clock()
        with self._locks[hash(tenant_id) % _STRIPES]:  # one read for all who wait for the same tenant
            known = self._known.get(tenant_id)
            if known is not None:
                return known
            if self._unknown.get(tenant_id, 0.0) > began:
                raise _unknown_tenant(tenant_id)
            if self._clock() - self._failed_at < RETRY_AFTER:
                return self._without_answer(tenant_id, TimeoutError())
            return self._first_load(tenant_id)

    def why_missing(self, tenant_id: str) -> TenantryError | None:
        """Why a tenant that was asked for is not known; None: it was not asked for lately."""
        if not TENANT_ID.fullmatch(tenant_id) or self._unknown.get(tenant_id, float("-inf")) > self._clock():
            return _unknown_tenant(tenant_id)
        return None if self._failing_since is None else _unavailable(tenant_id, TimeoutError())

    def status(self) -> CacheStatus:
        with self._changed:
            oldest = min((known.snapshot.read_at for known in self._known.values()), default=None)
            failing = 0.0 if self._failing_since is None else self._clock() - self._failing_since
            staleness = 0.0 if oldest is None else max(0.0, self._wall() - oldest)
            return CacheStatus(len(self._known), staleness, failing)

    # --- what the listener says ------------------------------------------------------------------------------------

    def invalidate(self, tenant_id: str) -> None:
        """The tenant has changed: read it again at once; until the answer the last known state serves."""
        with self._changed:
            self._unknown.pop(tenant_id, None)
            if tenant_id in self._known or tenant_id in self._loading:
                self._due[tenant_id] = None
                self._changed.notify_all()

    def flush(self) -> None:
        """Announcements may have been missed: read everything again."""
        with self._changed:
            self._unknown.clear()
            if self._known or self._loading:
                self._due.update(dict.fromkeys([*self._known, *self._loading]))
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout=2 * self._config.routing_timeout + 1)
        self._reader.close()

    # --- loading ---------------------------------------------------------------------------------------------------

    def _first_load(self, tenant_id: str) -> Known:
        with self._changed:
            sequence = next(self._sequence)
            self._loading[tenant_id] = sequence
        try:
            found = self._reader.read([tenant_id])
        except _FAILURES as error:
            with self._changed:
                self._failed(error)
            return self._without_answer(tenant_id, error)
        else:
            with self._changed:
                self._answered()
                self._store([tenant_id], found, sequence)
                known = self._known.get(tenant_id)
                if known is None:
                    self._unknown[tenant_id] = self._clock() + self._config.unknown_ttl
                    while len(self._unknown) > self._config.max_tenants:
                        self._unknown.popitem(last=False)
                    raise _unknown_tenant(tenant_id)
                self._changed.notify_all()  # it may be due before the refresher would look again
                return known
        finally:
            with self._changed:
                self._loading.pop(tenant_id, None)

    def _without_answer(self, tenant_id: str, error: BaseException) -> Known:
        """The last state on disk, else the configured default; it is asked for again all the while."""
        kept = None if self._file is None else self._file.get(tenant_id)
        default = self._config.entitlements_default
        if kept is None and default is not None:
            kept = replace(default, tenant_id=tenant_id, read_at=0.0)
        if kept is None:
            raise _unavailable(tenant_id, error) from error
        with self._changed:
            known = self._known.get(tenant_id)
            if known is None:
                now = self._clock()
                known = self._known[tenant_id] = Known(kept.at(self._wall()), 0, now + RETRY_AFTER, now)
                self._shrink()
                self._changed.notify_all()
            return known

    def _store(self, asked: Iterable[str], found: Iterable[Entitlements], sequence: int) -> None:
        """Under the lock. An answer to an older question than the one that is kept is dropped."""
        now, wall = self._clock(), self._wall()
        rows = {each.tenant_id: each for each in found}
        for tenant_id in asked:
            known, snapshot = self._known.get(tenant_id), rows.get(tenant_id)
            if known is not None and known.sequence > sequence:
                continue
            if snapshot is None:
                if known is not None:
                    del self._known[tenant_id]
                    self._dirty = True
                continue
            snapshot = snapshot.at(wall)
            if known is None:
                self._known[tenant_id] = Known(snapshot, sequence, self._due_at(snapshot, now, wall), now)
                self._shrink()
            else:
                known.set(snapshot, sequence, self._due_at(snapshot, now, wall))
            self._dirty = True

    def _due_at(self, snapshot: Entitlements, now: float, wall: float) -> float:
        ttl = self._config.entitlements_ttl
        due = now + ttl * random.uniform(2 / 3, 4 / 3)  # noqa: S311 - jitter, no secret
        ends = snapshot.valid_until
        return due if ends is None else min(due, now + max(0.0, ends - wall))

    def _shrink(self) -> None:
        """Under the lock: the tenants that were used longest ago give way."""
        excess = len(self._known) - self._config.max_tenants
        if excess > 0:
            ordered = sorted(self._known, key=lambda each: (self._known[each].used, self._known[each].used_at))
            for tenant_id in ordered[: excess + self._config.max_tenants // 20]:
                del self._known[tenant_id]

    # --- the refresher ---------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is not None:
            return
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="tenantry-entitlements", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                batch, wait = self._next()
                if not batch and not self._closed:
                    self._changed.wait(wait)
                    batch, _ = self._next()
                if self._closed:
                    break
            if batch:
                failed = not self._refresh(batch)
                self._pause(backoff(self._attempt) if failed else LEAST_WAIT)
            self._save(force=False)
        self._save(force=True)

    def _pause(self, seconds: float) -> None:
        until = self._clock() + seconds
        with self._changed:
            while not self._closed and (left := until - self._clock()) > 0:
                self._changed.wait(left)

    def _next(self) -> tuple[list[str], float]:
        """Under the lock: whom to read now, or how long nobody is due."""
        now = self._clock()
        first = now + LOOK_EVERY
        horizon = now + self._config.entitlements_ttl * GATHER
        soon = []
        for tenant_id, known in list(self._known.items()):
            if known.used:
                known.used, known.used_at = False, now
            first = min(first, known.due_at)
            if known.due_at > horizon:
                continue
            if self._failing_since is None and now - known.used_at > self._config.entitlements_idle:
                del self._known[tenant_id]  # nobody asks for it; while nobody answers, it could not be had again
            else:
                soon.append(tenant_id)
        if first > now and not self._due:
            return [], first - now
        # those that are due soon come along: one read a while for all, not one for each
        batch = list(itertools.islice(dict.fromkeys([*self._due, *soon]), BATCH))
        for tenant_id in batch:
            self._due.pop(tenant_id, None)
        return batch, 0.0

    def _refresh(self, batch: list[str]) -> bool:
        with self._changed:
            sequence = next(self._sequence)
        try:
            found = self._reader.read(batch)
        except _FAILURES as error:
            self._put_off(batch, error)
            return False
        except Exception as error:
            # a view of another version, say: the last known state serves, and the thread lives
            log.exception("entitlements could not be understood")
            self._put_off(batch, error)
            return False
        with self._changed:
            self._answered()
            self._store(batch, found, sequence)
        return True

    def _put_off(self, batch: list[str], error: BaseException) -> None:
        """Nobody answers: the batch is asked for again later, and what has ended ends all the same."""
        with self._changed:
            self._failed(error)
            now, wall = self._clock(), self._wall()
            for known in self._known.values():
                ends = known.snapshot.valid_until
                if ends is not None and ends <= wall:
                    snapshot = known.snapshot.at(wall)
                    known.set(snapshot, known.sequence, self._due_at(snapshot, now, wall))
            for tenant_id in batch:
                if tenant_id in self._known:
                    known = self._known[tenant_id]
                    known.due_at = self._due_at(known.snapshot, now, wall)
                    self._due[tenant_id] = None

    def _failed(self, error: BaseException) -> None:
        self._failed_at = self._clock()
        self._attempt += 1
        if self._failing_since is None:
            self._failing_since = self._failed_at
            kind, count = type(error).__name__, len(self._known)
            log.warning("the control plane does not answer (%s): %d tenants keep what is known of them", kind, count)

    def _answered(self) -> None:
        self._failed_at, self._attempt = float("-inf"), 0
        if self._failing_since is not None:
            log.info("the control plane answers again, after %.0f s", self._clock() - self._failing_since)
            self._failing_since = None

    def _save(self, *, force: bool) -> None:
        if self._file is None or not self._dirty or (not force and self._clock() - self._saved_at < SAVE_EVERY):
            return
        with self._changed:
            snapshots = [known.snapshot for known in self._known.values() if known.snapshot.read_at]
            self._dirty = False
        self._saved_at = self._clock()
        try:
            self._file.save(snapshots)
        except OSError as error:
            log.warning("entitlements were not saved to %s: %s", self._file.path, error.strerror)


def _unknown_tenant(tenant_id: str) -> UnknownTenant:
    return UnknownTenant(f"no tenant {tenant_id[:60]!r} is known", hint="check the id")


def _unavailable(tenant_id: str, error: BaseException) -> ControlPlaneUnavailable:
    return ControlPlaneUnavailable(
        f"the entitlements of {tenant_id!r} could not be read: {type(error).__name__}",
        hint="check TENANTRY_DATABASE_URL and the control plane",
    )
