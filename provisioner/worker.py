"""One worker process: events several at a time, reconciles and proofs one at a time, housekeeping beside them.

SIGTERM (or Ctrl-C): no new job is taken, a running operation gets the grace to finish, then is interrupted cleanly and
handed back: its engine saves its state, and another worker goes on where it stopped. A second signal doesn't wait.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, field

import procrastinate
import psycopg
import structlog
from procrastinate.worker import Worker

from provisioner.housekeeping import Housekeeping
from provisioner.jobs import EVENTS_QUEUE, PROOFS_QUEUE, RECONCILE_QUEUE
from provisioner.operate import Operator
from provisioner.proving.child import ChildProver
from provisioner.registry.leases import HEARTBEAT_S, SILENCE_S

log = structlog.get_logger(__name__)

EVENT_CONCURRENCY = 8
RENEW_S = 1.0  #: before a worker that lost the database begins anew
POLL_S = 1.0  #: jobs are announced; polling finds what was announced while nobody listened


@dataclass
class WorkerProcess:
    app: procrastinate.App
    operator: Operator
    housekeeping: Housekeeping
    grace_s: float
    prover: ChildProver
    _signals: int = field(default=0, init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _workers: dict[str, Worker] = field(default_factory=dict, init=False)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; returns when everything is finished or handed back."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        async with self.app.open_async():
            keeping = asyncio.gather(self.housekeeping.run(), self._beat_while_stopping())
            log.info("worker.ready", pid=os.getpid())
            try:
                await asyncio.gather(
                    self._serve(EVENTS_QUEUE, EVENT_CONCURRENCY),
                    self._serve(RECONCILE_QUEUE, 1),
                    self._serve(PROOFS_QUEUE, 1),
                )
            finally:
                keeping.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping
                log.info("worker.stopped", pid=os.getpid())

    async def _serve(self, queue: str, concurrency: int) -> None:
        """Work on the queue until told to stop. A worker ends when it loses the database, or its registration there.

        It begins anew then, under another registration: what it could not finish is taken over from the old one.
        """
        while not self._stopping.is_set():
            self._workers[queue] = worker = self._worker(queue, concurrency)
            try:
                await worker.run()  # type: ignore[no-untyped-call]
            except (procrastinate.exceptions.ProcrastinateException, psycopg.Error) as error:
                log.warning("worker.lost_database", queue=queue, error=str(error).splitlines()[:1])
            if not self._stopping.is_set():
                log.warning("worker.begins_anew", queue=queue, in_s=RENEW_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RENEW_S)

    async def _beat_while_stopping(self) -> None:
        """Procrastinate's worker stops its heartbeat before it waits for its jobs: others would take them over."""
        await self._stopping.wait()
        while True:
            for worker in self._workers.values():
                if worker.worker_id is not None:
                    with suppress(procrastinate.exceptions.ProcrastinateException, psycopg.Error):
                        await self.app.job_manager.update_heartbeat(worker.worker_id)
            await asyncio.sleep(HEARTBEAT_S)

    def _worker(self, queue: str, concurrency: int) -> Worker:
        return Worker(
            self.app,
            queues=[queue],
            name=f"{socket.gethostname()}/{os.getpid()}/{queue}",
            concurrency=concurrency,
            fetch_job_polling_interval=POLL_S,
            abort_job_polling_interval=POLL_S * 5,
            install_signal_handlers=False,
            update_heartbeat_interval=HEARTBEAT_S,
            stalled_worker_timeout=SILENCE_S,
        )

    def _on_signal(self) -> None:
        self._signals += 1
        self._stopping.set()
        self.prover.hand_back()
        for worker in self._workers.values():
            worker.stop()  # type: ignore[no-untyped-call]
        if self._signals == 1:
            if self.operator.busy:
                log.info("worker.stopping", grace_s=self.grace_s)
            asyncio.get_running_loop().call_later(self.grace_s, self._hand_back)
        elif self._signals == 2:
            self._hand_back()
        else:
            self.operator.kill()

    def _hand_back(self) -> None:
        if self.operator.busy:
            log.info("worker.handing_back")
        self.operator.hand_back()
