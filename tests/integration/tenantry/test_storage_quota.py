"""What tenants store is told to their applications, and reported when it grows too much."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from provisioner.registry.storage import Measured
from provisioner.storage_quota import MIB, StorageAlert, StorageQuotas
from tenantry import DatabaseUnavailable, LimitExceeded, Tenantry
from tests.integration.tenantry.registry import Registry
from tests.integration.tenantry.world import wait_until

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def place(registry: Registry, tenant_id: str, **columns: Any) -> None:
    registry.add(tenant_id, **{"limits": {"storage_mib": 100}, **columns})
    registry.execute(
        "INSERT INTO registry.placement SELECT tenant_id, generation, 'default', 'us-east-1', 'pool', 1, 'full', 'h',"
        " 1, 'd', 's', 'l', 'a', NULL, 'b', 'p/', 'k', 'r', 1 FROM registry.tenant WHERE tenant_id = %s",
        tenant_id,
    )


class Stored:
    """Sizes in MiB by tenant; an exception is raised."""

    def __init__(self, **sizes: Any) -> None:
        self.sizes = sizes
        self.asked: list[str] = []

    def __call__(self, tenant_id: str) -> Measured:
        self.asked.append(tenant_id)
        size = self.sizes[tenant_id]
        if isinstance(size, Exception):
            raise size
        return Measured(database_bytes=size * MIB - 5, files_bytes=5, files=1)


def run(registry: Registry, stored: Stored, told: list[StorageAlert] | None = None) -> list[StorageAlert]:
    async def notify(connection: psycopg.AsyncConnection[Any], alert: StorageAlert, now: datetime) -> None:
        assert now == NOW
        if told is not None:
            told.append(alert)

    async def once() -> list[StorageAlert]:
        async with AsyncConnectionPool(registry.owner.url, min_size=1, max_size=6, open=False) as pool:
            return await StorageQuotas(pool, stored, notify).run_due(NOW)

    return asyncio.run(once())


def a_day_passes(registry: Registry) -> None:
    registry.execute("UPDATE registry.storage_usage SET measured_at = measured_at - interval '25 hours'")


def test_each_share_of_the_limit_is_reported_once_and_again_after_it_was_left(registry: Registry) -> None:
    place(registry, "acme")
    told: list[StorageAlert] = []
    seen = []
    for size in (10, 80, 85, 100, 130, 50, 90):
        run(registry, Stored(acme=size), told)
        seen.append([(alert.threshold, alert.blocked) for alert in told])
        told.clear()
        a_day_passes(registry)
    assert seen == [[], [(80, False)], [], [(100, True)], [], [], [(80, False)]]
    summaries = [row[0] for row in registry.execute("SELECT summary FROM registry.timeline ORDER BY entry_id")]
    assert summaries[0] == "80 % of the 100 MiB that it may store are used: 80 MiB"
    assert len(summaries) == 3


def test_a_tenant_is_measured_once_a_day_and_only_where_it_may_read(registry: Registry) -> None:
    place(registry, "acme")
    place(registry, "asleep", access="hibernated")
    registry.add("unplaced")
    stored = Stored(acme=1)
    run(registry, stored)
    run(registry, stored)
    assert stored.asked == ["acme"]
    a_day_passes(registry)
    run(registry, stored)
    assert stored.asked == ["acme", "acme"]


def test_one_that_can_not_be_measured_stops_no_other(registry: Registry) -> None:
    sizes: dict[str, Any] = {f"tenant-{number}": 1 for number in range(9)}
    sizes["tenant-0"] = DatabaseUnavailable("down")
    sizes["tenant-1"] = psycopg.errors.QueryCanceled("too long")
    for tenant_id in sizes:
        place(registry, tenant_id)
    stored = Stored(**sizes)
    run(registry, stored)
    assert sorted(stored.asked) == sorted(sizes), "and it is not asked for again at once"
    assert registry.execute("SELECT count(*) FROM registry.storage_usage") == [(7,)]


def test_an_unlimited_tenant_raises_nothing_and_a_soft_limit_blocks_nothing(registry: Registry) -> None:
    place(registry, "free", limits={})
    place(registry, "soft", soft_limits=["storage_mib"])
    told: list[StorageAlert] = []
    run(registry, Stored(free=10**6, soft=200), told)
    assert told == [StorageAlert("soft", 100, 200, 100, blocked=False)]


def test_the_application_is_told_and_refuses_files_beyond_the_limit(registry: Registry) -> None:
    place(registry, "acme")
    run(registry, Stored(acme=99))
    with Tenantry(registry.config()) as sdk:
        storage = sdk.entitlements("acme").storage
        assert storage is not None
        assert storage.bytes == 99 * MIB
        assert abs(storage.measured_at - time.time()) < 60
        sdk._allowance.take("acme", MIB)
        with pytest.raises(LimitExceeded, match="storage_mib"):
            sdk._allowance.take("acme", 1)
        registry.set("acme", generation=2)  # another life has stored nothing yet
        wait_until(lambda: sdk.entitlements("acme").storage is None)
        sdk._allowance.take("acme", MIB)
