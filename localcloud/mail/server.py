"""The server as a process (``python -m localcloud.mail``) or inside another one (``LocalMail``)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable

import uvicorn
from starlette.applications import Starlette

from localcloud.mail.http import create_app
from localcloud.mail.mailbox import Mailbox
from localcloud.mail.smtp import protocol
from localcloud.on_thread import OnThread, listen

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


class LocalMail(OnThread):
    """A local mail server on a thread of this process, for tests: ``with LocalMail() as mail: mail.smtp_port``."""

    password = "local"

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.mailbox = Mailbox()
        smtp, http = listen(0), listen(0)
        self.smtp_port = int(smtp.getsockname()[1])
        self.url = f"http://127.0.0.1:{http.getsockname()[1]}"
        self.ready = threading.Event()
        application = build(self.mailbox, self.password, smtp, tls=tls, on_ready=self.ready.set)
        self.serve("mail", config(application), http, smtp)
