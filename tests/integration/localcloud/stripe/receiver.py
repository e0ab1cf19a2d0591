"""A webhook receiver on a thread: keeps what arrives, answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Delivery:
    """One request as it came in."""

    at: float  #: ``time.monotonic()``
    path: str
    body: bytes
    signature: str
    content_type: str
    status: int  #: what it was answered with

    @property
    def event(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def id(self) -> str:
        return str(self.event["id"])

    @property
    def type(self) -> str:
        return str(self.event["type"])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 256


class Receiver:
    """``with Receiver() as receiver``; ``answer`` decides the status of each delivery, 200 by default."""

    def __init__(self) -> None:
        self.answer: Callable[[bytes], int] = lambda body: 200
        self._deliveries: list[Delivery] = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.answer(body)
                signature = self.headers["stripe-signature"]
                kind = self.headers["content-type"]
                receiver._keep(Delivery(time.monotonic(), self.path, body, signature, kind, status))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """The test's output is no place for an access log."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhooks"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def deliveries(self) -> list[Delivery]:
        with self._changed:
            return list(self._deliveries)

    def wait(self, wanted: Callable[[list[Delivery]], bool], what: str) -> list[Delivery]:
        """All deliveries, once ``wanted`` holds of them; fails with ``what`` when that takes too long."""
        with self._changed:
            if not self._changed.wait_for(lambda: wanted(self._deliveries), PATIENCE_S):
                raise AssertionError(f"{what}; arrived: {[(item.type, item.status) for item in self._deliveries]}")
            return list(self._deliveries)

    def wait_for(self, type: str, count: int = 1) -> list[Delivery]:
        """The first ``count`` deliveries of a type that were answered with success."""

        def matching(all_of_them: list[Delivery]) -> list[Delivery]:
            return [item for item in all_of_them if item.type == type and item.status < 300]

        found = self.wait(lambda arrived: len(matching(arrived)) >= count, f"no {count} deliveries of {type}")
        return matching(found)[:count]

    def _keep(self, delivery: Delivery) -> None:
        with self._changed:
            self._deliveries.append(delivery)
            self._changed.notify_all()
