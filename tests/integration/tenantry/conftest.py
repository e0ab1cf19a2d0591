"""The SDK before real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localcloud.postgres import Cluster
from tenantry import AsyncTenantFiles, AsyncTenantry, Config, Tenantry
from tests.integration.tenantry.registry import Registry, make_registry
from tests.integration.tenantry.world import World, make_world


@pytest.fixture
def world(postgres_server: Cluster) -> Iterator[World]:
    with make_world(postgres_server) as made:
        yield made


@pytest.fixture(scope="module")
def registry_database(postgres_server: Cluster) -> Iterator[Registry]:
    with make_registry(postgres_server) as made:
        yield made


@pytest.fixture
def registry(registry_database: Registry) -> Registry:
    """A control plane without tenants."""
    registry_database.clear()
    return registry_database


class SyncDriver:
    """The synchronous SDK."""

    def __init__(self, config: Config) -> None:
        self.sdk = Tenantry(config)

    def query(self, tenant: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.sdk.session(tenant) as session:
            cursor = session.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def query_all(self, work: list[tuple[str, str, tuple[Any, ...]]]) -> list[Any]:
        """Everything at once; an exception is a result."""
        from concurrent.futures import ThreadPoolExecutor

        def one(item: tuple[str, str, tuple[Any, ...]]) -> Any:
            try:
                return self.query(item[0], item[1], *item[2])
            except Exception as error:
                return error

        with ThreadPoolExecutor(12) as pool:
            return list(pool.map(one, work))

    def placement(self, tenant: str) -> Any:
        return self.sdk.placement(tenant)

    def files(self, tenant: str) -> Any:
        """The tenant's files, with synchronous methods either way."""
        return self.sdk.files(tenant)

    def aws(self, tenant: str) -> Any:
        return self.sdk.aws(tenant)

    def listening(self) -> bool:
        assert self.sdk._router.listener is not None
        return self.sdk._router.listener.listening.is_set()

    def total(self) -> int:
        return self.sdk._pools._slots.total

    def nest(self, outer: str, inner: str) -> None:
        with self.sdk.session(outer), self.sdk.session(inner):
            pass

    def use_after_end(self, tenant: str) -> list[BaseException]:
        errors: list[BaseException] = []
        with self.sdk.session(tenant) as session:
            cursor = session.cursor()
            server_cursor = session.server_cursor("c")
            server_cursor.execute("SELECT generate_series(1, 3)")
        with self.sdk.session(tenant):
            for use in (
                lambda: session.execute("SELECT 1"),
                lambda: cursor.execute("SELECT 1"),
                lambda: cursor.executemany("SELECT %s", [(1,)]),
                lambda: cursor.copy("COPY note TO STDOUT"),
                lambda: cursor.stream("SELECT 1"),
                lambda: session.cursor(),
                lambda: session.server_cursor("x"),
                lambda: session.transaction().__enter__(),
                lambda: server_cursor.fetchone(),
            ):
                try:
                    use()
                except Exception as error:
                    errors.append(error)
            server_cursor.close()
        return errors

    def script(self, tenant: str, statements: list[str], error: Exception | None = None) -> None:
        with self.sdk.session(tenant) as session:
            for statement in statements:
                session.execute(statement)
            if error is not None:
                raise error

    def savepoint(self, tenant: str, failing: str, then: str) -> list[tuple[Any, ...]]:
        import psycopg

        with self.sdk.session(tenant) as session:
            try:
                with session.transaction():
                    session.execute(failing)
            except psycopg.Error:
                pass
            return session.execute(then).fetchall()

    def run(self, tenant: str, work: Callable[[Any, int], list[str]]) -> int:
        """``work`` says what to execute at the nth attempt; returns the attempts."""
        attempts = 0

        def body(session: Any) -> None:
            nonlocal attempts
            attempts += 1
            for statement in work(session, attempts):
                session.execute(statement)

        self.sdk.run(body, tenant)
        return attempts

    def close(self) -> None:
        self.sdk.close()


class AwaitedFiles:
    """Asynchronous files whose every call is awaited."""

    def __init__(self, loop: asyncio.Runner, files: AsyncTenantFiles) -> None:
        self._loop = loop
        self._files = files
        self.bucket, self.prefix = files.bucket, files.prefix

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def called(*arguments: Any, **options: Any) -> Any:
            return await getattr(self._files, name)(*arguments, **options)

        return lambda *arguments, **options: self._loop.run(called(*arguments, **options))


