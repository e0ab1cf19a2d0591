"""``tenantry usage``: what tenants used, what Stripe was told of it, and what Stripe says it knows."""

from __future__ import annotations

import getpass
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from provisioner.metering.service import Metering

R = TypeVar("R")


class TenantFirst(TyperGroup):
    """``tenantry usage acme`` is ``tenantry usage show acme``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


usage = typer.Typer(
    cls=TenantFirst,
    no_args_is_help=True,
    help="Metered usage: `tenantry usage TENANT` shows a tenant's.",
)

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="the tenant's id")]
OneTenantOption = Annotated[str | None, typer.Option("--tenant", help="of this tenant alone")]
ByOption = Annotated[
    str, typer.Option("--by", help="who decides it; it is recorded", default_factory=lambda: getpass.getuser())
]
ReasonOption = Annotated[str, typer.Option(help="why; it is recorded")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]


def register(app: typer.Typer) -> None:
    app.add_typer(usage, name="usage")


@usage.command()
@reports_errors
def show(
    tenant_id: TenantArgument,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="a calendar month, UTC")] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="2026-12-01 or 2026-12-01T08:00")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="the end, itself not included; now")] = None,
    hours: Annotated[bool, typer.Option("--hours", help="every hour")] = False,
    json_output: JsonOption = False,
) -> None:
    """A tenant's usage in its billing period: recorded, included, reported to Stripe, confirmed by it, pending."""
    from provisioner.cli.registry_access import ask
    from provisioner.metering import statement as statements
    from provisioner.operator_tasks import require
    from provisioner.registry import metering as ledger
    from provisioner.settings import load

    bounds = _bounds(month, from_, to)
    settings = load()
    from provisioner.app import catalogue

    plans = catalogue(settings)

    async def question(connection: AsyncConnection) -> tuple[statements.Statement, list[dict[str, Any]]]:
        tenant = await require(connection, tenant_id)
        found = await statements.statement(connection, plans, tenant, bounds, datetime.now(UTC))
        by_hour = await ledger.hours(connection, tenant_id, found.since, found.until) if hours else []
        return found, by_hour

    found, by_hour = ask(question, settings)
    if json_output:
        rows = [{**row, "quantity": int(row["quantity"]), "planned": _int(row["planned"])} for row in by_hour]
        print_json(statements.document(found) | ({"hours": rows} if hours else {}))
        return
    what = "billing period" if found.billing_period else "from"
    out.print(f"{what} {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC, plan {found.plan or 'none'}")
    names = ["recorded", "included", "overage", "reported", "confirmed", "pending", "refused", "late", "corrected"]
    table = [
        tuple(
            "" if value is None else str(value)
            for value in (
                f"{each.meter} ({each.unit})" if each.unit else each.meter,
                *(getattr(each, name) for name in names),
            )
        )
        for each in found.meters
    ]
    if table:
        print_columns(("meter", *names), table)
    else:
        out.print("Nothing was used.")
    for row in by_hour:
        out.print(f"{row['hour']:%Y-%m-%d %H:%M}  {row['meter']}  {int(row['quantity'])}")
    if found.quarantined:
        reasons = ", ".join(f"{reason} {count}" for reason, count in found.quarantined.items())
        out.print(f"quarantined records: {reasons}. See them: tenantry usage quarantined --tenant {tenant_id}")
    for each in found.findings:
        differ = f"Stripe has {int(each.stripe)}, reported were {int(each.ours)}"
        out.print(f"{each.hour:%Y-%m-%d %H:%M} {each.meter}: {differ}")


@usage.command()
@reports_errors
def quarantined(
    tenant: OneTenantOption = None,
    retry: Annotated[bool, typer.Option("--retry", help="judge them again, after their cause was corrected")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="delete them: they are never billed")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 50,
    yes: YesOption = False,
    json_output: JsonOption = False,
) -> None:
    """Records that can't be counted, and why; newest first."""
    from provisioner.cli.registry_access import ask
    from provisioner.registry import metering as ledger

    if retry and drop:
        raise typer.BadParameter("either --retry or --drop")
    if retry:
        accepted, again = ask(lambda connection: ledger.release(connection, tenant))
        if json_output:
            print_json({"accepted": accepted, "quarantined": again})
        else:
            out.print(f"{accepted} count now, {again} stay.")
        return
    if drop:
        if not yes:
            typer.confirm("They will never be billed. Delete them?", abort=True)
        dropped = ask(lambda connection: ledger.drop_quarantined(connection, tenant))
        print_json({"dropped": dropped}) if json_output else out.print(f"{dropped} deleted.")
        return
    found = ask(lambda connection: ledger.quarantined(connection, tenant, limit=limit))
    if json_output:
        print_json(found)
        return
    rows = [
        (
            f"{row['received_at']:%Y-%m-%d %H:%M:%S}",
            row["reason"],
            row["tenant_id"],
            row["meter"],
            row["total"] or "",
            row["key"][:60],
        )
        for row in found
    ]
    if rows:
        print_columns(("received", "reason", "tenant", "meter", "units", "key"), rows)
    else:
        out.print("Nothing is quarantined.")


