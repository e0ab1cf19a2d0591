"""``tenantry trials ...``: trials that run, and what an operator may do about one."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from provisioner.billing.sales import StripeSales
    from provisioner.registry.storefront import Trial

trials = typer.Typer(no_args_is_help=True, help="Trials: who has one, who may have another, and for how long.")

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="the tenant's id")]
ReasonOption = Annotated[str, typer.Option(help="why; it is recorded")]
ByOption = Annotated[
    str, typer.Option("--by", help="who decides it; it is recorded", default_factory=lambda: getpass.getuser())
]
R = TypeVar("R")


def register(app: typer.Typer) -> None:
    app.add_typer(trials, name="trials")


def _with_stripe(work: Callable[[AsyncConnection, StripeSales], Awaitable[R]]) -> R:
    """``work`` in a transaction, with Stripe."""
    from provisioner.billing.sales import StripeSales
    from provisioner.cli.registry_access import ask
    from provisioner.settings import load

    settings = load()

    async def question(connection: AsyncConnection) -> R:
        sales = StripeSales(settings.stripe_api_key.get_secret_value(), settings.stripe_api_base)
        try:
            return await work(connection, sales)
        finally:
            await sales.close()

    return ask(question, settings)


@trials.command("list")
@reports_errors
def list_(
    ended: Annotated[bool, typer.Option("--ended", help="those that are over too")] = False,
    json_output: JsonOption = False,
) -> None:
    """Trials that run, the one that ends last first."""
    from provisioner.registry import storefront

    async def load(connection: AsyncConnection, sales: StripeSales) -> tuple[datetime, list[Trial]]:
        now = await sales.now()
        return now, await storefront.trials(connection, now=now, ended=ended)

    now, found = _with_stripe(load)
    if json_output:
        print_json([vars(each) for each in found])
        return
    if not found:
        out.print("No trial runs. A plan with a [trial] in the catalogue starts one at checkout.")
        return
    rows = [
        (
            each.tenant_id,
            _state(each, now),
            each.plan or "",
            f"{each.ends_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            each.identity or "",
            each.subscription_id,
        )
        for each in found
    ]
    print_columns(("tenant", "trial", "plan", "ends (UTC)", "of", "subscription"), rows)


def _state(trial: Trial, now: datetime) -> str:
    if trial.ends_at <= now:
        return "ended"
    if trial.refused:
        return "refused"
    return f"allowed by {trial.allowed_by}" if trial.allowed_by else "first"


@trials.command()
@reports_errors
def extend(
    tenant_id: TenantArgument,
    days: Annotated[int, typer.Option(help="days more")],
    reason: ReasonOption,
    by: ByOption,
    json_output: JsonOption = False,
) -> None:
    """Give a running trial more days. Nothing is charged before its new end."""
    from provisioner.selling.trials import extend as extended

    async def work(connection: AsyncConnection, sales: StripeSales) -> datetime:
        return await extended(connection, sales, tenant_id, days=days, by=by, reason=reason)

    end = _with_stripe(work)
    _said(
        {"tenant_id": tenant_id, "ends_at": end},
        f"The trial of {tenant_id} ends {end:%Y-%m-%d %H:%M} UTC.",
        json_output,
    )


@trials.command()
@reports_errors
def allow(tenant_id: TenantArgument, reason: ReasonOption, by: ByOption, json_output: JsonOption = False) -> None:
    """Let a tenant have a trial though its customer or company had one: the refused one, or the next."""
    from provisioner.cli.registry_access import ask
    from provisioner.selling.trials import allow as allowed

    async def work(connection: AsyncConnection) -> None:
        await allowed(connection, tenant_id, by=by, reason=reason)

    ask(work)
    _said({"tenant_id": tenant_id, "allowed_by": by}, f"{tenant_id} may have a further trial.", json_output)


def _said(document: dict[str, Any], text: str, json_output: bool) -> None:
    if json_output:
        print_json(document)
    else:
        out.print(text, soft_wrap=True)
