"""A live local system, into which one fault after the other is put."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.postgres import Cluster
from tenantry import Tenantry
from tests.integration.isolation.estate import make_estate
from tests.integration.mutations.database_world import TENANTS, World


@pytest.fixture(scope="module")
def world(postgres_server: Cluster, moto_server: str, service_directory: Path) -> Iterator[World]:
    """Tenants of every tier in databases that the resource provider made, with rows of each in each table."""
    with (
        make_estate(postgres_server, moto_server, service_directory, TENANTS) as estate,
        World(estate, Tenantry(estate.config())) as made,
    ):
        made.fill()
        yield made
