"""``AsyncTenantry``: what an asyncio application holds, once an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from tenantry import entry
from tenantry.aio_routing import AsyncRouter
from tenantry.aws import AwsSessions
from tenantry.billing import AsyncBilling
from tenantry.broker import AsyncBrokerClient, BrokerClient, CredentialCache, DatabaseCredentials
from tenantry.checks import EntitlementChecks
from tenantry.config import Config
from tenantry.context import require_tenant, tenant_context
from tenantry.entitlement_cache import Known
from tenantry.entitlements import Entitlements, Rate
from tenantry.errors import (
    BrokerUnavailable,
    EntitlementsNotLoaded,
    TenantReadOnly,
    TenantryError,
    TenantSuspended,
    UnknownTenant,
)
from tenantry.files import AsyncTenantFiles
from tenantry.metering import Meter
from tenantry.placement import Placement
from tenantry.pools import Async, AsyncConnectionPools
from tenantry.rate_limiter import LocalRateLimiter, RateVerdict, SharedRateLimiter
from tenantry.routing import admitted
from tenantry.session import AsyncTenantSession
from tenantry.slots import Slots

if TYPE_CHECKING:
    import boto3


T = TypeVar("T")


class AsyncTenantry(EntitlementChecks):
    """For one event loop. Nothing is connected before first use; ``close`` (or ``async with``) ends what was opened."""

    def __init__(
        self,
        config: Config,
        *,
        broker: AsyncBrokerClient | None = None,
        aws_broker: BrokerClient | None = None,
        rates: SharedRateLimiter | None = None,
    ) -> None:
        """``rates``: counts calls together with other processes; closed with the SDK. None: in this process alone."""
        self.config = config
        self._broker = broker or AsyncBrokerClient(config)
        self._router = AsyncRouter(config)
        self._pools = AsyncConnectionPools(
            Slots(limit=config.max_connections, idle_timeout=config.idle_timeout, max_lifetime=config.max_lifetime)
        )
        self._credentials: CredentialCache[DatabaseCredentials] = CredentialCache()
        self._locks = [asyncio.Lock() for _ in range(64)]
        self._aws_broker = aws_broker or BrokerClient(config)  # boto3 is synchronous: it renews in its own threads
        self._aws = AwsSessions(config, self._aws_broker)
        self._begin_checks(config)
        self._router.announced.follow(self._entitlements)
        self._shared_rates = rates
        self._rates = LocalRateLimiter(max_tenants=config.max_tenants)

    @functools.cached_property
    def billing(self) -> AsyncBilling:
        """Checkout, portal, seats, plan changes, cancellation."""
        return AsyncBilling(self.config)

    @functools.cached_property
    def meter(self) -> Meter:
        """Usage that is billed: ``meter.record("api_calls")``, which waits for nothing and needs no ``await``."""
        return Meter(self.config)

    @classmethod
    def from_env(cls, **overrides: Any) -> AsyncTenantry:
        """Configured by the environment (``Config.from_env``)."""
        return cls(Config.from_env(**overrides))

    async def placement(self, tenant_id: str | None = None) -> Placement:
        """Where the tenant lives, what its plan allows."""
        tenant = require_tenant(tenant_id)
        return admitted(tenant, await self._router.placement(tenant))

    @contextlib.asynccontextmanager
    async def session(self, tenant_id: str | None = None) -> AsyncIterator[AsyncTenantSession]:
        """A transaction on the tenant's database; the block's context is the tenant's.

        Raises what ``placement`` raises, and BrokerUnavailable, DatabaseUnavailable, EntryRefused, PoolTimeout.
        """
        tenant = require_tenant(tenant_id)
        with tenant_context(tenant):
            async with contextlib.AsyncExitStack() as stack:
                session = await self._enter(tenant, stack)
                stack.callback(session.end)
                try:
                    yield session
                except BaseException as error:
                    if entry.outdated(error) or entry.refused_write(session.placement, error):
                        self._distrust(tenant)
                    told = await self._told(session.placement, error)
                    if told is not None:
                        raise told from error
                    raise

    async def run(
        self, work: Callable[[AsyncTenantSession], Awaitable[T]], tenant_id: str | None = None, *, attempts: int = 3
    ) -> T:
        """``work`` in a session of its own, again in a new one where that may help: after a serialization failure or a
        deadlock, a lost connection, a tenant that moved. ``work`` must do nothing outside of its transaction.

        After a connection lost while committing nobody knows whether it was: that error is raised.
        """
        tenant = require_tenant(tenant_id)
        for attempt in range(1, attempts + 1):
            done = False
            try:
                async with self.session(tenant) as session:
                    result = await work(session)
                    done = True
            except psycopg.Error as error:
                if attempt == attempts or not entry.worth_repeating(error, committing=done):
                    raise
            else:
                return result
        raise ValueError("attempts must be at least 1")

    async def aws(self, tenant_id: str | None = None) -> boto3.session.Session:
        """A boto3 session with the tenant's credentials, which renews them by itself."""
        return await asyncio.to_thread(self._aws.session, await self.placement(tenant_id))

    async def files(self, tenant_id: str | None = None) -> AsyncTenantFiles:
        """The tenant's files in its bucket."""
        placement = await self.placement(tenant_id)
        files = await asyncio.to_thread(self._aws.files, placement)
        files.allowance = functools.partial(self._allowance.take, placement.tenant_id)
        return AsyncTenantFiles(files)

    async def entitlements(self, tenant_id: str | None = None) -> Entitlements:
        """All that the tenant may use, and how stale that is. The first time it is awaited it is read; from then on
        ``entitled`` and its like answer without being awaited. ``TenantMiddleware(..., sdk=sdk)`` does it for requests.

        Raises UnknownTenant, or ControlPlaneUnavailable if nothing was ever known of the tenant.
        """
        tenant = require_tenant(tenant_id)
        known = self._get(tenant)
        if known is None:
            if self._router.listener is not None:
                self._router.listener.start()
            known = await asyncio.to_thread(self._entitlements.load, tenant)
        known.used = True
        return known.snapshot

    async def take(self, *rates: str, calls: int = 1, tenant_id: str | None = None) -> RateVerdict:
        """Take ``calls`` of the named rates of the tenant's plan; a rate that the plan lacks is unlimited.

        Raises RateLimited, or RateStoreUnavailable if the limiter does not fail open; a soft rate reports and lets
        through.
        """
        snapshot = await self.entitlements(tenant_id)
        verdict = await self.count(snapshot.tenant_id, [r for r in snapshot.rates if r.name in rates], calls)
        verdict.require()
        return verdict

    async def count(self, tenant_id: str, rates: Sequence[Rate], calls: int = 1) -> RateVerdict:
        """``take`` of rates that are at hand, with nothing raised for a refusal: what ``LimitMiddleware`` uses."""
        if self._shared_rates is None:
            verdict = self._rates.take(tenant_id, rates, calls)
        else:
            verdict = await self._shared_rates.take(tenant_id, rates, calls)
        self._report(verdict, calls)
        return verdict

    async def close(self) -> None:
        if self._shared_rates is not None:
            await self._shared_rates.close()
        await asyncio.to_thread(self._entitlements.close)
        await self._router.close()
        await self._pools.close()
        await self._broker.close()
        self._aws_broker.close()
        if "billing" in vars(self):
            await self.billing.close()
        if "meter" in vars(self):
            await asyncio.to_thread(self.meter.close)

    async def __aenter__(self) -> AsyncTenantry:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _enter(self, tenant: str, stack: contextlib.AsyncExitStack) -> AsyncTenantSession:
        tried: set[entry.Remedy] = set()
        while True:
            placement, credentials = await self._resolve(tenant, fresh=bool(tried))
            key = (placement.db_host, placement.db_port, placement.db_name, credentials.username)
            try:
                async with contextlib.AsyncExitStack() as attempt:
                    connection = await self._entered(attempt, key, placement, credentials)
                    stack.push_async_exit(attempt.pop_all())
                    return AsyncTenantSession(placement, connection)
            except psycopg.Error as error:
                remedy = entry.remedy(error)
                self._distrust(tenant)
                if remedy is entry.Remedy.NONE or remedy in tried:
                    raised = entry.failure(placement, error)
                    raise raised from (None if raised is error else error)
                if remedy is entry.Remedy.RECONNECT:
                    await self._pools.forget(key)
                tried.add(remedy)

    async def _entered(
        self,
        attempt: contextlib.AsyncExitStack,
        key: tuple[object, ...],
        placement: Placement,
        credentials: DatabaseCredentials,
    ) -> Async:
        config = self.config

        async def connect() -> Async:
            parameters = config.connection_parameters(placement, credentials.username, credentials.password)
            return await psycopg.AsyncConnection.connect(autocommit=True, prepare_threshold=None, **parameters)

        slot = await attempt.enter_async_context(
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
            await connection.execute(entry.RESET)
        slot.tenant_id = placement.tenant_id
        await attempt.enter_async_context(connection.transaction())
        statement, parameters = entry.entry_statement(placement, credentials)
        await connection.execute(statement, parameters)
        return connection

    async def _resolve(self, tenant: str, *, fresh: bool) -> tuple[Placement, DatabaseCredentials]:
        """A placement and credentials of one epoch, if at all possible."""
        placement = admitted(tenant, await self._router.placement(tenant))
        credentials = await self._issued(tenant, fresh=fresh)
        if (credentials.epoch < placement.epoch or credentials.writes != placement.writes) and not fresh:
            # moved, or issued before the tenant lost, or got back, the right to write
            self._credentials.forget(tenant)
            credentials = await self._issued(tenant, fresh=False)
        if credentials.epoch > placement.epoch:
            self._router.cache.distrust(tenant)
            placement = admitted(tenant, await self._router.placement(tenant))
        return placement, credentials

    async def _told(self, placement: Placement, error: BaseException) -> TenantReadOnly | None:
        """The SDK's error for a write that was refused because the tenant may only read; None for any other."""
        if not entry.refused_write(placement, error):
            return None
        if placement.writes:  # when the session began
            try:
                now = await self._router.placement(placement.tenant_id)
            except TenantryError:
                return None
            if now is None or now.writes or not now.serves:
                return None
            placement = now
        return entry.read_only(placement)

    async def _issued(self, tenant: str, *, fresh: bool) -> DatabaseCredentials:
        kept = None if fresh else self._credentials.wanted(tenant)
        if kept is not None:
            return kept
        async with self._locks[hash(tenant) % len(self._locks)]:
            kept = None if fresh else self._credentials.wanted(tenant)
            if kept is not None:
                return kept
            try:
                issued = await self._broker.database(tenant, fresh=fresh)
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
        raise self._entitlements.why_missing(tenant) or EntitlementsNotLoaded(
            f"the entitlements of tenant {tenant!r} are not loaded yet",
            hint="await sdk.entitlements() first, or give TenantMiddleware the SDK",
        )

    def _distrust(self, tenant: str) -> None:
        self._router.cache.distrust(tenant)
