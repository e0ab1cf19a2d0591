"""Stripe delivers everything again, backwards: nothing may change."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import Any

import psycopg
from rich.console import Console

from provisioner.billing import catalogue as catalogues
from provisioner.billing.storefront import Storefront
from provisioner.cli.stripe_control import LocalControl
from provisioner.registry import operations, queue, tenants
from provisioner.settings import Settings

WAIT_S = 60.0


def disturb(console: Console, settings: Settings, sold: list[str]) -> bool:
    """Whether redelivering the tenants' events in the reverse order changed nothing."""
    key = settings.stripe_api_key.get_secret_value()
    control = LocalControl(settings.stripe_api_base, key)
    with closing(Storefront(key, settings.stripe_api_base, catalogues.load(settings.catalogue))) as storefront:
        events = [event for event in storefront.events(limit=200) if _about(event, sold)]
    before = asyncio.run(_picture(settings, sold))
    with console.status("delivering every event again, newest first"):
        for event in events:
            control.post(f"/_local/redeliver/{event['id']}", {})
        after = asyncio.run(_settled(settings, sold))
    unmoved = before == after
    verdict = "[green]nothing changed[/green]" if unmoved else "[red]something changed[/red]"
    console.print(f"\n[bold]{len(events)} events delivered again, in the wrong order[/bold]: {verdict}")
    return unmoved


def _about(event: dict[str, Any], sold: list[str]) -> bool:
    metadata = event["data"]["object"].get("metadata") or {}
    return metadata.get("tenant_id") in sold


async def _settled(settings: Settings, sold: list[str]) -> list[tuple[object, ...]]:
    deadline = time.monotonic() + WAIT_S
    async with await psycopg.AsyncConnection.connect(
        settings.database_url.get_secret_value(), autocommit=True
    ) as connection:
        while time.monotonic() < deadline:
            waiting = [row for row in await queue.depth(connection) if row[1] in ("todo", "doing")]
            if not waiting:
                break
            await asyncio.sleep(0.1)
    return await _picture(settings, sold)


async def _picture(settings: Settings, sold: list[str]) -> list[tuple[object, ...]]:
    """All that a tenant is, and how many operations it took."""
    async with await psycopg.AsyncConnection.connect(settings.database_url.get_secret_value()) as connection:
        found: list[tuple[object, ...]] = []
        for tenant_id in sold:
            record = await tenants.get(connection, tenant_id)
            assert record is not None
            done = await operations.list_operations(connection, tenant_id=tenant_id)
            found.append(
                (record.state, record.plan, record.access, record.spec, record.outputs, record.fingerprint, len(done))
            )
        return found
