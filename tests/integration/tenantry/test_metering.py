"""Usage before a real control plane: nothing is lost and nothing counts twice, whoever is killed when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tenantry import AsyncTenantry, Meter, Tenantry, UnknownMeter, tenant_context
from tests.integration.conftest import ROOT
from tests.integration.tenantry.registry import Registry
from tests.integration.tenantry.world import wait_until

TABLES = "registry.meter, registry.usage_entry, registry.usage_quarantine, registry.usage_hour"


@pytest.fixture
def metered(registry: Registry) -> Registry:
    registry.execute(f"TRUNCATE {TABLES}")
    for name, aggregation in (("calls", "sum"), ("jobs", "count"), ("seats", "last")):
        registry.execute("INSERT INTO registry.meter VALUES (%s, %s, %s)", name, name, aggregation)
    for tenant in ("acme", "globex"):
        registry.add(tenant, stripe_customer_id=f"cus_{tenant}")
    return registry


@pytest.fixture
def make(metered: Registry, tmp_path: Path) -> Callable[..., Meter]:
    """A meter whose thread delivers nothing by itself: ``flush`` does."""
    made: list[Meter] = []

    def make(**options: Any) -> Meter:
        config = metered.config(spool_dir=str(tmp_path / "spool"), usage_interval=3600.0)
        meter = Meter(config, **options)
        meter.start = lambda: None  # type: ignore[method-assign]
        made.append(meter)
        return meter

    return make


def quantities(registry: Registry) -> dict[tuple[str, str], int]:
    rows = registry.execute("SELECT tenant_id, meter, sum(quantity) FROM registry.usage_hour GROUP BY 1, 2")
    return {(tenant, meter): int(quantity) for tenant, meter, quantity in rows}


def quarantined(registry: Registry) -> list[tuple[str, str, str]]:
    return registry.execute("SELECT tenant_id, meter, reason FROM registry.usage_quarantine ORDER BY 1, 2, 3")


def test_what_is_recorded_is_counted_by_tenant_and_aggregation(metered: Registry, make: Callable[..., Meter]) -> None:
    meter = make()
    for tenant in ("acme", "globex"):
        with tenant_context(tenant):
            for value in (5, 6, 3):
                for name in ("calls", "jobs", "seats"):
                    meter.record(name, value)
    assert meter.flush()
    assert quantities(metered) == {
        (tenant, name): quantity
        for tenant in ("acme", "globex")
        for name, quantity in (("calls", 14), ("jobs", 3), ("seats", 3))
    }
    assert meter.statistics.delivered == 6
    assert meter.statistics.waiting_bytes == 0


def test_a_key_counts_once_however_often_and_by_whomever_it_is_recorded(
    metered: Registry, make: Callable[..., Meter]
) -> None:
    for _ in range(3):
        meter = make()
        for _ in range(3):
            meter.record("calls", 7, tenant_id="acme", idempotency_key="order-1")
            meter.record("calls", 5, tenant_id="globex", idempotency_key="order-1")
        assert meter.flush()
    assert quantities(metered) == {("acme", "calls"): 7, ("globex", "calls"): 5}


def test_an_answer_that_is_lost_counts_nothing_twice(metered: Registry, make: Callable[..., Meter]) -> None:
    meter = make()
    meter.record("calls", 4, tenant_id="acme")
    ask = meter._ask

    def lose(statement: str, parameters: Any = ()) -> Any:
        found = ask(statement, parameters)
        if "record_usage" in statement:
            raise psycopg.OperationalError("the connection ended")
        return found

    meter._ask = lose  # type: ignore[method-assign]
    assert not meter.flush()
    meter._ask = ask  # type: ignore[method-assign]
    meter.record("calls", 2, tenant_id="acme")
    assert meter.flush()
    assert quantities(metered) == {("acme", "calls"): 6}
    assert meter.statistics.duplicates == 1


def test_what_cant_be_counted_is_quarantined_and_the_rest_counts(metered: Registry, make: Callable[..., Meter]) -> None:
    meter = make()
    metered.add("stray")  # no customer
    meter.record("calls", 1, tenant_id="nobody")
    meter.record("nothing", 1, tenant_id="acme")
    meter.record("calls", 1, tenant_id="stray")
    meter.record("calls", 1, tenant_id="acme")
    assert meter.flush()
    assert quantities(metered) == {("acme", "calls"): 1}
    assert quarantined(metered) == [
        ("acme", "nothing", "unknown_meter"),
        ("nobody", "calls", "unknown_tenant"),
        ("stray", "calls", "no_customer"),
    ]
    with pytest.raises(UnknownMeter):
        meter.record("nothing", tenant_id="acme")


def _call(registry: Registry, *rows: tuple[Any, ...]) -> tuple[int, int, int]:
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
    columns[4:6] = [[str(value) for value in column] for column in columns[4:6]]
    with psycopg.connect(registry.reader.url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT accepted, duplicates, quarantined FROM tenantry_v1.record_usage("
            "%s::text[], %s::text[], %s::text[], %s::bigint[], %s::numeric[], %s::numeric[], %s::float8[])",
            columns,
        ).fetchone()
    assert found is not None
    return found


def test_any_client_of_the_function_is_checked(metered: Registry) -> None:
    now = time.time()
    bad: dict[str, tuple[Any, ...]] = {
        "negative": ("acme", "calls", 1, -1, -1, now),
        "not_a_number": ("acme", "calls", 1, "NaN", 1, now),
        "not_a_whole_number": ("acme", "calls", 1, "1.5", "1.5", now),
        "too_large": ("acme", "calls", 1, 10**13, 1, now),
        "invalid_count": ("acme", "calls", 0, 1, 1, now),
        "too_old": ("acme", "calls", 1, 1, 1, now - 35 * 86400),
        "in_the_future": ("acme", "calls", 1, 1, 1, now + 400),
        "invalid_timestamp": ("acme", "calls", 1, 1, 1, float("nan")),
        "unknown_tenant": (None, "calls", 1, 1, 1, now),
        "unknown_meter": ("acme", "x" * 500, 1, 1, 1, now),
    }
    rows = [(reason, *row) for reason, row in bad.items()] + [("fine", "acme", "calls", 2, 3, 3, now)]
    rows += [("", "acme", "calls", 1, 1, 1, now), ("z" * 300, "acme", "calls", 1, 1, 1, now)]
    assert _call(metered, *rows) == (1, 0, 12)
    assert _call(metered, *rows) == (0, 13, 0)
    found = metered.execute("SELECT key, reason FROM registry.usage_quarantine WHERE reason <> 'invalid_key'")
    assert all(key == reason for key, reason in found)
    assert len(found) == 10
    assert _call(metered, ("inf", "acme", "calls", 1, "Infinity", 1, now)) == (0, 0, 1)
    with (
        pytest.raises(psycopg.errors.InvalidParameterValue, match="of one length"),
        psycopg.connect(metered.reader.url) as connection,
    ):
        connection.execute("SELECT tenantry_v1.record_usage(ARRAY['a'], '{}', '{}', '{}', '{}', '{}', '{}')")


def test_the_reader_may_record_and_nothing_else(metered: Registry) -> None:
    with psycopg.connect(metered.reader.url, autocommit=True) as connection:
        for statement in (
            "SELECT FROM registry.usage_entry",
            "DELETE FROM registry.usage_hour",
            "SELECT registry.add_usage('{}')",
            "INSERT INTO registry.meter VALUES ('x', 'x', 'sum')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
        assert connection.execute("SELECT name FROM tenantry_v1.meter ORDER BY 1").fetchall() == [
            ("calls",),
            ("jobs",),
            ("seats",),
        ]


def test_concurrent_batches_neither_wait_for_each_other_in_a_circle_nor_lose_anything(metered: Registry) -> None:
    now, failures = time.time(), []

    def send(worker: int) -> None:
        try:
            for turn in range(10):
                rows = [
                    (f"{turn}/{n}" if n % 2 else f"{worker}/{turn}/{n}", tenant, meter, 1, 1, 1, now - 3600 * (n % 5))
                    for n in range(20)
                    for tenant in ("acme", "globex")
                    for meter in ("calls", "jobs")
                ]
                _call(metered, *(rows if worker % 2 else rows[::-1]))
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    expected = 10 * 10 + 4 * 10 * 10  # shared keys once, own keys once each
    assert set(quantities(metered).values()) == {expected}


RECORDING = """
import sys, itertools
from tenantry import Config
from tenantry.metering import Meter
import os
config = Config(database_url=os.environ["URL"], api_url="http://127.0.0.1:1", application_token="t",
                spool_dir=os.environ["SPOOL"], usage_interval=0.05)
