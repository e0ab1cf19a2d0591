"""One web process against a bare loop that does the same to the database; latency, losses, memory, refusals."""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks import deliveries, report
from benchmarks.cloud import Cloud, open_cloud
from benchmarks.report import Bar, Report, Side, percentile, progress
from localcloud.home import REPOSITORY
from provisioner.billing import catalogue as catalogues
from provisioner.billing.storefront import Storefront

CONCURRENCY = 8  #: requests in flight, and connections of the bare loop
RATE_BAR = 0.5
P99_BAR_MS = 50.0
REFUSAL_BAR_MS = 5.0
RSS_BAR_MB = 150.0
GROWTH_BAR_MB = 2.0  #: the allocator's own noise
OPEN_RATE = 100.0
OPEN_S = 10.0
BURST = 2000


def measure(arguments: argparse.Namespace, result: Report) -> None:
    with open_cloud(arguments.home) as cloud, cloud.serving() as process:
        template = _template(cloud)
        result.notes["event_bytes"] = len(deliveries.event("evt_x", template))
        _rate(cloud, template, result, rounds=2 if arguments.quick else 7)
        _open_loop(cloud, template, result, rounds=1 if arguments.quick else 5)
        _bursts(cloud, process, template, result, bursts=2 if arguments.quick else 6)
        _refusals(cloud, process, template, result, each=20 if arguments.quick else 200)
        result.notes["threads"] = process.num_threads()


def _template(cloud: Cloud) -> dict[str, Any]:
    """An event as Stripe makes it: a subscription with its items, prices and metadata."""
    settings = cloud.settings
    front = Storefront(
        settings["TENANTRY_STRIPE_API_KEY"],
        settings["TENANTRY_STRIPE_API_BASE"],
        catalogues.load(REPOSITORY / "example" / "plans.toml"),
    )
    try:
        front.seed()
        front.subscribe("bench", "starter")
    finally:
        front.close()
    request = urllib.request.Request(
        settings["TENANTRY_STRIPE_API_BASE"] + "/v1/events?limit=50",
        headers={"Authorization": "Bearer " + settings["TENANTRY_STRIPE_API_KEY"]},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        found = json.load(answer)["data"]
    return next(each for each in found if each["type"].startswith("customer.subscription"))


def _child(cloud: Cloud, module: str, order: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", f"benchmarks.{module}"],
        input=json.dumps(order),
        env=cloud.environ,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module}: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _send(
    cloud: Cloud, template: dict[str, Any], prefix: str, count: int, connections: int, rate: float | None = None
) -> dict[str, Any]:
    order = {
        "port": urlsplit(cloud.settings["TENANTRY_API_URL"]).port,
        "secret": cloud.settings["TENANTRY_STRIPE_WEBHOOK_SECRETS"],
        "template": template,
        "prefix": f"evt_{prefix}_",
        "count": count,
        "connections": connections,
        "rate": rate,
    }
    return _child(cloud, "load", order)


def _stored(cloud: Cloud, prefix: str) -> tuple[int, int]:
    """Events of a run, and jobs for them."""
    with cloud.connect() as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM registry.event WHERE starts_with(event_id, %(p)s)), "
            "(SELECT count(*) FROM procrastinate_jobs WHERE starts_with(args->>'event_id', %(p)s))",
            {"p": f"evt_{prefix}_"},
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _bare(cloud: Cloud, template: dict[str, Any], prefix: str, count: int, rate: float | None = None) -> dict[str, Any]:
    order = {
        "database_url": cloud.database_url,
        "secret": cloud.settings["TENANTRY_STRIPE_WEBHOOK_SECRETS"],
        "template": template,
        "prefix": f"evt_{prefix}_",
        "count": count,
        "connections": CONCURRENCY,
        "rate": rate,
    }
    return _child(cloud, "bare", order)


def _rate(cloud: Cloud, template: dict[str, Any], result: Report, *, rounds: int) -> None:
    _send(cloud, template, "warm", 300, CONCURRENCY)
    ours, baseline = [], []
    for turn in range(rounds):
        progress(f"rate, round {turn + 1} of {rounds}")
        baseline.append(BURST / _bare(cloud, template, f"bare{turn}", BURST)["seconds"])
        ours.append(BURST / _send(cloud, template, f"web{turn}", BURST, CONCURRENCY)["seconds"])
    result.bars.append(
        report.ratio(
            "intake rate",
            Side.of(f"web process, {CONCURRENCY} requests in flight", ours, "events/s"),
            Side.of(f"bare loop, {CONCURRENCY} connections", baseline, "events/s"),
            RATE_BAR,
            at_least=True,
        )
    )


