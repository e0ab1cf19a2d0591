"""``tenantry events ...``: what Stripe sent, and what became of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.output import JsonOption, out, print_json, reports_errors

if TYPE_CHECKING:
    from psycopg import AsyncConnection

events = typer.Typer(no_args_is_help=True, help="Stripe's events; quarantined ones wait for you.")

_COLOUR = {"quarantined": "red", "received": "yellow", "processed": "green", "ignored": "dim"}


def register(app: typer.Typer) -> None:
    app.add_typer(events, name="events")


@events.command("list")
@reports_errors
def list_(
    status: Annotated[str | None, typer.Option(help="received, ignored, processed or quarantined")] = None,
    tenant: Annotated[str | None, typer.Option(help="only of this tenant")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 50,
    json_output: JsonOption = False,
) -> None:
    """The latest events, newest first."""
    from provisioner.cli.registry_access import ask
    from provisioner.registry import events as inbox

    if status is not None and status not in set(inbox.EventStatus):
        raise typer.BadParameter(f"one of {', '.join(inbox.EventStatus)}", param_hint="--status")

    async def load(connection: AsyncConnection) -> list[inbox.EventRecord]:
        return await inbox.list_events(connection, status=status, tenant_id=tenant, limit=limit)

    found = ask(load)
    if json_output:
        print_json([event.summary() for event in found])
        return
    from rich.table import Table

    table = Table("received", "event", "type", "object", "status", "tenant", "reason", box=None, pad_edge=False)
    for event in found:
        table.add_row(
            f"{event.received_at:%Y-%m-%d %H:%M:%S}",
            event.event_id,
            event.type,
            event.object_id or "",
            f"[{_COLOUR.get(event.status, 'default')}]{event.status}[/]",
            event.tenant_id or "",
            event.reason or "",
        )
    out.print(table if found else "There are no such events.")


@events.command()
@reports_errors
def show(event_id: Annotated[str, typer.Argument(metavar="EVENT")], json_output: JsonOption = False) -> None:
    """One event with its body, which may hold a customer's personal data."""
    from provisioner.cli.registry_access import ask
    from provisioner.errors import NotFound
    from provisioner.registry import events as inbox

    async def load(connection: AsyncConnection) -> inbox.EventRecord | None:
        return await inbox.get(connection, event_id)

    found = ask(load)
    if found is None:
        raise NotFound(f"there is no event {event_id}", hint="`tenantry events list` shows the latest")
    body = json.loads(found.body)
    if json_output:
        print_json({**found.summary(), "body": body})
        return
    for name, value in found.summary().items():
        if value is not None:
            out.print(f"{name:<14} {value}", soft_wrap=True)
    out.print_json(json.dumps(body))


@events.command()
@reports_errors
def retry(
    event_ids: Annotated[list[str] | None, typer.Argument(metavar="[EVENT]...", help="quarantined events")] = None,
    all_: Annotated[bool, typer.Option("--all", help="every quarantined event")] = False,
    json_output: JsonOption = False,
) -> None:
    """Process quarantined events again, after their cause was corrected."""
    from provisioner import operator_tasks
    from provisioner.cli.registry_access import ask

    if bool(event_ids) == all_:
        raise typer.BadParameter("name events, or give --all")

    async def queue(connection: AsyncConnection) -> list[Any]:
        return await operator_tasks.retry_events(connection, None if all_ else event_ids)

    queued = ask(queue)
    if json_output:
        print_json({"queued": True, "ids": queued})
    else:
        out.print(f"{len(queued)} queued. See what becomes of them: tenantry events list")
