"""The client that sends webhooks, against receivers of every manner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from localcloud.stripe.post import Poster, PostFailed

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Scenario = Callable[[Poster, str], Awaitable[None]]


class Server:
    """Answers request number n of a connection with ``answers[n]``; after the last it closes the connection."""

    def __init__(self, *answers: bytes, wait_for_close: bool = False) -> None:
        self._answers = answers
        self._wait = wait_for_close
        self.connections = 0
        self.requests: list[bytes] = []
        self.closed = asyncio.Event()
        self.tasks: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        self.connections += 1
        for answer in self._answers:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            writer.write(answer)
            await writer.drain()
        if self._wait:
            await reader.read()
        writer.close()
        self.closed.set()
        await writer.wait_closed()


def run(server: Server, scenario: Scenario, timeout_s: float = 10) -> None:
    async def main() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        poster = Poster(timeout_s)
        try:
            await scenario(poster, f"http://127.0.0.1:{port}/hook?x=1")
        finally:
            await poster.close()
            await asyncio.gather(*(task for task in server.tasks if task is not None), return_exceptions=True)
            listening.close()

    asyncio.run(main())


def test_a_connection_is_used_again() -> None:
    server = Server(OK, OK, OK)

    async def scenario(poster: Poster, url: str) -> None:
        for number in range(3):
            assert await poster.post(url, b"body %d" % number, {"Stripe-Signature": "t=1"}) == 200

    run(server, scenario)
    assert server.connections == 1
    assert server.requests[0].startswith(b"POST /hook?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nStripe-Signature: t=1\r\n" in server.requests[0]
    assert [request.rpartition(b"\r\n\r\n")[2] for request in server.requests] == [b"body 0", b"body 1", b"body 2"]


def test_a_connection_that_was_closed_while_idle_costs_nothing() -> None:
    server = Server(OK)

    async def scenario(poster: Poster, url: str) -> None:
        for _ in range(3):
            assert await poster.post(url, b"x", {}) == 200
            await server.closed.wait()
            server.closed.clear()

    run(server, scenario)
    assert server.connections == len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 500),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
        (b"HTTP/1.1 410 Gone\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 410),
    ],
)
def test_answers_of_every_form_are_read(answer: bytes, status: int) -> None:
    async def scenario(poster: Poster, url: str) -> None:
        for _ in range(2):
            assert await poster.post(url, b"x", {}) == status

    run(Server(answer), scenario)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionResetError),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", PostFailed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", PostFailed),
        (b"HTTP/1.1 2", ConnectionResetError),
    ],
)
def test_what_is_no_answer_is_an_error(answer: bytes, error: type[Exception]) -> None:
    async def scenario(poster: Poster, url: str) -> None:
        with pytest.raises(error):
            await poster.post(url, b"x", {})

    run(Server(answer), scenario)


def test_a_receiver_that_never_answers_times_out() -> None:
    async def scenario(poster: Poster, url: str) -> None:
        with pytest.raises(TimeoutError):
            await poster.post(url, b"x", {})

    run(Server(b"HTTP/1.1 200 OK\r\n", wait_for_close=True), scenario, timeout_s=0.2)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "nonsense", "http:///path"])
def test_what_is_no_url_is_refused(url: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError):
            await Poster(1).post(url, b"", {})

    asyncio.run(main())
