"""What a tenant stores is measured as itself, in every tier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.postgres import Cluster
from provisioner.storage_quota import measure
from tenantry import Tenantry
from tests.integration.isolation.estate import Estate, make_estate

TIERS = {"acme": "pool", "globex": "pool", "initech": "bridge", "hooli": "silo"}


@pytest.fixture(scope="module")
def estate(postgres_server: Cluster, moto_server: str, service_directory: Path) -> Iterator[Estate]:
    with make_estate(postgres_server, moto_server, service_directory / "storage", TIERS) as made:
        yield made


def test_a_tenant_is_measured_by_what_is_its_own(estate: Estate) -> None:
    with Tenantry(estate.config(listen=False)) as sdk:
        before = {tenant: measure(sdk, tenant) for tenant in TIERS}
        for tenant in ("acme", "initech", "hooli"):
            with sdk.session(tenant) as session:
                session.execute(
                    "INSERT INTO project (name) SELECT md5(random()::text) || n FROM generate_series(1, 2000) AS n"
                )
            sdk.files(tenant).put("a", b"x" * 1000)
            sdk.files(tenant).put("b", b"x" * 234)
        after = {tenant: measure(sdk, tenant) for tenant in TIERS}
    assert after["globex"] == before["globex"], "a neighbour's rows and files are not its own"
    for tenant in ("acme", "initech", "hooli"):
        grown = after[tenant].database_bytes - before[tenant].database_bytes
        assert 2000 * 33 < grown < 2_000_000, tenant
        assert (after[tenant].files - before[tenant].files, after[tenant].files_bytes - before[tenant].files_bytes) == (
            2,
            1234,
        )
