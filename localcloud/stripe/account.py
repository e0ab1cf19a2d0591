"""One Stripe account: its objects, its clocks, and the events that changes announce.

Requests, renewals and deliveries all change it through ``transaction``, one at a time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from localcloud.stripe.agenda import Agenda
from localcloud.stripe.errors import ApiError, no_such
from localcloud.stripe.ids import new_id
from localcloud.stripe.render import difference, render, view
from localcloud.stripe.store import Object, Store

API_VERSION = "2026-10-28.endive"
EVENT_RETENTION_S = 30 * 86400


class Account:
    def __init__(self, store: Store, wall: Callable[[], float] = time.time) -> None:
        self.store = store
        self.wall = wall
        self.agenda = Agenda(store)
        self.lock = threading.RLock()
        #: Called with the ids of new deliveries after the transaction that made them, with the lock released.
        self.on_deliveries: Callable[[list[str]], None] = lambda _: None
        #: The account's time up to which everything that was due is done.
        self.ticked_at = 0
        self._moment: int | None = None
        self._request: Object = {"id": None, "idempotency_key": None}
        self._queued: list[str] = []
        #: Customers and subscriptions: when they changed last, by the wall. Search lags behind.
        self.changed_at: dict[str, float] = {}
        self._imagining = False

    @contextmanager
    def transaction(self, request_id: str | None = None, idempotency_key: str | None = None) -> Iterator[Account]:
        """Everything inside happens, or nothing. An error undoes it, events included, unless it is an ``ApiError``
        that says otherwise: a declined payment was attempted."""
        failure: ApiError | None = None
        with self.lock:
            self._request = {"id": request_id, "idempotency_key": idempotency_key}
            self._queued = []
            try:
                try:
                    yield self
                except ApiError as error:
                    if not error.keeps_changes:
                        raise
                    failure = error
                self.store.commit()
            except BaseException:
                self.store.rollback()
                raise
            queued = self._queued
        if queued:
            self.on_deliveries(queued)
        if failure is not None:
            raise failure

    # -- settings and time

    def setting(self, name: str, default: Any) -> Any:
        record = self.store.get("_setting", name)
        return default if record is None else record["value"]

    def set_setting(self, name: str, value: Any) -> None:
        record = self.store.get("_setting", name)
        if record is None:
            self.store.add({"object": "_setting", "id": name, "value": value})
        else:
            self.store.edit(record)["value"] = value

    def now(self, test_clock: str | None = None) -> int:
        """The account's time in Unix seconds, or a test clock's frozen time."""
        if test_clock is not None:
            clock = self.store.get("test_helpers.test_clock", test_clock)
            if clock is not None:
                return int(clock["frozen_time"])
        if self._moment is not None:
            return self._moment
        return int(self.wall()) + int(self.setting("clock_offset", 0))

    @contextmanager
    def as_of(self, moment: int) -> Iterator[None]:
        """Inside, the account's own time is ``moment``: what was due then happens then, however late it is done."""
        former, self._moment = self._moment, moment
        try:
            yield
        finally:
            self._moment = former

    @contextmanager
    def imagining(self) -> Iterator[None]:
        """Inside a transaction: what happens here is undone afterwards, and nobody hears of it."""
        former, self._imagining = self._imagining, True
        try:
            with self.store.undone():
                yield
        finally:
            self._imagining = former

    @contextmanager
    def at(self, test_clock: str | None, moment: int) -> Iterator[None]:
        """As ``as_of``, for a test clock where there is one. Only while imagining: a clock's time is stored."""
        if test_clock is None:
            with self.as_of(moment):
                yield
            return
        clock = self.store.edit(self.find("test_helpers.test_clock", test_clock))
        clock["frozen_time"] = max(clock["frozen_time"], moment)
        yield

    # -- objects

    def find(self, kind: str, identifier: str, *, param: str | None = None, noun: str | None = None) -> Object:
        """The object, or Stripe's ``resource_missing``: 404 for the path's own id, 400 for one named by ``param``."""
        document = self.store.get(kind, identifier)
        if document is None:
            noun = noun or kind.split(".")[-1].replace("payment_method", "PaymentMethod")
            raise no_such(noun, identifier, param=param or "id", status=400 if param else 404)
        return document

    # -- events

    def emit(
        self, type: str, document: Object, previous: Object | None = None, test_clock: str | None = None
    ) -> Object:
        """Record an event about ``document`` as it is now, and queue its deliveries."""
        if self._imagining:
            return {}
        clock = test_clock or document.get("test_clock") or document.get("_clock")
        data: Object = {"object": view(self, document)}
        if previous is not None:
            data["previous_attributes"] = previous
        endpoints = [endpoint for endpoint in self.store.all("webhook_endpoint") if _wants(endpoint, type)]
        event = {
            "id": new_id("event"),
            "object": "event",
            "_clock": clock,
            "_data": json.dumps(data),  # a third of the memory that the parsed document takes, and ready to send
            "api_version": API_VERSION,
            "created": self.now(clock),
            "livemode": False,
            "request": dict(self._request),
            "type": type,
        }
        if document["object"] in ("customer", "subscription"):
            self.changed_at[document["id"]] = self.wall()
        self._forget_old_events()
        self.store.add(event)
        for endpoint in endpoints:
            self.queue_delivery(event, endpoint)
        return event

    def deliveries_of(self, event: Object) -> list[Object]:
        """The records of an event's way to the endpoints that exist."""
        found = (self.store.get("_delivery", f"{event['id']}/{e['id']}") for e in self.store.all("webhook_endpoint"))
        return [delivery for delivery in found if delivery is not None]

    def pending_webhooks(self, event: Object) -> int:
        """How many endpoints have not taken an event."""
        return sum(delivery["state"] != "delivered" for delivery in self.deliveries_of(event))

    def keeps(self, event: Object) -> bool:
        """Whether an event is young enough to be shown: Stripe has them for 30 days."""
        return bool(event["created"] > self.now(event["_clock"]) - EVENT_RETENTION_S)

    def _forget_old_events(self) -> None:
        while (oldest := self.store.oldest("event")) is not None and not self.keeps(oldest):
            for delivery in self.deliveries_of(oldest):
                self.store.remove(delivery)
            self.store.remove(oldest)

    def queue_delivery(self, event: Object, endpoint: Object) -> Object:
        """A record of the event's way to one endpoint; sent after the transaction."""
        delivery = self.store.add(
            {
                "object": "_delivery",
                "id": f"{event['id']}/{endpoint['id']}",
                "event": event["id"],
                "endpoint": endpoint["id"],
                "type": event["type"],
                "attempts": [],
                "state": "pending",
            }
        )
        self._queued.append(delivery["id"])
        return delivery

    def requeue(self, event: Object) -> list[str]:
        """Queue an event again for every endpoint that wants it; the ids of its deliveries."""
        queued = []
        for endpoint in self.store.all("webhook_endpoint"):
            if not _wants(endpoint, event["type"]):
                continue
            record = self.store.get("_delivery", f"{event['id']}/{endpoint['id']}")
            if record is None:
                record = self.queue_delivery(event, endpoint)
            else:
                if record["state"] != "delivered":
                    self.store.edit(record)["state"] = "pending"
                self._queued.append(record["id"])
            queued.append(record["id"])
        return queued

    @contextmanager
    def updating(self, document: Object, type: str | None = None, *, test_clock: str | None = None) -> Iterator[Object]:
        """Change ``document`` inside; afterwards ``<type>`` is emitted with ``previous_attributes`` if it differs."""
        before = render(self, document)
        yield self.store.edit(document)
        previous = difference(before, view(self, document))
        if previous:
            self.emit(type or f"{document['object']}.updated", document, previous, test_clock)


def _wants(endpoint: Object, type: str) -> bool:
    if endpoint["status"] != "enabled":
        return False
    return "*" in endpoint["enabled_events"] or type in endpoint["enabled_events"]
