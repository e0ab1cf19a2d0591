"""Which placement a tenant has now: ``tenantry.routing`` for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import time

import psycopg

from tenantry.announcements import Announcements, Follower
from tenantry.config import Config
from tenantry.placement import CHANNEL, QUERY, TENANT_ID, Placement, Trust
from tenantry.pools import Async, AsyncConnectionPools
from tenantry.routing import (
    PROBE_EVERY,
    RETRY_AFTER,
    backoff,
    connection_string_parameters,
    new_cache,
    unavailable,
)
from tenantry.slots import Slots


class AsyncRouter:
    """For one event loop. Connects at first use."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.cache = new_cache(config)
        self._pools = AsyncConnectionPools(
            Slots(limit=4, idle_timeout=config.idle_timeout, max_lifetime=config.max_lifetime)
        )
        self._locks = [asyncio.Lock() for _ in range(64)]
        self._failed_at = float("-inf")
        self.announced = Announcements(self.cache)
        self.listener = AsyncListener(config, self.announced) if config.listen else None

    async def placement(self, tenant_id: str) -> Placement | None:
        """Raises ControlPlaneUnavailable if it can't be read and nothing recent enough is known."""
        if not TENANT_ID.fullmatch(tenant_id):
            return None  # never sent to the server, nor kept: it may be anything that a client made up
        if self.listener is not None:
            self.listener.start()
        trust, known = self.cache.get(tenant_id)
        if trust is Trust.FRESH:
            return known
        began = time.monotonic()
        async with self._locks[hash(tenant_id) % len(self._locks)]:
            trust, known = self.cache.get(tenant_id)
            if trust is Trust.FRESH:
                return known
            if trust is Trust.STALE and time.monotonic() - self._failed_at < RETRY_AFTER:
                return known
            if self._failed_at >= began:  # whoever held the lock before asked and had no answer
                raise unavailable(TimeoutError())
            ticket = self.cache.ticket(tenant_id)
            try:
                found = await self._read(tenant_id)
            except (psycopg.Error, OSError) as error:
                self._failed_at = time.monotonic()
                if trust is Trust.STALE:
                    return known
                raise unavailable(error) from error
            self.cache.put(ticket, found)
            return found

    async def _read(self, tenant_id: str) -> Placement | None:
        for last in (False, True):
            try:
                async with self._pools.borrow(
                    "routing",
                    None,
                    limit=4,
                    timeout=self._config.routing_timeout,
                    connect=lambda: open_routing(self._config),
                ) as slot:
                    assert slot.connection is not None
                    row = await _answer(slot.connection, tenant_id, self._config.routing_timeout)
                return None if row is None else Placement.from_row(row)
            except psycopg.OperationalError:
                await self._pools.forget("routing")
                if last:
                    raise
        raise AssertionError

    async def close(self) -> None:
        if self.listener is not None:
            await self.listener.stop()
        await self._pools.close()


async def _answer(connection: Async, tenant_id: str, seconds: float) -> tuple[object, ...] | None:
    try:
        async with asyncio.timeout(seconds):
            return await (await connection.execute(QUERY, (tenant_id,))).fetchone()
    except TimeoutError:
        await connection.close()
        raise psycopg.OperationalError("the control plane took the connection and fell silent") from None


async def open_routing(config: Config) -> Async:
    return await psycopg.AsyncConnection.connect(
        config.database_url, autocommit=True, prepare_threshold=None, **connection_string_parameters(config)
    )


class AsyncListener:
    """A task that hears of changed placements and reconnects for ever; started at first use."""

    def __init__(self, config: Config, announced: Follower) -> None:
        self._config = config
        self._announced = announced
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="tenantry-listen")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError, TimeoutError):
                if self.listening.is_set():
                    attempt = 0
            finally:
                self.listening.clear()
            await asyncio.sleep(backoff(attempt))
            attempt += 1

    async def _listen(self) -> None:
        connection = await open_routing(self._config)
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._announced.flush()  # what was sent while nobody listened is lost
            self.listening.set()
            while True:
                async for note in connection.notifies(timeout=PROBE_EVERY):
                    self._announced.invalidate(note.payload)
                async with asyncio.timeout(self._config.routing_timeout):
                    await connection.execute("SELECT 1")
        finally:
            await connection.close()
