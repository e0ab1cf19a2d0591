"""Rates that processes share: on a real PostgreSQL, and on the storages of ``limits``."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits.storage import storage_from_string
from psycopg.types.json import Jsonb

from provisioner.registry import entitlements as registry_entitlements
from tenantry import (
    AsyncTenantry,
    LimitMiddleware,
    LimitsRateStore,
    PostgresRateStore,
    Rate,
    RateLimited,
    SharedRateLimiter,
    TenantMiddleware,
    Tenantry,
)
from tenantry.entitlements import QUERY, Entitlements
from tenantry.rates import Taken, Wanted
from tests.integration.tenantry.registry import Registry
from tests.integration.tenantry.world import wait_until

#: long enough that no test meets the end of one, but for one run in a thousand years
AGE = 31_622_400


def in_one_window(seconds: int) -> None:
    """Wait, if need be, until a window has most of its length before it."""
    while time.time() % seconds > seconds * 0.5:
        time.sleep(0.01)


def test_processes_together_get_the_amount_and_not_one_more(registry: Registry) -> None:
    """Every call asks: the store's own count under contention."""
    registry.add("acme")
    rates = [Rate("api", 150, AGE), Rate("daily", 400, AGE)]

    async def run() -> list[int]:
        stores = [PostgresRateStore(registry.config()) for _ in range(4)]

        async def calls(store: PostgresRateStore) -> list[int]:
            got = [0, 0]
            for turn in range(60):
                order = rates if turn % 2 else rates[::-1]  # whoever locks in another order would wait for ever
                taken = await store.take("acme", [Wanted(rate, 1) for rate in order])
                for rate, each in zip(order, taken, strict=True):
                    got[rates.index(rate)] += each.granted
            return got

        found = await asyncio.gather(*(calls(store) for store in stores for _ in range(2)))
        for store in stores:
            await store.close()
        return [sum(each) for each in zip(*found, strict=True)]

    assert asyncio.run(run()) == [150, 400]


def test_limiters_with_shares_never_exceed_the_amount_together(registry: Registry) -> None:
    registry.add("acme")
    rate = Rate("api", 1000, AGE)

    async def run() -> int:
        group = [SharedRateLimiter(PostgresRateStore(registry.config()), timeout=10) for _ in range(3)]

        async def calls(limiter: SharedRateLimiter) -> int:
            through = 0
            for _ in range(500):
                verdict = await limiter.take("acme", [rate])
                assert not verdict.degraded
                through += not verdict.refused
            return through

        through = sum(await asyncio.gather(*(calls(limiter) for limiter in group)))
        for limiter in group:
            await limiter.close()
        return through

    assert 1000 - 3 * 50 <= asyncio.run(run()) <= 1000


def test_a_window_slides(registry: Registry) -> None:
    registry.add("acme")
    rate = Rate("api", 10, 1)

    async def run() -> None:
        store = PostgresRateStore(registry.config())
        (warm,) = await store.take("acme", [Wanted(rate, 0)])
        assert warm.granted == 0
        in_one_window(1)
        (first,) = await store.take("acme", [Wanted(rate, 12)])
        assert (first.granted, first.remaining) == (10, 0)
        assert 0 < first.ends_in <= 1
        assert first.ends_in < first.free_in < 2
        (none,) = await store.take("acme", [Wanted(rate, 1)])
        assert none.granted == 0
        await asyncio.sleep(none.free_in + 0.01)
        (later,) = await store.take("acme", [Wanted(rate, 10)])
        assert 1 <= later.granted < 10, "what was taken before fades, it does not vanish"
        await store.close()

    asyncio.run(run())


