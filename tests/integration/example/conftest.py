"""Tenants for the example application to serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.postgres import Cluster
from tests.integration.isolation.estate import Estate, make_estate


@pytest.fixture(scope="module")
def estate(postgres_server: Cluster, moto_server: str, service_directory: Path) -> Iterator[Estate]:
    tenants = {"acme": "pool", "globex": "pool", "initech": "bridge", "hooli": "silo"}
    with make_estate(postgres_server, moto_server, service_directory, tenants) as made:
        yield made
