"""Watches a tenant until nothing is queued or running for it, showing the resources of the running operation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg
from rich.live import Live
from rich.table import Table

from provisioner.cli.output import err
from provisioner.errors import NotFound
from provisioner.registry import operations, queue, tenants
from provisioner.registry.tenants import TenantRecord
from provisioner.settings import load

FRAME_S = 0.2


def follow(tenant_id: str, *, quiet: bool = False) -> TenantRecord:
    """Blocks; the record when the tenant has come to rest (ready, failed, waiting for its next attempt)."""
    return asyncio.run(_follow(tenant_id, quiet))


async def _follow(tenant_id: str, quiet: bool) -> TenantRecord:
    async with await psycopg.AsyncConnection.connect(
        load().database_url.get_secret_value(), autocommit=True, application_name="tenantry-cli"
    ) as connection:
        if quiet or not err.is_terminal:
            while (record := await _at_rest(connection, tenant_id)) is None:
                await asyncio.sleep(FRAME_S)
            return record
        with Live(console=err, refresh_per_second=8, transient=True) as live:
            while (record := await _at_rest(connection, tenant_id)) is None:
                live.update(await picture(connection, [tenant_id]))
                await asyncio.sleep(FRAME_S)
        return record


async def _at_rest(connection: psycopg.AsyncConnection, tenant_id: str) -> TenantRecord | None:
    if await queue.is_busy(connection, tenant_id):
        return None
    record = await tenants.get(connection, tenant_id)
    if record is None:
        raise NotFound(f"there is no tenant {tenant_id}")
    return record


async def picture(connection: psycopg.AsyncConnection, tenant_ids: Sequence[str | None], *, rows: int = 14) -> Table:
    """The running operations of these tenants (None: any stack's) and what they are doing."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for tenant_id in tenant_ids:
        running = await operations.list_operations(connection, tenant_id=tenant_id, status="running", limit=1)
        if not running:
            record = None if tenant_id is None else await tenants.get(connection, tenant_id)
            idle = "waiting for a worker" if record is None or record.state == "pending" else record.shown_state
            table.add_row(tenant_id or "", idle, "")
            continue
        operation = running[0]
        steps = [step for _, step in await operations.steps_of(connection, [operation.operation_id])]
        done = sum(step.status == "done" for step in steps)
        table.add_row(
            f"[bold]{operation.stack_name}[/bold]", f"{operation.kind}: {done} of {len(steps)} begun are done", ""
        )
        for step in [step for step in steps if step.status != "done"][:rows]:
            mark = "[red]x[/]" if step.status == "failed" else "[cyan].[/]"
            table.add_row("", f"{mark} {step.op} {step.type.split(':')[-1]} {step.name}", step.message or "")
    return table
