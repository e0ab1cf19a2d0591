"""The server as a process (``python -m localcloud.stripe``) or inside another one (``LocalStripe``)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType

import uvicorn
from starlette.applications import Starlette

from localcloud.stripe import control
from localcloud.stripe import resources as _resources
from localcloud.stripe.account import Account
from localcloud.stripe.app import create_app
from localcloud.stripe.delivery import Dispatcher
from localcloud.stripe.resources.webhook_endpoints import add_endpoint
from localcloud.stripe.store import Store
from localcloud.stripe.subscriptions import schedule

TICK_S = 1.0
DEFAULT_SECRET = "whsec_local"
log = logging.getLogger(__name__)

assert _resources.__all__  # imported for its routes


def open_account(data: Path | None, webhook_url: str | None, webhook_secrets: list[str]) -> Account:
    """The account kept in ``data`` (None: in memory), with an endpoint for all events at ``webhook_url``."""
    account = Account(Store(data))
    if webhook_url is not None:
        if not webhook_secrets or not all(webhook_secrets):
            raise ValueError("a webhook URL needs a signing secret that is not empty")
        with account.transaction():
            _endpoint(account, webhook_url, webhook_secrets)
    return account


def _endpoint(account: Account, url: str, secrets: list[str]) -> None:
    for endpoint in account.store.all("webhook_endpoint"):
        if endpoint["metadata"].get("local") == "command line":
            account.store.edit(endpoint)["url"] = url
            record = account.find("_endpoint_secret", endpoint["id"])
            account.store.edit(record)["secrets"] = secrets
            return
    endpoint = add_endpoint(account, url, secrets[0], ["*"])
    endpoint["metadata"] = {"local": "command line"}
    account.find("_endpoint_secret", endpoint["id"])["secrets"] = secrets


def build(account: Account, on_ready: Callable[[], None] = lambda: None) -> Starlette:
    """The application with its background work: deliveries, and the billing that real time makes due."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        dispatcher = Dispatcher(account)
        dispatcher.start()
        ticker = asyncio.create_task(_tick_forever(account))
        on_ready()
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
            await dispatcher.stop()
            account.store.close()

    app = create_app(account, list(control.routes(account)))
    app.router.lifespan_context = lifespan
    return app


async def _tick_forever(account: Account) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        try:
            while _tick(account) == control.STEPS_AT_ONCE:
                await asyncio.sleep(0)
        except Exception:
            log.exception("a billing step failed")


def _tick(account: Account) -> int:
    with account.transaction():
        return schedule.tick(account, limit=control.STEPS_AT_ONCE)


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback interface; port 0 takes a free one."""
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it every answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    return listener


def config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        date_header=False,  # every answer says the account's time
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=3,
    )


class LocalStripe:
    """A local Stripe on a thread of this process, for tests: ``with LocalStripe() as stripe: stripe.url``."""

    api_key = "sk_test_local"

    def __init__(
        self,
        data: Path | None = None,
        webhook_url: str | None = None,
        webhook_secret: str = DEFAULT_SECRET,
        port: int = 0,
    ) -> None:
        self.webhook_secret = webhook_secret
        self.account = open_account(data, webhook_url, [webhook_secret])
        self._socket = listen(port)
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready = threading.Event()
        self._server = uvicorn.Server(config(build(self.account, self._ready.set)))
        self._thread = threading.Thread(target=self._run, name="local-stripe", daemon=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> LocalStripe:
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("the local Stripe did not start within 30 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self._socket.close()
