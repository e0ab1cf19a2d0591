"""Hands messages to a mail server, one connection for many, and says what its answer means."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol

import aiosmtplib
from pydantic import SecretStr

from provisioner.notifications import fields as clean


class Security(StrEnum):
    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class Verdict(StrEnum):
    ACCEPTED = "accepted"  #: the server has taken responsibility for it
    LATER = "later"  #: this message, or its recipient's server, not now: 4xx
    REFUSED = "refused"  #: never: 5xx to the recipient or the content
    UNREACHABLE = "unreachable"  #: no message can be sent now: no connection, no login, the sender refused


@dataclass(frozen=True)
class Answer:
    """``code``: SMTP's, as 250; ``text``: one line of the server's, without anything of ours."""

    verdict: Verdict
    code: int | None = None
    text: str = ""


class Transport(Protocol):
    """Used as ``async with``; ``send`` never raises for what a server or a network does."""

    async def __aenter__(self) -> Transport: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def send(self, message: EmailMessage, sender: str, recipient: str) -> Answer: ...


@dataclass(frozen=True)
class Server:
    """Where mail is handed in. ``ca``: PEM file of certificates to trust beside the system's; ``per_minute``: most
    messages in any minute, 0: as fast as the server takes them."""

    host: str
    port: int = 587
    security: Security = Security.STARTTLS
    username: str = ""
    password: SecretStr = field(default_factory=lambda: SecretStr(""))
    timeout_s: float = 20.0
    ca: Path | None = None
    per_minute: int = 0


class SmtpTransport:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._client: aiosmtplib.SMTP | None = None

    async def __aenter__(self) -> SmtpTransport:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def send(self, message: EmailMessage, sender: str, recipient: str) -> Answer:
        try:
            client = await self._connected()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            await self._leave()
            return _of_connection(error)
        try:
            await client.mail(sender)
        except aiosmtplib.SMTPResponseException as error:
            await self._leave()
            return Answer(Verdict.UNREACHABLE, error.code, _line(f"the sender was refused: {error.message}"))
        except (aiosmtplib.SMTPException, OSError) as error:
            await self._leave()
            return _of_connection(error)
        try:
            await client.rcpt(recipient)
            code, text = await client.data(message.as_bytes())
        except aiosmtplib.SMTPResponseException as error:
            if error.code == 421:  # the server ends the connection: it has nothing against this message
                await self._leave()
                return Answer(Verdict.UNREACHABLE, error.code, _line(error.message))
            await self._reset()
            verdict = Verdict.REFUSED if 500 <= error.code < 600 else Verdict.LATER
            return Answer(verdict, error.code, _line(error.message))
        except (aiosmtplib.SMTPException, OSError) as error:
            # It may have been taken: the next attempt has the same Message-ID.
            await self._leave()
            return Answer(Verdict.LATER, None, _line(f"{type(error).__name__}: {error}"))
        return Answer(Verdict.ACCEPTED, code, _line(text))

    async def probe(self) -> Answer:
        """Connect and log in, send nothing."""
        try:
            await self._connected()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            await self._leave()
            return _of_connection(error)
        return Answer(Verdict.ACCEPTED)

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is not None and self._client.is_connected:
            return self._client
        server = self._server
        context = None
        if server.security is not Security.NONE:
            context = ssl.create_default_context()
            if server.ca is not None:
                context.load_verify_locations(server.ca)
        self._client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            timeout=server.timeout_s,
            use_tls=server.security is Security.TLS,
            start_tls=False,
            tls_context=context,
        )
        # One by one: what `connect` itself gives up, it closes without waiting for the end.
        await self._client.connect()
        if server.security is Security.STARTTLS:
            await self._client.starttls(tls_context=context)
        if server.username:
            await self._client.login(server.username, server.password.get_secret_value())
        return self._client

    async def _reset(self) -> None:
        try:
            if self._client is not None:
                await self._client.rset()
        except (aiosmtplib.SMTPException, OSError):
            await self._leave()

    async def _leave(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        transport = client.transport
        try:
            if client.is_connected:
                await client.quit()
        except (aiosmtplib.SMTPException, OSError):
            client.close()
        if isinstance(transport, asyncio.Transport):
            # TLS would wait for the other side's farewell, longer than this loop may live.
            transport.abort()
            await asyncio.sleep(0)
            await asyncio.sleep(0)


def _of_connection(error: Exception) -> Answer:
    code = error.code if isinstance(error, aiosmtplib.SMTPResponseException) else None
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        # what a server says to a wrong login may repeat it
        return Answer(Verdict.UNREACHABLE, code, "the mail server refused the login")
    return Answer(Verdict.UNREACHABLE, code, _line(f"{type(error).__name__}: {error}"))


def _line(text: object) -> str:
    """Without addresses: a server repeats the recipient's in most of its refusals."""
    return clean.line(re.sub(r"<?[^\s<>@]{1,64}@[^\s<>@]{1,255}>?", "<address>", str(text)), 200)
