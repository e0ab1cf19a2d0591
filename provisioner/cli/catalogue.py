"""``tenantry catalogue ...``: the plans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from provisioner.cli import catalogue_sync, price_migrations
from provisioner.cli.output import JsonOption, err, out, print_columns, print_json, reports_errors

catalogue = typer.Typer(no_args_is_help=True, help="The plans: plans.toml, and their products and prices in Stripe.")


def register(app: typer.Typer) -> None:
    catalogue_sync.register(catalogue)
    price_migrations.register(catalogue)
    app.add_typer(catalogue, name="catalogue")


@catalogue.command()
@reports_errors
def check(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Default: TENANTRY_CATALOGUE.")] = None,
    stripe: Annotated[bool, typer.Option("--stripe", help="Check that Stripe sells every price too.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Validate the catalogue: every problem with file, line, key and fix. Exit code 3 when there is one."""
    from provisioner import settings
    from provisioner.billing import catalogue as catalogues

    try:
        loaded = catalogues.load(file or settings.load().catalogue)
    except catalogues.CatalogueInvalid as error:
        problems = [(problem.line, problem.key, problem.message, problem.fix) for problem in error.problems]
        _refuse(error.source, problems, as_json=json_output)
    if stripe:
        _check_stripe(loaded, as_json=json_output)
    plans = [
        {
            "plan": plan.name,
            "tier": plan.tier.value,
            "prices": [price.lookup_key for price in plan.prices],
            "entitlements": list(plan.entitlements),
            "limits": dict(plan.limits),
            "retention_days": plan.retention_days,
        }
        for plan in loaded.plans.values()
    ]
    if json_output:
        print_json({"file": loaded.source, "plans": plans, "problems": []})
        return
    print_columns(
        ("PLAN", "TIER", "RETENTION", "PRICES", "ENTITLEMENTS"),
        [
            (plan.name, plan.tier.value, f"{plan.retention_days} days", ",".join(prices), ",".join(plan.entitlements))
            for plan in loaded.plans.values()
            if (prices := [price.lookup_key for price in plan.prices])
        ],
    )
    checked = " and Stripe sells every price" if stripe else ""
    out.print(f"{loaded.source} is valid{checked}.", markup=False, soft_wrap=True, style="green")


def _refuse(source: str, problems: list[tuple[int | None, str, str, str]], *, as_json: bool) -> NoReturn:
    if as_json:
        rows = [dict(zip(("line", "key", "message", "fix"), problem, strict=True)) for problem in problems]
        print_json({"file": source, "plans": [], "problems": rows})
    else:
        from rich.markup import escape  # a fix says `[[plans.<name>.prices]]`, which is no markup

        for line, key, message, fix in problems:
            where = escape(f"{source}:{line}" if line is not None else source)
            said = escape(f"{key}: {message}")
            err.print(f"[red]{where}[/red]: {said}\n  [yellow]fix:[/yellow] {escape(fix)}", soft_wrap=True)
    raise typer.Exit(3)


def _check_stripe(loaded: Any, *, as_json: bool) -> None:
    import asyncio

    from provisioner import settings
    from provisioner.billing.account_check import missing_prices
    from provisioner.billing.gateway_stripe import StripeGateway

    configured = settings.load()

    async def ask() -> list[tuple[str, str, str]]:
        gateway = StripeGateway(configured.stripe_api_key.get_secret_value(), configured.stripe_api_base)
        try:
            return await missing_prices(gateway, loaded)
        finally:
            await gateway.close()

    found = asyncio.run(ask())
    if found:
        _refuse(loaded.source, [(None, *problem) for problem in found], as_json=as_json)