meter = Meter(config)
for number in itertools.count(1):
    meter.record("calls", 1, tenant_id="acme")
    meter.record("jobs", 5, tenant_id="acme", idempotency_key=f"{os.environ['NAME']}-{number}")
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_a_kill_at_any_moment_loses_and_doubles_nothing(
    metered: Registry, make: Callable[..., Meter], tmp_path: Path
) -> None:
    """Each child says what it has recorded; the next child, and at last this process, deliver what it left."""
    said = 0
    for turn in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RECORDING)],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "URL": metered.reader.url,
                "SPOOL": str(tmp_path / "spool"),
                "NAME": f"child-{turn}",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        numbers = iter(child.stdout)
        for _ in range(300 + 700 * turn):
            next(numbers)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        said_now = int([line for line in rest if line][-1]) if rest else 300 + 700 * turn
        child.wait()
        child.stdout.close()
        said += said_now
    meter = make()
    assert meter.flush()
    found = quantities(metered)
    # the last record of each child may be one that it had no time to say
    assert said <= found[("acme", "calls")] <= said + 4
    assert said <= found[("acme", "jobs")] <= said + 4
    assert meter.statistics.waiting_bytes == 0


def test_an_outage_ends_and_all_of_it_is_delivered_by_itself(metered: Registry, tmp_path: Path) -> None:
    with metered.owner.cluster.admin() as admin:
        admin.execute(f'ALTER ROLE "{metered.reader.username}" NOLOGIN')
    config = metered.config(spool_dir=str(tmp_path), usage_interval=0.05)
    with Tenantry(config) as sdk, tenant_context("acme"):
        for _ in range(50):
            sdk.meter.record("calls")
        wait_until(lambda: sdk.meter.statistics.failure != "")
        with metered.owner.cluster.admin() as admin:
            admin.execute(f'ALTER ROLE "{metered.reader.username}" LOGIN')
        wait_until(lambda: quantities(metered) == {("acme", "calls"): 50})
        wait_until(lambda: sdk.meter.statistics.failure == "")


def test_closing_delivers_the_rest_in_asyncio_too(metered: Registry, tmp_path: Path) -> None:
    import asyncio

    async def work() -> None:
        async with AsyncTenantry(metered.config(spool_dir=str(tmp_path), usage_interval=3600.0)) as sdk:
            with tenant_context("acme"):
                sdk.meter.record("calls", 3)

    asyncio.run(work())
    assert quantities(metered) == {("acme", "calls"): 3}
    assert list(tmp_path.rglob("*.*")) == []
