"""The local Stripe without HTTP, threads or a clock of its own: for simulations that make years pass in seconds.

    time = Wall(1_800_000_000)                        # anything callable that gives Unix seconds, and never goes back
    stripe = InProcess(time, deliver=inbox, seed=7)   # inbox(delivery) -> whether the endpoint took it (2xx)
    customer = stripe.call("POST", "/v1/customers", {"email": "ada@example.com"})
    time.now += 30 * 86400
    stripe.catch_up()                                 # renewals, dunning, trials: each as of its own moment

Requests pass the same validation, idempotency and faults as those over HTTP. Ids and everything else that is random
come from ``seed``: the same calls give the same objects and events. Not for several threads.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localcloud.stripe import api_faults, control, dispatch
from localcloud.stripe import resources as _resources
from localcloud.stripe.account import Account
from localcloud.stripe.api_faults import ConnectionLost
from localcloud.stripe.dispatch import Answer
from localcloud.stripe.errors import ApiError
from localcloud.stripe.form import tree_of
from localcloud.stripe.ids import drawn_from
from localcloud.stripe.render import event_body
from localcloud.stripe.resources.webhook_endpoints import add_endpoint
from localcloud.stripe.signature import sign
from localcloud.stripe.store import Object, Store
from localcloud.stripe.subscriptions import schedule

assert _resources.__all__  # imported for its routes

SECRET = "whsec_local"


@dataclass(frozen=True)
class Delivery:
    """An event on its way to one endpoint."""

    id: str
    event: str  #: the event's id
    type: str
    created: int  #: Unix seconds of the event's clock
    _account: Account

    def body(self) -> bytes:
        """The JSON that is posted: the event, its object as of then."""
        return event_body(self._account, self._account.find("event", self.event))

    def headers(self) -> dict[str, str]:
        secrets = self._account.find("_endpoint_secret", self.id.partition("/")[2])["secrets"]
        return {"Stripe-Signature": sign(self.body(), secrets, int(self._account.wall()))}


__all__ = ["Answer", "ConnectionLost", "Delivery", "InProcess"]


class InProcess:
    """A Stripe account in memory; see the module."""

    def __init__(
        self,
        wall: Callable[[], float],
        *,
        deliver: Callable[[Delivery], bool] | None = None,
        events: tuple[str, ...] = ("*",),
        secret: str = SECRET,
        seed: int = 0,
    ) -> None:
        self.account = Account(Store(), wall)
        self._generator = random.Random(seed)  # noqa: S311 - the same names again, no secrets
        self._deliver = deliver
        if deliver is not None:
            with drawn_from(self._generator), self.account.transaction():
                add_endpoint(self.account, "http://inprocess.invalid/", secret, list(events))
            self.account.on_deliveries = self._hand_over

    def request(
        self, method: str, path: str, params: dict[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Answer:
        """The answer of ``/v1/...``: status, document, headers. What has become due by now is done first.

        ``ConnectionLost`` when the faults say that no answer comes. Latency is not waited for.
        """
        self.catch_up()
        verdict = api_faults.draw(self.account)
        if verdict.connection is not None:
            raise ConnectionLost(f"{method} {path}: no connection")
        with drawn_from(self._generator):
            answer = dispatch.answer(
                self.account,
                method,
                path,
                lambda: tree_of(params or {}),
                key=idempotency_key,
                refusal=verdict.refusal,
            )
        if verdict.lost:
            raise ConnectionLost(f"{method} {path}: the answer was lost")
        return answer

    def call(
        self, method: str, path: str, params: dict[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Object:
        """The document that a request answers with. ``ApiError`` for another status than 200."""
        answer = self.request(method, path, params, idempotency_key=idempotency_key)
        if answer.status != 200:
            error = answer.document["error"]
            names = ("type", "code", "param", "decline_code")
            raise ApiError(answer.status, error["message"], **{n: error[n] for n in names if n in error})
        return answer.document

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer of a route of the local Stripe's own (``/_local/...``). ``ApiError`` as ``call``."""
        self.catch_up()
        with drawn_from(self._generator):
            return control.control(self.account, method, path, body)

    def catch_up(self) -> int:
        """Perform every billing step that is due by the wall's time; how many there were.

        Each is a transaction of its own, after which its events are handed over; meanwhile the account's time is the
        step's.
        """
        account, steps = self.account, 0
        until = account.now()
        while (entry := account.agenda.next(None)) is not None and entry.at <= until:
            account.ticked_at = max(account.ticked_at, entry.at)
            with drawn_from(self._generator), account.as_of(account.ticked_at), account.transaction():
                schedule.STEPS[entry.name](account, entry.document)
            steps += 1
        account.ticked_at = max(account.ticked_at, until)
        return steps

    def next_due(self) -> int | None:
        """When the next billing step is due (Unix seconds)."""
        entry = self.account.agenda.next(None)
        return None if entry is None else entry.at

    def pending(self) -> list[Delivery]:
        """The deliveries that no endpoint has taken yet, oldest first."""
        return [self._delivery(item) for item in self.account.store.all("_delivery") if item["state"] == "pending"]

    def delivered(self, delivery: str) -> None:
        """The endpoint took a delivery that it had refused when it was handed over."""
        with self.account.transaction() as account:
            record = account.store.get("_delivery", delivery)
            if record is not None:
                account.store.edit(record)["state"] = "delivered"

    def _hand_over(self, deliveries: list[str]) -> None:
        assert self._deliver is not None
        for identifier in deliveries:
            record = self.account.store.get("_delivery", identifier)
            if record is not None and self._deliver(self._delivery(record)):
                self.delivered(identifier)

    def _delivery(self, record: Object) -> Delivery:
        event = self.account.find("event", record["event"])
        return Delivery(record["id"], event["id"], event["type"], event["created"], self.account)
