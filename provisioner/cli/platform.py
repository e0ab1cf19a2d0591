"""``tenantry platform ...``: the stack of a cell, which its tenants share."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from provisioner.cli.output import JsonOption, err, out, print_json, reports_errors

platform = typer.Typer(no_args_is_help=True, help="Cells: what the tenants of one share.")

WAIT_S = 600.0


def register(app: typer.Typer) -> None:
    app.add_typer(platform, name="platform")


@platform.command()
@reports_errors
def up(
    cell: Annotated[str, typer.Option(help="the cell; the default one by default")] = "default",
    json_output: JsonOption = False,
) -> None:
    """Deploy the platform stack of a cell, or bring it to this version of the program."""
    from provisioner import app, logs, settings

    logs.configure(level=30)

    async def converge() -> bool:
        async with app.open_core(settings.load()) as core:
            return await core.cells.converge(cell, "asked for on the command line", wait_s=WAIT_S, asked=True)

    with err.status(f"deploying the platform of cell {cell}"):
        changed = asyncio.run(converge())
    if json_output:
        print_json({"cell": cell, "changed": changed})
    else:
        out.print(f"The platform of cell {cell} " + ("was deployed." if changed else "is up to date."))


@platform.command("list")
@reports_errors
def list_(json_output: JsonOption = False) -> None:
    """All cells."""
    from provisioner.cli.registry_access import ask
    from provisioner.registry.platforms import all_platforms

    records = ask(all_platforms)
    if json_output:
        print_json([{"cell": each.cell, "spec": each.spec, "outputs": each.outputs} for each in records])
        return
    from rich.table import Table

    table = Table("cell", "region", "database", "bucket", "app schema", box=None, pad_edge=False)
    for each in records:
        outputs = each.platform_outputs
        if outputs is None:
            table.add_row(each.cell, each.platform_spec.region, "[yellow]not deployed[/]", "", "")
        else:
            database = f"{outputs.shared_database.address}:{outputs.shared_database.port}"
            table.add_row(each.cell, outputs.region, database, outputs.shared_bucket, str(outputs.app_schema_version))
    out.print(table if records else "There are no cells yet: tenantry platform up")
