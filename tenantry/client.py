"""``Tenantry``: what a synchronous application holds, once a process."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from tenantry import entry
from tenantry.aws import AwsSessions
from tenantry.billing import Billing
from tenantry.broker import BrokerClient, CredentialCache, DatabaseCredentials
from tenantry.checks import EntitlementChecks
from tenantry.config import Config
from tenantry.context import require_tenant, tenant_context
from tenantry.entitlement_cache import Known
from tenantry.entitlements import Entitlements
from tenantry.errors import BrokerUnavailable, TenantReadOnly, TenantryError, TenantSuspended, UnknownTenant
from tenantry.files import TenantFiles
from tenantry.metering import Meter
from tenantry.placement import Placement
from tenantry.pools import ConnectionPools, Sync
from tenantry.rate_limiter import LocalRateLimiter, RateVerdict
from tenantry.routing import Router, admitted
from tenantry.session import TenantSession
from tenantry.slots import Slots

if TYPE_CHECKING:
    import boto3


T = TypeVar("T")


class Tenantry(EntitlementChecks):
    """Thread-safe. Nothing is connected before first use; ``close`` (or ``with``) ends what was opened."""

    def __init__(self, config: Config, *, broker: BrokerClient | None = None) -> None:
        self.config = config
        self._broker = broker or BrokerClient(config)
        self._router = Router(config)
        self._pools = ConnectionPools(
            Slots(limit=config.max_connections, idle_timeout=config.idle_timeout, max_lifetime=config.max_lifetime)
        )
        self._credentials: CredentialCache[DatabaseCredentials] = CredentialCache()
        self._locks = [threading.Lock() for _ in range(64)]
        self._aws = AwsSessions(config, self._broker)
        self._begin_checks(config)
        self._router.announced.follow(self._entitlements)
        self._rates = LocalRateLimiter(max_tenants=config.max_tenants)

    @functools.cached_property
    def billing(self) -> Billing:
        """Checkout, portal, seats, plan changes, cancellation."""
        return Billing(self.config)

    @functools.cached_property
    def meter(self) -> Meter:
        """Usage that is billed: ``meter.record("api_calls")``."""
        return Meter(self.config)

    @classmethod
    def from_env(cls, **overrides: Any) -> Tenantry:
        """Configured by the environment (``Config.from_env``)."""
        return cls(Config.from_env(**overrides))

    def placement(self, tenant_id: str | None = None) -> Placement:
        """Where the tenant lives, what its plan allows.

        Raises UnknownTenant, TenantSuspended or ControlPlaneUnavailable.
        """
        tenant = require_tenant(tenant_id)
        return admitted(tenant, self._router.placement(tenant))

    @contextlib.contextmanager
    def session(self, tenant_id: str | None = None) -> Iterator[TenantSession]:
        """A transaction on the tenant's database; the block's context is the tenant's.

        Raises what ``placement`` raises, and BrokerUnavailable, DatabaseUnavailable, EntryRefused, PoolTimeout.
        """
        tenant = require_tenant(tenant_id)
        with tenant_context(tenant), contextlib.ExitStack() as stack:
            session = self._enter(tenant, stack)
            stack.callback(session.end)
            try:
                yield session
            except BaseException as error:
                if entry.outdated(error) or entry.refused_write(session.placement, error):
                    self._distrust(tenant)
                told = self._told(session.placement, error)
                if told is not None:
                    raise told from error
                raise

    def run(self, work: Callable[[TenantSession], T], tenant_id: str | None = None, *, attempts: int = 3) -> T:
        """``work`` in a session of its own, again in a new one where that may help: after a serialization failure or a
        deadlock, a lost connection, a tenant that moved. ``work`` must do nothing outside of its transaction.

        After a connection lost while committing nobody knows whether it was: that error is raised.
        """
        tenant = require_tenant(tenant_id)
        for attempt in range(1, attempts + 1):
            done = False
            try:
                with self.session(tenant) as session:
                    result = work(session)
                    done = True
            except psycopg.Error as error:
                if attempt == attempts or not entry.worth_repeating(error, committing=done):
                    raise
            else:
                return result
        raise ValueError("attempts must be at least 1")

    def aws(self, tenant_id: str | None = None) -> boto3.session.Session:
        """A boto3 session with the tenant's credentials, which renews them by itself."""
        return self._aws.session(self.placement(tenant_id))

    def files(self, tenant_id: str | None = None) -> TenantFiles:
        """The tenant's files in its bucket; ``put`` refuses what goes beyond the limit ``storage_mib``."""
        placement = self.placement(tenant_id)
        files = self._aws.files(placement)
        files.allowance = functools.partial(self._allowance.take, placement.tenant_id)
        return files

    def entitlements(self, tenant_id: str | None = None) -> Entitlements:
        """All that the tenant may use, and how stale that is. The first time it is asked for it is read.

        Raises UnknownTenant, or ControlPlaneUnavailable if nothing was ever known of the tenant.
        """
        return self.cached_entitlements(tenant_id)

    def take(self, *rates: str, calls: int = 1, tenant_id: str | None = None) -> RateVerdict:
        """Take ``calls`` of the named rates of the tenant's plan, counted in this process; a rate that the plan lacks
        is unlimited. Raises RateLimited; a soft rate reports and lets through.
        """
        snapshot = self.cached_entitlements(tenant_id)
        verdict = self._rates.take(snapshot.tenant_id, [r for r in snapshot.rates if r.name in rates], calls)
        self._report(verdict, calls)
        verdict.require()
        return verdict

    def close(self) -> None:
        self._entitlements.close()
        self._router.close()
        self._pools.close()
        self._broker.close()
        if "billing" in vars(self):
            self.billing.close()
        if "meter" in vars(self):
            self.meter.close()

    def __enter__(self) -> Tenantry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enter(self, tenant: str, stack: contextlib.ExitStack) -> TenantSession:
        tried: set[entry.Remedy] = set()
        while True:
            placement, credentials = self._resolve(tenant, fresh=bool(tried))
            key = (placement.db_host, placement.db_port, placement.db_name, credentials.username)
            try:
                with contextlib.ExitStack() as attempt:
                    connection = self._entered(attempt, key, placement, credentials)
                    stack.push(attempt.pop_all())
                    return TenantSession(placement, connection)
            except psycopg.Error as error:
                remedy = entry.remedy(error)
                self._distrust(tenant)
                if remedy is entry.Remedy.NONE or remedy in tried:
                    raised = entry.failure(placement, error)
                    raise raised from (None if raised is error else error)
                if remedy is entry.Remedy.RECONNECT:
                    self._pools.forget(key)
                tried.add(remedy)

    def _entered(
        self,
        attempt: contextlib.ExitStack,
        key: tuple[object, ...],
        placement: Placement,
        credentials: DatabaseCredentials,
    ) -> Sync:
        config = self.config

        def connect() -> Sync:
            parameters = config.connection_parameters(placement, credentials.username, credentials.password)
            return psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)

        slot = attempt.enter_context(
            self._pools.borrow(
                key,
                placement.tenant_id,
                limit=config.login_limit(placement),
                timeout=config.pool_timeout,
                connect=connect,
            )
        )
        connection = slot.connection
        assert connection is not None
        if slot.tenant_id not in (None, placement.tenant_id):
            connection.execute(entry.RESET)
        slot.tenant_id = placement.tenant_id
        attempt.enter_context(connection.transaction())
        statement, parameters = entry.entry_statement(placement, credentials)
        connection.execute(statement, parameters)
        return connection

    def _resolve(self, tenant: str, *, fresh: bool) -> tuple[Placement, DatabaseCredentials]:
        """A placement and credentials of one epoch, if at all possible."""
        placement = admitted(tenant, self._router.placement(tenant))
        credentials = self._issued(tenant, fresh=fresh)
        if (credentials.epoch < placement.epoch or credentials.writes != placement.writes) and not fresh:
            # moved, or issued before the tenant lost, or got back, the right to write
            self._credentials.forget(tenant)
            credentials = self._issued(tenant, fresh=False)
        if credentials.epoch > placement.epoch:
            self._router.cache.distrust(tenant)
            placement = admitted(tenant, self._router.placement(tenant))
        return placement, credentials

    def _told(self, placement: Placement, error: BaseException) -> TenantReadOnly | None:
        """The SDK's error for a write that was refused because the tenant may only read; None for any other."""
        if not entry.refused_write(placement, error):
            return None
        if placement.writes:  # when the session began
            try:
                now = self._router.placement(placement.tenant_id)
            except TenantryError:
                return None
            if now is None or now.writes or not now.serves:
                return None
            placement = now
        return entry.read_only(placement)

    def _issued(self, tenant: str, *, fresh: bool) -> DatabaseCredentials:
        kept = None if fresh else self._credentials.wanted(tenant)
        if kept is not None:
            return kept
        with self._locks[hash(tenant) % len(self._locks)]:
            kept = None if fresh else self._credentials.wanted(tenant)
            if kept is not None:
                return kept
            try:
                issued = self._broker.database(tenant, fresh=fresh)
            except BrokerUnavailable:
                usable = self._credentials.usable(tenant)
                if usable is None:
                    raise
                return usable
            except (UnknownTenant, TenantSuspended):
                self._distrust(tenant)
                raise
            self._credentials.put(tenant, issued)
            return issued

    def _missing(self, tenant_id: str | None) -> Known:
        tenant = require_tenant(tenant_id)
        if self._router.listener is not None:
            self._router.listener.start()
        return self._entitlements.load(tenant)

    def _distrust(self, tenant: str) -> None:
        self._router.cache.distrust(tenant)
