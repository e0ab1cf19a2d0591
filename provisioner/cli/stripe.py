"""``tenantry stripe ...``: sell plans to tenants in test mode, on the local Stripe or on Stripe itself."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors
from provisioner.errors import Reject

if TYPE_CHECKING:
    from provisioner.billing.storefront import Storefront
    from provisioner.cli.stripe_control import LocalControl

stripe = typer.Typer(no_args_is_help=True, help="Sell plans in test mode; time and faults of the local Stripe.")
clock = typer.Typer(no_args_is_help=True, help="The local Stripe's time.")
stripe.add_typer(clock, name="clock")

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Tenant id.")]
PlanOption = Annotated[str, typer.Option("--plan", help="Plan of the catalogue.")]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def register(app: typer.Typer) -> None:
    app.add_typer(stripe, name="stripe")


@contextlib.contextmanager
def _storefront() -> Iterator[Storefront]:
    from provisioner import settings
    from provisioner.billing import catalogue
    from provisioner.billing.storefront import Storefront

    loaded = settings.load()
    front = Storefront(
        loaded.stripe_api_key.get_secret_value(), loaded.stripe_api_base, catalogue.load(loaded.catalogue)
    )
    try:
        yield front
    finally:
        front.close()


def _control() -> LocalControl:
    from provisioner import settings
    from provisioner.cli.stripe_control import LocalControl

    loaded = settings.load()
    return LocalControl(loaded.stripe_api_base, loaded.stripe_api_key.get_secret_value())


def seconds(text: str) -> int:
    """``90s``, ``15m``, ``12h``, ``30d``, ``2w`` in seconds."""
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if match is None or int(match.group(1)) == 0:
        raise Reject(f"{text!r} is no duration", hint="Write for example 90s, 15m, 12h, 30d or 2w")
    return int(match.group(1)) * _UNITS[match.group(2)]


def tenant_argument(tenant: str) -> str:
    """The id if it is legal, else ``Reject``: Stripe would take anything."""
    from components.spec import validate_tenant_id

    try:
        return validate_tenant_id(tenant)
    except ValueError as error:
        raise Reject(f"{tenant!r} is no tenant id: {error}") from None


def _when(moment: Any) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _summary(subscription: dict[str, Any]) -> dict[str, Any]:
    customer = subscription["customer"]
    expanded = customer if isinstance(customer, dict) else {"id": customer, "metadata": {}}
    items = subscription["items"]["data"]
    return {
        "tenant": subscription["metadata"].get("tenant_id") or (expanded.get("metadata") or {}).get("tenant_id"),
        "subscription": subscription["id"],
        "customer": expanded["id"],
        "status": subscription["status"],
        "prices": [item["price"]["lookup_key"] or item["price"]["id"] for item in items],
        "current_period_end": min(item["current_period_end"] for item in items),
        "trial_end": subscription["trial_end"],
        "cancel_at": subscription["cancel_at"],
    }


def _show(subscriptions: list[dict[str, Any]], *, as_json: bool, one: bool = False) -> None:
    rows = [_summary(found) for found in subscriptions]
    if as_json:
        print_json(rows[0] if one else rows)
        return
    print_columns(
        ("TENANT", "SUBSCRIPTION", "STATUS", "PRICES", "PERIOD ENDS (UTC)", "TRIAL ENDS", "CANCELS"),
        [
            (
                str(row["tenant"] or "-"),
                row["subscription"],
                row["status"],
                ",".join(row["prices"]),
                _when(row["current_period_end"]),
                _when(row["trial_end"]),
                _when(row["cancel_at"]),
            )
            for row in rows
        ],
    )


@stripe.command()
@reports_errors
def seed(json_output: JsonOption = False) -> None:
    """Make test mode's Stripe sell the catalogue: `tenantry catalogue push`, without asking."""
    with _storefront() as front:
        rows = front.seed()
    if json_output:
        print_json(rows)
        return
    for row in rows:
        out.print(f"{'created' if row['created'] else 'exists '} {row['lookup_key']} ({row['price']})")


@stripe.command()
@reports_errors
def subscribe(
    tenant: TenantArgument,
    plan: PlanOption,
    annual: Annotated[bool, typer.Option("--annual", help="Pay per year.")] = False,
    trial_days: Annotated[int, typer.Option(min=0, max=730, help="Days of trial.")] = 0,
    seats: Annotated[int, typer.Option(min=1, help="Seats, of a plan that is paid by the seat.")] = 1,
    failing_card: Annotated[bool, typer.Option("--failing-card", help="Pay with a card that always fails.")] = False,
    email: Annotated[str | None, typer.Option(help="Of a new customer.", show_default="billing@TENANT.example")] = None,
    json_output: JsonOption = False,
) -> None:
    """Sell a plan to a tenant: makes its customer and its subscription."""
    from provisioner.billing.storefront import FAILING_CARD, GOOD_CARD

    tenant = tenant_argument(tenant)
    with _storefront() as front:
        found = front.subscribe(
            tenant,
            plan,
            interval="year" if annual else "month",
            trial_days=trial_days,
            card=FAILING_CARD if failing_card else GOOD_CARD,
            seats=seats,
            email=email,
        )
    _show([found], as_json=json_output, one=True)


