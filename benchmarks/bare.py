"""The baseline of the intake: signature check, two INSERTs, COMMIT, in a bare loop on psycopg. No HTTP, no pool.

Reads ``{"database_url", "secret", "template", "prefix", "count", "connections", "rate"}`` on stdin and prints
``{"seconds", "latencies"}``; with a ``rate`` (events a second) it is an open loop, as in :mod:`benchmarks.load`.
Each connection has its own task, and sends as psycopg does by itself: BEGIN, INSERT, INSERT, COMMIT.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import psycopg

from benchmarks.deliveries import event, signature

EVENT = """
INSERT INTO registry.event (event_id, type, object_id, api_version, created_at, livemode, body)
VALUES (%s, %s, %s, %s, to_timestamp(%s), %s, %s) ON CONFLICT (event_id) DO NOTHING
"""
JOB = """
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args)
VALUES ('events', 'handle_event', 0, jsonb_build_object('event_id', %s::text))
"""


def checked(body: bytes, header: str, secret: bytes) -> dict[str, Any]:
    stamp, _, found = header.removeprefix("t=").partition(",v1=")
    expected = hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, found) or abs(time.time() - int(stamp)) > 300:
        raise ValueError("forged")
    document: dict[str, Any] = json.loads(body)
    return document


@dataclass
class Work:
    deliveries: deque[tuple[bytes, str]]
    rate: float | None
    began: float = field(default_factory=time.perf_counter)
    taken: int = 0
    latencies: list[float] = field(default_factory=list)

    async def next(self) -> tuple[bytes, str, float]:
        """A delivery, and when it is due."""
        delivery = self.deliveries.popleft()
        due = time.perf_counter() if self.rate is None else self.began + self.taken / self.rate
        self.taken += 1
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        return *delivery, due


async def store(connection: psycopg.AsyncConnection, work: Work, secret: bytes) -> None:
    while work.deliveries:
        body, header, due = await work.next()
        document = checked(body, header, secret)
        async with connection.transaction():
            await connection.execute(
                EVENT,
                [
                    document["id"],
                    document["type"],
                    document["data"]["object"]["id"],
                    document["api_version"],
                    document["created"],
                    document["livemode"],
                    body,
                ],
            )
            await connection.execute(JOB, [document["id"]])
        work.latencies.append(time.perf_counter() - due)


async def main() -> None:
    order = json.load(sys.stdin)
    bodies = [event(f"{order['prefix']}{number}", order["template"]) for number in range(order["count"])]
    deliveries = deque((body, signature(body, order["secret"])) for body in bodies)
    connections = [
        await psycopg.AsyncConnection.connect(order["database_url"], autocommit=True)
        for _ in range(order["connections"])
    ]
    work = Work(deliveries, order.get("rate"))
    await asyncio.gather(*(store(connection, work, order["secret"].encode()) for connection in connections))
    seconds = time.perf_counter() - work.began
    for connection in connections:
        await connection.close()
    json.dump({"seconds": seconds, "latencies": work.latencies}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
