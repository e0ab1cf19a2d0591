"""One worker process: events several at a time, reconciles one at a time, housekeeping beside them.

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
import structlog
from procrastinate.worker import Worker

from provisioner.housekeeping import HEARTBEAT_S, SILENCE_S, Housekeeping
from provisioner.jobs import EVENTS_QUEUE, RECONCILE_QUEUE
from provisioner.operate import Operator

log = structlog.get_logger(__name__)

EVENT_CONCURRENCY = 8
POLL_S = 1.0  #: jobs are announced; polling finds what was announced while nobody listened


@dataclass
class WorkerProcess:
    app: procrastinate.App
    operator: Operator
    housekeeping: Housekeeping
    grace_s: float
    _signals: int = field(default=0, init=False)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; returns when everything is finished or handed back."""
        workers = [self._worker(EVENTS_QUEUE, EVENT_CONCURRENCY), self._worker(RECONCILE_QUEUE, 1)]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, workers)
        async with self.app.open_async():
            keeping = asyncio.create_task(self.housekeeping.run())
            log.info("worker.ready", pid=os.getpid())
            try:
                await asyncio.gather(*(worker.run() for worker in workers))  # type: ignore[no-untyped-call]
            finally:
                keeping.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping
                log.info("worker.stopped", pid=os.getpid())

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

    def _on_signal(self, workers: list[Worker]) -> None:
        self._signals += 1
        for worker in workers:
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
