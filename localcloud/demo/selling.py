"""Sells one plan of each tier and waits, with the resources shown as they come, until the tenants stand."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import closing

import psycopg
from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.table import Table

from components.spec import TenantOutputs
from components.tiers import TIERS, Tier
from localcloud.lifecycle import LocalCloudFailed
from provisioner.billing import catalogue as catalogues
from provisioner.billing.storefront import Storefront
from provisioner.cli.progress import picture
from provisioner.registry import operations, platforms, tenants
from provisioner.registry.tenants import TenantRecord
from provisioner.settings import Settings

NAMES = {Tier.POOL: "acme", Tier.BRIDGE: "globex", Tier.SILO: "initech"}
#: A second tenant of the pool: without one, row-level security would have nothing to hide from the first.
NEIGHBOUR = "umbrella"
WAIT_S = 300.0
FRAME_S = 0.2


def sell(console: Console, settings: Settings) -> tuple[list[str], str]:
    """Ids of new tenants, one a tier, ready, and of a neighbour of the first in the pool."""
    catalogue = catalogues.load(settings.catalogue)
    plans = {plan.tier: plan.name for plan in reversed(list(catalogue.plans.values()))}
    run = secrets.token_hex(2)
    sold = [f"{name}-{run}" for name in NAMES.values()]
    with closing(
        Storefront(settings.stripe_api_key.get_secret_value(), settings.stripe_api_base, catalogue)
    ) as storefront:
        with console.status("creating products and prices in the local Stripe"):
            storefront.seed()
        asyncio.run(_watch(console, settings, []))
        console.print("\n[bold]Selling three plans[/bold] through the local Stripe; its signed webhooks do the rest")
        for tier, tenant_id in zip(NAMES, sold, strict=True):
            storefront.subscribe(tenant_id, plans[tier])
            console.print(f"  {tenant_id} subscribed to {plans[tier]} ({tier})")
        neighbour = f"{NEIGHBOUR}-{run}"
        storefront.subscribe(neighbour, plans[Tier.POOL])
        console.print(
            f"  {neighbour} subscribed to {plans[Tier.POOL]}: a neighbour in the pool, to attack and be attacked"
        )
    asyncio.run(_watch(console, settings, [*sold, neighbour]))
    return sold, neighbour


async def _watch(console: Console, settings: Settings, wanted: list[str]) -> None:
    """Until the platform and the ``wanted`` tenants stand; ``LocalCloudFailed`` with the reason if one can't."""
    deadline = time.monotonic() + WAIT_S
    async with await psycopg.AsyncConnection.connect(
        settings.database_url.get_secret_value(), autocommit=True, application_name="tenantry-demo"
    ) as connection:
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            while not await _standing(connection, settings.cell, wanted):
                if time.monotonic() > deadline:
                    raise LocalCloudFailed(f"not all stood after {WAIT_S:.0f} s", hint="see: tenantry explain TENANT")
                live.update(await picture(connection, wanted or [None]))
                await asyncio.sleep(FRAME_S)


async def _standing(connection: psycopg.AsyncConnection, cell: str, wanted: list[str]) -> bool:
    platform = await platforms.get(connection, cell)
    if platform is None or platform.outputs is None:
        failed = await operations.list_operations(connection, status="failed", limit=1)
        if failed and failed[0].tenant_id is None:
            error = failed[0].error or {}
            raise LocalCloudFailed(f"the platform failed: {error.get('message')}", hint=str(error.get("hint", "")))
        return False
    for tenant_id in wanted:
        record = await tenants.get(connection, tenant_id)
        if record is not None and record.shown_state == "failed":
            failure = record.failure or {}
            raise LocalCloudFailed(f"{tenant_id} failed: {failure['message']}", hint=f"tenantry explain {tenant_id}")
        if record is None or record.state != "ready":
            return False
    return True


async def _records(settings: Settings, sold: list[str]) -> list[tuple[TenantRecord, float]]:
    """Each tenant with the seconds that its stack took."""
    async with await psycopg.AsyncConnection.connect(settings.database_url.get_secret_value()) as connection:
        found = []
        for tenant_id in sold:
            record = await tenants.get(connection, tenant_id)
            assert record is not None
            done = await operations.list_operations(connection, tenant_id=tenant_id, status="succeeded")
            found.append((record, sum(operation.seconds or 0 for operation in done)))
        return found


def outputs_of(settings: Settings, sold: list[str]) -> list[TenantOutputs]:
    return [TenantOutputs.model_validate(record.outputs) for record, _ in asyncio.run(_records(settings, sold))]


def show(console: Console, settings: Settings, sold: list[str]) -> None:
    console.print("\n[bold]What was built[/bold]")
    for record, seconds in asyncio.run(_records(settings, sold)):
        outputs = TenantOutputs.model_validate(record.outputs)
        own = TIERS[outputs.tier]
        assert record.ready_at is not None
        ready = (record.ready_at - record.created_at).total_seconds()
        server = f"{outputs.database.address}:{outputs.database.port}"
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_row("database", f"{outputs.database.name} on {server}", _whose(own.own_instance))
        table.add_row("schema", outputs.db_schema, _whose(own.own_schema))
        table.add_row("login", outputs.login, _whose(own.own_login))
        table.add_row("files", f"s3://{outputs.bucket}/{outputs.prefix}", _whose(own.own_bucket))
        table.add_row("key", outputs.kms_key_arn.rsplit("/", 1)[-1], _whose(own.own_key))
        table.add_row("AWS role", outputs.role_arn.rsplit("/", 1)[-1], _whose(own.own_role))
        console.print(
            f"  [bold]{record.tenant_id}[/bold] ({outputs.tier}): ready {ready:.1f} s after its first event, "
            f"its stack took {seconds:.1f} s"
        )
        console.print(Padding(table, (0, 0, 0, 4)))


def _whose(own: bool) -> str:
    return "[green]own[/green]" if own else "[dim]shared[/dim]"
