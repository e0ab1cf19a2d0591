"""``tenantry entitlements ...``: what a tenant may use, and an operator's exceptions to its plan."""

from __future__ import annotations

import getpass
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from provisioner.overriding import Exemption
    from provisioner.registry.entitlements import Override

entitlements = typer.Typer(no_args_is_help=True, help="What a tenant may use, and exceptions to its plan.")

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT")]
ByOption = Annotated[
    str, typer.Option("--by", help="who decides it; it is recorded", default_factory=lambda: getpass.getuser())
]
ReasonOption = Annotated[str, typer.Option(help="why; it is recorded")]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="TIME", help="when it ends: 14d, 12h, 2027-01-31 (UTC) or a time with its zone; else never"
    ),
]
UnlistedOption = Annotated[bool, typer.Option("--unlisted", help="a name that no plan of the catalogue has")]
_SPAN = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def register(app: typer.Typer) -> None:
    app.add_typer(entitlements, name="entitlements")


@entitlements.command()
@reports_errors
def show(tenant_id: TenantArgument, json_output: JsonOption = False) -> None:
    """What the tenant may use now, as its applications are told, and the exceptions in it."""
    from provisioner.cli.registry_access import ask
    from provisioner.operator_tasks import require
    from provisioner.registry import entitlements as registry

    async def load(connection: AsyncConnection) -> tuple[dict[str, Any] | None, list[Override]]:
        await require(connection, tenant_id)
        return await registry.effective(connection, tenant_id), await registry.of_tenant(connection, tenant_id)

    effective, overrides = ask(load)
    assert effective is not None
    if json_output:
        print_json({**effective, "overrides": [vars(each) for each in overrides]})
        return
    for name, value in effective.items():
        if value not in (None, [], {}):
            out.print(f"{name:<22} {_shown(value)}", soft_wrap=True)
    if overrides:
        out.print()
        rows = [
            (each.kind, each.name, _said(each), each.author, _ends(each), each.reason.replace("\n", " "))
            for each in overrides
        ]
        print_columns(("exception", "name", "is", "by", "until", "reason"), rows)


@entitlements.command()
@reports_errors
def grant(
    tenant_id: TenantArgument,
    feature: Annotated[str, typer.Argument(metavar="FEATURE")],
    reason: ReasonOption,
    by: ByOption,
    until: UntilOption = None,
    unlisted: UnlistedOption = False,
    json_output: JsonOption = False,
) -> None:
    """Give the tenant a feature that its plan lacks."""
    from provisioner.overriding import Exemption
    from provisioner.registry.entitlements import OverrideKind

    _set(tenant_id, Exemption(OverrideKind.FEATURE, feature, granted=True), by, reason, until, unlisted, json_output)


@entitlements.command()
@reports_errors
def revoke(
    tenant_id: TenantArgument,
    feature: Annotated[str, typer.Argument(metavar="FEATURE")],
    reason: ReasonOption,
    by: ByOption,
    until: UntilOption = None,
    unlisted: UnlistedOption = False,
    json_output: JsonOption = False,
) -> None:
    """Take a feature away that the tenant's plan has."""
    from provisioner.overriding import Exemption
    from provisioner.registry.entitlements import OverrideKind

    _set(tenant_id, Exemption(OverrideKind.FEATURE, feature, granted=False), by, reason, until, unlisted, json_output)


@entitlements.command()
@reports_errors
def limit(
    tenant_id: TenantArgument,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    value: Annotated[str, typer.Argument(metavar="NUMBER|unlimited")],
    reason: ReasonOption,
    by: ByOption,
    rate: Annotated[bool, typer.Option("--rate", help="NAME is a rate: NUMBER calls in its window")] = False,
    until: UntilOption = None,
    unlisted: UnlistedOption = False,
    json_output: JsonOption = False,
) -> None:
    """Give the tenant another number than its plan does."""
    from provisioner.overriding import Exemption
    from provisioner.registry.entitlements import OverrideKind

    kind = OverrideKind.RATE if rate else OverrideKind.LIMIT
    _set(tenant_id, Exemption(kind, name, value=_number(value)), by, reason, until, unlisted, json_output)


@entitlements.command()
@reports_errors
def clear(
    tenant_id: TenantArgument,
    kind: Annotated[str, typer.Argument(metavar="feature|limit|rate")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
    reason: ReasonOption,
    by: ByOption,
    json_output: JsonOption = False,
) -> None:
    """Remove an exception: the plan decides again."""
    from provisioner.cli.registry_access import ask
    from provisioner.overriding import clear_override
    from provisioner.registry.entitlements import OverrideKind

    if kind not in tuple(OverrideKind):
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(OverrideKind)}")
    ask(lambda connection: clear_override(connection, tenant_id, OverrideKind(kind), name, by=by, reason=reason))
    if json_output:
        print_json({"tenant_id": tenant_id, "cleared": {"kind": kind, "name": name}})
    else:
        out.print(f"The plan of {tenant_id} decides about {kind} {name} again.", soft_wrap=True)


def _set(
    tenant_id: str, wanted: Exemption, by: str, reason: str, until: str | None, unlisted: bool, json_output: bool
) -> None:
    from provisioner import settings
    from provisioner.billing import catalogue as catalogues
    from provisioner.cli.registry_access import ask
    from provisioner.overriding import set_override

    expires_at = None if until is None else moment(until, datetime.now(UTC))
    configured = settings.load()
    catalogue = None if unlisted else catalogues.load(Path(configured.catalogue))

    async def store(connection: AsyncConnection) -> None:
        await set_override(
            connection, tenant_id, wanted, catalogue=catalogue, by=by, reason=reason, expires_at=expires_at
        )

    ask(store, configured)
    if json_output:
        print_json({"tenant_id": tenant_id, "override": {**vars(wanted), "expires_at": expires_at}})
        return
    ends = f" until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at is not None else ""
    out.print(f"{tenant_id}: {wanted.told()}{ends}. Its applications are told at once.", soft_wrap=True)


def moment(text: str, now: datetime) -> datetime:
    """``14d``, ``12h``, ``2w`` from ``now`` on, a date (its beginning in UTC), or an ISO 8601 time with its zone."""
    if span := _SPAN.fullmatch(text):
        return now + int(span[1]) * _UNITS[span[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time: 14d, 12h, 2027-01-31, 2027-01-31T12:00+01:00") from None
    if found.tzinfo is None:
        if len(text) > len("2027-01-31"):
            raise typer.BadParameter(f"{text!r} has no time zone: write {text}Z if you mean UTC")
        found = found.replace(tzinfo=UTC)
    return found.astimezone(UTC)


def _number(text: str) -> int | None:
    if text == "unlimited":
        return None
    if not text.isdecimal() or len(text) > 16:
        raise typer.BadParameter(f"{text!r} is neither a whole number nor 'unlimited'")
    return int(text)


def _said(override: Override) -> str:
    if override.granted is not None:
        return "granted" if override.granted else "revoked"
    return "unlimited" if override.value is None else str(override.value)


def _ends(override: Override) -> str:
    if override.expires_at is None:
        return "cleared"
    return f"{override.expires_at.astimezone(UTC):%Y-%m-%d %H:%M}" + (" (over)" if override.expired else "")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(json.dumps(each) if isinstance(each, dict) else str(each) for each in value)
    return str(value)