def _open_loop(cloud: Cloud, template: dict[str, Any], result: Report, *, rounds: int) -> None:
    ours, baseline, medians = [], [], []
    count = int(OPEN_RATE * OPEN_S)
    for turn in range(rounds):
        progress(f"{OPEN_RATE:.0f} events/s, round {turn + 1} of {rounds}")
        bare = _bare(cloud, template, f"calm{turn}", count, OPEN_RATE)["latencies"]
        web = _send(cloud, template, f"open{turn}", count, 32, OPEN_RATE)["latencies"]
        baseline.append(1000 * percentile(bare, 99))
        ours.append(1000 * percentile(web, 99))
        medians.append(1000 * statistics.median(web))
    side = Side.of("web process", ours, "ms")
    bare_side = Side.of("bare loop", baseline, "ms")
    name = f"99th percentile at {OPEN_RATE:.0f} events/s, open loop"
    result.bars.append(Bar(name, side.value, P99_BAR_MS, "ms", ours=side, baseline=bare_side))
    result.notes[f"median at {OPEN_RATE:.0f} events/s, ms"] = statistics.median(medians)


def _bursts(cloud: Cloud, process: psutil.Process, template: dict[str, Any], result: Report, *, bursts: int) -> None:
    lost, resident, latencies = 0, [], []
    for number in range(bursts):
        progress(f"burst of {BURST}, {number + 1} of {bursts}")
        # As many connections at once as a sender of a whole backlog opens; the web process has its limit far above.
        found = _send(cloud, template, f"burst{number}", BURST, 200)
        events, jobs = _stored(cloud, f"burst{number}")
        lost += 2 * BURST - events - jobs + BURST - found["statuses"].get("200", 0)
        resident.append(process.memory_info().rss / 1e6)
        latencies.append(1000 * percentile(found["latencies"], 99))
    result.bars += [
        Bar(f"events lost in bursts of {BURST}", float(lost), 0.0, "events"),
        Bar(f"resident memory after bursts of {BURST}", max(resident), RSS_BAR_MB, "MB"),
        Bar(
            f"memory growth from burst {min(3, bursts)} to burst {bursts}",
            resident[-1] - resident[min(3, bursts) - 1],
            GROWTH_BAR_MB,
            "MB",
        ),
    ]
    result.notes["burst_p99_ms"] = statistics.median(latencies)
    result.notes["resident_mb"] = [round(each, 1) for each in resident]


def _refusals(cloud: Cloud, process: psutil.Process, template: dict[str, Any], result: Report, *, each: int) -> None:
    secret = cloud.settings["TENANTRY_STRIPE_WEBHOOK_SECRETS"]
    body = deliveries.event("evt_refused", template)
    good = deliveries.signature(body, secret)
    text = b"a" * len(body)
    limit = 512 * 1024
    big = b'{"padding":"' + b"a" * (2 * limit) + b'"}'
    kinds = {
        "forged": (400, deliveries.request(body, deliveries.signature(body, "whsec_other"))),
        "stale": (400, deliveries.request(body, deliveries.signature(body, secret, time.time() - 3600))),
        "truncated": (400, deliveries.request(body[:-200], good)),
        "oversized": (413, deliveries.request(big[:0], deliveries.signature(big, secret), length=len(big))),
        "oversized, sent whole": (413, deliveries.request(big, deliveries.signature(big, secret))),
        "not JSON": (400, deliveries.request(text, deliveries.signature(text, secret))),
        "cut off": (0, deliveries.request(body[:-200], good, length=len(body))),
    }
    port = urlsplit(cloud.settings["TENANTRY_API_URL"]).port
    assert port is not None
    for name, (status, data) in kinds.items():
        progress(f"refusals: {name}")
        before = _cpu(process)
        walls = [_refused(port, data, status) for _ in range(each)]
        cpu = Side("processor time of the web process", 1000 * (_cpu(process) - before) / each, "ms")
        value = 1000 * statistics.median(walls) if status else cpu.value
        result.bars.append(Bar(f"refusal of a delivery that is {name}", value, REFUSAL_BAR_MS, "ms", ours=cpu))


def _refused(port: int, data: bytes, status: int) -> float:
    """Seconds from the first byte to the answer, on a new connection each; the status must be the expected one."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read all
            connection.sendall(data)
        if not status:
            return 0.0
        answer = connection.recv(65536)
        seconds = time.perf_counter() - began
    if not answer.startswith(f"HTTP/1.1 {status} ".encode()):
        raise RuntimeError(f"expected {status}: {answer[:200]!r}")
    return seconds


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--home", default=os.environ.get("TENANTRY_BENCH_HOME"), help="data directory of the local cloud"
    )


if __name__ == "__main__":
    sys.exit(report.main("intake", __doc__, measure, options))
