"""``tenantry catalogue diff``, ``push`` and ``pull``: the catalogue and what Stripe sells, made one."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors, styled
from provisioner.cli.stripe_account import FileArgument, LiveOption, account, load, require_account

if TYPE_CHECKING:
    from provisioner.billing.stripe_catalogue.changes import ChangePlan

#: Stripe differs from the catalogue, and nothing is wrong with either.
DIFFERS = 6

AdoptOption = Annotated[
    bool, typer.Option("--adopt", help="Take objects over that were made by hand and hold the catalogue's keys.")
]
_COLOURS = {"create": "green", "attach": "green", "supersede": "yellow", "archive": "red", "delete": "red"}


def register(catalogue: typer.Typer) -> None:
    catalogue.command()(diff)
    catalogue.command()(push)
    catalogue.command()(pull)


@reports_errors
def diff(
    file: FileArgument = None, live: LiveOption = False, adopt: AdoptOption = False, json_output: JsonOption = False
) -> None:
    """Show what a push would change in Stripe. Exit code 0: nothing; 6: something; 3: there are conflicts."""
    from provisioner.billing.stripe_catalogue import snapshot
    from provisioner.billing.stripe_catalogue.differences import plan_changes

    catalogue = load(file)
    with account(live=live) as api:
        plan = plan_changes(catalogue, snapshot.read(api, catalogue), adopt=adopt)
    if json_output:
        print_json(document_of(plan, catalogue.source))
    else:
        show(plan)
        if plan.empty:
            out.print(f"Stripe sells what {catalogue.source} says.", markup=False, soft_wrap=True, style="green")
    _leave(plan)


@reports_errors
def push(
    file: FileArgument = None,
    live: LiveOption = False,
    adopt: AdoptOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Don't let Stripe repeat its answer to a push that it failed.")
    ] = False,
    replace: Annotated[
        str | None, typer.Option("--account", metavar="ACCT", help="Bill through this account from now on.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Make Stripe sell what the catalogue says. Prices are superseded, never edited; who pays an old one keeps it."""
    import secrets

    from provisioner.billing.stripe_catalogue import push as pushing
    from provisioner.billing.stripe_catalogue import snapshot
    from provisioner.billing.stripe_catalogue.differences import plan_changes

    catalogue = load(file)
    with account(live=live) as api:
        require_account(api, by=getpass.getuser(), replace=replace)
        plan = plan_changes(catalogue, snapshot.read(api, catalogue), adopt=adopt)
        if not json_output:
            show(plan)
        if plan.conflicts:
            if json_output:
                print_json({**document_of(plan, catalogue.source), "applied": False})
            raise typer.Exit(3)
        if plan.changes:
            _confirm(plan, live=live, yes=yes, json_output=json_output)
            pushing.apply(api, plan, source=catalogue.source, fresh=secrets.token_hex(8) if fresh else "")
    if json_output:
        print_json({**document_of(plan, catalogue.source), "applied": True})
    elif plan.changes:
        out.print(f"{len(plan.changes)} change(s) made; Stripe sells what {catalogue.source} says.", markup=False)
    else:
        out.print(f"Stripe sells what {catalogue.source} says.", markup=False, soft_wrap=True, style="green")


@reports_errors
def pull(
    file: FileArgument = None,
    live: LiveOption = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it there instead of showing it.")] = None,
) -> None:
    """Print the catalogue with what Stripe sells. What Stripe doesn't know stays as FILE has it, comments too; what
    nobody knows is marked FILL IN."""
    from provisioner import settings
    from provisioner.billing.stripe_catalogue import pull as pulling
    from provisioner.billing.stripe_catalogue import snapshot
    from provisioner.errors import ConfigurationInvalid

    present = file or settings.load().catalogue
    try:
        text = present.read_text("utf-8") if present.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(f"{present} can't be read: {error}", hint="Name another file") from None
    with account(live=live) as api:
        found = snapshot.read(api, pulling.EMPTY)
    pulled = pulling.pulled(text, found, str(present))
    if output is None:
        typer.echo(pulled.text, nl=False)
    else:
        output.write_text(pulled.text, "utf-8")
        out.print(f"{output} is written.", markup=False, soft_wrap=True)
    for note in pulled.notes:
        typer.echo(styled(note, "yellow"), err=True)


def _confirm(plan: ChangePlan, *, live: bool, yes: bool, json_output: bool) -> None:
    if yes:
        return
    if json_output:
        from provisioner.errors import Reject

        raise Reject("--json asks nothing", hint="Look at `tenantry catalogue diff --json`, then push with --yes")
    where = "live" if live else "test"
    if not typer.confirm(f"Make {len(plan.changes)} change(s) in Stripe's {where} mode?", err=True):
        raise typer.Exit(1)


def _leave(plan: ChangePlan) -> NoReturn:
    raise typer.Exit(3 if plan.conflicts else DIFFERS if plan.changes else 0)


def show(plan: ChangePlan) -> None:
    if plan.changes:
        # Names and details are Stripe's in part: nothing in them may steer the terminal.
        rows = [
            (styled(change.name), change.action.value, change.kind.value, styled(change.detail))
            for change in plan.changes
        ]
        colours = [_COLOURS.get(change.action.value) for change in plan.changes]
        print_columns(("NAME", "ACTION", "OBJECT", "WHAT"), rows, colours)
    for warning in plan.warnings:
        typer.echo(styled(f"warning: {warning}", "yellow"), err=True)
    for conflict in plan.conflicts:
        typer.echo(styled(f"conflict: {conflict}", "red"), err=True)


def document_of(plan: ChangePlan, source: str) -> dict[str, Any]:
    return {
        "file": source,
        "changes": [
            {
                "action": change.action.value,
                "object": change.kind.value,
                "name": change.name,
                "id": change.object_id,
                "what": change.detail,
            }
            for change in plan.changes
        ],
        "conflicts": [
            {"object": each.kind.value, "name": each.name, "message": each.message, "fix": each.fix}
            for each in plan.conflicts
        ],
        "warnings": list(plan.warnings),
    }
