"""What the proof of isolation costs: of one tenant, after an operation and at night, and of 100 tenants of a pool.

The baseline of each is the least that such a proof could be: a bare transaction of the tenant's, entered by plain
psycopg on a connection that is open, for every attack and for its permitted twin. Both run on one server, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import structlog

from benchmarks.provider import service
from benchmarks.report import Bar, Report, Side, main, progress
from isolation.attempts import Attempt
from isolation.proof import prove_all, prove_tenant
from isolation.report import explain
from localcloud.postgres import Authority, Cluster, reachable_directory
from tenantry import Tenantry
from tests.integration.isolation.estate import Estate, make_estate

POOL = 100
ROUNDS, QUICK_ROUNDS = 5, 1
FAST_SECONDS, TENANT_SECONDS, ALL_SECONDS = 2.0, 10.0, 60.0
ENTER = "SELECT set_config('app.current_tenant', %s, true), set_config('app.tenant_token', %s, true)"


def tenants() -> dict[str, str]:
    pool = {f"pool-{number:03d}": "pool" for number in range(POOL)}
    return {**pool, "initech": "bridge", "umbrella": "bridge", "hooli": "silo"}


@contextlib.contextmanager
def world() -> Iterator[Estate]:
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as path, service("localcloud.moto") as moto:
        directory = Path(path)
        directory.chmod(0o711)
        authority = Authority.create(directory / "tls")
        home = reachable_directory(directory / "postgres", directory.name)
        cluster = Cluster.create(home / "server", authority=authority, settings={"max_connections": "300"})
        try:
            cluster.start()
            with make_estate(cluster, f"http://127.0.0.1:{moto}", directory, tenants()) as estate:
                yield estate
        finally:
            cluster.destroy()


def bare(estate: Estate, transactions: int) -> float:
    """Seconds of so many entered and rolled back transactions, one after the other on one connection."""
    with estate.shared.connect(estate.pool_login_secret, autocommit=True, prepare_threshold=None) as connection:
        started = time.perf_counter()
        for _ in range(transactions):
            with contextlib.suppress(psycopg.Rollback), connection.transaction(force_rollback=True):
                connection.execute(ENTER, ("pool-000", "none"))
        return time.perf_counter() - started


def compare(
    report: Report, estate: Estate, name: str, limit: float, rounds: int, prove: Callable[[], list[Attempt]]
) -> None:
    ours, baseline, count = [], [], 0
    for _ in range(rounds):
        progress(name)
        started = time.perf_counter()
        attempts = prove()
        ours.append(time.perf_counter() - started)
        failed = [explain(each) for each in attempts if not each.passed]
        if failed:
            raise RuntimeError("the tenants are not isolated:\n" + "\n".join(failed))
        count = len(attempts)
        baseline.append(bare(estate, 2 * count))
    mine = Side.of("proof", ours, "s")
    report.bars.append(Bar(name, mine.value, limit, "s", ours=mine, baseline=Side.of("bare", baseline, "s")))
    report.notes[f"attempts: {name}"] = count


def measure(arguments: argparse.Namespace, report: Report) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    with world() as estate, Tenantry(estate.config()) as sdk:
        everybody = list(estate.tenants.values())
        known = estate.installation_known()
        pool = [each for each in everybody if each.tenant_id.startswith("pool-")]
        for tenant_id in ("pool-000", "initech", "hooli"):
            tenant = estate.tenants[tenant_id]

            def one(fast: bool, tenant=tenant) -> list[Attempt]:  # type: ignore[no-untyped-def]
                means = {"sdk": sdk, "aws": estate.aws, "installation": known}
                return prove_tenant(tenant, everybody, fast=fast, **means)

            label = f"a tenant of tier {tenant.tier}"
            compare(report, estate, f"{label}, after an operation", FAST_SECONDS, rounds, lambda one=one: one(True))  # type: ignore[misc]
            compare(report, estate, f"{label}, in full", TENANT_SECONDS, rounds, lambda one=one: one(False))  # type: ignore[misc]
        compare(
            report,
            estate,
            f"{POOL} tenants of a pool",
            ALL_SECONDS,
            min(rounds, 2),
            lambda: prove_all(pool, sdk=sdk, aws=estate.aws, installation=known),
        )


if __name__ == "__main__":
    raise SystemExit(main("proof", __doc__, measure))