class AsyncDriver:
    """The asynchronous SDK, on an event loop of its own."""

    def __init__(self, config: Config) -> None:
        self.loop = asyncio.Runner()
        self.sdk: AsyncTenantry = self.loop.run(self._make(config))

    async def _make(self, config: Config) -> AsyncTenantry:
        return AsyncTenantry(config)

    async def _query(self, tenant: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async with self.sdk.session(tenant) as session:
            cursor = await session.execute(statement, parameters or None)
            return await cursor.fetchall() if cursor.description else []

    def query(self, tenant: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.loop.run(self._query(tenant, statement, *parameters))

    def query_all(self, work: list[tuple[str, str, tuple[Any, ...]]]) -> list[Any]:
        async def all_of_it() -> list[Any]:
            return list(await asyncio.gather(*(self._query(t, s, *p) for t, s, p in work), return_exceptions=True))

        return self.loop.run(all_of_it())

    def placement(self, tenant: str) -> Any:
        return self.loop.run(self.sdk.placement(tenant))

    def files(self, tenant: str) -> Any:
        return AwaitedFiles(self.loop, self.loop.run(self.sdk.files(tenant)))

    def aws(self, tenant: str) -> Any:
        return self.loop.run(self.sdk.aws(tenant))

    def listening(self) -> bool:
        async def look() -> bool:
            await asyncio.sleep(0.01)
            assert self.sdk._router.listener is not None
            return self.sdk._router.listener.listening.is_set()

        return self.loop.run(look())

    def total(self) -> int:
        return self.sdk._pools._slots.total

    def nest(self, outer: str, inner: str) -> None:
        async def nested() -> None:
            async with self.sdk.session(outer), self.sdk.session(inner):
                pass

        self.loop.run(nested())

    def use_after_end(self, tenant: str) -> list[BaseException]:
        async def use_it() -> list[BaseException]:
            errors: list[BaseException] = []
            async with self.sdk.session(tenant) as session:
                cursor = session.cursor()
                server_cursor = session.server_cursor("c")
                await server_cursor.execute("SELECT generate_series(1, 3)")
            async with self.sdk.session(tenant):
                for use in (
                    lambda: session.execute("SELECT 1"),
                    lambda: cursor.execute("SELECT 1"),
                    lambda: cursor.executemany("SELECT %s", [(1,)]),
                    lambda: cursor.copy("COPY note TO STDOUT"),
                    lambda: cursor.stream("SELECT 1"),
                    lambda: session.cursor(),
                    lambda: session.server_cursor("x"),
                    lambda: session.transaction().__aenter__(),
                    lambda: server_cursor.fetchone(),
                ):
                    try:
                        answer: Any = use()
                        if asyncio.iscoroutine(answer):
                            await answer
                    except Exception as error:
                        errors.append(error)
                await server_cursor.close()
            return errors

        return self.loop.run(use_it())

    def script(self, tenant: str, statements: list[str], error: Exception | None = None) -> None:
        async def scripted() -> None:
            async with self.sdk.session(tenant) as session:
                for statement in statements:
                    await session.execute(statement)
                if error is not None:
                    raise error

        self.loop.run(scripted())

    def savepoint(self, tenant: str, failing: str, then: str) -> list[tuple[Any, ...]]:
        import psycopg

        async def saved() -> list[tuple[Any, ...]]:
            async with self.sdk.session(tenant) as session:
                try:
                    async with session.transaction():
                        await session.execute(failing)
                except psycopg.Error:
                    pass
                return await (await session.execute(then)).fetchall()

        return self.loop.run(saved())

    def run(self, tenant: str, work: Callable[[Any, int], list[str]]) -> int:
        attempts = 0

        async def body(session: Any) -> None:
            nonlocal attempts
            attempts += 1
            for statement in work(session, attempts):
                await session.execute(statement)

        self.loop.run(self.sdk.run(body, tenant))
        return attempts

    def close(self) -> None:
        self.loop.run(self.sdk.close())
        self.loop.close()


Driver = SyncDriver | AsyncDriver


@pytest.fixture(params=[SyncDriver, AsyncDriver], ids=["sync", "async"])
def driver_of(request: pytest.FixtureRequest, world: World) -> Iterator[Callable[..., Driver]]:
    """Makes SDKs of the kind under test, with settings of choice."""
    made: list[Driver] = []

    def make(**overrides: Any) -> Driver:
        made.append(request.param(world.config(**overrides)))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def sdk(driver_of: Callable[..., Driver]) -> Driver:
    return driver_of()
