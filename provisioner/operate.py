"""One operation on one stack: under its lease, fenced, recorded while it runs, never half-done without a trace.

The engine runs in a thread of its own that lives as long as the process: the kernel ends the engine when the thread
that started it ends, and Pulumi's runtime is one a process.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from provisioner.deployer import Deployer, Fence, Operation, OperationResult, StackRequest
from provisioner.deployer.command import EngineProcess
from provisioner.errors import ApprovalNeeded, EngineFailed, LeaseLost, OperatorNeeded, TenantryError
from provisioner.gate.gatekeeper import Judgement
from provisioner.gate.stack_gate import StackGate, state_after
from provisioner.lifecycle import OperationState
from provisioner.registry import leases, operations, timeline
from provisioner.registry.leases import Lease
from provisioner.registry.operations import OperationKind
from provisioner.registry.timeline import EntryKind
from provisioner.stack_request import StackInputs
from provisioner.step_recorder import StepRecorder

log = structlog.get_logger(__name__)

Pool = AsyncConnectionPool[AsyncConnection[tuple[object, ...]]]


class HandedBack(EngineFailed):
    """The worker is stopping: the operation was interrupted cleanly, another worker goes on with it."""

    code = "handed_back"


@dataclass(frozen=True)
class Held:
    """A stack that this process alone may change."""

    lease: Lease
    stack_name: str

    @property
    def fence(self) -> Fence:
        return Fence(self.stack_name, self.lease.number)

    async def require(self, connection: AsyncConnection) -> None:
        """LeaseLost unless the stack is held still; nobody takes it over before ``connection``'s transaction ends."""
        await leases.require(connection, self.stack_name, self.lease.number)