@usage.command()
@reports_errors
def correct(
    tenant_id: TenantArgument,
    meter: Annotated[str, typer.Argument(metavar="METER")],
    units: Annotated[int, typer.Option("--by-units", help="to add; negative: to take away; of a gauge: its value")],
    at: Annotated[str, typer.Option(metavar="TIME", help="the hour that is corrected: 2026-12-01T08:00 (UTC)")],
    reason: ReasonOption,
    by: ByOption,
    key: Annotated[str | None, typer.Option(help="the same key again changes nothing")] = None,
    json_output: JsonOption = False,
) -> None:
    """Add a correction to the ledger; the next report tells Stripe the difference."""
    from provisioner.cli.registry_access import ask
    from provisioner.metering import corrections

    moment = _time(at, "--at")
    hour = ask(
        lambda connection: corrections.correct(
            connection, tenant_id, meter, by_units=units, at=moment, by=by, reason=reason, key=key
        )
    )
    if json_output:
        print_json({"tenant_id": tenant_id, "meter": meter, "units": units, "hour": hour})
    else:
        out.print(f"Corrected the hour from {hour:%Y-%m-%d %H:%M} UTC; it is reported within minutes.")


@usage.command()
@reports_errors
def report(json_output: JsonOption = False) -> None:
    """Report what is due to Stripe now. A worker does so every minute."""
    from provisioner.errors import RetryLater

    async def work(metering: Metering) -> Any:
        now = await metering.billing.now()
        await metering.prepare(now)
        return await metering.reporter.run(now)

    run = _with_metering(work)
    if run is None:
        raise RetryLater("another process is reporting now", hint="it reports the same")
    if json_output:
        print_json(vars(run))
    else:
        lost = f"{run.arrived} lost ones had arrived, {run.resent} are sent anew"
        out.print(f"{run.sent} events sent, {run.refused} refused; {lost}.")
        for name, why in run.unbillable.items():
            out.print(f"[red]{name}[/red]: {why}", soft_wrap=True)
    if run.unavailable or run.unanswered:
        raise RetryLater("Stripe stopped answering", hint="what is left is reported when it answers again")
    if run.refused or run.unbillable or run.undecided:
        raise typer.Exit(3)


@usage.command()
@reports_errors
def reconcile(
    tenant: OneTenantOption = None,
    everything: Annotated[bool, typer.Option("--all", help="also what was confirmed before")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="believe Stripe's totals and report the difference")] = False,
    yes: YesOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compare what was reported with Stripe's totals, hour by hour. Exit code 3 if they differ and are not fixed."""

    from provisioner.metering.reconciliation import document

    async def work(metering: Metering) -> Any:
        now = await metering.billing.now()
        found = await metering.reconciler.run(now, tenant_id=tenant, everything=everything)
        if fix and (found.findings or await metering.refused(tenant)):
            if not yes and not json_output:
                _tell(found)
                typer.confirm("Report the difference to our ledger, in either direction?", abort=True)
            found = await metering.reconciler.run(now, tenant_id=tenant, fix=True)
            await metering.reporter.run(now)
        return found, await metering.refused(tenant)

    found, refused = _with_metering(work)
    if json_output:
        print_json(
            {
                "confirmed_hours": found.confirmed,
                "fixed_hours": found.fixed,
                "foreign_hours": found.foreign,
                "skipped": found.skipped,
                "findings": [document(each) for each in found.findings],
                "refused": [{**row, "value": int(row["value"])} for row in refused],
            }
        )
    else:
        _tell(found)
        for row in refused:
            out.print(f"refused: {row['tenant_id']} {row['meter']} {int(row['value'])}: {row['error']}", soft_wrap=True)
        out.print(f"{found.confirmed} hours agree; {found.fixed} are reported anew.")
    if len(found.findings) > found.fixed or refused or found.skipped:
        raise typer.Exit(3)


def _tell(found: Any) -> None:
    rows = [
        (f"{each.hour:%Y-%m-%d %H:%M}", each.tenant_id, each.meter, str(int(each.ours)), str(int(each.stripe)))
        for each in found.findings
    ]
    if rows:
        print_columns(("hour", "tenant", "meter", "reported", "Stripe has"), rows)
    for customer, why in found.skipped.items():
        out.print(f"not compared: {customer}: {why}", soft_wrap=True)


def _with_metering(work: Callable[[Metering], Awaitable[R]]) -> R:
    import asyncio

    from provisioner import app
    from provisioner.settings import load

    async def run() -> R:
        settings = load()
        async with app.open_pool(settings) as pool, app.open_metering(settings, pool) as metering:
            return await work(metering)

    return asyncio.run(run())


def _bounds(month: str | None, from_: str | None, to: str | None) -> tuple[datetime, datetime] | None:
    from provisioner.metering.statement import month_of

    if month is not None:
        if from_ is not None or to is not None:
            raise typer.BadParameter("either --month, or --from and --to", param_hint="--month")
        if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) or month.startswith("0000"):
            raise typer.BadParameter("a month is written 2026-12", param_hint="--month")
        return month_of(datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC))
    if from_ is None and to is None:
        return None
    if from_ is None:
        raise typer.BadParameter("--to needs --from", param_hint="--from")
    since, until = _time(from_, "--from"), datetime.now(UTC) if to is None else _time(to, "--to")
    if since >= until:
        raise typer.BadParameter("the range is empty", param_hint="--to")
    return since, until


def _time(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write 2026-12-01T08:00", param_hint=option) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
