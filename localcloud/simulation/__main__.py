"""``python -m localcloud.simulation --seeds 10``: simulates, prints what came of it, fails if an invariant broke."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from localcloud.postgres import Authority, Cluster, reachable_directory
from localcloud.postgres.master import create_database
from localcloud.simulation.run import Plan, Result, simulate
from provisioner.billing import catalogue as catalogues
from provisioner.settings import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(description="Years of a thousand customers, with every fault, in minutes.")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--catalogue", type=Path, default=ROOT / "example" / "plans.toml")
    parser.add_argument("--json", action="store_true", help="one line of JSON a seed")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    broken = 0
    for seed in range(options.seed, options.seed + options.seeds):
        plan = Plan(seed, options.customers, options.days, arrival_days=max(1, options.days // 4))
        result = asyncio.run(_on_a_server_of_its_own(plan, options.catalogue))
        broken += bool(result.violations)
        _show(result, as_json=options.json)
    return 1 if broken else 0


async def _on_a_server_of_its_own(plan: Plan, catalogue: Path) -> Result:
    """A PostgreSQL that need not survive a crash of the machine."""
    directory = Path(tempfile.mkdtemp(prefix="tenantry-simulation-"))
    directory.chmod(0o711)
    home = reachable_directory(directory / "postgres", directory.name)
    settings = {"max_connections": "40", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    cluster = Cluster.create(home / "server", authority=Authority.create(directory / "tls"), settings=settings)
    try:
        cluster.start()
        with cluster.admin() as admin:
            admin.execute("CREATE ROLE simulation LOGIN PASSWORD 'simulation'")
            create_database(admin, "simulation", "simulation")
        url = cluster.url("simulation", "simulation", "simulation")
        return await simulate(plan, url, catalogues.load(catalogue), ROOT / "example" / "app_schema")
    finally:
        cluster.destroy()


def _show(result: Result, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.as_json()), flush=True)
        return
    print(
        f"seed {result.seed}: {result.customers} customers, {result.days} days, {result.events} events "
        f"({result.events_per_minute:,.0f} a minute), {result.reconciled} reconciles, {result.operations} operations, "
        f"{result.checked} looks at a tenant, {len(result.violations)} violations, digest {result.digest}",
        flush=True,
    )
    for violation in result.violations[:20]:
        print(f"  {violation}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
