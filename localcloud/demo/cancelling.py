"""One tenant cancels: its open session ends, its login is closed, the broker refuses."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing

import psycopg
from rich.console import Console

from provisioner.billing import catalogue as catalogues
from provisioner.billing.storefront import Storefront
from provisioner.registry import tenants
from provisioner.settings import Settings
from tenantry import Tenantry, TenantSuspended

WAIT_S = 60.0


def cancel(console: Console, settings: Settings, sdk: Tenantry, sold: list[str]) -> bool:
    """Whether the bridge tenant, which cancels while it is connected, has lost every way in."""
    tenant_id = sold[1]
    console.print(f"\n[bold]{tenant_id} cancels[/bold] while it is connected")
    began = time.monotonic()
    ended = "still open"
    try:
        with sdk.session(tenant_id) as session:
            with closing(
                Storefront(
                    settings.stripe_api_key.get_secret_value(),
                    settings.stripe_api_base,
                    catalogues.load(settings.catalogue),
                )
            ) as storefront:
                storefront.cancel(tenant_id)
            with console.status("waiting until its access is closed"):
                asyncio.run(_closed(settings, tenant_id))
            seconds = time.monotonic() - began
            session.execute("SELECT 1")
    except psycopg.Error as error:
        ended = f"ended by the server ({error.sqlstate or type(error).__name__})"
    refused = _refusal(sdk, tenant_id)
    checks = {
        "its open session": (ended, ended != "still open"),
        "a new session": refused,
        "AWS credentials": _aws_refusal(sdk, tenant_id),
    }
    for what, (answer, good) in checks.items():
        console.print(f"  {what:<16} [{'green' if good else 'red'}]{answer}[/]")
    record = asyncio.run(_record(settings, tenant_id))
    until = f"{record.retain_until:%Y-%m-%d}" if record.retain_until else "?"
    console.print(
        f"  closed {seconds:.1f} s after the cancellation; AWS sessions issued before run out within 15 minutes; "
        f"its data is kept until {until}",
        soft_wrap=True,
    )
    return all(good for _, good in checks.values()) and record.state == "retained"


def _refusal(sdk: Tenantry, tenant_id: str) -> tuple[str, bool]:
    try:
        with sdk.session(tenant_id):
            return "opened", False
    except TenantSuspended as error:
        return f"refused: {error.message}", True


def _aws_refusal(sdk: Tenantry, tenant_id: str) -> tuple[str, bool]:
    try:
        sdk.aws(tenant_id)
    except TenantSuspended as error:
        return f"refused: {error.message}", True
    return "issued", False


async def _closed(settings: Settings, tenant_id: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while (await _record(settings, tenant_id)).state != "retained" and time.monotonic() < deadline:
        await asyncio.sleep(0.1)


async def _record(settings: Settings, tenant_id: str) -> tenants.TenantRecord:
    async with await psycopg.AsyncConnection.connect(settings.database_url.get_secret_value()) as connection:
        record = await tenants.get(connection, tenant_id)
    assert record is not None
    return record
