"""Empties the outbox: each message is claimed, written, handed to the mail server, and what came of it recorded.

Any number of processes may do it. A process that dies after the server took a message and before that is recorded
makes it go out again when its claim has ended, with the same Message-ID; nothing else does.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage

import structlog

from provisioner.errors import Quarantined, TenantryError
from provisioner.notifications import mime, reading
from provisioner.notifications.render import Renderer
from provisioner.notifications.smtp import Answer, Transport, Verdict
from provisioner.operate import Pool
from provisioner.registry import notifications, timeline
from provisioner.registry.notifications import NotificationRecord, NotificationStatus
from provisioner.registry.timeline import EntryKind

log = structlog.get_logger(__name__)

#: A server that is slower than this has not taken the message as far as we know.
SEND_S = 120.0
#: Longer than a message can take: until then no other process tries it.
CLAIM = timedelta(minutes=5)
#: After the first failed attempt, doubled after each, up to the last. RFC 5321, 4.5.4.1: give up after 4 to 5 days.
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=3)
GIVE_UP_AFTER = timedelta(days=4)
LONGEST_RUN_S = 50.0


@dataclass(frozen=True)
class Letterhead:
    """What all messages of an installation share."""

    installation: str
    sender: Address
    reply_to: Address | None = None


@dataclass
class Sender:
    """``transport`` opens a connection to the mail server, or what stands for one."""

    pool: Pool
    renderer: Renderer
    letterhead: Letterhead
    transport: Callable[[], Transport]
    per_minute: int = 0
    _chance: random.Random = field(default_factory=random.Random)

    async def run_due(self, now: datetime) -> int:
        """Send what is due at ``now`` (billing time); how many the server took."""
        taken, ends = 0, time.monotonic() + LONGEST_RUN_S
        async with self.transport() as transport:
            while time.monotonic() < ends:
                record = await self._claim(now)
                if record is None:
                    break
                with structlog.contextvars.bound_contextvars(
                    tenant_id=record.tenant_id, notification_id=record.notification_id
                ):
                    answer = await self._send(record, transport, now)
                if answer is None:
                    continue
                taken += answer.verdict is Verdict.ACCEPTED
                if answer.verdict is Verdict.UNREACHABLE:
                    break  # the next message would fare no better
        return taken

    async def _claim(self, now: datetime) -> NotificationRecord | None:
        async with self.pool.connection() as connection:
            return await notifications.claim(
                connection, now=now, claim=uuid.uuid4(), claim_for=CLAIM, per_minute=self.per_minute
            )

    async def _send(self, record: NotificationRecord, transport: Transport, now: datetime) -> Answer | None:
        """None if the message was not even tried."""
        if record.expires_at <= now:
            await self._settle(record, NotificationStatus.EXPIRED, now, reason="its time was over before it was sent")
            return None
        try:
            message, recipient = self.write(record)
        except (TenantryError, ValueError) as problem:
            await self._quarantine(record, problem, now)
            return None
        except Exception as error:  # a bug: the message waits, and so does none of the others
            log.error("notification.unexpected", exc_info=error)
            await self._quarantine(record, Quarantined(f"writing it failed with {type(error).__name__}"), now)
            return None
        try:
            async with asyncio.timeout(SEND_S):
                answer = await transport.send(message, self.letterhead.sender.addr_spec, recipient)
        except TimeoutError:
            answer = Answer(Verdict.LATER, None, f"no answer in {SEND_S:.0f} s")
        # Once the server has taken it, not even the end of this process may keep that from being recorded.
        await asyncio.shield(self._record(record, answer, str(message["Message-ID"]), now))
        return answer

    def write(self, record: NotificationRecord) -> tuple[EmailMessage, str]:
        """The message and its recipient's address. ``AddressUnusable``, ``TemplateFailed``."""
        recipient = reading.recipient_from(record.recipient)
        to = mime.address(recipient.email, recipient.name)
        rendered = self.renderer.render(record.kind, recipient, record.fields)
        key = f"{self.letterhead.installation}/{record.tenant_id}/{record.generation}/{record.kind}/{record.occasion}"
        message = mime.compose(
            rendered,
            to,
            self.letterhead.sender,
            reply_to=self.letterhead.reply_to,
            key=key,
            date=datetime.now(UTC),
        )
        return message, to.addr_spec

    async def _record(self, record: NotificationRecord, answer: Answer, message_id: str, now: datetime) -> None:
        match answer.verdict:
            case Verdict.ACCEPTED:
                await self._settle(
                    record,
                    NotificationStatus.SENT,
                    now,
                    reason=answer.text,
                    smtp_code=answer.code,
                    message_id=message_id,
                    told=f"{record.kind} was sent",
                )
                log.info("notification.sent", kind=record.kind, occasion=record.occasion)
            case Verdict.REFUSED:
                await self._settle(
                    record,
                    NotificationStatus.REFUSED,
                    now,
                    reason=answer.text,
                    smtp_code=answer.code,
                    message_id=message_id,
                    told=f"{record.kind} was refused by the mail server ({answer.code})",
                )
                log.warning("notification.refused", kind=record.kind, smtp_code=answer.code, answer=answer.text)
            case Verdict.LATER | Verdict.UNREACHABLE:
                await self._later(record, answer, now)

    async def _later(self, record: NotificationRecord, answer: Answer, now: datetime) -> None:
        log.warning("notification.not_taken", kind=record.kind, smtp_code=answer.code, answer=answer.text,
                    attempts=record.attempts)  # fmt: skip
        wall = datetime.now(UTC)
        if wall - record.planned_at > GIVE_UP_AFTER and answer.verdict is Verdict.LATER:
            await self._settle(
                record,
                NotificationStatus.FAILED,
                now,
                reason=answer.text,
                smtp_code=answer.code,
                told=f"{record.kind} could not be delivered",
            )
            return
        await self._settle(
            record,
            NotificationStatus.PENDING,
            now,
            retry_at=wall + wait_after(record.attempts, self._chance),
            reason=answer.text,
            smtp_code=answer.code,
        )

    async def _quarantine(self, record: NotificationRecord, problem: Exception, now: datetime) -> None:
        code = problem.code if isinstance(problem, TenantryError) else type(problem).__name__
        message = problem.message if isinstance(problem, TenantryError) else str(problem)
        await self._settle(
            record,
            NotificationStatus.QUARANTINED,
            now,
            reason=f"{code}: {message}"[:500],
            told=f"{record.kind} could not be written ({code})",
        )
        log.warning("notification.quarantined", kind=record.kind, code=code, message=message[:300])

    async def _settle(
        self,
        record: NotificationRecord,
        status: NotificationStatus,
        now: datetime,
        *,
        retry_at: datetime | None = None,
        reason: str | None = None,
        smtp_code: int | None = None,
        message_id: str | None = None,
        told: str | None = None,
    ) -> None:
        async with self.pool.connection() as connection:
            ours = await notifications.settle(
                connection,
                record,
                status,
                now=now,
                retry_at=retry_at,
                reason=reason,
                smtp_code=smtp_code,
                message_id=message_id,
            )
            if ours and told is not None:
                await timeline.add(
                    connection,
                    record.tenant_id,
                    EntryKind.MESSAGE,
                    told,
                    detail={"notification_id": record.notification_id, "occasion": record.occasion},
                )
        if not ours:
            log.warning("notification.claim_lost", status=status.value)


def wait_after(attempts: int, chance: random.Random) -> timedelta:
    """How long a message waits after so many attempts: doubled each time, and spread."""
    doublings = min(max(attempts, 1) - 1, 12)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT) * (0.75 + chance.random() / 2)
