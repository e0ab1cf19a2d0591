"""A sweep over a thousand tenants of which ten changed while no event came; and the commands that look at them."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks import paper, report
from benchmarks.cloud import Cloud, open_cloud
from benchmarks.report import Bar, Report, Side, progress
from benchmarks.sales import Sales
from benchmarks.stack import READY_TIMEOUT_S, wait_for_platform
from localcloud.home import REPOSITORY
from provisioner import app, logs
from provisioner.billing.gateway_stripe import make_client
from provisioner.billing.storefront import GOOD_CARD
from provisioner.billing.translate import TENANT_KEY, tenant_of
from provisioner.inbox import Inbox
from provisioner.settings import Settings, load
from provisioner.sweep import Sweep, SweepResult

TENANTS = 1000
REAL = 10
TENANTRY = str(REPOSITORY / "bin" / "tenantry")
PLAN, OTHER_PLAN = "team", "team_plus"  #: of one tier, so that a change is an update
OVERHEAD_BAR_S = 5.0
COMMAND_BAR_S = 0.5
#: The worker's own sweep, every minute by default, would do the work of the one that is measured.
NO_SWEEP = {"TENANTRY_SWEEP_INTERVAL_S": "86400"}
#: What a command has to do at the least: start, import the driver, ask.
BARE = """
import os, psycopg
with psycopg.connect(os.environ["TENANTRY_DATABASE_URL"]) as connection:
    for row in connection.execute("SELECT * FROM registry.tenant ORDER BY tenant_id"):
        print(row[0])
"""


def measure(arguments: argparse.Namespace, result: Report) -> None:
    logs.configure(level=logging.WARNING)
    count = 100 if arguments.quick else TENANTS
    with open_cloud(arguments.home) as cloud:
        os.environ.update(cloud.environ)
        settings = load()
        with cloud.serving():
            _build(cloud, settings, count)
            asyncio.run(_register(settings))
            _sweeps(cloud, settings, count, result)
            _commands(cloud, result, times=3 if arguments.quick else 9)


# A thousand tenants


def _build(cloud: Cloud, settings: Settings, count: int) -> None:
    """Ten real stacks, and subscriptions for all; Stripe's events of the others are taken as processed."""
    with cloud.working(NO_SWEEP):
        wait_for_platform(cloud)
        progress(f"{REAL} stacks")
        sales = Sales(cloud, announced=True)
        try:
            for number in range(REAL):
                sales.sell(f"real-{number}", PLAN)
        finally:
            sales.close()
        cloud.wait_until(lambda: _ready(cloud) == REAL, f"{REAL} tenants stand", READY_TIMEOUT_S)
    progress(f"{count - REAL} subscriptions")
    _subscribe(settings, [f"paper-{number:04}" for number in range(count - REAL)])
    _wait_for_rest(cloud)
    with cloud.connect() as connection:
        connection.execute("DELETE FROM procrastinate_jobs WHERE status = 'todo'")
        connection.execute("UPDATE registry.event SET status = 'processed' WHERE status = 'received'")


def _subscribe(settings: Settings, names: list[str]) -> None:
    client = make_client(
        settings.stripe_api_key.get_secret_value(), settings.stripe_api_base, timeout_s=30, max_retries=2
    )
    price = client.v1.prices.list({"lookup_keys": [f"{PLAN}_monthly"]}).data[0].id

    def one(name: str) -> None:
        customer = client.v1.customers.create({"name": name, "metadata": {TENANT_KEY: name}})
        card = client.v1.payment_methods.attach(GOOD_CARD, {"customer": customer.id})
        client.v1.subscriptions.create(
            {
                "customer": customer.id,
                "default_payment_method": card.id,
                "items": [{"price": price}],
                "metadata": {TENANT_KEY: name},
            }
        )

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one, names))


def _wait_for_rest(cloud: Cloud) -> None:
    """Until Stripe's deliveries have stopped."""
    progress("deliveries")
    seen, since = -1, time.monotonic()
    with cloud.connect() as connection:
        while time.monotonic() - since < 5.0:
            row = connection.execute("SELECT count(*) FROM registry.event").fetchone()
            assert row is not None
            if row[0] != seen:
                seen, since = row[0], time.monotonic()
            time.sleep(0.5)


async def _register(settings: Settings) -> None:
    progress("tenants on paper")
    async with app.open_core(settings) as core:
        documents = [document async for document in core.gateway.subscriptions()]
        await paper.register(core, [each for each in documents if tenant_of(each).startswith("paper-")])


