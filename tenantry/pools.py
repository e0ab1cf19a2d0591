"""Connections to tenants' databases, bounded over all logins, never shared by two logins. Sync and async.

A connection is opened in the caller's own thread or task, so the caller sees why it failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator
from typing import Any

import psycopg

from tenantry.errors import PoolTimeout
from tenantry.slots import Slot, Slots

Sync = psycopg.Connection[tuple[Any, ...]]
Async = psycopg.AsyncConnection[tuple[Any, ...]]


def _exhausted(timeout: float) -> PoolTimeout:
    return PoolTimeout(
        f"no database connection came free in {timeout:g} s",
        hint="sessions are held too long, or max_connections is too small for the load",
    )


class ConnectionPools:
    """Thread-safe."""

    def __init__(self, slots: Slots[Sync]) -> None:
        self._slots = slots
        self._changed = threading.Condition()
        self._closed = False

    @contextlib.contextmanager
    def borrow(
        self, key: Hashable, tenant_id: str | None, *, limit: int, timeout: float, connect: Callable[[], Sync]
    ) -> Iterator[Slot[Sync]]:
        """A slot with an open connection for the block. On leaving it is kept only if it is idle and sound."""
        slot = self._take(key, tenant_id, limit, timeout)
        try:
            if slot.connection is None:
                slot.connection = connect()
            yield slot
        finally:
            connection = slot.connection
            with self._changed:
                close = self._slots.give(slot, reusable=connection is not None and reusable(connection))
                if self._closed:
                    close += self._slots.clear()
                self._changed.notify_all()
            _close(close)

    def _take(self, key: Hashable, tenant_id: str | None, limit: int, timeout: float) -> Slot[Sync]:
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                taken = self._slots.take(key, tenant_id, limit)
                if taken.slot is None and not taken.close:
                    left = deadline - time.monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        raise _exhausted(timeout)
                    continue
            _close(taken.close)
            if taken.slot is not None:
                return taken.slot

    def forget(self, key: Hashable) -> None:
        with self._changed:
            close = self._slots.forget(key)
            self._changed.notify_all()
        _close(close)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            close = self._slots.clear()
        _close(close)


class AsyncConnectionPools:
    """For one event loop."""

    def __init__(self, slots: Slots[Async]) -> None:
        self._slots = slots
        self._changed = asyncio.Condition()
        self._closed = False

    @contextlib.asynccontextmanager
    async def borrow(
        self,
        key: Hashable,
        tenant_id: str | None,
        *,
        limit: int,
        timeout: float,
        connect: Callable[[], Awaitable[Async]],
    ) -> AsyncIterator[Slot[Async]]:
        slot = await self._take(key, tenant_id, limit, timeout)
        try:
            if slot.connection is None:
                slot.connection = await connect()
            yield slot
        finally:
            # bookkeeping before any await: a task cancelled here still gives its slot back
            connection = slot.connection
            close = self._slots.give(slot, reusable=connection is not None and reusable(connection))
            if self._closed:
                close += self._slots.clear()
            await asyncio.shield(self._tell_and_close(close))

    async def _take(self, key: Hashable, tenant_id: str | None, limit: int, timeout: float) -> Slot[Async]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            taken = self._slots.take(key, tenant_id, limit)
            if taken.close:
                await self._closing(taken)
            if taken.slot is not None:
                return taken.slot
            try:
                async with asyncio.timeout_at(deadline), self._changed:
                    await self._changed.wait_for(lambda: self._slots.available(key, limit))
            except TimeoutError:
                raise _exhausted(timeout) from None

    async def _closing(self, taken: Any) -> None:
        try:
            for connection in taken.close:
                await connection.close()
        except BaseException:
            if taken.slot is not None:
                self._slots.give(taken.slot, reusable=False)
            raise

    async def _tell_and_close(self, close: Iterable[Async]) -> None:
        async with self._changed:
            self._changed.notify_all()
        for connection in close:
            await connection.close()

    async def forget(self, key: Hashable) -> None:
        await self._tell_and_close(self._slots.forget(key))

    async def close(self) -> None:
        self._closed = True
        await self._tell_and_close(self._slots.clear())


def reusable(connection: Sync | Async) -> bool:
    """Whether nothing of the last holder is left: open, and in no transaction."""
    return not connection.closed and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def _close(connections: Iterable[Sync]) -> None:
    for connection in connections:
        connection.close()
