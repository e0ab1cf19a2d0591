"""``meter.record``: what is refused at once, and what a full spool or a dead control plane does to an application."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tenantry import Config, InvalidUsage, NoTenant, SpoolFull, TenantConflict, UnknownMeter, tenant_context
from tenantry.metering import LARGEST, Meter, spool_directory

NOW = 1_800_000_000.0


def refuse() -> psycopg.Connection[Any]:
    raise psycopg.OperationalError("connection refused")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Meter]:
    def make(**options: Any) -> Meter:
        config = Config(
            database_url="postgresql://nowhere",
            api_url="http://api",
            application_token="t",
            spool_dir=str(tmp_path),
            usage_interval=3600,
            **options,
        )
        meter = Meter(config, connect=refuse, clock=lambda: NOW)
        meter.start = lambda: None  # type: ignore[method-assign]
        return meter

    return make


def lines(meter: Meter, tmp_path: Path) -> list[list[str]]:
    return [
        line.split("\t")
        for path in sorted(tmp_path.rglob("*.open")) + sorted(tmp_path.rglob("*.sealed"))
        for line in path.read_text().splitlines()
    ]


def test_a_record_is_on_disk_when_it_returns(make: Callable[..., Meter], tmp_path: Path) -> None:
    meter = make()
    with tenant_context("acme"):
        meter.record("calls")
        meter.record("calls", 7, idempotency_key="order-1", timestamp=NOW - 60)
        meter.record("calls", 0, timestamp=datetime.fromtimestamp(NOW, UTC) - timedelta(days=33))
    assert lines(meter, tmp_path) == [
        ["acme", "calls", "1", f"{NOW:.3f}", ""],
        ["acme", "calls", "7", f"{NOW - 60:.3f}", "order-1"],
        ["acme", "calls", "0", f"{NOW - 33 * 86400:.3f}", ""],
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"value": -1}, "negative"),
        ({"value": float("nan")}, "whole number"),
        ({"value": 1.5}, "whole number"),
        ({"value": 1.0}, "whole number"),
        ({"value": True}, "whole number"),
        ({"value": Decimal(3)}, "whole number"),
        ({"value": "3"}, "whole number"),
        ({"value": None}, "whole number"),
        ({"value": LARGEST + 1}, "more than a record"),
        ({"timestamp": NOW + 301}, "future"),
        ({"timestamp": NOW - 34 * 86400 - 1}, "34 days"),
        ({"timestamp": float("nan")}, "no moment"),
        ({"timestamp": float("inf")}, "no moment"),
        ({"timestamp": datetime(2026, 12, 1)}, "time zone"),  # noqa: DTZ001 - that is what is refused
        ({"idempotency_key": ""}, "idempotency key"),
        ({"idempotency_key": "a\tb"}, "idempotency key"),
        ({"idempotency_key": "a\nb"}, "idempotency key"),
        ({"idempotency_key": "k" * 201}, "idempotency key"),
        ({"meter": ""}, "meter's name"),
        ({"meter": "a\tb"}, "meter's name"),
        ({"meter": "ä"}, "meter's name"),
    ],
)
def test_what_cant_be_counted_is_refused_at_once(
    make: Callable[..., Meter], tmp_path: Path, arguments: dict[str, Any], named: str
) -> None:
    meter = make()
    with pytest.raises(InvalidUsage, match=named) as refused:
        meter.record(**{"meter": "calls", "tenant_id": "acme", **arguments})
    assert refused.value.hint
    assert lines(meter, tmp_path) == []


def test_the_tenant_is_the_contexts(make: Callable[..., Meter]) -> None:
    meter = make()
    with pytest.raises(NoTenant):
        meter.record("calls")
    with pytest.raises(NoTenant):
        meter.record("calls", tenant_id="no\ttenant")
    with tenant_context("acme"), pytest.raises(TenantConflict):
        meter.record("calls", tenant_id="globex")


def test_an_unknown_meter_is_named_with_the_nearest_while_the_catalogue_is_known(make: Callable[..., Meter]) -> None:
    import time

    meter = make()
    meter.record("cals", tenant_id="acme")  # nobody knows yet: the control plane decides
    meter._meters, meter._meters_read_at = {"calls", "storage"}, time.monotonic()
    with pytest.raises(UnknownMeter, match="did you mean calls"):
        meter.record("cals", tenant_id="acme")
    meter._meters_read_at -= 3600
    meter.record("cals", tenant_id="acme")


def test_a_full_spool_raises_or_is_counted(make: Callable[..., Meter], caplog: pytest.LogCaptureFixture) -> None:
    strict = make(spool_max_bytes=40)
    strict.record("calls", tenant_id="acme")
    with pytest.raises(SpoolFull):
        strict.record("calls", tenant_id="acme")
    assert strict.statistics.unrecorded == 1
    lenient = make(spool_max_bytes=40, usage_when_full="drop")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            lenient.record("calls", tenant_id="acme")
    assert lenient.statistics.unrecorded == 3
    assert len([each for each in caplog.records if "usage is lost" in each.message]) == 1, "said, not shouted"


def test_a_dead_control_plane_leaves_everything_on_disk(make: Callable[..., Meter], tmp_path: Path) -> None:
    meter = make()
    meter.record("calls", tenant_id="acme")
    assert meter.flush() is False
    assert "OperationalError" in meter.statistics.failure
    assert len(lines(meter, tmp_path)) == 1
    meter.close()
    assert len(lines(meter, tmp_path)) == 1


def test_two_control_planes_share_no_spool() -> None:
    def directory(url: str) -> Path:
        return spool_directory(Config(database_url="x", api_url=url, application_token="t", spool_dir="/var/spool/t"))

    assert directory("https://one") != directory("https://two")
    assert directory("https://one").parent == Path("/var/spool/t")
