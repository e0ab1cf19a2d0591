"""The baseline of the intake: signature check, two INSERTs, COMMIT, in a bare loop on psycopg. No HTTP, no pool.

Reads ``{"database_url", "secret", "template", "prefix", "count", "connections"}`` on stdin, prints ``{"seconds"}``.
Each connection has its own task, and sends as psycopg does by itself: BEGIN, INSERT, INSERT, COMMIT.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time
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


async def store(connection: psycopg.AsyncConnection, work: list[tuple[bytes, str]], secret: bytes) -> None:
    while work:
        body, header = work.pop()
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


async def main() -> None:
    order = json.load(sys.stdin)
    bodies = [event(f"{order['prefix']}{number}", order["template"]) for number in range(order["count"])]
    work = [(body, signature(body, order["secret"])) for body in bodies]
    connections = [
        await psycopg.AsyncConnection.connect(order["database_url"], autocommit=True)
        for _ in range(order["connections"])
    ]
    began = time.perf_counter()
    await asyncio.gather(*(store(connection, work, order["secret"].encode()) for connection in connections))
    seconds = time.perf_counter() - began
    for connection in connections:
        await connection.close()
    json.dump({"seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