def test_what_the_function_is_given_by_a_stranger_does_no_harm(registry: Registry) -> None:
    registry.add("acme")
    with psycopg.connect(registry.reader.url, autocommit=True) as reader:

        def take(tenant: str, names: list[Any], amounts: list[Any], seconds: list[Any], wanted: list[Any]) -> list[Any]:
            statement = (
                "SELECT name, granted FROM tenantry_v1.take_rates(%s, %s::text[], %s::bigint[], %s::integer[],"
                " %s::bigint[])"
            )
            return reader.execute(statement, (tenant, names, amounts, seconds, wanted)).fetchall()

        with pytest.raises(psycopg.errors.NoDataFound):
            take("nobody", ["api"], [1], [60], [1])
        assert take("acme", ["api"], [5], [AGE], [-3]) == [("api", 0)], "nothing is given back"
        assert take("acme", ["api"], [5], [AGE], [9]) == [("api", 5)]
        assert take("acme", ["api"], [-5], [AGE], [9]) == [("api", 0)]
        assert take("acme", ["x; DROP TABLE", "", None, "api"], [9] * 4, [60, 60, 60, 0], [1] * 4) == []
        assert take("acme", [], [], [], []) == []
        assert take("acme", ["api"], [], [], []) == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT * FROM registry.rate_window")
    assert registry.execute("SELECT name, taken FROM registry.rate_window") == [("api", 5)]


def test_windows_that_say_nothing_any_more_are_forgotten(registry: Registry) -> None:
    registry.add("acme")
    registry.execute(
        "INSERT INTO registry.rate_window SELECT 'acme', name, floor(extract(epoch FROM now()) / 60) - ago, 60, 5, 5"
        " FROM (VALUES ('old', 200), ('new', 0)) AS v (name, ago)"
    )
    assert registry.run(registry_entitlements.prune_windows) == 1
    assert registry.execute("SELECT name FROM registry.rate_window") == [("new",)]


def test_a_plans_rates_hold_an_application_to_them(registry: Registry) -> None:
    """From the registry through the SDK to a client, with the store shared by two processes' SDKs."""
    rates = [{"name": "api", "amount": 3, "seconds": AGE, "soft": False}]
    registry.add("acme", rates=rates)

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async def run() -> list[int]:
        config = registry.config()
        async with (
            AsyncTenantry(config, rates=SharedRateLimiter(PostgresRateStore(config), timeout=10)) as one,
            AsyncTenantry(config, rates=SharedRateLimiter(PostgresRateStore(config), timeout=10)) as two,
        ):
            found = []
            for sdk in (one, two, one, two, one, two):
                app = TenantMiddleware(LimitMiddleware(hello, sdk=sdk), resolve=lambda scope: "acme", sdk=sdk)
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
                    found.append((await client.get("/")).status_code)
            with pytest.raises(RateLimited):
                await one.take("api", tenant_id="acme")
            await one.take("of another plan", tenant_id="acme")
            return found

    codes = asyncio.run(run())
    # each process may hold one call that it has fetched and not made
    assert codes.count(200) in (2, 3)
    assert codes[-1] == 429


def test_a_synchronous_application_counts_for_itself(registry: Registry) -> None:
    registry.add("acme", rates=[{"name": "exports", "amount": 1, "seconds": AGE, "soft": False}])
    with Tenantry(registry.config()) as sdk:
        sdk.take("exports", tenant_id="acme")
        with pytest.raises(RateLimited):
            sdk.take("exports", tenant_id="acme")
        registry.set("acme", rates=[{"name": "exports", "amount": 9, "seconds": AGE, "soft": False}])
        wait_until(lambda: sdk.entitlements("acme").rates[0].amount == 9)
        sdk.take("exports", tenant_id="acme")


def test_a_store_that_dies_and_comes_back(registry: Registry) -> None:
    registry.add("acme")
    rate = Rate("api", 1000, AGE)

    async def run() -> None:
        limiter = SharedRateLimiter(PostgresRateStore(registry.config()), timeout=5)
        assert not (await limiter.take("acme", [rate])).degraded
        with registry.owner.cluster.admin() as admin:
            admin.execute(f"ALTER ROLE {registry.reader.username} NOLOGIN".encode())
            admin.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
                (registry.reader.username,),
            )
        deadline = time.monotonic() + 10
        while not (await limiter.take("acme", [rate])).degraded:
            assert time.monotonic() < deadline
        assert limiter.failing_since is not None
        with registry.owner.cluster.admin() as admin:
            admin.execute(f"ALTER ROLE {registry.reader.username} LOGIN".encode())
        while (await limiter.take("acme", [rate])).degraded:
            assert time.monotonic() < deadline + 10
            await asyncio.sleep(0.02)
        await limiter.close()

    asyncio.run(run())


