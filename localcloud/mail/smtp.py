"""The SMTP side: STARTTLS with the data directory's certificate, a login, and faults on demand."""

from __future__ import annotations

import hmac
import ssl
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from localcloud.mail.mailbox import Mailbox
from localcloud.postgres.tls import Authority, write_file

LARGEST = 5_000_000


class Handler:
    """The names of the methods are aiosmtpd's."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (fault := self._mailbox.fault("mail", [])) is not None:
            return f"{fault.code} {fault.text}"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (fault := self._mailbox.fault("rcpt", [address])) is not None:
            return f"{fault.code} {fault.text}"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if (fault := self._mailbox.fault("data", envelope.rcpt_tos)) is not None:
            return f"{fault.code} {fault.text}"
        content = envelope.content or b""
        assert isinstance(content, bytes)
        arrived = self._mailbox.add(envelope.mail_from or "", list(envelope.rcpt_tos), content)
        if self._mailbox.fault("lost", envelope.rcpt_tos) is not None and server.transport is not None:
            server.transport.abort()  # type: ignore[attr-defined]
        return f"250 OK, message {arrived.number}"


def protocol(mailbox: Mailbox, username: str, password: str, tls: ssl.SSLContext | None) -> SMTP:
    """What serves one connection."""

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        sound = (
            isinstance(data, LoginPassword)
            and hmac.compare_digest(data.login, username.encode())
            and hmac.compare_digest(data.password, password.encode())
        )
        return AuthResult(success=sound, handled=False)

    return SMTP(
        Handler(mailbox),
        hostname="mail.localhost",
        ident="Tenantry's local mail",
        data_size_limit=LARGEST,
        decode_data=False,
        tls_context=tls,
        require_starttls=tls is not None,
        auth_required=bool(password),
        auth_require_tls=tls is not None,
        authenticator=authenticate,
    )


def tls_context(directory: Path) -> ssl.SSLContext:
    """With a certificate of the authority in ``directory``, for 127.0.0.1 and localhost."""
    certificate, key = Authority(directory).issue()
    write_file(directory / "mail.crt", certificate, 0o600)
    write_file(directory / "mail.key", key, 0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "mail.crt", directory / "mail.key")
    return context
