"""The service on paper with a Stripe of the test's own, and a mail server that does as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any

from psycopg import sql

from provisioner.billing.fake import customer_document, subscription_document
from provisioner.billing.payer import FakePayerGateway
from provisioner.notifications.planner import Planner
from provisioner.notifications.policy import Policy
from provisioner.notifications.render import Renderer
from provisioner.notifications.sender import Letterhead, Sender
from provisioner.notifications.service import Announcements, Notifier
from provisioner.notifications.smtp import Answer, Verdict
from provisioner.registry import notifications, queue, tenants
from provisioner.registry.notifications import NotificationRecord
from provisioner.registry.queue import Priority
from tests.integration.provisioner.service.harness import CATALOGUE, Service, open_service

BEGAN = datetime(2027, 3, 1, 12, tzinfo=UTC)
SECONDS = int(BEGAN.timestamp())
DAY = timedelta(days=1)
POLICY = Policy(weekends=True, product="Example")
LETTERHEAD = Letterhead("test", Address("Example", "billing", "example.com"))
TABLES = ("notification", "notification_profile", "dunning_episode", "cancellation_detail")


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Post:
    """Stands for a mail server. ``answers`` are given in turn, then everything is taken; ``arrived`` is what it took.

    ``crash`` ends the process before or after the server has taken the next message.
    """

    answers: list[Answer] = field(default_factory=list)
    arrived: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    crash: str | None = None

    async def __aenter__(self) -> Post:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def send(self, message: EmailMessage, sender: str, recipient: str) -> Answer:
        crash, self.crash = self.crash, None
        if crash == "before":
            raise Crash
        answer = self.answers.pop(0) if self.answers else Answer(Verdict.ACCEPTED, 250, "OK")
        if answer.verdict is Verdict.ACCEPTED:
            self.arrived.append(message)
            self.recipients.append(recipient)
        if crash == "after":
            raise Crash
        return answer

    def subjects(self) -> list[str]:
        return [str(message["Subject"]) for message in self.arrived]

    def ids(self) -> list[str]:
        return [str(message["Message-ID"]) for message in self.arrived]


@dataclass
class World:
    service: Service
    gateway: FakePayerGateway
    post: Post
    notifier: Notifier
    announcements: Announcements
    now: datetime = BEGAN

    def customer(self, tenant: str = "acme", **changes: Any) -> dict[str, Any]:
        return {
            **customer_document(f"cus_{tenant}"),
            "email": f"{tenant}@example.com",
            "name": "Ada",
            "preferred_locales": ["en"],
            "address": {"country": "AT"},
            "invoice_settings": {"default_payment_method": "pm_1"},
            **changes,
        }

    async def sell(
        self, status: str = "active", *, tenant: str = "acme", plan: str = "team_monthly", **changes: Any
    ) -> dict[str, Any]:
        """The customer's subscription as it is now, and the reconcile that follows."""
        customer = changes.pop("customer", None) or self.customer(tenant)
        document = subscription_document(
            f"sub_{tenant}", tenant, plan, customer=customer, status=status, created=SECONDS, **changes
        )
        self.gateway.payment_methods["pm_1"] = card(8, 2035)
        self.gateway.put_subscription(document)
        await self.service.deliver(self.service.event("customer.subscription.updated", document))
        await self.service.work()
        return document

    def owe(self, since: datetime, *, attempts: int = 1, paid: bool = False, tenant: str = "acme") -> None:
        self.gateway.put_invoice(
            {
                "id": f"in_{tenant}",
                "object": "invoice",
                "customer": f"cus_{tenant}",
                "status": "paid" if paid else "open",
                "created": int(since.timestamp()),
                "attempt_count": attempts,
                "amount_due": 9900,
                "amount_paid": 9900 if paid else 0,
                "amount_remaining": 0 if paid else 9900,
                "currency": "usd",
                "collection_method": "charge_automatically",
                "hosted_invoice_url": "https://invoice.example.com/1",
                "next_payment_attempt": int((since + 3 * DAY).timestamp()),
                "parent": {"subscription_details": {"subscription": f"sub_{tenant}"}},
                "status_transitions": {"finalized_at": int(since.timestamp()), "paid_at": None},
            }
        )

    async def at(self, moment: datetime) -> None:
        """Let time pass until then: what becomes due by it is reconciled."""
        self.now = self.gateway.time = moment
        async with self.service.pool.connection() as connection:
            due = await tenants.claim_review(connection, moment)
            await queue.defer_reconcile(connection, due, reason="a date was reached", priority=Priority.RETRY)
        await self.service.work()

    async def work(self) -> None:
        """What the leader does now and then."""
        await self.notifier.run_due(self.now)

    async def outbox(self, tenant: str | None = None) -> list[NotificationRecord]:
        """Oldest first."""
        async with self.service.pool.connection() as connection:
            found = await notifications.list_notifications(connection, tenant_id=tenant, limit=1000)
        return found[::-1]

    async def states(self, tenant: str | None = None) -> list[tuple[str, str]]:
        return [(record.kind, record.status) for record in await self.outbox(tenant)]

    async def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async with self.service.pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def end_claims(self) -> None:
        """As if the time of every claim, and of every wait, were over."""
        await self.execute(
            "UPDATE registry.notification SET claimed_until = now() - interval '1 s', retry_at = NULL "
            "WHERE status IN ('pending', 'sending')"
        )

    async def clear(self) -> None:
        await self.service.clear()
        self.gateway.clear()
        async with self.service.pool.connection() as connection:
            for table in TABLES:
                await connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("registry", table)))
        self.post.answers.clear()
        self.post.arrived.clear()
        self.post.recipients.clear()
        self.post.crash = None
        self.now = self.gateway.time = BEGAN


def card(month: int, year: int) -> dict[str, Any]:
    return {"id": "pm_1", "card": {"brand": "visa", "exp_month": month, "exp_year": year, "last4": "4242"}}


@asynccontextmanager
async def open_world(database: str, *, policy: Policy = POLICY, own: Path | None = None) -> AsyncIterator[World]:
    gateway = FakePayerGateway()
    gateway.time = BEGAN
    async with open_service(database, gateway) as service:
        post = Post()
        planner = Planner(service.pool, gateway, CATALOGUE, policy)
        sender = Sender(service.pool, Renderer(policy, own), LETTERHEAD, lambda: post)
        yield World(service, gateway, post, Notifier(service.pool, planner, sender), Announcements(policy, CATALOGUE))


def codes(*verdicts: Verdict) -> Iterator[Answer]:
    numbers = {Verdict.ACCEPTED: 250, Verdict.LATER: 451, Verdict.REFUSED: 550, Verdict.UNREACHABLE: None}
    return (Answer(verdict, numbers[verdict], verdict.value) for verdict in verdicts)
