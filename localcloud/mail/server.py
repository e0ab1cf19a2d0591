"""The server as a process (``python -m localcloud.mail``) or inside another one (``LocalMail``)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from types import TracebackType

import uvicorn
from starlette.applications import Starlette

from localcloud.mail.http import create_app
from localcloud.mail.mailbox import Mailbox
from localcloud.mail.smtp import protocol
from localcloud.stripe.server import listen

USERNAME = "tenantry"


def build(
    mailbox: Mailbox,
    password: str,
    smtp_socket: socket.socket,
    *,
    tls: ssl.SSLContext | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> Starlette:
    """The HTTP application; while it lives, the SMTP server does."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: protocol(mailbox, USERNAME, password, tls), sock=smtp_socket)
        on_ready()
        try:
            yield
        finally:
            server.close()

    app = create_app(mailbox, password)
    app.router.lifespan_context = lifespan
    return app


def config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", ws="none",
                          timeout_graceful_shutdown=1)  # fmt: skip


class LocalMail:
    """A local mail server on a thread of this process, for tests: ``with LocalMail() as mail: mail.smtp_port``."""

    password = "local"

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.mailbox = Mailbox()
        self._smtp, self._http = listen(0), listen(0)
        self.smtp_port = int(self._smtp.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._http.getsockname()[1]}"
        self._ready = threading.Event()
        self._server = uvicorn.Server(
            config(build(self.mailbox, self.password, self._smtp, tls=tls, on_ready=self._ready.set))
        )
        self._thread = threading.Thread(target=self._run, name="local-mail", daemon=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._http])

    def __enter__(self) -> LocalMail:
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("the local mail server did not start within 30 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self._http.close()
        self._smtp.close()
