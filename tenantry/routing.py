"""Which placement a tenant has now: the cache, the reads that fill it and the listener that empties it. Sync."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import Any

import psycopg

from tenantry.announcements import Announcements, Follower
from tenantry.config import KEEPALIVES, Config
from tenantry.deadline import break_connection, deadline
from tenantry.errors import ControlPlaneUnavailable, TenantSuspended, UnknownTenant
from tenantry.placement import CHANNEL, QUERY, TENANT_ID, Placement, PlacementCache, Trust
from tenantry.pools import ConnectionPools, Sync
from tenantry.slots import Slots

PROBE_EVERY = 15.0  #: seconds between proofs that the listening connection lives
RETRY_AFTER = 1.0  #: seconds in which a control plane that did not answer is not asked for what is known
_STRIPES = 64


def connection_string_parameters(config: Config) -> dict[str, Any]:
    return {"connect_timeout": max(1, round(config.routing_timeout)), "application_name": "tenantry-sdk", **KEEPALIVES}


def new_cache(config: Config) -> PlacementCache:
    return PlacementCache(ttl=config.placement_ttl, unknown_ttl=config.unknown_ttl, max_staleness=config.max_staleness)


def admitted(tenant_id: str, placement: Placement | None) -> Placement:
    """``placement`` if work may be done there. Raises UnknownTenant or TenantSuspended."""
    if placement is None:
        raise UnknownTenant(f"no tenant {tenant_id!r} stands", hint="check the id")
    if not placement.serves:
        raise TenantSuspended(
            f"access of tenant {tenant_id!r} is withdrawn ({placement.because})",
            hint=_WAY_BACK.get(placement.access, "its subscription decides"),
        )
    return placement


_WAY_BACK = {
    "suspended": "a payment opens it again",
    "hibernated": "a payment starts its database again, which takes minutes if it is the tenant's own",
    "retained": "its subscription has ended and its data is kept: subscribing again brings it back",
}


def unavailable(error: BaseException) -> ControlPlaneUnavailable:
    return ControlPlaneUnavailable(
        f"routing could not be read: {type(error).__name__}", hint="check TENANTRY_DATABASE_URL and the control plane"
    )


def backoff(attempt: int) -> float:
    """Seconds before the next attempt: 0.1 doubling to 5, jittered."""
    return min(5.0, 0.1 * 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret


class Router:
    """Thread-safe. Connects at first use."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.cache = new_cache(config)
        self._pools = ConnectionPools(
            Slots(limit=4, idle_timeout=config.idle_timeout, max_lifetime=config.max_lifetime)
        )
        self._locks = [threading.Lock() for _ in range(_STRIPES)]
        self._failed_at = float("-inf")
        self.announced = Announcements(self.cache)
        self.listener = Listener(config, self.announced) if config.listen else None

    def placement(self, tenant_id: str) -> Placement | None:
        """Raises ControlPlaneUnavailable if it can't be read and nothing recent enough is known."""
        if not TENANT_ID.fullmatch(tenant_id):
            return None  # never sent to the server, nor kept: it may be anything that a client made up
        if self.listener is not None:
            self.listener.start()
        trust, known = self.cache.get(tenant_id)
        if trust is Trust.FRESH:
            return known
        began = time.monotonic()
        with self._locks[hash(tenant_id) % _STRIPES]:  # one read for all who wait for the same tenant
            trust, known = self.cache.get(tenant_id)
            if trust is Trust.FRESH:
                return known
            if trust is Trust.STALE and time.monotonic() - self._failed_at < RETRY_AFTER:
                return known
            if self._failed_at >= began:  # whoever held the lock before asked and had no answer
                raise unavailable(TimeoutError())
            ticket = self.cache.ticket(tenant_id)
            try:
                found = self._read(tenant_id)
            except (psycopg.Error, OSError) as error:
                self._failed_at = time.monotonic()
                if trust is Trust.STALE:
                    return known
                raise unavailable(error) from error
            self.cache.put(ticket, found)
            return found

    def _read(self, tenant_id: str) -> Placement | None:
        for last in (False, True):
            try:
                with self._pools.borrow(
                    "routing",
                    None,
                    limit=4,
                    timeout=self._config.routing_timeout,
                    connect=lambda: open_routing(self._config),
                ) as slot:
                    assert slot.connection is not None
                    with deadline(slot.connection, self._config.routing_timeout):
                        row = slot.connection.execute(QUERY, (tenant_id,)).fetchone()
                return None if row is None else Placement.from_row(row)
            except psycopg.OperationalError:
                # a connection from before the control plane restarted; the second attempt opens a new one
                self._pools.forget("routing")
                if last:
                    raise
        raise AssertionError

    def close(self) -> None:
        if self.listener is not None:
            self.listener.stop()
        self._pools.close()


def open_routing(config: Config) -> Sync:
    return psycopg.connect(
        config.database_url, autocommit=True, prepare_threshold=None, **connection_string_parameters(config)
    )


class Listener:
    """A daemon thread that hears of changed placements and reconnects for ever; started at first use."""

    def __init__(self, config: Config, announced: Follower) -> None:
        self._config = config
        self._announced = announced
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: Sync | None = None
        self.listening = threading.Event()  #: set while notifications arrive

    def start(self) -> None:
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="tenantry-listen", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        with self._lock:
            thread, connection = self._thread, self._connection
        if connection is not None:
            break_connection(connection)
        if thread is not None:
            thread.join(timeout=self._config.routing_timeout + 1)

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            try:
                self._listen()
            except (psycopg.Error, OSError):
                if self.listening.is_set():
                    attempt = 0
            finally:
                self.listening.clear()
            self._stop.wait(backoff(attempt))
            attempt += 1

    def _listen(self) -> None:
        with contextlib.closing(open_routing(self._config)) as connection:
            self._connection = connection
            try:
                connection.execute(f"LISTEN {CHANNEL}")
                self._announced.flush()  # what was sent while nobody listened is lost
                self.listening.set()
                while not self._stop.is_set():
                    for note in connection.notifies(timeout=PROBE_EVERY):
                        self._announced.invalidate(note.payload)
                        if self._stop.is_set():
                            return
                    with deadline(connection, self._config.routing_timeout):
                        connection.execute("SELECT 1")
            finally:
                self._connection = None
