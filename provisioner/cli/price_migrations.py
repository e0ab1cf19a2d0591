"""``tenantry catalogue prices`` and ``migrate-price``: superseded prices, and moving their subscribers."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.output import JsonOption, err, out, print_columns, print_json, reports_errors, styled
from provisioner.cli.stripe_account import LiveOption, account, load, require_account

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from provisioner.billing.gateway import Document
    from provisioner.billing.stripe_catalogue.api import CatalogueApi
    from provisioner.billing.stripe_catalogue.price_migration import Progress
    from provisioner.billing.stripe_catalogue.subscribers import Quote, Subscriber
    from provisioner.registry.price_migrations import Migration

#: Subscriptions whose next invoice is shown before anything is asked; `--dry-run` shows all.
SHOWN = 20


def register(catalogue: typer.Typer) -> None:
    catalogue.command()(prices)
    catalogue.command("migrate-price")(migrate_price)


@reports_errors
def prices(live: LiveOption = False, json_output: JsonOption = False) -> None:
    """List the catalogue's prices in Stripe, superseded ones too, and how many subscribe to those."""
    from provisioner.billing.stripe_catalogue.prices import described
    from provisioner.billing.stripe_catalogue.snapshot import plan_of
    from provisioner.billing.stripe_catalogue.subscribers import subscribers
    from provisioner.billing.stripe_catalogue.wanted import LOOKUP_KEY

    load(None)
    with account(live=live) as api:
        rows = [
            {
                "price": each["id"],
                "plan": plan_of(each),
                "lookup_key": each["lookup_key"] or (each["metadata"] or {}).get(LOOKUP_KEY),
                "superseded": each["lookup_key"] is None,
                "active": each["active"],
                "amount": f"{described(each)} {each['currency']}",
                "interval": each["recurring"]["interval"],
                "subscribers": len(subscribers(api, each["id"])) if each["lookup_key"] is None else None,
            }
            for each in _prices(api)
            if plan_of(each) is not None
        ]
    rows.sort(key=lambda row: (str(row["plan"]), str(row["lookup_key"]), bool(row["superseded"])))
    if json_output:
        print_json(rows)
        return
    print_columns(
        ("PLAN", "PRICE", "LOOKUP KEY", "AMOUNT", "PER", "SUBSCRIBERS"),
        [
            (
                str(row["plan"]),
                str(row["price"]),
                styled(f"{row['lookup_key']}{' (superseded)' if row['superseded'] else ''}"),
                str(row["amount"]),
                str(row["interval"]),
                "" if row["subscribers"] is None else str(row["subscribers"]),
            )
            for row in rows
        ],
    )


@reports_errors
def migrate_price(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Id of the superseded price.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="NEW", help="Id or lookup key; default: the successor.")
    ] = None,
    wave_size: Annotated[int | None, typer.Option("--wave-size", min=1, help="Subscriptions a wave.")] = None,
    percent: Annotated[
        float | None, typer.Option("--percent", min=0.01, max=100, help="Share of them a wave, instead.")
    ] = None,
    at: Annotated[str, typer.Option("--at", help="renewal: when what is paid for ends; now: at once.")] = "renewal",
    proration: Annotated[
        str, typer.Option("--proration", help="With --at now: none, create_prorations or always_invoice.")
    ] = "none",
    max_failures: Annotated[int, typer.Option("--max-failures", min=1, help="Failures of a run that end it.")] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what each would pay; change nothing.")] = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="End an unfinished migration; who moved, moved.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask, nor between waves.")] = False,
    live: LiveOption = False,
    json_output: JsonOption = False,
) -> None:
    """Move the subscribers of a superseded price to the present one, in waves. Run it again to go on."""
    from provisioner.billing.stripe_catalogue.subscribers import Effective, Proration, subscribers, successor

    if wave_size is not None and percent is not None:
        raise typer.BadParameter("give --wave-size or --percent, not both")
    effective, behaviour = _choice(Effective, at, "--at"), _choice(Proration, proration, "--proration")
    if effective is Effective.RENEWAL and behaviour is not Proration.NONE:
        raise typer.BadParameter("at the renewal nothing is prorated: --proration goes with --at now")
    catalogue = load(None)
    with account(live=live) as api:
        require_account(api, by=getpass.getuser())
        leaving, going = successor(_prices(api), catalogue, old, to)
        if abandon:
            _abandon(leaving["id"], json_output=json_output)
            return
        found = subscribers(api, leaving["id"])
        movable = [each for each in found if each.skip is None]
        previewed = movable if dry_run else movable[:SHOWN]
        quotes = _quotes(api, previewed, going["id"], effective, behaviour)
        if not json_output:
            _show(found, quotes, leaving, going)
        if dry_run:
            if json_output:
                print_json(_preview_document(leaving, going, found, quotes))
            return
        _confirm(len(movable), going["id"], live=live, yes=yes, json_output=json_output)
        migration, progress = _run(
            api,
            {"from_price": leaving["id"], "to_price": going["id"], "plan": _plan(leaving)},
            {"effective": effective, "proration": behaviour},
            {"size": wave_size, "percent": percent, "max_failures": max_failures},
            yes=yes,
        )
    if json_output:
        print_json({**asdict(migration), **asdict(progress)})
    else:
        _report(progress)
    if progress.failed or progress.left:
        raise typer.Exit(1)


