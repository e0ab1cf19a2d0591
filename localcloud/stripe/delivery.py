"""Webhooks: signed, sent concurrently, retried with growing delays; duplicated, delayed, reordered, dropped on request.

As with Stripe, order is not guaranteed and an endpoint that is down delays nobody else. Deliveries that were pending
when the server stopped are sent when it starts again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.post import Poster
from localcloud.stripe.render import event_body
from localcloud.stripe.signature import sign
from localcloud.stripe.store import Object

DEFAULT_FAULTS: dict[str, Any] = {"duplicate": 0, "delay_s": 0.0, "reorder": False, "drop_next": 0, "seed": 0}
#: Stripe retries for three days; a laptop's seconds stand for its hours.
DEFAULT_RETRY: dict[str, Any] = {"base_s": 0.5, "factor": 2.0, "cap_s": 30.0, "attempts": 16}
REORDER_WINDOW_S = 0.3
TIMEOUT_S = 20.0
#: Requests that one endpoint gets at a time.
CONCURRENCY = 16
log = logging.getLogger(__name__)


def retry_delay(retry: dict[str, Any], attempts: int) -> float | None:
    """Seconds to wait after ``attempts`` failures (1 or more); None: give up."""
    if attempts >= retry["attempts"]:
        return None
    return float(min(retry["cap_s"], retry["base_s"] * retry["factor"] ** (attempts - 1)))


def shuffled(items: list[str], generator: random.Random) -> list[str]:
    """``items`` in another order, if there is one."""
    result = list(items)
    while len(set(items)) > 1 and result == items:
        generator.shuffle(result)
    return result


@dataclass(frozen=True)
class _Message:
    url: str
    endpoint: str
    body: bytes
    headers: dict[str, str]


class Dispatcher:
    """Sends deliveries from inside the server's event loop. ``wake`` may be called from any thread."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[str] = []
        self._window: asyncio.TimerHandle | None = None
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._loop = asyncio.get_running_loop()
        self._poster = Poster(TIMEOUT_S)
        self._disorder: tuple[int, random.Random] | None = None

    def start(self) -> None:
        self._account.on_deliveries = self.wake
        with self._account.lock:
            pending = [item["id"] for item in self._account.store.all("_delivery") if item["state"] == "pending"]
        self._accept(pending)

    async def stop(self) -> None:
        self._account.on_deliveries = lambda _: None
        if self._window is not None:
            self._window.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._poster.close()

    def wake(self, deliveries: list[str]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: they are sent after the next start
            self._loop.call_soon_threadsafe(self._accept, deliveries)

    def faults(self) -> dict[str, Any]:
        return {**DEFAULT_FAULTS, **self._account.setting("faults", {})}

    def _accept(self, deliveries: list[str]) -> None:
        faults = self.faults()
        if faults["reorder"]:
            self._held += deliveries
            if self._window is None:
                self._window = self._loop.call_later(REORDER_WINDOW_S, self._release, faults["seed"])
            return
        for delivery in deliveries:
            self._spawn(delivery, faults)

    def _release(self, seed: int) -> None:
        self._window = None
        held, self._held = self._held, []
        if self._disorder is None or self._disorder[0] != seed:
            self._disorder = (seed, random.Random(seed))  # noqa: S311 - reproducible disorder, not a secret
        for delivery in shuffled(held, self._disorder[1]):
            self._spawn(delivery, self.faults())

    def _spawn(self, delivery: str, faults: dict[str, Any]) -> None:
        if faults["drop_next"] > 0 and self._drop(delivery, faults):
            return
        for _ in range(1 + int(faults["duplicate"])):
            task = self._loop.create_task(self._deliver(delivery, float(faults["delay_s"])))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _drop(self, delivery: str, faults: dict[str, Any]) -> bool:
        with self._account.transaction() as account:
            record = account.store.get("_delivery", delivery)
            if record is None or record["state"] != "pending":
                return False
            account.store.edit(record)["state"] = "dropped"
            account.set_setting("faults", {**faults, "drop_next": faults["drop_next"] - 1})
        faults["drop_next"] -= 1
        return True

    async def _deliver(self, delivery: str, delay_s: float) -> None:
        try:
            await self._send_until_taken(delivery, delay_s)
        except Exception:
            log.exception("delivery %s failed", delivery)
            self._end(delivery, "failed")

    async def _send_until_taken(self, delivery: str, delay_s: float) -> None:
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        attempts = 0
        while True:
            endpoint = delivery.partition("/")[2]
            async with self._slots.setdefault(endpoint, asyncio.Semaphore(CONCURRENCY)):
                message = self._prepare(delivery)
                if message is None:
                    self._end(delivery, "failed")
                    return
                if attempts and self._state(delivery) == "delivered":  # a copy or a redelivery was faster
                    return
                if await self._attempt(delivery, message):
                    return
            attempts += 1
            delay = retry_delay({**DEFAULT_RETRY, **self._account.setting("retry", {})}, attempts)
            if delay is None:
                self._end(delivery, "failed")
                return
            await asyncio.sleep(delay)

    async def _attempt(self, delivery: str, message: _Message) -> bool:
        """Send once; whether it arrived."""
        outcome: Object = {"at": self._account.wall(), "status": None, "error": None}
        try:
            outcome["status"] = await self._poster.post(message.url, message.body, message.headers)
        except (OSError, ValueError, TimeoutError) as error:
            outcome["error"] = type(error).__name__
        arrived = outcome["status"] is not None and 200 <= outcome["status"] < 300
        with self._account.transaction() as account:
            record = account.store.get("_delivery", delivery)
            if record is None:
                return True
            account.store.edit(record)["attempts"].append(outcome)
            if arrived:
                record["state"] = "delivered"
        return arrived

    def _prepare(self, delivery: str) -> _Message | None:
        """What to send now; None when there is nothing, or nobody, to send it to."""
        account = self._account
        with account.lock:
            record = account.store.get("_delivery", delivery)
            if record is None:
                return None
            endpoint = account.store.get("webhook_endpoint", record["endpoint"])
            event = account.store.get("event", record["event"])
            secret = account.store.get("_endpoint_secret", record["endpoint"])
            if endpoint is None or endpoint["status"] != "enabled" or event is None or secret is None:
                return None
            body = event_body(account, event)
            signature = sign(body, secret["secrets"], int(account.wall()))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature,
        }
        return _Message(endpoint["url"], endpoint["id"], body, headers)

    def _state(self, delivery: str) -> str | None:
        record = self._account.store.get("_delivery", delivery)
        return None if record is None else str(record["state"])

    def _end(self, delivery: str, state: str) -> None:
        with self._account.transaction() as account:
            record = account.store.get("_delivery", delivery)
            if record is not None and record["state"] == "pending":
                account.store.edit(record)["state"] = state
