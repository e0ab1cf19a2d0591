"""The server as a process (``python -m localcloud.stripe``) or inside another one (``LocalStripe``)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from localcloud.on_thread import OnThread, listen
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


class LocalStripe(OnThread):
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
        listener = listen(port)
        self.port = int(listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.ready = threading.Event()
        self.serve("stripe", config(build(self.account, self.ready.set)), listener)
