"""A simulation in a process and on a PostgreSQL of its own."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path

import structlog

from localcloud.postgres import Authority, Cluster, reachable_directory
from localcloud.postgres.master import create_database
from localcloud.simulation.run import Plan, Result, simulate
from provisioner.billing import catalogue as catalogues
from provisioner.settings import ROOT


def on_a_server_of_its_own(plan: Plan, catalogue: Path) -> Result:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return asyncio.run(_simulate(plan, catalogue))


async def _simulate(plan: Plan, catalogue: Path) -> Result:
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
