"""What holding requests to a plan's rates adds to one: the same application with the middleware and without, in turns.

Requests go over a kept connection to servers in processes of their own, which run the same event loop and HTTP parser.
The rates are counted in the process, in shares of PostgreSQL's and of Redis's count, and, to compare, with a question
to PostgreSQL for every call.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import Bar, Report, Side, main, percentile, progress
from localcloud.postgres import Authority, Cluster, reachable_directory

ADDED_MS = 0.3
ROUNDS, QUICK_ROUNDS = 12, 2
REQUESTS = 400
AMOUNT, SECONDS = 10_000_000, 3600
RATES = [{"name": name, "amount": AMOUNT, "seconds": SECONDS, "soft": False} for name in ("api", "daily")]
TENANT = "acme"
DATABASE, REDIS = "BENCHMARK_DATABASE_URL", "BENCHMARK_REDIS_URL"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


def application(kind: str) -> Any:
    """``bare``: the tenant's middleware alone. Made in the server's process."""
    from limits.storage import storage_from_string

    from tenantry import (
        AsyncTenantry,
        Config,
        LimitMiddleware,
        LimitsRateStore,
        PostgresRateStore,
        SharedRateLimiter,
        TenantMiddleware,
    )

    config = Config(database_url=os.environ[DATABASE], api_url="none", application_token="none")
    made: dict[str, AsyncTenantry] = {}

    def limiter() -> SharedRateLimiter | None:
        if kind == "postgres":
            return SharedRateLimiter(PostgresRateStore(config), timeout=5.0)
        if kind == "postgres, every call":
            found = SharedRateLimiter(PostgresRateStore(config), timeout=5.0)
            found._spend = asking(found)  # type: ignore[method-assign]
            return found
        if kind == "redis":
            storage: Any = storage_from_string(os.environ[REDIS], implementation="redispy")
            return SharedRateLimiter(LimitsRateStore(storage), timeout=5.0)
        return None

    def asking(found: SharedRateLimiter) -> Any:
        """Forget every share before a call: it then asks for one of its own."""
        spend = found._spend

        def spend_nothing_kept(tenant_id: str, rates: Any, calls: int, *, final: bool = False) -> Any:
            verdict = spend(tenant_id, rates, calls, final=final)
            if verdict is not None:
                for share in found._shares[tenant_id].values():
                    share.tokens, share.remaining, share.size = 0, 0, 1
            return verdict

        return spend_nothing_kept

    def sdk(scope: Any) -> AsyncTenantry:
        if not made:
            made["sdk"] = AsyncTenantry(config, rates=limiter())
        return made["sdk"]

    app = hello if kind == "bare" else LimitMiddleware(hello, sdk=sdk)
    return TenantMiddleware(app, resolve=lambda scope: TENANT)


def serve(kind: str) -> None:
    """The server's process: prints its port."""
    import uvicorn

    # named TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms for the acknowledgement of its head
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    options = uvicorn.Config(application(kind), log_level="critical", lifespan="off", timeout_keep_alive=600)
    uvicorn.Server(options).run(sockets=[listener])


@contextlib.contextmanager
def server(kind: str, environment: dict[str, str]) -> Iterator[int]:
    command = [sys.executable, "-c", f"from benchmarks.limits import serve; serve({kind!r})"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@contextlib.contextmanager
def database() -> Iterator[str]:
    from psycopg.types.json import Jsonb

    from provisioner.registry.migrate import migrate

    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as path:
        directory = Path(path)
        directory.chmod(0o711)
        authority = Authority.create(directory / "tls")
        cluster = Cluster.create(reachable_directory(directory / "postgres", directory.name) / "s", authority=authority)
        try:
            cluster.start()
            with cluster.admin() as admin:
                admin.execute("CREATE ROLE bench LOGIN PASSWORD 'bench'")
                admin.execute("CREATE DATABASE bench OWNER bench")
            url = cluster.url("bench", "bench", "bench")
            migrate(url, url)
            with cluster.admin("bench") as admin:
                admin.execute("INSERT INTO registry.tenant (tenant_id, plan) VALUES (%s, 'team')", (TENANT,))
                admin.execute("UPDATE registry.tenant SET rates = %s", (Jsonb(RATES),))
            yield url
        finally:
            cluster.destroy()


@contextlib.contextmanager
def redis() -> Iterator[str | None]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield f"async+redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def milliseconds(connection: http.client.HTTPConnection, count: int, *, limited: bool) -> list[float]:
    found = []
    for _ in range(count):
        started = time.perf_counter()
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        found.append((time.perf_counter() - started) * 1000)
        if answer.status != 200 or (answer.getheader("RateLimit") is not None) is not limited:
            raise RuntimeError(f"the application answered {answer.status} with {answer.getheaders()}")
    return found


def measure(arguments: argparse.Namespace, report: Report) -> None:
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    with contextlib.ExitStack() as stack:
        progress("starting PostgreSQL and the servers")
        environment = {DATABASE: stack.enter_context(database())}
        kinds = ["bare", "local", "postgres", "postgres, every call"]
        redis_url = stack.enter_context(redis())
        if redis_url is not None:
            environment[REDIS] = redis_url
            kinds.append("redis")
        connections = {}
        for kind in kinds:
            port = stack.enter_context(server(kind, environment))
            connections[kind] = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            stack.callback(connections[kind].close)
            milliseconds(connections[kind], 50, limited=kind != "bare")
        measured: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
        for turn in range(rounds):
            progress(f"round {turn + 1} of {rounds}")
            for kind in kinds:
                measured[kind].append(milliseconds(connections[kind], REQUESTS, limited=kind != "bare"))
    medians = {kind: [percentile(each, 50) for each in rows] for kind, rows in measured.items()}
    bare = Side.of("without", medians["bare"], "ms")
    for kind in kinds[1:]:
        added = [mine - theirs for mine, theirs in zip(medians[kind], medians["bare"], strict=True)]
        value = percentile(added, 50)
        if kind == "postgres, every call":
            report.notes["a question to PostgreSQL for every call adds at p50 (ms)"] = value
            continue
        ours = Side.of(f"with, {kind}", medians[kind], "ms")
        report.bars.append(Bar(f"added at p50, counted {NAMES[kind]}", value, ADDED_MS, "ms", ours=ours, baseline=bare))
        every = [each for rows in measured[kind] for each in rows]
        report.notes[f"p99 with, {kind} (ms)"] = percentile(every, 99)
    report.notes["p99 without (ms)"] = percentile([each for rows in measured["bare"] for each in rows], 99)
    report.notes["rates of the plan"] = len(RATES)
    if redis_url is None:
        report.notes["redis"] = "not measured: no redis-server on PATH"


NAMES = {
    "local": "in the process",
    "postgres": "in shares of PostgreSQL's count",
    "redis": "in shares of Redis's count",
}


if __name__ == "__main__":
    raise SystemExit(main("limits", __doc__, measure))
