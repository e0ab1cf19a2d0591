"""Tenants of every tier to attack each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.postgres import Cluster
from tenantry import Tenantry
from tests.integration.isolation.estate import Estate, make_estate

TENANTS = {
    "acme": "pool",
    "globex": "pool",
    "initech": "bridge",
    "umbrella": "bridge",
    "hooli": "silo",
    "stark": "silo",
}


@pytest.fixture(scope="module")
def estate(postgres_server: Cluster, moto_server: str, service_directory: Path) -> Iterator[Estate]:
    """Shared by a module's tests: who breaks something, mends it."""
    with make_estate(postgres_server, moto_server, service_directory, TENANTS) as made:
        yield made


@pytest.fixture(scope="module")
def sdk(estate: Estate) -> Iterator[Tenantry]:
    with Tenantry(estate.config()) as made:
        yield made