@contextmanager
def redis_url() -> Iterator[str]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        yield "async+memory://"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:

            def answers() -> bool:
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            wait_until(answers)
            yield f"async+redis://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(10)


def test_a_storage_of_limits_is_shared_the_same_way() -> None:
    """Redis where it is installed, else the storage in memory."""
    rate = Rate("api", 300, AGE)

    async def run(url: str) -> tuple[int, Sequence[Taken]]:
        options = {"implementation": "redispy"} if "redis" in url else {}
        storage: Any = storage_from_string(url, **options)
        group = [SharedRateLimiter(LimitsRateStore(storage), timeout=10) for _ in range(3)]
        through = 0
        for turn in range(1200):
            verdict = await group[turn % 3].take("acme", [rate])
            through += not verdict.refused
        alone = await LimitsRateStore(storage).take("globex", [Wanted(rate, 250), Wanted(rate, 100)])
        for limiter in group:
            await limiter.close()
        if "redis" in url:
            await storage.bridge.get_connection().aclose()
        return through, alone

    with redis_url() as url:
        through, alone = asyncio.run(run(url))
    assert 300 - 2 * 15 <= through <= 300
    assert [each.granted for each in alone] == [250, 50], "what is left is given when all that was wanted is not"
    assert alone[1].remaining == 0
    assert 0 < alone[1].free_in <= 2 * AGE


NAMES = st.sampled_from(["a", "b", "c", "d"])
OVERRIDES = st.lists(
    st.tuples(
        st.sampled_from(["feature", "limit", "rate"]),
        NAMES,
        st.booleans(),
        st.none() | st.integers(0, 9),
        st.sampled_from([None, 1, 2, 3]),
    ),
    unique_by=lambda each: each[:2],
    max_size=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sets(NAMES | st.just("*")),
    st.dictionaries(NAMES, st.integers(0, 9)),
    st.sets(NAMES),
    OVERRIDES,
    st.integers(0, 3),
)
def test_what_the_sdk_makes_of_an_end_is_what_the_view_says_after_it(
    registry: Registry,
    features: set[str],
    limits: dict[str, int],
    rates: set[str],
    overrides: list[tuple[str, str, bool, int | None, int | None]],
    hours: int,
) -> None:
    """The two know of an exception's end apart from each other: SQL by leaving it out, the SDK by taking it back."""
    with psycopg.connect(registry.owner.url) as connection:
        connection.execute("INSERT INTO registry.tenant (tenant_id, plan) VALUES ('acme', 'team')")
        documents = [{"name": name, "amount": 5, "seconds": 60, "soft": False} for name in sorted(rates)]
        connection.execute(
            "UPDATE registry.tenant SET features = %s, limits = %s, rates = %s",
            (sorted(features), Jsonb(limits), Jsonb(documents)),
        )
        for kind, name, granted, value, ends in overrides:
            connection.execute(
                "INSERT INTO registry.entitlement_override VALUES"
                " ('acme', 1, %s, %s, %s, %s, 'r', 'a', now(), now() + %s * interval '1 hour')",
                (kind, name, granted if kind == "feature" else None, None if kind == "feature" else value, ends),
            )

        def read() -> Entitlements:
            row = connection.execute(QUERY, (["acme"],)).fetchone()
            assert row is not None
            return Entitlements.from_row(row, 0.0)

        (now,) = connection.execute("SELECT now()").fetchone() or (datetime.now(UTC),)
        before = read()
        connection.execute(
            "DELETE FROM registry.entitlement_override WHERE expires_at <= now() + %s * interval '1 hour'", (hours,)
        )
        after, expected = before.at(now.timestamp() + hours * 3600 + 1e-3), read()
        connection.rollback()
    for name in "abcde":
        assert after.entitled(name) == expected.entitled(name), name
        assert after.limit(name) == expected.limit(name), name
    assert sorted(after.rates, key=lambda rate: rate.name) == list(expected.rates)
    assert after.valid_until == expected.valid_until
