"""Stores verified events: those that come while a commit is under way share the next one.

The job of an event is announced by NOTIFY, and PostgreSQL lets one announcing transaction commit at a time: event by
event, the inbox takes no more than the disk has flushes in a second. An event counts as stored when its transaction is
committed, never before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from provisioner.operate import Pool
from provisioner.registry import events
from provisioner.registry.events import NewEvent

log = structlog.get_logger(__name__)

WRITERS = 2  #: transactions at a time: one is sent while the other one waits for the disk
MAX_EVENTS = 100  #: of one transaction
MAX_BYTES = 1024 * 1024  #: of their bodies
WAIT_S = 10.0  #: how long an event waits to be stored; its sender has its own limit, and sends again


class NotStored(Exception):
    """The event may be stored or not; ``str`` says what failed. Its sender is to send it again."""


@dataclass
class _Waiting:
    event: NewEvent
    stored: asyncio.Future[bool]


class InboxWriter:
    """Belongs to one event loop. ``pool`` is in autocommit mode: a batch is one statement, its own transaction."""

    def __init__(self, pool: Callable[[], Pool], *, wait_s: float = WAIT_S) -> None:
        self._pool = pool
        self._wait_s = wait_s
        self._waiting: deque[_Waiting] = deque()
        self._writers: set[asyncio.Task[None]] = set()

    async def store(self, event: NewEvent) -> bool:
        """True once the event and its job are committed; False if the event was there already. ``NotStored``."""
        waiting = _Waiting(event, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if len(self._writers) < WRITERS:
            writer = asyncio.create_task(self._write())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        try:
            async with asyncio.timeout(self._wait_s):
                return await waiting.stored
        except TimeoutError:
            raise NotStored("TimeoutError") from None

    async def _write(self) -> None:
        while batch := self._next():
            try:
                await self._store(batch)
            except (psycopg.Error, PoolTimeout) as error:
                _fail(batch, error)
            except BaseException as error:  # nobody may wait for a writer that is gone
                _fail(batch, error)
                raise

    def _next(self) -> list[_Waiting]:
        """What waits, oldest first; those whose sender was given up are left out."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < MAX_EVENTS and size < MAX_BYTES:
            waiting = self._waiting.popleft()
            if not waiting.stored.done():
                batch.append(waiting)
                size += len(waiting.event.body)
        return batch

    async def _store(self, batch: list[_Waiting]) -> None:
        async with self._pool().connection() as connection:
            try:
                new = await events.store_all(connection, [waiting.event for waiting in batch])
            except psycopg.OperationalError:
                raise
            except psycopg.Error:
                if len(batch) == 1:
                    raise
                # One of them is to blame, and the others must not be lost with it.
                log.warning("inbox.batch_refused", events=len(batch))
                for waiting in batch:
                    try:
                        _succeed([waiting], await events.store_all(connection, [waiting.event]))
                    except psycopg.OperationalError:
                        raise
                    except psycopg.Error as error:
                        _fail([waiting], error)
                return
        _succeed(batch, new)


def _succeed(batch: list[_Waiting], new: set[str]) -> None:
    for waiting in batch:
        # Of two deliveries of one event in one batch, the second one is the duplicate.
        is_new = waiting.event.event_id in new
        new.discard(waiting.event.event_id)
        if not waiting.stored.done():
            waiting.stored.set_result(is_new)


def _fail(batch: list[_Waiting], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.stored.done():
            waiting.stored.set_exception(NotStored(type(error).__name__))
