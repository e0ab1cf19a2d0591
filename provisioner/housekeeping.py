"""What nobody asked for and somebody must do: due retries, jobs of dead workers, the sweep, nightly proofs, pruning.

Every worker process runs it. Retries and take-overs are safe in any number; the rest is done by the one that holds an
advisory lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import procrastinate
import psycopg
import structlog
from psycopg import sql

from provisioner import jobs
from provisioner.errors import TenantryError
from provisioner.operate import Pool
from provisioner.periodic import Rounds
from provisioner.proving.nightly import Nightly
from provisioner.registry import queue, tenants
from provisioner.registry.leases import SILENCE_S
from provisioner.registry.queue import Priority
from provisioner.sweep import Sweep

log = structlog.get_logger(__name__)

DUE_EVERY_S = 1.0
REVIEW_EVERY_S = 5.0
#: A worker that was silent for `SILENCE_S` is dead. Its job is taken over at most SILENCE_S + STALLED_EVERY_S after its
#: last sign of life.
STALLED_EVERY_S = 3.0
PRUNE_EVERY_S = 3600.0
_LEADER = 7_203_114_902  # advisory lock; any number, as long as it stays the same


@dataclass
class Housekeeping:
    pool: Pool
    database_url: str
    app: procrastinate.App
    sweep: Sweep
    sweep_every_s: float
    nightly: Nightly
    rounds: Rounds = field(default_factory=lambda: Rounds(()))

    async def run(self) -> None:
        """Until cancelled. A failure of one round is logged, and the next one comes."""
        await asyncio.gather(
            self._forever(DUE_EVERY_S, self._queue_due),
            self._forever(REVIEW_EVERY_S, self._queue_reviews),
            self._forever(STALLED_EVERY_S, self._take_over),
            self._lead(),
        )

    async def _forever(self, every_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # whatever it is, it must not end the keeping
                _report(work.__name__.strip("_"), error)
            await asyncio.sleep(every_s)

    async def _queue_due(self) -> None:
        async with self.pool.connection() as connection:
            due = await tenants.claim_due(connection, datetime.now(UTC))
            await queue.defer_reconcile(connection, due, reason="the next attempt is due", priority=Priority.RETRY)

    async def _queue_reviews(self) -> None:
        """Access that time alone has changed: a step down is due, or the retention is over."""
        now = await self.sweep.inbox.gateway.now()
        async with self.pool.connection() as connection:
            due = await tenants.claim_review(connection, now)
            await queue.defer_reconcile(connection, due, reason="a date was reached", priority=Priority.RETRY)

    async def _take_over(self) -> None:
        for call in await jobs.take_over_stalled(self.app, silence_s=SILENCE_S):
            log.warning("job.taken_over", job=call)

    async def _lead(self) -> None:
        """Sweep while this process holds the leader's lock; it is free again when its connection ends."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self.database_url, autocommit=True, application_name="tenantry-leader"
                ) as connection:
                    await self._lead_on(connection)
            except Exception as error:
                _report("lead", error)
            await asyncio.sleep(self.sweep_every_s)

    async def _lead_on(self, connection: psycopg.AsyncConnection) -> None:
        # A machine that vanishes in the middle of a sweep must not keep the lock for the two hours of the default.
        for name, value in (("idle", 10), ("interval", 5), ("count", 3)):
            await connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(f"tcp_keepalives_{name}"), value))
        pruned_at = 0.0
        while True:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [_LEADER])
            row = await cursor.fetchone()
            if row is not None and row[0]:
                await self._sweep_once()
                await self._prove_nightly()
                await self._go_round()
                if time.monotonic() - pruned_at > PRUNE_EVERY_S:
                    pruned_at = time.monotonic()
                    await self._prune()
                await connection.execute("SELECT pg_advisory_unlock(%s)", [_LEADER])
            await asyncio.sleep(self.sweep_every_s)

    async def _sweep_once(self) -> None:
        try:
            result = await self.sweep.run()
        except TenantryError as error:
            log.warning("sweep.failed", code=error.code, message=error.message)
            return
        if result.queued or result.recovered_events or result.requeued_events:
            log.info(
                "sweep.done",
                tenants=result.tenants,
                queued=len(result.queued),
                recovered_events=result.recovered_events,
                requeued_events=result.requeued_events,
                seconds=result.seconds,
            )

    async def _prove_nightly(self) -> None:
        for cell in await self.nightly.queue_due():
            log.info("proof.due", cell=cell)

    async def _go_round(self) -> None:
        try:
            now = await self.sweep.inbox.gateway.now()
        except TenantryError as error:  # Stripe's time is unknown: nothing is done by a guess
            log.warning("periodic.no_time", code=error.code, message=error.message)
            return
        await self.rounds.run_due(now)

    async def _prune(self) -> None:
        await self.nightly.prune()
        async with self.pool.connection() as connection:
            await queue.prune(connection)
        await asyncio.to_thread(self.sweep.reconciler.state.prune)


def _report(work: str, error: Exception) -> None:
    expected = isinstance(error, TenantryError | psycopg.Error | procrastinate.exceptions.ProcrastinateException)
    log.warning(
        "housekeeping.failed",
        work=work,
        error=str(error).splitlines()[:1] if expected else repr(error),
        exc_info=None if expected else error,
    )
