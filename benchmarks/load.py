"""Sends webhooks from a process of its own: prepared bytes over kept raw connections, a few microseconds each.

Reads one JSON document on stdin: ``{"port", "secret", "template", "prefix", "count", "connections", "rate"}``; ``rate``
(events a second) makes it an open loop, whose latencies count from when an event was due, not from when a connection
became free. Prints ``{"seconds", "statuses", "latencies"}`` (seconds).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, deque

from benchmarks.deliveries import event, request, signature


class Sender(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, data: bytes, due: float) -> None:
        assert self._transport is not None
        self._due = due
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lowered = head.lower()
        at = lowered.index(b"content-length:") + 15
        if len(body) < int(lowered[at:].split(b"\r", 1)[0]):
            return
        self._buffer = b""
        self._run.answered(self, int(head[9:12]), time.perf_counter() - self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost(self)


class Run:
    def __init__(self, requests: list[bytes], rate: float | None) -> None:
        self._requests = deque(requests)
        self._rate = rate
        self._idle: list[Sender] = []
        self._late: deque[tuple[bytes, float]] = deque()
        self._wanted = len(requests)
        self._done = asyncio.Event()
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []

    async def go(self, senders: list[Sender]) -> float:
        began = time.perf_counter()
        if self._rate is None:
            for sender in senders:
                self._next(sender)
        else:
            self._idle = senders
            for number in range(self._wanted):
                due = began + number / self._rate
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                data = self._requests.popleft()
                if self._idle:
                    self._idle.pop().send(data, due)
                else:
                    self._late.append((data, due))
        await self._done.wait()
        return time.perf_counter() - began

    def answered(self, sender: Sender, status: int, latency: float) -> None:
        self.statuses[status] += 1
        self.latencies.append(latency)
        if len(self.latencies) == self._wanted:
            self._done.set()
        elif self._rate is None:
            self._next(sender)
        elif self._late:
            sender.send(*self._late.popleft())
        else:
            self._idle.append(sender)

    def lost(self, sender: Sender) -> None:
        if not self._done.is_set():
            raise SystemExit("the service closed a connection")

    def _next(self, sender: Sender) -> None:
        if self._requests:
            sender.send(self._requests.popleft(), time.perf_counter())


async def main() -> None:
    order = json.load(sys.stdin)
    bodies = [event(f"{order['prefix']}{number}", order["template"]) for number in range(order["count"])]
    run = Run([request(body, signature(body, order["secret"])) for body in bodies], order.get("rate"))
    loop = asyncio.get_running_loop()
    senders = [
        (await loop.create_connection(lambda: Sender(run), "127.0.0.1", order["port"]))[1]
        for _ in range(order["connections"])
    ]
    seconds = await run.go(senders)
    json.dump({"seconds": seconds, "statuses": run.statuses, "latencies": run.latencies}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
