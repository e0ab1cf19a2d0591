"""Tasks cancelled at any moment, and threads that leave by an exception: no connection is lost, no tenant stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tenantry import AsyncTenantry, PoolTimeout, Tenantry, current_tenant
from tests.integration.tenantry.world import World, wait_until

INSERT = "INSERT INTO note (tenant_id, body) VALUES (%s, 'x')"


def run(world: World, work: Callable[[AsyncTenantry], Any], **overrides: Any) -> Any:
    async def main() -> Any:
        async with AsyncTenantry(world.config(**overrides)) as sdk:
            return await work(sdk)

    return asyncio.run(main())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def tenants_rows(sdk: AsyncTenantry, tenant: str) -> int:
    async with sdk.session(tenant) as session:
        row = await (await session.execute("SELECT count(*) FROM note")).fetchone()
    assert row is not None
    return int(row[0])


def test_a_task_cancelled_in_a_query_rolls_back_and_gives_its_connection_back(world: World) -> None:
    async def work(sdk: AsyncTenantry) -> None:
        async def long() -> None:
            async with sdk.session("acme") as session:
                await session.execute(INSERT, ("acme",))
                await session.execute("SELECT pg_sleep(60)")

        task = asyncio.create_task(long())
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%' AND datname = %s"
        await until(lambda: world.admin(sleeping, world.shared, database="postgres") == [(1,)])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sdk._pools._slots.busy == 0
        assert await tenants_rows(sdk, "acme") == 0
        assert await tenants_rows(sdk, "globex") == 0
        assert current_tenant() is None

    run(world, work, max_connections=1)


def test_a_task_cancelled_between_statements_rolls_back(world: World) -> None:
    async def work(sdk: AsyncTenantry) -> None:
        inside = asyncio.Event()

        async def idle() -> None:
            async with sdk.session("acme") as session:
                await session.execute(INSERT, ("acme",))
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(idle())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await tenants_rows(sdk, "acme") == 0
        assert sdk._pools._slots.total == 1

    run(world, work, max_connections=1)


def test_a_task_cancelled_while_waiting_for_a_connection_takes_none(world: World) -> None:
    async def work(sdk: AsyncTenantry) -> None:
        await tenants_rows(sdk, "globex")
        async with sdk.session("acme"):
            waiting = asyncio.create_task(_outside(tenants_rows(sdk, "globex")))
            await asyncio.sleep(0)
            await until(lambda: sdk._pools._slots.busy == 1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert await tenants_rows(sdk, "globex") == 0

    run(world, work, max_connections=1)


async def _outside(work: Any) -> Any:
    """A task starts in a copy of its creator's context; this one begins in none."""
    import contextvars

    return await asyncio.create_task(work, context=contextvars.Context())


@pytest.mark.parametrize("seed", range(3))
def test_tasks_cancelled_at_random_moments_leak_nothing(world: World, seed: int) -> None:
    import random

    chance = random.Random(seed)

    async def work(sdk: AsyncTenantry) -> None:
        async def one(tenant: str) -> None:
            async with sdk.session(tenant) as session:
                await session.execute(INSERT, (tenant,))
                rows = await (await session.execute("SELECT DISTINCT tenant_id FROM note")).fetchall()
                assert rows == [(tenant,)]

        tasks = []
        for number in range(150):
            tasks.append(asyncio.create_task(one(("acme", "globex", "initech", "hooli")[number % 4])))
            await asyncio.sleep(chance.random() * 0.004)
            chance.choice(tasks).cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        broken = [each for each in ended if each is not None and not isinstance(each, asyncio.CancelledError)]
        assert broken == []
        assert sdk._pools._slots.busy == 0
        assert sdk._pools._slots.total <= 4
        for tenant in ("acme", "globex", "initech", "hooli"):
            await one(tenant)

    run(world, work, max_connections=4, pool_timeout=60.0)


def test_a_timeout_around_a_session_works(world: World) -> None:
    async def work(sdk: AsyncTenantry) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), sdk.session("acme") as session:
                await session.execute("SELECT pg_sleep(60)")
        assert await tenants_rows(sdk, "acme") == 0

    run(world, work)


def test_a_generator_that_is_dropped_inside_a_session_ends_it(world: World) -> None:
    with Tenantry(world.config(max_pool_connections=1)) as sdk:

        def rows() -> Any:
            with sdk.session("acme") as session:
                yield from session.execute("SELECT generate_series(1, 10)")

        generator = rows()
        assert next(generator) == (1,)
        generator.close()
        assert sdk._pools._slots.busy == 0
        with sdk.session("globex") as session:
            assert session.execute("SELECT 1").fetchone() == (1,)
        assert current_tenant() is None


def test_a_keyboard_interrupt_inside_a_session_rolls_back(world: World) -> None:
    with Tenantry(world.config(max_pool_connections=1, pool_timeout=0.2)) as sdk:

        def interrupted() -> None:
            with sdk.session("acme") as session:
                session.execute(INSERT, ("acme",))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with sdk.session("acme") as session:
            assert session.execute("SELECT count(*) FROM note").fetchone() == (0,)
            with pytest.raises(PoolTimeout), sdk.session("acme"):
                pass


def test_closing_the_sdk_closes_what_is_still_in_use_when_it_comes_back(world: World) -> None:
    sdk = Tenantry(world.config())
    with sdk.session("acme") as session:
        sdk.close()
        assert session.execute("SELECT 1").fetchone() == (1,)
    assert sdk._pools._slots.total == 0
    mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tenantry-sdk' AND usename LIKE %s"
    wait_until(lambda: world.admin(mine, f"%{world.suffix}") == [(0,)])
