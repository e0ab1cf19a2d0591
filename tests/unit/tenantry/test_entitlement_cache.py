"""A check never waits, an old answer never replaces a newer one, and nobody's silence takes anything away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tenantry import (
    Config,
    ConfigurationInvalid,
    ControlPlaneUnavailable,
    Entitlements,
    LimitExceeded,
    StorageUsage,
    UnknownTenant,
)
from tenantry.checks import SoftLimits, StorageAllowance
from tenantry.entitlement_cache import EntitlementCache
from tenantry.entitlement_file import EntitlementFile
from tenantry.entitlements import MIB, Ending, LimitCheck, Rate


def config(**settings: Any) -> Config:
    given = {"database_url": "none", "api_url": "none", "application_token": "none", **settings}
    return Config(**given)


class Registry:
    """A control plane in memory, which can fail, and whose answers can be held back."""

    def __init__(self) -> None:
        self.rows: dict[str, Entitlements] = {}
        self.error: Exception | None = None
        self.reads: list[tuple[str, ...]] = []
        self.hold: dict[int, threading.Event] = {}  # the nth read waits, with what it has read already
        self.read_begun = threading.Event()

    def set(self, tenant_id: str, *features: str, **values: Any) -> None:
        values = {"plan": "team", "read_at": time.time(), **values}
        self.rows[tenant_id] = Entitlements(tenant_id, features=frozenset(features), **values)

    def read(self, tenant_ids: Sequence[str]) -> list[Entitlements]:
        self.reads.append(tuple(tenant_ids))
        number = len(self.reads)
        if self.error is not None:
            raise self.error
        found = [self.rows[each] for each in tenant_ids if each in self.rows]
        self.read_begun.set()
        if number in self.hold:
            assert self.hold[number].wait(10)
        return found

    def close(self) -> None:
        pass


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


@contextmanager
def cached(registry: Registry, **settings: Any) -> Iterator[EntitlementCache]:
    cache = EntitlementCache(config(**settings), registry)
    try:
        yield cache
    finally:
        for event in registry.hold.values():
            event.set()
        cache.close()


def test_an_answer_from_before_a_change_does_not_replace_the_one_from_after() -> None:
    registry = Registry()
    registry.set("acme", "old")
    registry.hold[1] = threading.Event()
    with cached(registry, entitlements_ttl=3600.0) as cache:
        loaded: list[Any] = []
        loader = threading.Thread(target=lambda: loaded.append(cache.load("acme")))
        loader.start()
        assert registry.read_begun.wait(10)
        registry.set("acme", "new")
        cache.invalidate("acme")  # while the first answer is under way
        until(lambda: len(registry.reads) == 2 and cache.get("acme") is not None)
        registry.hold[1].set()
        loader.join(10)
        assert loaded[0].snapshot.features == {"new"}
        known = cache.get("acme")
        assert known is not None
        assert known.features == {"new"}


def test_a_check_does_not_wait_for_a_control_plane_that_hangs() -> None:
    registry = Registry()
    registry.set("acme", "reports")
    registry.hold[2] = threading.Event()
    with cached(registry, entitlements_ttl=3600.0) as cache:
        cache.load("acme")
        registry.read_begun.clear()
        cache.invalidate("acme")
        assert registry.read_begun.wait(10)
        began = time.perf_counter()
        assert "reports" in cache.load("acme").features
        assert time.perf_counter() - began < 0.5


def test_many_changes_become_few_reads() -> None:
    registry = Registry()
    names = [f"tenant-{number}" for number in range(300)]
    for name in names:
        registry.set(name, "reports")
    with cached(registry, entitlements_ttl=3600.0) as cache:
        for name in names:
            cache.load(name)
        first = len(registry.reads)
        for name in names:
            registry.set(name, "sso")
            cache.invalidate(name)
        until(lambda: all("sso" in known.features for name in names if (known := cache.get(name)) is not None))
        assert len(registry.reads) - first < 100


def test_a_flush_reads_everything_again_in_batches() -> None:
    registry = Registry()
    names = [f"tenant-{number}" for number in range(1200)]
    for name in names:
        registry.set(name, "reports")
    with cached(registry, entitlements_ttl=3600.0) as cache:
        for name in names:
            cache.load(name)
        first = len(registry.reads)
        for name in names:
            registry.set(name, "sso")
        cache.flush()
        until(lambda: all("sso" in known.features for name in names if (known := cache.get(name)) is not None))
        assert len(registry.reads) - first <= 5


def test_memory_is_bounded() -> None:
    registry = Registry()
    with cached(registry, max_tenants=50) as cache:
        for number in range(500):
            registry.set(f"tenant-{number}", "reports")
            cache.load(f"tenant-{number}")
            with pytest.raises(UnknownTenant):
                cache.load(f"nobody-{number}")
            cache.invalidate(f"stranger-{number}")
        assert cache.status().tenants <= 50
        assert len(cache._unknown) <= 50
        assert len(cache._due) <= 50


def test_a_tenant_that_nobody_asks_for_is_forgotten_and_one_in_use_is_kept() -> None:
    registry = Registry()
    for name in ("idle", "busy"):
        registry.set(name, "reports")
    with cached(registry, entitlements_ttl=0.05, entitlements_idle=0.3) as cache:
        cache.load("idle")

        def idle_is_forgotten() -> bool:
            cache.load("busy").used = True
            return cache.get("idle") is None

        until(idle_is_forgotten)
        assert cache.get("busy") is not None


@pytest.mark.parametrize("error", [psycopg.OperationalError("down"), OSError("down"), ValueError("what is this?")])
def test_whatever_goes_wrong_the_last_known_state_serves_and_the_refresher_lives(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry()
    registry.set("acme", "reports")
    with cached(registry, entitlements_ttl=0.05) as cache:
        cache.load("acme")
        registry.error = error
        until(lambda: cache.status().failing_for > 0)
        assert "reports" in cache.load("acme").features
        registry.set("acme", "sso")
        registry.error = None
        until(lambda: "sso" in cache.load("acme").features)
        assert cache.status().failing_for == 0
    told = [record for record in caplog.records if "does not answer" in record.message]
    assert len(told) == 1, "once an outage, not once a read"


def test_a_tenant_that_is_gone_is_unknown() -> None:
    registry = Registry()
    registry.set("acme", "reports")
    with cached(registry, entitlements_ttl=3600.0) as cache:
        cache.load("acme")
        del registry.rows["acme"]
        cache.invalidate("acme")
        until(lambda: cache.get("acme") is None)
        with pytest.raises(UnknownTenant):
            cache.load("acme")


def test_nothing_known_and_nobody_there_is_said_at_once() -> None:
    registry = Registry()
    registry.error = OSError("down")
    with cached(registry) as cache:
        for _ in range(20):
            with pytest.raises(ControlPlaneUnavailable):
                cache.load("acme")
        assert len(registry.reads) < 5, "a dead control plane is not asked for every check"


SNAPSHOT = Entitlements(
    "acme",
    plan="team",
    features=frozenset({"reports", "sso"}),
    limits={"projects": 50},
    rates=(Rate("api", 5, 60, soft=True),),
    endings=(Ending("feature", "sso", False, 2e9), Ending("rate", "api", None, 3e9)),
    storage=StorageUsage(1, 2, 3, 1e9),
    read_at=1.5e9,
)


def test_the_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    file = EntitlementFile(tmp_path / "kept.json")
    file.save([SNAPSHOT])
    assert EntitlementFile(tmp_path / "kept.json").get("acme") == SNAPSHOT
    assert (tmp_path / "kept.json").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["kept.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 1}',
        b'{"version": 9, "tenants": []}',
        b'{"version": 1, "tenants": [{}]}',
        b"\xff",
    ],
)
def test_a_file_that_makes_no_sense_is_no_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(content)
    path.chmod(0o600)
    assert EntitlementFile(path).get("acme") is None


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    EntitlementFile(tmp_path / "other.json").save([SNAPSHOT])
    (tmp_path / "kept.json").symlink_to(tmp_path / "other.json")
    assert EntitlementFile(tmp_path / "kept.json").get("acme") is None


def test_what_ends_is_taken_back_to_what_the_plan_gives() -> None:
    given = Entitlements(
        "acme",
        features=frozenset({"sso"}),
        excluded=frozenset({"reports"}),
        limits={"projects": 50, "seats": 3},
        rates=(Rate("api", 5, 60),),
        endings=(
            Ending("feature", "sso", False, 10.0),
            Ending("feature", "reports", True, 10.0),
            Ending("limit", "projects", 10, 10.0),
            Ending("limit", "seats", None, 20.0),
            Ending("rate", "api", {"name": "api", "amount": 1, "seconds": 60}, 10.0),
            Ending("rate", "exports", {"name": "exports", "amount": 2, "seconds": 60}, 10.0),
        ),
    )
    assert given.at(9.9) is given
    then = given.at(10.0)
    assert then.features == {"reports"}
    assert not then.excluded
    assert then.limits == {"projects": 10, "seats": 3}
    assert set(then.rates) == {Rate("api", 1, 60), Rate("exports", 2, 60)}
    assert then.valid_until == 20.0
    assert then.at(20.0).limits == {"projects": 10}


def test_storage_that_was_written_since_it_was_measured_counts() -> None:
    registry = Registry()
    storage = StorageUsage(database_bytes=3 * MIB, files_bytes=5 * MIB, files=2, measured_at=1.0)
    registry.set("acme", limits={"storage_mib": 10}, storage=storage)
    with cached(registry, entitlements_ttl=3600.0) as cache:
        allowance = StorageAllowance(cache, SoftLimits(config()), 10)
        allowance.take("acme", MIB)
        allowance.take("acme", MIB)
        with pytest.raises(LimitExceeded, match="10 of 10 storage_mib"):
            allowance.take("acme", 1)
        allowance.take("nobody-knows", 10**12)
        registry.set("acme", limits={"storage_mib": 10}, storage=StorageUsage(3 * MIB, 6 * MIB, 3, 2.0))
        cache.invalidate("acme")
        until(lambda: cache.load("acme").snapshot.storage.measured_at == 2.0)  # type: ignore[union-attr]
        allowance.take("acme", MIB)


def test_a_soft_limit_is_reported_and_an_error_of_the_reporter_hurts_nobody() -> None:
    told: list[tuple[str, LimitCheck]] = []

    def report(tenant_id: str, check: LimitCheck) -> None:
        told.append((tenant_id, check))
        raise RuntimeError

    check = LimitCheck("projects", 10, 11, soft=True, exceeded=True)
    SoftLimits(config(on_soft_limit=report)).report("acme", check)
    assert told == [("acme", check)]


def test_without_a_reporter_a_soft_limit_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    limits = SoftLimits(config(), clock=lambda: now)
    check = LimitCheck("projects", 10, 11, soft=True, exceeded=True)
    for _ in range(5):
        limits.report("acme", check)
    limits.report("globex", check)
    now = 61.0
    limits.report("acme", check)
    assert len(caplog.records) == 3


def test_settings_that_can_not_work_are_refused() -> None:
    for wrong in ({"entitlements_ttl": 0.0}, {"max_tenants": 0}):
        with pytest.raises(ConfigurationInvalid):
            config(**wrong)