def _ready(cloud: Cloud) -> int:
    with cloud.connect() as connection:
        row = connection.execute("SELECT count(*) FROM registry.tenant WHERE state = 'ready'").fetchone()
    return 0 if row is None else int(row[0])


# Sweeping


def _sweeps(cloud: Cloud, settings: Settings, count: int, result: Report) -> None:
    with cloud.working(NO_SWEEP):
        # Its first sweep finds nothing to do, as everything stands.
        cloud.wait_until(lambda: "worker.ready" in _tail(cloud), "the worker is ready")
        time.sleep(3)
        quiet = [asyncio.run(_sweep(settings)) for _ in range(3)]
        if any(each.queued for each in quiet):
            raise RuntimeError(f"nothing changed, and the sweep queued {quiet[0].queued[:5]}")
        progress(f"{REAL} changes that no event announces")
        sales = Sales(cloud)
        try:
            for number in range(REAL):
                sales.change(f"real-{number}", OTHER_PLAN)
        finally:
            sales.close()
        last = _last_operation(cloud)
        began = time.monotonic()
        swept = asyncio.run(_sweep(settings))
        cloud.wait_until(lambda: _updated(cloud, last)[0] == REAL, "the updates are done", READY_TIMEOUT_S)
        wall = time.monotonic() - began
        spent = _updated(cloud, last)[1]
    result.bars.append(
        Bar(
            f"sweep of {count} tenants, {REAL} of them changed, beyond the updates themselves",
            wall - spent,
            OVERHEAD_BAR_S,
            "s",
            ours=Side("sweep and updates", wall, "s"),
            baseline=Side(f"the {REAL} updates", spent, "s"),
        )
    )
    result.notes["sweep that finds nothing, s"] = statistics.median(each.seconds for each in quiet)
    result.notes["that sweep, s"] = swept.seconds
    result.notes["events recovered by it"] = swept.recovered_events


async def _sweep(settings: Settings) -> SweepResult:
    async with app.open_core(settings) as core:
        inbox = Inbox(core.pool, core.gateway, core.catalogue, settings.cell)
        return await Sweep(core.pool, inbox, core.reconciler).run()


def _tail(cloud: Cloud) -> str:
    return (cloud.home.logs / "worker.log").read_text().rpartition("worker.stopped")[2]


def _last_operation(cloud: Cloud) -> int:
    with cloud.connect() as connection:
        row = connection.execute("SELECT coalesce(max(operation_id), 0) FROM registry.operation").fetchone()
    assert row is not None
    return int(row[0])


def _updated(cloud: Cloud, after: int) -> tuple[int, float]:
    """Tenants on the other plan whose operation has succeeded since, and the seconds that the operations took."""
    with cloud.connect() as connection:
        row = connection.execute(
            "SELECT count(DISTINCT tenant_id), coalesce(extract(epoch FROM sum(finished_at - started_at)), 0) "
            "FROM registry.operation WHERE operation_id > %s AND status = 'succeeded'",
            [after],
        ).fetchone()
    assert row is not None
    return int(row[0]), float(row[1])


# Looking


def _commands(cloud: Cloud, result: Report, *, times: int) -> None:
    commands: dict[str, list[str]] = {
        "tenantry tenants list": [TENANTRY, "tenants", "list"],
        "tenantry explain real-0": [TENANTRY, "explain", "real-0"],
    }
    for name, command in commands.items():
        progress(name)
        walls, bare, used = [], [], []
        for _ in range(times):
            bare.append(_timed(cloud, [sys.executable, "-c", BARE])[0])
            wall, cpu = _timed(cloud, command)
            walls.append(wall)
            used.append(cpu)
        ours = Side.of("wall", walls, "s")
        result.bars.append(
            Bar(name, ours.value, COMMAND_BAR_S, "s", ours=ours, baseline=Side.of("driver and query alone", bare, "s"))
        )
        result.notes[f"{name}: least wall, and processor time, s"] = f"{min(walls):.3f}, {statistics.median(used):.3f}"


def _timed(cloud: Cloud, command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    before, began = os.times(), time.perf_counter()
    cloud.run(*command)
    seconds, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--home", default=os.environ.get("TENANTRY_BENCH_HOME"), help="data directory of the local cloud"
    )


if __name__ == "__main__":
    sys.exit(report.main("sweep", __doc__, measure, options))