@stripe.command()
@reports_errors
def change(
    tenant: TenantArgument,
    plan: PlanOption,
    annual: Annotated[bool | None, typer.Option("--annual/--monthly", help="Change the interval too.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Move a tenant's subscription to another plan."""
    interval = None if annual is None else "year" if annual else "month"
    with _storefront() as front:
        found = front.change(tenant, plan, interval=interval)
    _show([found], as_json=json_output, one=True)


@stripe.command()
@reports_errors
def cancel(
    tenant: TenantArgument,
    at_period_end: Annotated[bool, typer.Option("--at-period-end", help="Let the paid period run out.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Cancel a tenant's subscription."""
    with _storefront() as front:
        found = front.cancel(tenant, at_period_end=at_period_end)
    _show([found], as_json=json_output, one=True)


@stripe.command()
@reports_errors
def card(
    tenant: TenantArgument,
    failing: Annotated[bool, typer.Option("--failing/--good", help="Whether charges on it fail.")],
    json_output: JsonOption = False,
) -> None:
    """Replace the card that a tenant pays with."""
    from provisioner.billing.storefront import FAILING_CARD, GOOD_CARD

    with _storefront() as front:
        customer = front.pay_with(tenant, FAILING_CARD if failing else GOOD_CARD)
    if json_output:
        print_json({"customer": customer["id"], "failing": failing})
    else:
        out.print(f"{tenant} ({customer['id']}) pays with a card that {'fails' if failing else 'works'}.")


@stripe.command()
@reports_errors
def pay(tenant: TenantArgument, json_output: JsonOption = False) -> None:
    """Pay a tenant's open invoices with its card."""
    with _storefront() as front:
        paid = front.pay(tenant)
    rows = [{"invoice": each["id"], "amount": each["amount_paid"], "currency": each["currency"]} for each in paid]
    if json_output:
        print_json(rows)
    elif not rows:
        out.print(f"{tenant} has no open invoice.")
    for row in rows if not json_output else ():
        out.print(f"paid {row['invoice']}")


@stripe.command()
@reports_errors
def show(tenant: TenantArgument, json_output: JsonOption = False) -> None:
    """Show a tenant's subscriptions, ended ones too, newest first."""
    with _storefront() as front:
        found = front.of_tenant(tenant)
    _show(found, as_json=json_output)


@stripe.command("list")
@reports_errors
def list_all(
    ended: Annotated[bool, typer.Option("--ended", help="Show ended subscriptions too.")] = False,
    json_output: JsonOption = False,
) -> None:
    """List subscriptions, newest first."""
    with _storefront() as front:
        found = front.subscriptions(ended=ended)
    _show(found, as_json=json_output)


@stripe.command()
@reports_errors
def events(
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    undelivered: Annotated[bool, typer.Option("--undelivered", help="Only those an endpoint has not taken.")] = False,
    json_output: JsonOption = False,
) -> None:
    """List events, newest first."""
    with _storefront() as front:
        found = front.events(limit=limit, undelivered_only=undelivered)
    rows = [
        {
            "event": event["id"],
            "type": event["type"],
            "created": event["created"],
            "object": event["data"]["object"].get("id"),
            "pending_webhooks": event["pending_webhooks"],
        }
        for event in found
    ]
    if json_output:
        print_json(rows)
        return
    print_columns(
        ("EVENT", "TYPE", "CREATED (UTC)", "OBJECT", "UNDELIVERED"),
        [
            (row["event"], row["type"], _when(row["created"]), row["object"] or "-", str(row["pending_webhooks"]))
            for row in rows
        ],
    )


@stripe.command()
@reports_errors
def redeliver(event: Annotated[str, typer.Argument(metavar="EVENT")], json_output: JsonOption = False) -> None:
    """Send an event again to every endpoint that wants it (local Stripe only)."""
    answer = _control().post(f"/_local/redeliver/{quote(event, safe='')}", {})
    if json_output:
        print_json(answer)
    else:
        out.print(f"{event} is sent again to {len(answer['deliveries'])} endpoint(s).")


@stripe.command()
@reports_errors
def faults(
    duplicate: Annotated[int | None, typer.Option(min=0, help="Extra copies of every event.")] = None,
    delay: Annotated[float | None, typer.Option(min=0, help="Seconds that every delivery waits.")] = None,
    reorder: Annotated[bool | None, typer.Option("--reorder/--in-order", help="Shuffle what comes together.")] = None,
    drop_next: Annotated[int | None, typer.Option(min=0, help="How many of the next events are lost.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Deliver properly again.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Make the local Stripe deliver badly; without an option, show how it delivers."""
    given = {"duplicate": duplicate, "delay_s": delay, "reorder": reorder, "drop_next": drop_next}
    changes = {name: value for name, value in given.items() if value is not None}
    control = _control()
    current = control.get("/_local/faults")
    if clear or changes:
        current = control.post("/_local/faults", changes if clear else {**current, **changes})
    if json_output:
        print_json(current)
    else:
        for name, value in current.items():
            out.print(f"{name:10} {value}")


@clock.command()
@reports_errors
def advance(
    duration: Annotated[str, typer.Argument(help="For example 90s, 12h, 30d, 2w.")], json_output: JsonOption = False
) -> None:
    """Let time pass on the local Stripe: trials end, renewals are billed, events are sent."""
    answer = _control().post("/_local/clock/advance", {"seconds": seconds(duration)})
    if json_output:
        print_json(answer)
    else:
        out.print(f"It is {_when(answer['now'])} UTC on the local Stripe; {answer['steps']} billing step(s) happened.")


@clock.command("show")
@reports_errors
def show_clock(json_output: JsonOption = False) -> None:
    """Show the local Stripe's time."""
    answer = _control().get("/_local/clock")
    if json_output:
        print_json(answer)
    else:
        out.print(f"{_when(answer['now'])} UTC, {answer['offset']} s ahead of this machine")