def _run(
    api: CatalogueApi, between_prices: dict[str, Any], how: dict[str, Any], waves: dict[str, Any], *, yes: bool
) -> tuple[Migration, Progress]:
    from provisioner.billing.stripe_catalogue import price_migration
    from provisioner.cli.registry_access import ask

    async def between(progress: Progress, left: int) -> bool:
        said = f"Wave {progress.waves} done: {progress.moved} moved, {progress.failed} failed, {left} left. Go on?"
        return yes or typer.confirm(said, err=True)

    async def question(connection: AsyncConnection) -> tuple[Migration, Progress]:
        migration = await price_migration.open_or_begin(connection, **between_prices, **how, by=getpass.getuser())
        return migration, await price_migration.run(connection, api, migration, **waves, between=between)

    return ask(question)


def _abandon(from_price: str, *, json_output: bool) -> None:
    from provisioner.cli.registry_access import ask
    from provisioner.errors import NotFound
    from provisioner.registry import price_migrations

    async def question(connection: AsyncConnection) -> int:
        found = await price_migrations.open_of(connection, from_price)
        if found is None:
            raise NotFound(f"no migration of {from_price} is unfinished")
        reason = f"abandoned by {getpass.getuser()}"
        finished = price_migrations.MigrationStatus.FINISHED
        await price_migrations.set_status(connection, found.migration_id, finished, reason)
        return found.migration_id

    number = ask(question)
    if json_output:
        print_json({"migration_id": number, "status": "finished"})
    else:
        out.print(f"Migration {number} of {from_price} is ended.", markup=False)


def _choice(kind: Any, value: str, option: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(each.value for each in kind)}: {option}") from None


def _prices(api: CatalogueApi) -> list[Document]:
    return list(api.list("/v1/prices", {"type": "recurring", "expand": ["data.tiers"]}))


def _plan(price: Document) -> str:
    from provisioner.billing.stripe_catalogue.snapshot import plan_of

    return str(plan_of(price))


def _quotes(api: CatalogueApi, found: list[Subscriber], price: str, effective: Any, proration: Any) -> dict[str, Quote]:
    from provisioner.billing.stripe_catalogue.subscribers import quote

    return {each.subscription_id: quote(api, each, price, effective, proration) for each in found}


def _show(found: list[Subscriber], quotes: dict[str, Quote], leaving: Document, going: Document) -> None:
    from provisioner.billing.stripe_catalogue.prices import described

    out.print(
        f"{leaving['id']} ({described(leaving)}) -> {going['id']} ({described(going)} {going['currency']}): "
        f"{sum(each.skip is None for each in found)} subscription(s) move, "
        f"{sum(each.skip is not None for each in found)} stay",
        markup=False,
        soft_wrap=True,
    )
    rows = []
    for each in found:
        quoted = quotes.get(each.subscription_id)
        if each.skip is not None:
            rows.append((each.tenant_id or "-", each.subscription_id, "", "", styled(f"stays: {each.skip}")))
        elif quoted is not None:
            change = styled(quoted.error) if quoted.error else f"{quoted.new - quoted.present:+d} {quoted.currency}"
            amounts = ("", "") if quoted.error else (str(quoted.present), str(quoted.new))
            rows.append((each.tenant_id or "-", each.subscription_id, *amounts, change))
    if rows:
        print_columns(("TENANT", "SUBSCRIPTION", "NEXT INVOICE", "WOULD BE", "CHANGE"), rows)
    hidden = sum(each.skip is None for each in found) - len(quotes)
    if hidden > 0:
        out.print(f"... and {hidden} more: --dry-run shows all", markup=False)


def _preview_document(
    leaving: Document, going: Document, found: list[Subscriber], quotes: dict[str, Quote]
) -> dict[str, Any]:
    return {
        "from_price": leaving["id"],
        "to_price": going["id"],
        "subscriptions": [
            {
                "subscription": each.subscription_id,
                "tenant": each.tenant_id,
                "stays": each.skip,
                "next_invoice": None if each.skip else asdict(quotes[each.subscription_id]),
            }
            for each in found
        ],
    }


def _confirm(count: int, price: str, *, live: bool, yes: bool, json_output: bool) -> None:
    if yes:
        return
    if json_output:
        from provisioner.errors import Reject

        raise Reject("--json asks nothing", hint="Look at --dry-run --json, then move with --yes")
    where = "live" if live else "test"
    if not typer.confirm(f"Move {count} subscription(s) to {price} in Stripe's {where} mode?", err=True):
        raise typer.Exit(1)


def _report(progress: Progress) -> None:
    out.print(
        f"{progress.moved} moved, {progress.skipped} skipped, {progress.failed} failed, {progress.left} left "
        f"in {progress.waves} wave(s).",
        markup=False,
    )
    for failure in progress.failures:
        typer.echo(styled(failure, "red"), err=True)
    if progress.failed or progress.left or progress.skipped:
        err.print("The same command goes on where this one ended.", style="yellow")
