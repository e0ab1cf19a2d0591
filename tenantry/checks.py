"""What both SDKs answer about entitlements: from memory, in a microsecond, without waiting for anybody."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from tenantry.config import Config
from tenantry.context import _tenant, require_tenant
from tenantry.entitlement_cache import CacheStatus, EntitlementCache, Known
from tenantry.entitlements import MIB, STORAGE, Entitlements, LimitCheck
from tenantry.errors import Unavailable, UnknownTenant
from tenantry.rate_limiter import RateVerdict

log = logging.getLogger(__name__)

LOG_EVERY = 60.0  #: seconds between two reports of one tenant's soft limit


class SoftLimits:
    """Reports that a soft limit or rate was exceeded: to the application's function, or to the log."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._told = config.on_soft_limit
        self._size = config.max_tenants
        self._clock = clock
        self._lock = threading.Lock()
        self._logged: OrderedDict[tuple[str, str], float] = OrderedDict()

    def report(self, tenant_id: str, check: LimitCheck) -> None:
        """An error of the application's function is logged: a soft limit never refuses."""
        if self._told is not None:
            try:
                self._told(tenant_id, check)
            except Exception:
                log.exception("on_soft_limit failed")
            return
        key, now = (tenant_id, check.name), self._clock()
        with self._lock:
            if now - self._logged.get(key, float("-inf")) < LOG_EVERY:
                return
            self._logged[key] = now
            self._logged.move_to_end(key)
            while len(self._logged) > self._size:
                self._logged.popitem(last=False)
        log.warning("tenant %s exceeds its soft limit %s: %s of %s", tenant_id, check.name, check.used, check.limit)


class StorageAllowance:
    """What a tenant may still store: its limit less what was measured, less what this process wrote since."""

    def __init__(self, cache: EntitlementCache, soft_limits: SoftLimits, size: int) -> None:
        self._cache = cache
        self._soft_limits = soft_limits
        self._size = size
        self._lock = threading.Lock()
        self._written: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since the measurement at that time

    def take(self, tenant_id: str, size: int) -> None:
        """``size`` bytes are about to be written. Raises LimitExceeded."""
        try:
            snapshot = self._cache.load(tenant_id).snapshot
        except (Unavailable, UnknownTenant):
            return  # how much is stored is no matter of security: who may write was decided before
        measured_at = snapshot.storage.measured_at if snapshot.storage else 0.0
        stored = snapshot.storage.bytes if snapshot.storage else 0
        with self._lock:
            at, written = self._written.get(tenant_id, (measured_at, 0))
            if at != measured_at:
                written = 0
            used = stored + written
            check = snapshot.check_limit(STORAGE, -(-used // MIB), -(-(used + size) // MIB) - -(-used // MIB))
            self._written[tenant_id] = (measured_at, written + size)
            self._written.move_to_end(tenant_id)
            while len(self._written) > self._size:
                self._written.popitem(last=False)
        if check.exceeded:
            self._soft_limits.report(tenant_id, check)


class EntitlementChecks:
    """``entitled`` and its like, of the tenant that is named or of the context's.

    Raises NoTenant or TenantConflict as everything that asks for a tenant does, and UnknownTenant.
    """

    _entitlements: EntitlementCache
    _soft_limits: SoftLimits

    def _begin_checks(self, config: Config) -> None:
        self._entitlements = EntitlementCache(config)
        self._get = self._entitlements.get
        self._soft_limits = SoftLimits(config)
        self._allowance = StorageAllowance(self._entitlements, self._soft_limits, config.max_tenants)
        self._reserved: dict[tuple[str, str], int] = {}
        self._reserving = threading.Lock()

    def _missing(self, tenant_id: str | None) -> Known:
        """Of a tenant that is not loaded yet."""
        raise NotImplementedError

    def entitled(self, feature: str, tenant_id: str | None = None) -> bool:
        """Whether the tenant has the feature: by its plan, or an exception; False while its access is withdrawn."""
        tenant = _tenant.get() if tenant_id is None else require_tenant(tenant_id)
        known = self._get(tenant) or self._missing(tenant)  # type: ignore[arg-type]  # None is in no dictionary
        known.used = True
        return feature in known.features or (known.everything and feature not in known.excluded)

    def cached_entitlements(self, tenant_id: str | None = None) -> Entitlements:
        """All that is known of what the tenant may use; EntitlementsNotLoaded of AsyncTenantry until it is loaded."""
        tenant = require_tenant(tenant_id)
        known = self._get(tenant) or self._missing(tenant)
        known.used = True
        return known.snapshot

    def require(self, feature: str, tenant_id: str | None = None) -> None:
        """Raises NotEntitled, which says why."""
        if not self.entitled(feature, tenant_id):
            self.cached_entitlements(tenant_id).require(feature)

    def limit(self, name: str, tenant_id: str | None = None) -> int | None:
        """The number that the tenant's plan, or an exception, gives; None: unlimited; 0 while access is withdrawn."""
        return self.cached_entitlements(tenant_id).limit(name)

    def seats(self, tenant_id: str | None = None) -> int | None:
        """Seats that are paid for, or that the plan includes; None: it doesn't count them."""
        return self.cached_entitlements(tenant_id).seats()

    def access(self, tenant_id: str | None = None) -> str:
        """``full``, ``grace``, ``throttled``, ``read_only``, or one that withdraws it: ``suspended``, ``hibernated``,
        ``retained``, ``deleted``."""
        return self.cached_entitlements(tenant_id).access

    def check_limit(self, name: str, used: int, *, adding: int = 1, tenant_id: str | None = None) -> LimitCheck:
        """Whether ``adding`` more fit beside the ``used`` ones: LimitExceeded if not; a soft limit reports and lets
        through. What was checked may be another request's by the time it is used: count in the transaction that adds.
        """
        snapshot = self.cached_entitlements(tenant_id)
        check = snapshot.check_limit(name, used, adding)
        if check.exceeded:
            self._soft_limits.report(snapshot.tenant_id, check)
        return check

    @contextlib.contextmanager
    def quota(
        self, name: str, current: int | Callable[[], int], *, adding: int = 1, tenant_id: str | None = None
    ) -> Iterator[LimitCheck]:
        """``check_limit`` for the block that adds: what other blocks of this process are adding counts too."""
        tenant = require_tenant(tenant_id)
        key = (tenant, name)
        with self._reserving:
            reserved = self._reserved.get(key, 0)
            self._reserved[key] = reserved + adding
        try:
            counted = current() if callable(current) else current
            yield self.check_limit(name, counted + reserved, adding=adding, tenant_id=tenant)
        finally:
            with self._reserving:
                left = self._reserved[key] - adding
                if left:
                    self._reserved[key] = left
                else:
                    del self._reserved[key]

    def _report(self, verdict: RateVerdict, calls: int) -> None:
        for state in verdict.reported:
            amount = state.rate.amount
            check = LimitCheck(state.rate.name, amount, amount + calls, soft=True, exceeded=True)
            self._soft_limits.report(verdict.tenant_id, check)

    def entitlement_status(self) -> CacheStatus:
        """How stale what is known is, for a metric."""
        return self._entitlements.status()
