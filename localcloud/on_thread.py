"""A local service on a thread of this process, for tests; and the socket that one listens on."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

import uvicorn

PATIENCE_S = 30.0


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback interface; port 0 takes a free one."""
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it every answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    return listener


class OnThread:
    """A context in which the service answers. Heirs call ``serve`` when they are made; their application sets
    ``ready`` when it can answer."""

    ready: threading.Event
    _server: uvicorn.Server
    _thread: threading.Thread
    _sockets: tuple[socket.socket, ...]

    def serve(self, name: str, config: uvicorn.Config, http: socket.socket, *others: socket.socket) -> None:
        """``others``: further sockets of the service, closed with it."""
        self._server = uvicorn.Server(config)
        self._sockets = (http, *others)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [http]}, name=f"local-{name}", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        if not self.ready.wait(PATIENCE_S):
            raise RuntimeError(f"{self._thread.name} did not start within {PATIENCE_S:.0f} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        for each in self._sockets:
            each.close()
