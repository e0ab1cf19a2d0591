"""How a worker proves: in a child process of low priority, when no tenant waits for the worker.

The attacks are synchronous Python for seconds to a minute. In the worker's own process they would hold up its event
loop; beside an operation they would make a customer who has paid wait.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from provisioner.engine import launch
from provisioner.errors import OperatorNeeded, RetryLater
from provisioner.operate import Pool
from provisioner.proving import record
from provisioner.proving.request import ProofRequest
from provisioner.registry import queue
from provisioner.settings import Settings

log = structlog.get_logger(__name__)

PATIENCE_S = 60.0  #: how long a proof stands back while tenants are being changed
LOOK_S = 0.5
LONGEST_S = 1800.0  #: before a child is taken for stuck
GRACE_S = 5.0  #: a child gets to remove what it wrote into tenants' tables
#: Exit codes of the child besides 0, which is a proof whatever it found; the reason is recorded by the child.
RETRY, REFUSED = 75, 65


class ProofInterrupted(RetryLater):
    """The worker is stopping; the job goes to another one."""

    code = "proof_interrupted"


class ProofDidNotRun(RetryLater):
    """Recorded with its reason; it may be possible later."""

    code = "proof_did_not_run"


@dataclass
class ChildProver:
    """``command``: what is run, with the request as JSON after it."""

    settings: Settings
    pool: Pool
    command: Sequence[str] = (sys.executable, "-P", "-m", "provisioner.proving")
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def prove(self, request: ProofRequest) -> None:
        """Raises ProofInterrupted and ProofDidNotRun: both are worth another attempt."""
        await self._stand_back()
        if self._stopping.is_set():
            raise ProofInterrupted("the worker is stopping", hint="another worker goes on")
        began = datetime.now(UTC)
        code = await self._run(json.dumps(asdict(request)))
        if code == 0 or code == REFUSED:
            return
        if self._stopping.is_set():
            raise ProofInterrupted("the worker is stopping", hint="another worker goes on")
        if code != RETRY:  # it could not write down why
            reason = OperatorNeeded(
                f"the proof's process ended with {'signal' if code < 0 else 'exit code'} {abs(code)}",
                hint="the worker's log has its last words",
            )
            await record.keep_not_run(self.settings, request, began, reason)
        raise ProofDidNotRun(f"the proof did not run (exit code {code})", hint="`tenantry prove list` says why")

    def hand_back(self) -> None:
        """End what runs; nothing is begun any more."""
        self._stopping.set()

    async def _stand_back(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self._stopping.is_set():
            async with self.pool.connection() as connection:
                if not await queue.is_reconciling(connection):
                    return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LOOK_S)

    async def _run(self, request: str) -> int:
        bound = (sys.executable, "-I", "-S", str(Path(launch.__file__)), str(int(signal.SIGTERM)), str(os.getpid()))
        child = await asyncio.create_subprocess_exec(
            *bound, *self.command, request, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )
        ended, stopped = asyncio.create_task(child.wait()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ended, stopped}, timeout=LONGEST_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not ended.done():
                log.warning("proof.interrupted", pid=child.pid)
                child.terminate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(ended), GRACE_S)
                if not ended.done():
                    child.kill()
        return await ended
