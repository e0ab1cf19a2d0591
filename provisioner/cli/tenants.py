"""``tenantry tenants ...`` and ``tenantry explain``."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors, styled

if TYPE_CHECKING:
    from psycopg import AsyncConnection

tenants = typer.Typer(no_args_is_help=True, help="Tenants: what they pay for, and what stands.")

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="the tenant's id")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="show progress until it is done")]

_COLOUR = {
    "ready": "green",
    "failed": "red",
    "retrying": "yellow",
    "provisioning": "cyan",
    "destroying": "cyan",
    "suspended": "yellow",
    "retained": "yellow",
}


def register(app: typer.Typer) -> None:
    app.add_typer(tenants, name="tenants")
    app.command()(explain)


@tenants.command("list")
@reports_errors
def list_(json_output: JsonOption = False) -> None:
    """All tenants, one a line."""
    from provisioner.cli.registry_access import ask
    from provisioner.registry import proofs
    from provisioner.registry import tenants as registered

    async def load(connection: AsyncConnection) -> tuple[Any, Any]:
        return await registered.all_tenants(connection), await proofs.verdicts(connection)

    records, verdicts = ask(load)
    if json_output:
        from provisioner.explain import tenant_document

        print_json([tenant_document(record, verdicts.get(record.tenant_id)) for record in records])
        return
    if not records:
        out.print("There are no tenants. One appears when a subscription with metadata.tenant_id is paid.")
        return
    rows = []
    for record in records:
        pending = f" -> {record.pending_graduation}" if record.pending_graduation else ""
        rows.append(
            (
                record.tenant_id if record.generation == 1 else f"{record.tenant_id} ({record.generation})",
                record.shown_state,
                (record.tier or "") + pending,
                record.plan or "",
                record.access if record.stands else "",
                record.subscription_status or "",
                f"{record.created_at:%Y-%m-%d %H:%M}",
                verdicts[record.tenant_id].told() if record.tenant_id in verdicts else "",
            )
        )
    header = ("tenant", "state", "tier", "plan", "access", "subscription", "since", "isolation")
    print_columns(header, rows, [_COLOUR.get(record.shown_state) for record in records])


@tenants.command()
@reports_errors
def show(tenant_id: TenantArgument, json_output: JsonOption = False) -> None:
    """One tenant: state, entitlements and where it lives."""
    from provisioner.cli.registry_access import ask
    from provisioner.explain import next_action, tenant_document
    from provisioner.operator_tasks import require
    from provisioner.registry import placements, proofs

    async def load(connection: AsyncConnection) -> tuple[Any, Any, Any]:
        record, placement = await require(connection, tenant_id), await placements.get(connection, tenant_id)
        return record, placement, (await proofs.verdicts(connection, tenant_id)).get(tenant_id)

    record, placement, verdict = ask(load)
    if json_output:
        document = {**tenant_document(record, verdict), "placement": None if placement is None else vars(placement)}
        print_json({**document, "next": next_action(record, verdict=verdict)})
        return
    shown = tenant_document(record, verdict) | ({} if placement is None else vars(placement))
    for name, value in shown.items():
        if value not in (None, [], {}):
            out.print(f"{name:<22} {_in_words(value)}", soft_wrap=True)
    out.print(f"{'next':<22} {next_action(record, verdict=verdict)}", soft_wrap=True)


def _in_words(value: Any) -> str:
    """A value of the document on one line: ``api soft False, amount 20, seconds 1; ...`` for a list of objects."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in value.items() if each not in (None, [], {}))
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(each, dict) for each in value) else ", ").join(_in_words(each) for each in value)
    return str(value)


@tenants.command()
@reports_errors
def reconcile(tenant_id: TenantArgument, wait: WaitOption = True, json_output: JsonOption = False) -> None:
    """Bring a tenant to what it pays for, now. Exit code 3 if an operator must act, 5 if it is tried again."""
    from provisioner import operator_tasks
    from provisioner.cli.progress import follow
    from provisioner.cli.registry_access import ask

    async def queue(connection: AsyncConnection) -> Any:
        return await operator_tasks.reconcile(connection, tenant_id, by=_who())

    ask(queue)
    _finish(tenant_id, wait, json_output, follow)


