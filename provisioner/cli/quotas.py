"""``tenantry quotas``: how much room the account has."""

from __future__ import annotations

from typing import Annotated

import typer

from provisioner.cli.output import JsonOption, print_columns, print_json, reports_errors

#: From here on a quota is shown as nearly used up.
NEAR_PERCENT = 80


def register(app: typer.Typer) -> None:
    app.command()(quotas)


@reports_errors
def quotas(
    region: Annotated[str | None, typer.Option(help="an AWS Region; the one of the settings by default")] = None,
    json_output: JsonOption = False,
) -> None:
    """Show every AWS quota that tenants take of: what is used, by anybody, and what is allowed. Asks AWS."""
    from provisioner import settings
    from provisioner.quotas import Boto3Clients, Preflight, caller_place
    from provisioner.quotas.table import Scope

    clients = Boto3Clients()
    place = caller_place(clients, region or settings.load().region)
    findings = Preflight(clients).survey(place).findings
    if json_output:
        print_json(
            [
                {
                    "service": each.quota.service,
                    "quota_code": each.quota.code,
                    "name": each.quota.name,
                    "unit": each.quota.unit,
                    "region": each.region,
                    "used": each.used,
                    "limit": each.limit.value,
                    "limit_source": each.limit.source.value,
                    "problem": each.limit.problem,
                }
                for each in findings
            ]
        )
        return
    rows, colours = [], []
    for each in findings:
        limit, unit = each.limit, f" {each.quota.unit}" if each.quota.unit else ""
        source = f"{limit.source}: {limit.problem}" if limit.problem else str(limit.source)
        where = each.region if each.quota.scope is Scope.REGION else "all"
        rows.append([each.quota.code, f"{each.used} of {limit.value}{unit}", each.quota.name, where, source])
        near = each.used * 100 >= limit.value * NEAR_PERCENT
        colours.append("red" if each.used >= limit.value else "yellow" if near else None)
    print_columns(["code", "used", "quota", "region", "limit told by"], rows, colours)
