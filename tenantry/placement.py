"""Where a tenant lives, and a cache of it that knows how much to trust itself. No I/O."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

#: access with which a tenant may read its data, and with which it may change it; none that this release does not know
SERVING = frozenset({"full", "grace", "throttled", "read_only"})
WRITING = SERVING - {"read_only"}
#: what a tenant's id can be; anything else names no tenant, whoever asks for it
TENANT_ID = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){1,38}[a-z0-9]")

COLUMNS = (
    "tenant_id",
    "generation",
    "cell",
    "region",
    "tier",
    "epoch",
    "access",
    "db_host",
    "db_port",
    "db_name",
    "db_schema",
    "db_login",
    "bucket",
    "prefix",
    "kms_key_arn",
    "role_arn",
    "plan",
    "features",
    "limits",
    "updated_at",
    "access_reason",
    "access_since",
)
QUERY = f"SELECT {', '.join(COLUMNS)} FROM tenantry_v1.placement WHERE tenant_id = %s"  # noqa: S608 - constants only
CHANNEL = "tenantry_placement"


@dataclass(frozen=True)
class Placement:
    """One row of ``tenantry_v1.placement``. ``prefix`` ends in ``/``, or is ``''`` where the bucket is the tenant's.

    ``access_reason`` is why the access is what it is, as ``payment_overdue``; docs/lifecycle.md has all.
    """

    tenant_id: str
    generation: int
    cell: str
    region: str
    tier: str
    epoch: int
    access: str
    db_host: str
    db_port: int
    db_name: str
    db_schema: str
    db_login: str
    bucket: str
    prefix: str
    kms_key_arn: str
    role_arn: str
    plan: str
    features: frozenset[str] = frozenset()
    limits: Mapping[str, Any] = field(default_factory=dict)
    updated_at: datetime | None = None
    access_reason: str | None = None
    access_since: datetime | None = None

    @property
    def serves(self) -> bool:
        """Whether the tenant may read its data."""
        return self.access in SERVING

    @property
    def writes(self) -> bool:
        """Whether the tenant may change its data."""
        return self.access in WRITING

    @property
    def because(self) -> str:
        """``read_only, payment_failed since 2026-11-20``, as far as it is known."""
        reason = f", {self.access_reason}" if self.access_reason else ""
        return f"{self.access}{reason}" + (f" since {self.access_since:%Y-%m-%d}" if self.access_since else "")

    @property
    def pooled(self) -> bool:
        """Whether the tenant shares its tables and login and must be entered with a token."""
        return self.tier == "pool"

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Placement:
        """Of a row of ``QUERY``."""
        values = dict(zip(COLUMNS, row, strict=True))
        values["features"] = frozenset(values["features"] or ())
        values["limits"] = dict(values["limits"] or {})
        return cls(**values)


class Trust(Enum):
    FRESH = "fresh"  #: use it
    STALE = "stale"  #: ask again; use it only if nobody answers
    NONE = "none"  #: nothing usable is known


@dataclass
class _Entry:
    placement: Placement | None
    read_at: float
    expired: bool = False


@dataclass(frozen=True)
class Ticket:
    """Handed out before a read: an answer older than a notification that came meanwhile is not kept, and one older
    than a flush is distrusted from the start."""

    tenant_id: str
    invalidations: int
    flushes: int
    at: float


class PlacementCache:
    """Last-known placements, ``None`` for a tenant that doesn't exist. Thread-safe."""

    def __init__(
        self,
        *,
        ttl: float,
        unknown_ttl: float,
        max_staleness: float,
        size: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl = ttl
        self._unknown_ttl = unknown_ttl
        self._max_staleness = max_staleness
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._invalidations: OrderedDict[str, int] = OrderedDict()
        self._counter = 0
        self._forgotten = 0  # invalidations up to this count are no longer known one by one
        self._flushes = 0

    def get(self, tenant_id: str) -> tuple[Trust, Placement | None]:
        now = self._clock()
        with self._lock:
            entry = self._entries.get(tenant_id)
            if entry is None:
                return Trust.NONE, None
            age = now - entry.read_at
            if entry.placement is None:
                if entry.expired or age >= self._unknown_ttl:
                    return Trust.NONE, None
                return Trust.FRESH, None
            if age >= self._max_staleness:
                return Trust.NONE, None
            self._entries.move_to_end(tenant_id)
            if entry.expired or age >= self._ttl:
                return Trust.STALE, entry.placement
            return Trust.FRESH, entry.placement

    def ticket(self, tenant_id: str) -> Ticket:
        with self._lock:
            return Ticket(tenant_id, self._counter, self._flushes, self._clock())

    def put(self, ticket: Ticket, placement: Placement | None) -> None:
        with self._lock:
            last = self._invalidations.get(ticket.tenant_id, self._forgotten)
            if last > ticket.invalidations:
                return
            self._entries[ticket.tenant_id] = _Entry(placement, ticket.at, expired=self._flushes != ticket.flushes)
            self._entries.move_to_end(ticket.tenant_id)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def invalidate(self, tenant_id: str) -> None:
        """The placement is known to have changed: what is known of it is used no more, even if nobody answers."""
        with self._lock:
            self._counter += 1
            self._entries.pop(tenant_id, None)
            self._invalidations[tenant_id] = self._counter
            self._invalidations.move_to_end(tenant_id)
            while len(self._invalidations) > self._size:
                self._forgotten = self._invalidations.popitem(last=False)[1]

    def distrust(self, tenant_id: str) -> None:
        """Ask again before the next use; the old answer serves while the control plane is down."""
        with self._lock:
            entry = self._entries.get(tenant_id)
            if entry is not None:
                entry.expired = True

    def flush(self) -> None:
        """Notifications may have been missed: distrust everything."""
        with self._lock:
            self._flushes += 1
            for entry in self._entries.values():
                entry.expired = True
