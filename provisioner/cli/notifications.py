"""``tenantry notifications ...`` and ``tenantry dunning ...``: what customers are told, and what came of it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors, styled

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from provisioner.registry.notifications import NotificationRecord

notifications = typer.Typer(no_args_is_help=True, help="Messages to customers; quarantined ones wait for you.")
dunning = typer.Typer(no_args_is_help=True, help="What became of overdue payments.")

_COLOUR = {"sent": "green", "pending": "cyan", "sending": "cyan", "quarantined": "red", "refused": "red",
           "failed": "red", "expired": "yellow"}  # fmt: skip


def register(app: typer.Typer) -> None:
    app.add_typer(notifications, name="notifications")
    app.add_typer(dunning, name="dunning")


@notifications.command("list")
@reports_errors
def list_(
    status: Annotated[str | None, typer.Option(help="pending, sent, quarantined, ...")] = None,
    tenant: Annotated[str | None, typer.Option(help="only to this tenant")] = None,
    kind: Annotated[str | None, typer.Option(help="only of this kind, as payment_failed")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 50,
    json_output: JsonOption = False,
) -> None:
    """The latest messages, newest first, without what they say."""
    from provisioner.cli.registry_access import ask
    from provisioner.notifications.kinds import Kind
    from provisioner.registry import notifications as outbox

    if status is not None and status not in set(outbox.NotificationStatus):
        raise typer.BadParameter(f"one of {', '.join(outbox.NotificationStatus)}", param_hint="--status")
    if kind is not None and kind not in set(Kind):
        raise typer.BadParameter(f"one of {', '.join(Kind)}", param_hint="--kind")

    async def load(connection: AsyncConnection) -> list[NotificationRecord]:
        return await outbox.list_notifications(connection, status=status, tenant_id=tenant, kind=kind, limit=limit)

    found = ask(load)
    if json_output:
        print_json([record.summary() for record in found])
    elif not found:
        out.print("There are no such messages.")
    else:
        print_columns(
            ["id", "status", "tenant", "kind", "due", "sent", "attempts", "reason"],
            [
                [
                    str(record.notification_id),
                    record.status,
                    record.tenant_id,
                    record.kind,
                    f"{record.send_after:%Y-%m-%d %H:%M}",
                    "" if record.sent_at is None else f"{record.sent_at:%Y-%m-%d %H:%M}",
                    str(record.attempts),
                    styled((record.reason or "") if record.status != "sent" else ""),
                ]
                for record in found
            ],
            [_COLOUR.get(record.status) for record in found],
        )


@notifications.command()
@reports_errors
def show(notification_id: Annotated[int, typer.Argument(metavar="ID")], json_output: JsonOption = False) -> None:
    """One message with its recipient and text, as it was or would be sent: it holds personal data."""
    from provisioner import settings
    from provisioner.cli.registry_access import ask
    from provisioner.errors import NotFound, TenantryError
    from provisioner.notifications import reading, service
    from provisioner.registry import notifications as outbox

    async def load(connection: AsyncConnection) -> NotificationRecord | None:
        return await outbox.get(connection, notification_id)

    found = ask(load)
    if found is None:
        raise NotFound(f"there is no message {notification_id}", hint="`tenantry notifications list` shows the latest")
    document: dict[str, Any] = {**found.summary(), "recipient": found.recipient, "fields": found.fields}
    try:
        recipient = reading.recipient_from(found.recipient)
        rendered = service.renderer_of(settings.load()).render(found.kind, recipient, found.fields)
        document |= {"subject": rendered.subject, "text": rendered.text, "language": rendered.language}
    except TenantryError as problem:
        document["problem"] = problem.message
    if json_output:
        print_json(document)
        return
    text = document.pop("text", None)
    for name, value in document.items():
        if value not in (None, {}):
            out.print(f"{name:<16} {styled(str(value))}", soft_wrap=True, markup=False)
    if text is not None:
        sys.stdout.write("\n" + "\n".join(styled(line) for line in text.splitlines()) + "\n")


@notifications.command()
@reports_errors
def preview(
    kind: Annotated[str, typer.Argument(help="as payment_failed; `all` for every one")],
    locale: Annotated[str, typer.Option(help="the customer's language, as de-AT")] = "en",
    html: Annotated[bool, typer.Option("--html", help="the HTML part instead of the text")] = False,
    json_output: JsonOption = False,
) -> None:
    """What a kind of message looks like, with made-up contents and your templates. Asks no service."""
    from provisioner import settings
    from provisioner.notifications import service
    from provisioner.notifications.facts import Recipient
    from provisioner.notifications.kinds import Kind
    from provisioner.notifications.samples import SAMPLES

    if kind != "all" and kind not in set(Kind):
        raise typer.BadParameter(f"one of all, {', '.join(Kind)}", param_hint="KIND")
    renderer = service.renderer_of(settings.load())
    recipient = Recipient("ada@example.com", "Ada Lovelace", (locale,), None, None)
    wanted = list(Kind) if kind == "all" else [Kind(kind)]
    rendered = {each: renderer.render(each, recipient, SAMPLES[each]) for each in wanted}
    if json_output:
        print_json({each.value: vars(made) for each, made in rendered.items()})
        return
    for each, made in rendered.items():
        if kind == "all":
            sys.stdout.write(f"--- {each.value}\n")
        sys.stdout.write(f"Subject: {made.subject}\n\n{made.html if html else made.text}\n")


@notifications.command()
@reports_errors
def retry(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="of quarantined, refused, failed")] = None,
    all_: Annotated[bool, typer.Option("--all", help="every one of them")] = False,
    json_output: JsonOption = False,
) -> None:
    """Send again what was given up, after its cause was corrected: a template, an address."""
    from provisioner.cli.registry_access import ask
    from provisioner.errors import NotFound
    from provisioner.registry import notifications as outbox

    if bool(ids) == all_:
        raise typer.BadParameter("name messages, or give --all")

    async def queue(connection: AsyncConnection) -> list[int]:
        return await outbox.retry(connection, None if all_ else ids, now=now)

    now = _billing_time()
    queued = ask(queue)
    missing = sorted(set(ids or ()) - set(queued))
    if missing:
        raise NotFound(
            f"not to be sent again: {', '.join(map(str, missing))}"
            + (f"; the others wait to be sent ({len(queued)})" if queued else ""),
            hint="only messages that are quarantined, refused or failed are: tenantry notifications list",
        )
    if json_output:
        print_json({"queued": queued})
    else:
        out.print(f"{len(queued)} wait to be sent. See what becomes of them: tenantry notifications list")


@notifications.command("test")
@reports_errors
def send_test(
    to: Annotated[str, typer.Argument(help="an address of yours")],
    kind: Annotated[str, typer.Option(help="which message, with made-up contents")] = "test",
    locale: Annotated[str, typer.Option(help="in which language")] = "en",
    json_output: JsonOption = False,
) -> None:
    """Send a message right now, past the outbox, and tell what the mail server says."""
    import asyncio
    import secrets

    from provisioner import settings
    from provisioner.errors import ConfigurationInvalid, Reject, RetryLater
    from provisioner.notifications import mime, service
    from provisioner.notifications.facts import Recipient
    from provisioner.notifications.kinds import Kind
    from provisioner.notifications.samples import SAMPLES
    from provisioner.notifications.smtp import Answer, SmtpTransport, Verdict

    if kind not in set(Kind):
        raise typer.BadParameter(f"one of {', '.join(Kind)}", param_hint="--kind")
    current = settings.load()
    server = service.server_of(current)
    if server is None:
        raise ConfigurationInvalid("no mail server is set", hint="set TENANTRY_SMTP_HOST and TENANTRY_MAIL_FROM")
    letterhead = service.letterhead_of(current)
    recipient = mime.address(to)
    rendered = service.renderer_of(current).render(kind, Recipient(to, None, (locale,)), SAMPLES[Kind(kind)])
    message = mime.compose(
        rendered,
        recipient,
        letterhead.sender,
        reply_to=letterhead.reply_to,
        key=secrets.token_hex(8),
        date=datetime.now(UTC),
    )

    async def send() -> Answer:
        async with SmtpTransport(server) as transport:
            return await transport.send(message, letterhead.sender.addr_spec, recipient.addr_spec)

    answer = asyncio.run(send())
    said = f"{answer.code or ''} {answer.text}".strip()
    if answer.verdict is Verdict.REFUSED:
        raise Reject(f"the mail server refuses the message: {said}", hint="check TENANTRY_MAIL_FROM and the address")
    if answer.verdict is not Verdict.ACCEPTED:
        raise RetryLater(f"the message was not taken: {said}", hint="check the TENANTRY_SMTP_ settings")
    if json_output:
        print_json({"message_id": str(message["Message-ID"]), "code": answer.code, "text": answer.text})
    else:
        out.print(f"The mail server took it: {said}", markup=False)


def _billing_time() -> datetime:
    """Stripe's, by which messages expire; this machine's while Stripe can't be asked."""
    import asyncio

    from provisioner import app, settings
    from provisioner.errors import TenantryError

    async def asked() -> datetime:
        gateway = app.gateway(settings.load())
        try:
            return await gateway.now()
        finally:
            await gateway.close()

    try:
        return asyncio.run(asked())
    except TenantryError:
        return datetime.now(UTC)


