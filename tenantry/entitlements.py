"""What a tenant may use: features, limits, rates and seats, as one row of ``tenantry_v1.entitlement``. No I/O."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tenantry.errors import LimitExceeded, NotEntitled

COLUMNS = (
    "tenant_id",
    "generation",
    "plan",
    "access",
    "access_reason",
    "access_since",
    "features",
    "excluded",
    "limits",
    "soft_limits",
    "rates",
    "overrides",
    "storage",
    "updated_at",
)
QUERY = f"SELECT {', '.join(COLUMNS)} FROM tenantry_v1.entitlement WHERE tenant_id = ANY(%s)"  # noqa: S608 - constants
EVERYTHING = "*"
SEATS = "seats"
STORAGE = "storage_mib"
#: with any other access a tenant may use nothing; of these, read_only alone lets it change nothing
SERVING = frozenset({"full", "grace", "throttled", "read_only"})
MIB = 1024 * 1024


@dataclass(frozen=True)
class Rate:
    """``amount`` calls in ``seconds``. A soft one is reported when it is exceeded, and lets through."""

    name: str
    amount: int
    seconds: int
    soft: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Rate:
        return cls(str(document["name"]), int(document["amount"]), int(document["seconds"]), bool(document.get("soft")))


@dataclass(frozen=True)
class Ending:
    """An exception to the plan that ends at ``expires_at`` (Unix seconds); ``without`` is what holds then: of a
    ``feature`` whether the tenant has it, of a ``limit`` its number, of a ``rate`` its document; None: unlimited."""

    kind: str
    name: str
    without: Any
    expires_at: float


@dataclass(frozen=True)
class StorageUsage:
    """As last measured, at ``measured_at`` (Unix seconds)."""

    database_bytes: int
    files_bytes: int
    files: int
    measured_at: float

    @property
    def bytes(self) -> int:
        return self.database_bytes + self.files_bytes


@dataclass(frozen=True)
class Entitlements:
    """What one tenant may use, as it was known at ``read_at`` (Unix seconds; 0: never read, a configured default).

    ``features`` may hold ``"*"``: all but those in ``excluded``. A name that ``limits`` lacks is unlimited.
    """

    tenant_id: str
    plan: str | None = None
    access: str = "full"
    access_reason: str | None = None
    access_since: datetime | None = None
    features: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    limits: Mapping[str, int] = field(default_factory=dict)
    soft_limits: frozenset[str] = frozenset()
    rates: tuple[Rate, ...] = ()
    endings: tuple[Ending, ...] = ()
    storage: StorageUsage | None = None
    generation: int = 1
    updated_at: datetime | None = None
    read_at: float = 0.0

    @property
    def serves(self) -> bool:
        """Whether the tenant may use anything at all."""
        return self.access in SERVING

    @property
    def staleness(self) -> float:
        """Seconds since it was last confirmed; infinite for a configured default."""
        return max(0.0, time.time() - self.read_at) if self.read_at else math.inf

    def entitled(self, feature: str) -> bool:
        if not self.serves:
            return False
        return feature in self.features or (EVERYTHING in self.features and feature not in self.excluded)

    def limit(self, name: str) -> int | None:
        """None: unlimited. 0 for a tenant whose access is withdrawn."""
        return self.limits.get(name) if self.serves else 0

    def require(self, feature: str) -> None:
        """Raises NotEntitled."""
        if not self.entitled(feature):
            raise NotEntitled(self.tenant_id, feature, plan=self.plan, access=self.access if not self.serves else None)

    def seats(self) -> int | None:
        """Seats that are paid for; None: the plan doesn't count them."""
        return self.limit(SEATS)

    def check_limit(self, name: str, used: int, adding: int = 1) -> LimitCheck:
        """Whether ``adding`` more fit beside ``used``. Raises LimitExceeded unless the limit is a soft one."""
        if used < 0 or adding < 0:
            raise ValueError(f"{name}: neither {used} used nor {adding} more can be meant")
        limit = self.limit(name)
        exceeded = limit is not None and used + adding > limit
        soft = name in self.soft_limits and self.serves
        if exceeded and not soft:
            assert limit is not None
            raise LimitExceeded(self.tenant_id, name, limit=limit, used=used, adding=adding, plan=self.plan)
        return LimitCheck(name, limit, used + adding, soft=soft, exceeded=exceeded)

    def at(self, now: float) -> Entitlements:
        """The same without the exceptions that have ended by ``now`` (Unix seconds): an application that can't ask
        must not serve what was given until yesterday."""
        ended = [each for each in self.endings if each.expires_at <= now]
        if not ended:
            return self
        features, excluded, limits, rates = set(self.features), set(self.excluded), dict(self.limits), list(self.rates)
        for each in ended:
            if each.kind == "feature":
                excluded.discard(each.name)
                if each.without is True and EVERYTHING not in features:
                    features.add(each.name)
                elif each.without is not True:
                    features.discard(each.name)
            elif each.kind == "limit":
                limits.pop(each.name, None)
                limits |= {} if each.without is None else {each.name: int(each.without)}
            elif each.kind == "rate":
                rates = [rate for rate in rates if rate.name != each.name]
                rates += [] if each.without is None else [Rate.of(each.without)]
        return replace(
            self,
            features=frozenset(features),
            excluded=frozenset(excluded),
            limits=limits,
            rates=tuple(rates),
            endings=tuple(each for each in self.endings if each.expires_at > now),
        )

    @property
    def valid_until(self) -> float | None:
        """Unix seconds at which the first exception ends."""
        return min((each.expires_at for each in self.endings), default=None)

    @classmethod
    def from_row(cls, row: Sequence[Any], read_at: float) -> Entitlements:
        """Of a row of ``QUERY``."""
        values = dict(zip(COLUMNS, row, strict=True))
        storage = values.pop("storage")
        return cls(
            tenant_id=values["tenant_id"],
            generation=values["generation"],
            plan=values["plan"],
            access=values["access"],
            access_reason=values["access_reason"],
            access_since=values["access_since"],
            features=frozenset(values["features"] or ()),
            excluded=frozenset(values["excluded"] or ()),
            limits={str(name): int(value) for name, value in (values["limits"] or {}).items()},
            soft_limits=frozenset(values["soft_limits"] or ()),
            rates=tuple(Rate.of(each) for each in values["rates"] or ()),
            endings=tuple(
                Ending(str(each["kind"]), str(each["name"]), each["without"], float(each["expires_at"]))
                for each in values["overrides"] or ()
            ),
            storage=None if storage is None else StorageUsage(**storage),
            updated_at=values["updated_at"],
            read_at=read_at,
        )


@dataclass(frozen=True)
class LimitCheck:
    """What ``check_limit`` found: ``used`` with what is added. ``exceeded`` is only ever true of a soft limit."""

    name: str
    limit: int | None
    used: int
    soft: bool = False
    exceeded: bool = False

    @property
    def percent(self) -> int:
        """Of the limit, rounded down; 0 where there is none."""
        if self.limit is None:
            return 0
        return self.used * 100 // self.limit if self.limit else 100 * (self.used > 0)
