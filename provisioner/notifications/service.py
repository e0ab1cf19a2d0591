"""Puts the pieces together from the settings: what the leader runs, what commands use, what others tell through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from components.spec import Environment
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.payer import PayerGateway
from provisioner.errors import ConfigurationInvalid
from provisioner.notifications import mime
from provisioner.notifications import policy as policies
from provisioner.notifications.kinds import Kind
from provisioner.notifications.planner import Planner, notify
from provisioner.notifications.policy import Policy
from provisioner.notifications.render import Renderer
from provisioner.notifications.sender import Letterhead, Sender
from provisioner.notifications.smtp import Security, Server, SmtpTransport
from provisioner.operate import Pool
from provisioner.periodic import Periodic
from provisioner.registry import notifications
from provisioner.settings import Settings

EVERY_S = 20.0  #: between two looks at what is due
FORGET_EVERY_S = 86_400.0
KEEP_DAYS = 400  #: that addresses and contents of messages are kept


def server_of(settings: Settings) -> Server | None:
    """None: no mail server is set, and messages are off."""
    if not settings.smtp_host:
        return None
    if settings.smtp_security == "none" and settings.smtp_password.get_secret_value():
        from ipaddress import ip_address

        try:
            loopback = ip_address(settings.smtp_host).is_loopback
        except ValueError:
            loopback = settings.smtp_host == "localhost"
        if not loopback:
            raise ConfigurationInvalid(
                "TENANTRY_SMTP_SECURITY=none would send the mail server's password in the clear",
                hint="set it to starttls or tls",
            )
    return Server(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=Security(settings.smtp_security),
        username=settings.smtp_username,
        password=settings.smtp_password,
        timeout_s=settings.smtp_timeout_s,
        ca=settings.smtp_ca,
        per_minute=settings.smtp_per_minute,
    )


def letterhead_of(settings: Settings) -> Letterhead:
    if not settings.mail_from:
        raise ConfigurationInvalid(
            "TENANTRY_MAIL_FROM is empty", hint='set it to your mailbox: "Acme Billing <billing@acme.example>"'
        )
    reply_to = mime.mailbox(settings.mail_reply_to, "TENANTRY_MAIL_REPLY_TO") if settings.mail_reply_to else None
    return Letterhead(settings.installation, mime.mailbox(settings.mail_from, "TENANTRY_MAIL_FROM"), reply_to)


def policy_of(settings: Settings) -> Policy:
    """``ConfigurationInvalid`` for the example in production: its links would lead customers to example.com."""
    example = settings.notifications == type(settings).model_fields["notifications"].default
    if example and settings.smtp_host and settings.environment is Environment.PRODUCTION:
        raise ConfigurationInvalid(
            "messages to customers would name the example's product and links",
            hint="copy example/notifications.toml, change it, and let TENANTRY_NOTIFICATIONS name it",
        )
    return policies.load(settings.notifications)


def renderer_of(settings: Settings, policy: Policy | None = None) -> Renderer:
    return Renderer(policy or policy_of(settings), settings.mail_templates)


@dataclass
class Notifier:
    """``run_due`` is the leader's; ``usage``, ``export_ready`` and ``deleted`` are for those who know of such."""

    pool: Pool
    planner: Planner
    sender: Sender

    @property
    def policy(self) -> Policy:
        return self.planner.policy

    async def run_due(self, now: datetime) -> None:
        """Decide, then send. Mail that waits goes out even while Stripe can't be asked."""
        try:
            await self.planner.run_due(now)
        finally:
            await self.sender.run_due(now)

    def work(self) -> tuple[Periodic, ...]:
        return (
            Periodic("notifications", EVERY_S, self.run_due),
            Periodic("notifications-forget", FORGET_EVERY_S, self.forget),
        )

    async def forget(self, now: datetime) -> None:
        """Personal data of old messages goes."""
        async with self.pool.connection() as connection:
            await notifications.forget(connection, days=KEEP_DAYS)


@dataclass(frozen=True)
class Announcements:
    """What other parts tell customers through, each in its own transaction; off without a policy."""

    policy: Policy | None
    catalogue: Catalogue

    async def usage(
        self,
        connection: AsyncConnection,
        tenant_id: str,
        *,
        meter: str,
        title: str,
        percent: int,
        used: int,
        included: int,
        period: str,
        period_until: datetime | None,
        billed: bool,
        blocked: bool,
        now: datetime,
    ) -> bool:
        """``meter``: a meter or a limit; ``period``: names the billing period, so that each share of it is told once in
        it; ``billed``: what goes beyond costs; ``blocked``: it is refused."""
        fields = {
            "meter": meter,
            "title": title,
            "percent": percent,
            "used": used,
            "included": included,
            "billed": billed,
            "blocked": blocked,
            "period_until": None if period_until is None else period_until.isoformat(),
        }
        return await self._tell(connection, tenant_id, Kind.USAGE, f"{meter}/{period}/{percent}", fields, now)

    async def export_ready(
        self,
        connection: AsyncConnection,
        tenant_id: str,
        *,
        export_id: str,
        url: str | None,
        size: str | None,
        until: datetime | None,
        now: datetime,
    ) -> bool:
        fields = {"export_url": url, "size": size, "until": None if until is None else until.isoformat()}
        return await self._tell(connection, tenant_id, Kind.EXPORT_READY, export_id, fields, now)

    async def deleted(
        self,
        connection: AsyncConnection,
        tenant_id: str,
        *,
        certificate: str | None,
        certificate_url: str | None,
        now: datetime,
    ) -> bool:
        """Without it the planner notices, and tells without a certificate."""
        fields = {"at": now.isoformat(), "certificate": certificate, "certificate_url": certificate_url}
        return await self._tell(connection, tenant_id, Kind.DELETED, "deleted", fields, now)

    async def _tell(
        self,
        connection: AsyncConnection,
        tenant_id: str,
        kind: Kind,
        occasion: str,
        fields: dict[str, Any],
        now: datetime,
    ) -> bool:
        if self.policy is None:
            return False
        return await notify(connection, tenant_id, kind, occasion, fields, self.policy, self.catalogue, now)


def make(settings: Settings, pool: Pool, gateway: PayerGateway, catalogue: Catalogue) -> Notifier | None:
    """None when no mail server is set. ``ConfigurationInvalid`` says which setting is wrong."""
    server = server_of(settings)
    if server is None:
        return None
    policy = policy_of(settings)
    planner = Planner(pool, gateway, catalogue, policy)
    sender = Sender(
        pool, renderer_of(settings, policy), letterhead_of(settings), lambda: SmtpTransport(server), server.per_minute
    )
    return Notifier(pool, planner, sender)


def announcements(settings: Settings, catalogue: Catalogue) -> Announcements:
    return Announcements(policy_of(settings) if settings.smtp_host else None, catalogue)
