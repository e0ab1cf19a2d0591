"""The steps of a running operation, written to the registry while it runs."""

from __future__ import annotations

import asyncio
import threading

import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from provisioner.deployer import Happening, StepEvent
from provisioner.registry import operations
from provisioner.registry.operations import StepRow

log = structlog.get_logger(__name__)

FLUSH_S = 0.2  #: how often the steps of a running operation are written
_OPS_WITHOUT_A_STEP = frozenset({"same", "read"})
_PROGRESS = frozenset({Happening.STARTED, Happening.FINISHED, Happening.FAILED})


#: What a step that runs is waiting for, where that is AWS's business and takes a while.
TAKES_LONG = {
    "aws:rds/instance:Instance": "RDS makes or changes the instance: 5 to 40 minutes",
    "aws:rds/instanceDesiredState:InstanceDesiredState": "RDS starts or stops the instance: minutes, 60 at most",
}


class StepRecorder:
    """Takes steps from the engine's threads and writes them from the loop, a batch at a time."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[tuple[object, ...]]], operation_id: int) -> None:
        self._pool = pool
        self._operation_id = operation_id
        self._lock = threading.Lock()
        self._waiting: dict[str, StepRow] = {}
        self._messages: dict[str, str] = {}

    def put(self, step: StepEvent) -> None:
        if not step.urn:
            return
        if step.happening in _PROGRESS and step.op not in _OPS_WITHOUT_A_STEP:
            log.debug(f"step.{step.happening}", op=step.op, urn=step.urn)
        with self._lock:
            match step.happening:
                case Happening.STARTED | Happening.FINISHED | Happening.FAILED:
                    if step.op in _OPS_WITHOUT_A_STEP:
                        return
                    status = {Happening.STARTED: "running", Happening.FINISHED: "done"}.get(step.happening, "failed")
                    began = step.happening is Happening.STARTED
                    seconds = None if began else step.seconds
                    message = self._messages.get(step.urn) or (TAKES_LONG.get(step.type) if began else None)
                    self._waiting[step.urn] = StepRow(step.urn, step.type, step.name, step.op, status, seconds, message)
                case Happening.DIAGNOSTIC | Happening.POLICY if step.severity in ("error", "mandatory"):
                    self._messages[step.urn] = step.message
                    self._waiting[step.urn] = StepRow(
                        step.urn, step.type, step.name, step.op or "update", "failed", step.seconds, step.message
                    )

    async def flush_until_cancelled(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except Exception as error:
                log.warning("operation.steps_not_written", error=type(error).__name__)

    async def flush(self) -> None:
        with self._lock:
            rows, self._waiting = list(self._waiting.values()), {}
        if not rows:
            return
        try:
            async with self._pool.connection() as connection:
                await operations.record_steps(connection, self._operation_id, rows)
        except BaseException:
            with self._lock:
                self._waiting = {**{row.urn: row for row in rows}, **self._waiting}
            raise
