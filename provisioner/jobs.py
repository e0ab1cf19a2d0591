"""The job queue's tasks: ids in, everything else is loaded afresh. Procrastinate runs one job of a lock at a time.

A failed reconcile ends its job and stores when the tenant is due again: a retry scheduled in the queue would hold the
tenant's lock, and a new payment would wait behind it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import procrastinate
import psycopg
import structlog
from procrastinate import RetryStrategy

from isolation.evidence.document import Trigger
from provisioner.cell import Cells
from provisioner.errors import RetryLater, TenantryError
from provisioner.inbox import Inbox
from provisioner.proving.request import ProofRequest, Prover
from provisioner.reconcile import Reconciler

log = structlog.get_logger(__name__)

EVENTS_QUEUE = "events"
RECONCILE_QUEUE = "reconcile"
PROOFS_QUEUE = "proofs"
APPLICATION_NAME = "tenantry-jobs"


@dataclass(frozen=True)
class Handlers:
    inbox: Inbox
    reconciler: Reconciler
    cells: Cells
    prover: Prover


def make_app(database_url: str, handlers: Handlers | None) -> procrastinate.App:
    """The queue of the control plane's database; without handlers it can only be looked at."""
    connector = procrastinate.PsycopgConnector(
        conninfo=database_url, min_size=1, max_size=8, timeout=10, kwargs={"application_name": APPLICATION_NAME}
    )
    app = procrastinate.App(connector=connector)
    if handlers is not None:
        _add_tasks(app, handlers)
    return app


def _add_tasks(app: procrastinate.App, handlers: Handlers) -> None:
    # Events have no lock, so one that waits for its retry holds nothing up. One that fails for good stays `received`,
    # and the sweep queues it again.
    retry = RetryStrategy(max_attempts=8, exponential_wait=2, retry_exceptions=[RetryLater, psycopg.Error])

    @app.task(name="handle_event", queue=EVENTS_QUEUE, retry=retry)
    async def handle_event(event_id: str) -> None:
        await handlers.inbox.handle(event_id)

    # Only a lost database is raised: then nothing else could be written down. Without a wait, since that would hold
    # the tenant's lock.
    at_once = RetryStrategy(max_attempts=5, wait=0, retry_exceptions=[psycopg.Error])

    @app.task(name="reconcile", queue=RECONCILE_QUEUE, retry=at_once)
    async def reconcile(tenant_id: str, reason: str) -> None:
        await handlers.reconciler.reconcile(tenant_id, reason)

    platform_retry = RetryStrategy(max_attempts=20, linear_wait=5, retry_exceptions=[RetryLater, psycopg.Error])

    @app.task(name="reconcile_platform", queue=RECONCILE_QUEUE, retry=platform_retry)
    async def reconcile_platform(cell: str, reason: str) -> None:
        try:
            await handlers.cells.converge(cell, reason)
        except (RetryLater, psycopg.Error):
            raise
        except TenantryError as error:
            # Its operation has the details; tenants of the cell say that their platform is missing or outdated.
            log.error("platform.failed", cell=cell, code=error.code, message=error.message, hint=error.hint)
        except Exception as error:
            log.error("platform.unexpected", cell=cell, exc_info=error)
            raise RetryLater(
                f"unexpected: {type(error).__name__}", hint="the worker's log has the traceback"
            ) from error

    # A proof holds nobody up, so one that was not possible waits its turn in the queue.
    later = RetryStrategy(max_attempts=5, linear_wait=30, retry_exceptions=[RetryLater, psycopg.Error])

    @app.task(name="prove", queue=PROOFS_QUEUE, retry=later)
    async def prove(tenant_id: str | None, cell: str, trigger: str, operation_id: int | None) -> None:
        if tenant_id is None:
            await handlers.prover.prove(ProofRequest.of_cell(cell, Trigger(trigger)))
        else:
            await handlers.prover.prove(ProofRequest.after_operation(tenant_id, cell, operation_id))


async def take_over_stalled(app: procrastinate.App, *, silence_s: float) -> list[str]:
    """Queue again what a worker was doing that has been silent for ``silence_s``; the jobs, for the log."""
    taken = []
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=silence_s):
        try:
            await app.job_manager.retry_job(job)
        except procrastinate.exceptions.ConnectorException:  # another worker was quicker
            continue
        taken.append(job.call_string)
        await asyncio.sleep(0)
    return taken
