"""``tenantry approvals``, ``approve`` and ``reject``: a named operator answers to updates that would destroy data."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors, styled
from provisioner.urns import split_urn

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from provisioner.registry.approvals import Answer, ApprovalRecord

OperationArgument = Annotated[
    int, typer.Argument(metavar="OPERATION", min=1, max=2**63 - 1, help="the operation's number")
]
ByOption = Annotated[
    str, typer.Option("--by", help="who answers; it is recorded", default_factory=lambda: getpass.getuser())
]
ReasonOption = Annotated[str, typer.Option(help="why; it is recorded")]
DiffOption = Annotated[
    str | None, typer.Option("--diff", metavar="HASH", help="answer only if the diff still has this hash")
]


def register(app: typer.Typer) -> None:
    app.command("approvals")(list_)
    app.command()(approve)
    app.command()(reject)


@reports_errors
def list_(
    every: Annotated[bool, typer.Option("--all", help="answered, superseded and expired ones too")] = False,
    json_output: JsonOption = False,
) -> None:
    """Operations that wait for an operator: their updates would destroy data."""
    from provisioner.cli.registry_access import ask
    from provisioner.registry import approvals

    async def load(connection: AsyncConnection) -> list[ApprovalRecord]:
        return await approvals.list_approvals(connection, open_only=not every)

    records = ask(load)
    if json_output:
        print_json([vars(record) for record in records])
        return
    if not records:
        out.print("Nothing waits for an approval.")
        return
    rows = [
        (
            str(record.operation_id),
            record.stack_name,
            str(sum("destroys" in entry for entry in record.diff)),
            record.diff_hash[:12],
            "expired" if record.decision is None and record.expired else record.decision or "waits",
            record.decided_by or "",
            f"{record.expires_at:%Y-%m-%d %H:%M}",
        )
        for record in records
    ]
    print_columns(("operation", "stack", "destroys", "diff", "answer", "by", "valid until"), rows)


@reports_errors
def approve(
    operation_id: OperationArgument,
    reason: ReasonOption,
    by: ByOption,
    diff: DiffOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    json_output: JsonOption = False,
) -> None:
    """Let a parked operation do exactly what it showed. The diff is shown first; any other diff is asked about anew."""
    from provisioner.cli.registry_access import ask
    from provisioner.registry.approvals import Answer

    record = ask(lambda connection: _required(connection, operation_id))
    if not json_output:
        for line in shown(record):
            print(line)
    if not yes and typer.prompt(f"Type the stack's name to approve operation {operation_id}") != record.stack_name:
        out.print("Nothing was changed.")
        raise typer.Exit(4)
    # What was looked at is what is approved, whatever is recorded by now.
    _answer(operation_id, Answer.APPROVED, by, reason, diff or record.diff_hash, json_output)


@reports_errors
def reject(
    operation_id: OperationArgument,
    reason: ReasonOption,
    by: ByOption,
    diff: DiffOption = None,
    json_output: JsonOption = False,
) -> None:
    """Refuse a parked operation. The tenant stays as it is until something else is asked of it."""
    from provisioner.registry.approvals import Answer

    _answer(operation_id, Answer.REJECTED, by, reason, diff, json_output)


async def _required(connection: AsyncConnection, operation_id: int) -> ApprovalRecord:
    from provisioner.approving import require

    return await require(connection, operation_id)


def _answer(operation_id: int, given: Answer, by: str, reason: str, diff_hash: str | None, json_output: bool) -> None:
    from provisioner import approving
    from provisioner.cli.registry_access import ask
    from provisioner.errors import Reject

    if not by.strip() or not reason.strip():
        raise Reject("an answer needs a name and a reason", hint="--by NAME --reason TEXT")

    async def store(connection: AsyncConnection) -> ApprovalRecord:
        return await approving.answer(
            connection, operation_id, given, by=by.strip(), reason=reason.strip(), diff_hash=diff_hash
        )

    record = ask(store)
    if json_output:
        print_json(vars(record))
        return
    then = f" Watch it: tenantry explain {record.tenant_id}" if record.tenant_id else ""
    out.print(f"Operation {operation_id} was {given} by {by}.{then}", soft_wrap=True)


def shown(record: ApprovalRecord) -> Iterator[str]:
    """The diff as lines of text: what destroys data first, with every value that changes."""
    yield f"operation {record.operation_id} on stack {styled(record.stack_name, 'bold')}, diff {record.diff_hash[:12]}"
    for entry in sorted(record.diff, key=lambda each: ("destroys" not in each, each["urn"])):
        loss = f"  destroys {entry['destroys']}" if "destroys" in entry else ""
        type_, name = split_urn(entry["urn"])
        yield styled(f"  {entry['op']:<8} {type_} {name} {entry['id']}{loss}", "red" if loss else None)
        for prop, (before, after) in entry["changed"].items():
            must = " (can't be changed in place)" if prop in entry["replacing"] else ""
            yield styled(f"           {prop}: {_text(before)} -> {_text(after)}{must}")


def _text(value: Any) -> str:
    return "(nothing)" if value is None else json.dumps(value)
