"""POSTs webhooks over kept connections. Only what that needs, so that a laptop sends hundreds a second."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h11

MAX_IDLE = 32
READ_SIZE = 65536


class PostFailed(OSError):
    """The receiver answered something that is no HTTP, or went away in the middle of its answer."""


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    used: bool = False

    async def exchange(self, head: h11.Request, body: bytes) -> int:
        """The answer's status. ``ConnectionError`` when nothing came back."""
        data = (self.protocol.send(head) or b"") + (self.protocol.send(h11.Data(body)) or b"")
        self.writer.write(data + (self.protocol.send(h11.EndOfMessage()) or b""))
        await self.writer.drain()
        status = None
        while True:
            event = self.protocol.next_event()
            if event is h11.NEED_DATA:
                received = await self.reader.read(READ_SIZE)
                if not received and status is None:
                    raise ConnectionResetError("the connection was closed before an answer")
                self.protocol.receive_data(received)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.EndOfMessage):
                assert status is not None
                return status
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("the connection was closed before the end of an answer")

    def reusable(self) -> bool:
        if self.protocol.our_state is not h11.DONE or self.protocol.their_state is not h11.DONE:
            return False
        self.protocol.start_next_cycle()
        self.used = True
        return not self.reader.at_eof()


class Poster:
    """Belongs to one event loop. Follows no redirects and uses no proxy."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """The status of the answer. ``OSError`` (``TimeoutError`` is one) when there is none, ``ValueError`` for a URL
        that can't be posted to."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http or https URL")
        origin = (parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        head = h11.Request(
            method="POST",
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            headers=[("Host", parts.netloc.rpartition("@")[2]), ("Content-Length", str(len(body))), *headers.items()],
        )
        async with asyncio.timeout(self._timeout_s):
            return await self._post(origin, head, body)

    async def _post(self, origin: tuple[str, str, int], head: h11.Request, body: bytes) -> int:
        while True:
            idle = self._idle.setdefault(origin, [])
            connection = idle.pop() if idle else await _connect(origin)
            finished = False
            try:
                status = await connection.exchange(head, body)
                finished = True
            except ConnectionError:
                if connection.used:  # it was closed while it was idle: that says nothing about the receiver
                    continue
                raise
            except h11.RemoteProtocolError as error:
                raise PostFailed(str(error)) from None
            finally:
                if finished and connection.reusable() and len(idle) < MAX_IDLE:
                    idle.append(connection)
                else:
                    connection.writer.close()
            return status

    async def close(self) -> None:
        idle, self._idle = self._idle, {}
        for connection in [connection for connections in idle.values() for connection in connections]:
            connection.writer.close()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()


async def _connect(origin: tuple[str, str, int]) -> _Connection:
    scheme, host, port = origin
    context = ssl.create_default_context() if scheme == "https" else None
    return _Connection(*await asyncio.open_connection(host, port, ssl=context))