@tenants.command()
@reports_errors
def destroy(
    tenant_id: TenantArgument,
    reason: Annotated[str, typer.Option(help="why; it is recorded")],
    yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    wait: WaitOption = True,
    json_output: JsonOption = False,
) -> None:
    """Authorise the destruction of a tenant nobody pays for: protection off with a final snapshot, then destroy."""
    from provisioner import operator_tasks
    from provisioner.cli.progress import follow
    from provisioner.cli.registry_access import ask

    if not yes and typer.prompt(f"Type the tenant's id to destroy {tenant_id}") != tenant_id:
        out.print("Nothing was changed.")
        raise typer.Exit(4)

    async def authorise(connection: AsyncConnection) -> Any:
        return await operator_tasks.destroy(connection, tenant_id, by=_who(), reason=reason)

    ask(authorise)
    _finish(tenant_id, wait, json_output, follow)


def _finish(tenant_id: str, wait: bool, json_output: bool, follow: Any) -> None:
    if not wait:
        if json_output:
            print_json({"queued": True, "ids": [tenant_id]})
        else:
            out.print(f"Queued. Watch it: tenantry explain {tenant_id}")
        return
    record = follow(tenant_id, quiet=json_output)
    from provisioner.explain import next_action, tenant_document

    if json_output:
        print_json({**tenant_document(record), "next": next_action(record)})
    else:
        out.print(f"{tenant_id} is {record.shown_state}. {next_action(record)}", soft_wrap=True)
    if record.failure is not None:
        raise typer.Exit(3 if record.failure.get("class") == "operator" else 5)


def _who() -> str:
    return getpass.getuser()


@reports_errors
def explain(tenant_id: TenantArgument, json_output: JsonOption = False) -> None:
    """What happened to a tenant and why: events, decisions, operations with their resources, and what to do next."""
    from provisioner.cli.registry_access import ask
    from provisioner.explain import explain as explained

    async def load(connection: AsyncConnection) -> dict[str, Any]:
        return await explained(connection, tenant_id)

    story = ask(load)
    if json_output:
        print_json(story)
        return
    for line in _told(tenant_id, story):
        print(line)


def _told(tenant_id: str, story: dict[str, Any]) -> Iterator[str]:
    tenant = story["tenant"]
    state = tenant["shown_state"]
    yield (
        f"{styled(tenant_id, 'bold')} is {styled(state, _COLOUR.get(state))}"
        f" (tier {tenant['tier'] or 'none yet'}, plan {tenant['plan'] or 'none'}, access {tenant['access']})"
    )
    for entry in story["timeline"]:
        at = entry["at"].astimezone(UTC)
        bad = entry["kind"] == "failure" or entry["detail"].get("status") == "not_isolated"
        summary = styled(entry["summary"], "red" if bad else None)
        yield f"{at:%Y-%m-%d %H:%M:%S}  {entry['kind']:<9} {summary}"
        for step in entry.get("operation", {}).get("steps", []):
            seconds = "" if step["seconds"] is None else f"{step['seconds']:.2f} s"
            mark = {"done": styled("+", "green"), "failed": styled("x", "red")}.get(step["status"], styled(".", "cyan"))
            yield f"{'':21}{mark} {step['op']:<14} {step['type']} {step['name']} {seconds}"
            if step["message"]:
                yield f"{'':23}{styled(step['message'], 'red')}"
    for operation in story["running"]:
        age = (datetime.now(UTC) - operation["started_at"]).total_seconds()
        yield f"running for {age:.0f} s: {operation['kind']} of stack {operation['stack_name']}"
    for event in story["events_open"]:
        yield f"quarantined event {event['event_id']}: {styled(event['reason'])} {styled(event['hint'] or '')}"
    yield f"{styled('next:', 'bold')} {styled(story['next'])}"