@dunning.command()
@reports_errors
def report(
    days: Annotated[int, typer.Option(min=1, max=3650, help="payments that became overdue within so many days")] = 365,
    json_output: JsonOption = False,
) -> None:
    """How many overdue payments came back, after which step and which message; and why customers cancel."""
    from provisioner.cli.registry_access import ask
    from provisioner.notifications.recovery import tabulated
    from provisioner.registry import dunning as episodes

    async def load(connection: AsyncConnection) -> dict[str, list[dict[str, Any]]]:
        return await episodes.report(connection, datetime.now(UTC) - timedelta(days=days))

    found = tabulated(ask(load))
    if json_output:
        print_json({"days": days, **found})
        return
    if not found["by_step"]:
        out.print(f"No payment became overdue within {days} days.")
    else:
        print_columns(
            ["furthest step", "overdue", "recovered", "lost", "open", "rate", "median days"],
            [
                [
                    row["step"],
                    str(row["episodes"]),
                    str(row["recovered"]),
                    str(row["lost"]),
                    str(row["open"]),
                    "" if row["rate"] is None else f"{row['rate']:.0%}",
                    "" if row["median_days"] is None else f"{row['median_days']:.1f}",
                ]
                for row in found["by_step"]
            ],
        )
        for row in found["by_currency"]:
            amounts = ", ".join(f"{name} {row[name]}" for name in ("recovered", "lost", "open"))
            out.print(f"{row['currency'].upper()}, smallest unit: {amounts}")
        for row in found["by_message"]:
            out.print(f"paid after the message {row['kind']}: {row['recovered']}")
    for row in found["cancellations"]:
        out.print(f"cancelled, {styled(row['why'])}: {row['subscriptions']}", markup=False)