class Operator:
    """Runs operations one at a time. ``deployer`` is this process's own; ``secrets_provider`` is for new stacks.

    ``gate`` judges every update between its preview and its first change.
    ``keep_file`` is called in a thread with what a stack was made from, or None for a stack that is gone, so that a
    plain ``pulumi`` finds its configuration beside the program.
    """

    def __init__(
        self,
        pool: Pool,
        database_url: str,
        deployer: Deployer,
        secrets_provider: str | None,
        gate: StackGate,
        keep_file: Callable[[str, StackInputs | None], None] = lambda stack_name, inputs: None,
    ) -> None:
        self._gate = gate
        self._keep_file = keep_file
        self._pool = pool
        self._database_url = database_url
        self._deployer = deployer
        self._secrets_provider = secrets_provider
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._stopping = False
        self._busy = threading.Event()

    @property
    def busy(self) -> bool:
        """Whether an operation is running."""
        return self._busy.is_set()

    def hand_back(self) -> None:
        """Interrupt what runs, as Ctrl-C would; it ends in ``HandedBack``. Nothing can be started any more."""
        self._stopping = True
        self._deployer.interrupt()

    def kill(self) -> None:
        """End the running engine at once."""
        self._deployer.kill()

    def close(self) -> None:
        self._engine_thread.shutdown(wait=True, cancel_futures=True)

    @asynccontextmanager
    async def hold(self, stack_name: str, *, wait_s: float = 0.0) -> AsyncIterator[Held]:
        """The stack's lease; ``LeaseBusy`` if somebody else has it."""
        # Connecting, waiting and releasing block: they happen in threads, the body on the loop.
        context = leases.hold(self._database_url, stack_name, on_lost=self._deployer.kill, wait_s=wait_s)
        lease = await asyncio.to_thread(context.__enter__)
        try:
            log.debug("lease.taken", stack=stack_name, fencing=lease.number)
            # Here and not with the next operation: there may be none, as after a crash at the end of a destroy.
            async with self._pool.connection() as connection:
                await operations.abandon(connection, stack_name, lease.number)
            yield Held(lease, stack_name)
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)

    async def run(
        self,
        held: Held,
        operation: Operation,
        kind: OperationKind,
        inputs: StackInputs,
        *,
        tenant_id: str | None,
        reason: str,
        refresh: bool = False,
    ) -> OperationResult:
        """Run ``operation``, recorded as ``kind``; an update only as far as the gate lets it.

        Raises what the deployer and the gate raise, ``HandedBack`` or ``LeaseLost``. When the gate refuses what an
        update has made, that stands: the caller opens nothing with it.
        """
        if self._stopping:
            raise HandedBack(f"stack {held.stack_name}: this worker is stopping", hint="another worker goes on")
        operation_id = await self._begin(held, kind, tenant_id, reason)
        bound = structlog.contextvars.bind_contextvars(operation_id=operation_id)
        recorder = StepRecorder(self._pool, operation_id)
        judgement: Judgement | None = None
        self._busy.set()
        try:
            log.info("operation.started", stack=held.stack_name, kind=str(kind), reason=reason)
            began = time.monotonic()
            if operation is Operation.UP:
                judgement = await self._judgement(held, operation_id, tenant_id, kind, inputs)
            result = await self._execute(held, operation, inputs, recorder, reason, refresh, judgement)
            log.debug("engine.ended", stack=held.stack_name, kind=str(kind))
            await asyncio.to_thread(held.lease.forget_engine)
            if judgement is not None:
                await self._gate.recheck(judgement, held.stack_name)
                log.debug("gate.passed", stack=held.stack_name, seconds=round(judgement.seconds, 4))
            await self._end(held, operation_id, tenant_id, kind, result=result, judgement=judgement)
            gone = operation is Operation.DESTROY
            await asyncio.to_thread(self._keep_file, held.stack_name, None if gone else inputs)
            seconds = round(time.monotonic() - began, 3)
            log.info(
                "operation.succeeded",
                stack=held.stack_name,
                kind=str(kind),
                seconds=seconds,
                changes=dict(result.changes),
            )
            return result
        except BaseException as error:
            failure = await asyncio.to_thread(self._translated, held, error)
            log.warning("operation.failed", stack=held.stack_name, code=failure.code, message=failure.message)
            if isinstance(failure, ApprovalNeeded):
                # A question that is not written down can't be answered: a failure to do so is the operation's.
                failure.parked_as(operation_id)
                await asyncio.shield(self._end(held, operation_id, tenant_id, kind, error=failure))
            else:
                with suppress(Exception):  # the database may be what failed; the next lease marks it interrupted
                    await asyncio.shield(self._end(held, operation_id, tenant_id, kind, error=failure))
            if failure is error:
                raise
            raise failure from error
        finally:
            if judgement is not None:
                judgement.close()
            self._busy.clear()
            structlog.contextvars.reset_contextvars(**bound)

    async def _judgement(
        self, held: Held, operation_id: int, tenant_id: str | None, kind: OperationKind, inputs: StackInputs
    ) -> Judgement:
        async with self._pool.connection() as connection:
            judgement = await self._gate.open(connection, held.stack_name, kind, inputs.config)
            await self._gate.note_standing(connection, judgement, tenant_id, operation_id)
        return judgement

    async def _execute(
        self,
        held: Held,
        operation: Operation,
        inputs: StackInputs,
        recorder: StepRecorder,
        reason: str,
        refresh: bool,
        judgement: Judgement | None,
    ) -> OperationResult:
        request = StackRequest(
            inputs.stack_name,
            inputs.program,
            config=inputs.config,
            secrets_provider=self._secrets_provider,
            fence=held.fence,
            fenced_off=held.lease.fenced_off,
            refresh=refresh,
            message=reason[:200],
            gate=None if judgement is None else judgement.judge,
        )

        def on_start(engine: EngineProcess) -> None:
            held.lease.record_engine(engine.pid)
            log.debug("engine.started", stack=held.stack_name, pid=engine.pid)
            if self._stopping:
                self._deployer.interrupt()

        run: Callable[[], OperationResult]
        match operation:
            case Operation.UP:
                run = partial(self._deployer.up, request, on_step=recorder.put, on_start=on_start)
            case Operation.DESTROY:
                run = partial(self._deployer.destroy, request, remove=True, on_step=recorder.put, on_start=on_start)
            case Operation.REFRESH:
                run = partial(self._deployer.refresh, request, on_step=recorder.put, on_start=on_start)
            case Operation.PREVIEW:
                run = partial(self._deployer.preview, request, on_step=recorder.put, on_start=on_start)
        future = asyncio.get_running_loop().run_in_executor(self._engine_thread, run)
        flushing = asyncio.create_task(recorder.flush_until_cancelled())
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The job was aborted: the engine must have saved its state before the lease is let go.
            self._deployer.interrupt()
            with suppress(TenantryError):
                await future
            raise
        finally:
            flushing.cancel()
            with suppress(asyncio.CancelledError):
                await flushing
            with suppress(Exception):
                await recorder.flush()

    def _translated(self, held: Held, error: BaseException) -> TenantryError:
        """Asks the database: an engine that another worker ended fails before a heartbeat tells why."""
        if isinstance(error, TenantryError):
            try:
                held.lease.check()
            except LeaseLost as lost:
                return lost
            if self._stopping and isinstance(error, EngineFailed):
                return HandedBack(
                    f"stack {held.stack_name}: interrupted because its worker was stopped",
                    hint="another worker goes on",
                )
            return error
        if isinstance(error, asyncio.CancelledError):
            return HandedBack(f"stack {held.stack_name}: its job was aborted", hint="it is tried again")
        log.error("operation.unexpected", stack=held.stack_name, exc_info=error)
        return EngineFailed(f"stack {held.stack_name}: {type(error).__name__}", hint="the worker's log has the details")

    async def _begin(self, held: Held, kind: OperationKind, tenant_id: str | None, reason: str) -> int:
        async with self._pool.connection() as connection:
            await held.require(connection)
            before = held.lease.predecessor
            if before is not None and tenant_id is not None:
                engine = "; its engine was ended" if before.engine_killed else ""
                await timeline.add(
                    connection,
                    tenant_id,
                    EntryKind.RECOVERY,
                    f"worker {before.holder} died while it changed the stack{engine}; this one took over",
                )
            return await operations.begin(
                connection,
                tenant_id=tenant_id,
                stack_name=held.stack_name,
                kind=kind,
                reason=reason,
                fencing=held.lease.number,
                holder=held.lease.holder,
            )

    async def _end(
        self,
        held: Held,
        operation_id: int,
        tenant_id: str | None,
        kind: OperationKind,
        *,
        result: OperationResult | None = None,
        error: TenantryError | None = None,
        judgement: Judgement | None = None,
    ) -> None:
        failure: dict[str, object] | None = None
        changes: dict[str, int] = {}
        if result is not None:
            state, changes = OperationState.SUCCEEDED, dict(result.changes)
            what = ", ".join(f"{count} {op}" for op, count in sorted(changes.items())) or "nothing to change"
            adopted = f"; adopted after an interruption: {len(result.adopted)}" if result.adopted else ""
            summary = f"{kind} of stack {held.stack_name} succeeded in {result.seconds:.1f} s: {what}{adopted}"
        else:
            assert error is not None
            interrupted = isinstance(error, HandedBack | LeaseLost)
            state = OperationState.INTERRUPTED if interrupted else state_after(error)
            failure = {"code": error.code, "message": error.message, "hint": error.hint}
            if isinstance(error, OperatorNeeded):
                failure |= error.detail
            summary = f"{kind} of stack {held.stack_name} {state.replace('_', ' ')}: {error.message}"
        async with self._pool.connection() as connection:
            if result is not None:
                await held.require(connection)
            await operations.finish(connection, operation_id, state, changes=changes, error=failure)
            await self._gate.settle(
                connection,
                judgement,
                operation_id=operation_id,
                tenant_id=tenant_id,
                stack_name=held.stack_name,
                error=error,
            )
            if tenant_id is not None:
                await timeline.add(
                    connection, tenant_id, EntryKind.OPERATION, summary, operation_id=operation_id, detail=failure
                )
