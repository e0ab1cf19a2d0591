"""Where processes share their counts of calls: PostgreSQL, or whatever the library ``limits`` can store in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from tenantry.config import Config
from tenantry.errors import PoolTimeout
from tenantry.pools import Async, AsyncConnectionPools
from tenantry.rates import Taken, Wanted
from tenantry.routing import connection_string_parameters
from tenantry.slots import Slots

if TYPE_CHECKING:
    from limits.aio.storage import Storage

TAKE = (
    "SELECT name, granted, remaining, ends_in, free_in"
    " FROM tenantry_v1.take_rates(%s, %s::text[], %s::bigint[], %s::integer[], %s::bigint[])"
)


class PostgresRateStore:
    """The control plane's ``tenantry_v1.take_rates``: every rate of a call in one round trip, counted by the server's
    clock in a table that is not logged. ``database_url``: another database that has the function."""

    failures: tuple[type[Exception], ...] = (psycopg.Error, OSError, PoolTimeout)

    def __init__(self, config: Config, *, database_url: str | None = None, max_connections: int = 4) -> None:
        self._config = config
        self._url = database_url or config.database_url
        self._limit = max_connections
        self._pools = AsyncConnectionPools(
            Slots(limit=max_connections, idle_timeout=config.idle_timeout, max_lifetime=config.max_lifetime)
        )

    async def take(self, tenant_id: str, wanted: Sequence[Wanted]) -> Sequence[Taken]:
        parameters = (
            tenant_id,
            [each.rate.name for each in wanted],
            [each.rate.amount for each in wanted],
            [each.rate.seconds for each in wanted],
            [each.calls for each in wanted],
        )
        try:
            async with self._pools.borrow(
                "rates", None, limit=self._limit, timeout=self._config.routing_timeout, connect=self._connect
            ) as slot:
                assert slot.connection is not None
                rows = await (await slot.connection.execute(TAKE, parameters)).fetchall()
        except psycopg.OperationalError:
            await self._pools.forget("rates")  # the server restarted: the others of its connections are dead too
            raise
        found = {str(row[0]): Taken(int(row[1]), int(row[2]), float(row[3]), float(row[4])) for row in rows}
        try:
            return [found[each.rate.name] for each in wanted]
        except KeyError as error:
            raise psycopg.DataError(f"the store counts no rate named {error}") from None

    async def close(self) -> None:
        await self._pools.close()

    async def _connect(self) -> Async:
        return await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, **connection_string_parameters(self._config)
        )


class LimitsRateStore:
    """An asynchronous storage of ``limits`` that has sliding windows: Redis, Valkey, Memcached, MongoDB.

        LimitsRateStore(storage_from_string("async+redis://redis.internal:6379"))

    It takes two or three round trips a rate; ``pip install tenantry[limits]`` and the storage's own driver.
    """

    def __init__(self, storage: Storage, *, prefix: str = "tenantry") -> None:
        from limits.aio.storage.base import SlidingWindowCounterSupport

        if not isinstance(storage, SlidingWindowCounterSupport):
            raise TypeError(f"{type(storage).__name__} has no sliding windows")
        self._storage = storage
        self._windows: SlidingWindowCounterSupport = storage
        self._prefix = prefix
        kinds = storage.base_exceptions
        self.failures: tuple[type[Exception], ...] = kinds if isinstance(kinds, tuple) else (kinds,)

    async def take(self, tenant_id: str, wanted: Sequence[Wanted]) -> Sequence[Taken]:
        return [await self._take_one(tenant_id, each) for each in wanted]

    async def close(self) -> None:
        """The storage is its maker's to close."""

    async def _take_one(self, tenant_id: str, wanted: Wanted) -> Taken:
        rate, granted = wanted.rate, 0
        key = f"{self._prefix}/{tenant_id}/{rate.name}/{rate.seconds}"
        calls = min(wanted.calls, rate.amount)
        if calls and await self._windows.acquire_sliding_window_entry(key, rate.amount, rate.seconds, calls):
            granted = calls
        level, ends_in, free_in = await self._level(key, wanted)
        left = int(rate.amount - level)
        if not granted and calls and 0 < left < calls:  # it grants all or nothing: ask for what there is
            if await self._windows.acquire_sliding_window_entry(key, rate.amount, rate.seconds, left):
                granted = left
            level, ends_in, free_in = await self._level(key, wanted)
        remaining = max(0, int(rate.amount - level))
        return Taken(granted, remaining, ends_in, 0.0 if remaining else free_in)

    async def _level(self, key: str, wanted: Wanted) -> tuple[float, float, float]:
        """(calls that count now, seconds until the present window ends, until another call may be free)."""
        rate = wanted.rate
        before, before_ends_in, present, lives_for = await self._windows.get_sliding_window(key, rate.seconds)
        # the present window's counter is kept for one more window, in which it is the one before
        ends_in = lives_for - rate.seconds if lives_for > rate.seconds else 0.0 if lives_for > 0 else rate.seconds
        level = before * before_ends_in / rate.seconds + present
        fades = rate.seconds / before if before else ends_in
        return level, ends_in, max(0.001, min(fades, ends_in))
