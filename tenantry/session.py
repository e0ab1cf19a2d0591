"""One transaction of one tenant, as its caller sees it. Sync and async.

The connection goes back to its pool when the block ends and serves another tenant next, so the caller never holds
it: a session, and every cursor of it, refuses to work once its block has ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.abc import Params
from psycopg.abc import QueryNoTemplate as Query
from psycopg.rows import AsyncRowFactory, RowFactory, tuple_row

from tenantry.errors import SessionEnded
from tenantry.placement import Placement
from tenantry.pools import Async, Sync

Row = TypeVar("Row")
Parameters = Sequence[Any] | Mapping[str, Any]


class Lease:
    """The right to use a connection; revoked when the session's block ends."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.ended = False

    def check(self, connection: Sync | Async) -> None:
        if self.ended:
            raise SessionEnded(
                f"the session of tenant {self.tenant_id!r} has ended", hint="use it inside its `with` block only"
            )
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE and not connection.closed:
            raise self._ended_by_statement()

    def _ended_by_statement(self) -> SessionEnded:
        return SessionEnded(
            f"the transaction of tenant {self.tenant_id!r} was ended by a statement inside the session",
            hint="no COMMIT or ROLLBACK in a session: leave its block, or use session.transaction()",
        )

    def suspects(self, connection: Sync | Async, results: Iterable[psycopg.pq.abc.PGresult]) -> bool:
        """Whether a statement may have ended the transaction and begun another: COMMIT AND CHAIN does.

        ROLLBACK TO SAVEPOINT has the same tag and doesn't: ``STILL_ENTERED`` tells them apart.
        """
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.INTRANS:
            return False
        return any(result.command_status in (b"COMMIT", b"ROLLBACK") for result in results)

    def confirm(self, entered: tuple[Any, ...] | None) -> None:
        """``entered``: the answer to ``STILL_ENTERED``. Raises SessionEnded if it isn't this tenant."""
        if entered is None or entered[0] != self.tenant_id:
            self.ended = True
            raise self._ended_by_statement()


#: what a session's first statement set for its transaction alone
STILL_ENTERED = "SELECT current_setting('app.current_tenant', true)"


class TenantCursor(psycopg.Cursor[Row]):
    lease: Lease

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> TenantCursor[Row]:
        self.lease.check(self._conn)
        super().execute(query, params, **options)
        if self.lease.suspects(self._conn, self._results):
            self.lease.confirm(self._conn.execute(STILL_ENTERED).fetchone())
        return self

    def executemany(self, query: Any, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        self.lease.check(self._conn)
        super().executemany(query, params_seq, returning=returning)

    def stream(self, *args: Any, **options: Any) -> Iterator[Row]:
        self.lease.check(self._conn)
        return super().stream(*args, **options)

    def copy(self, *args: Any, **options: Any) -> Any:
        self.lease.check(self._conn)
        return super().copy(*args, **options)


class TenantServerCursor(psycopg.ServerCursor[Row]):
    lease: Lease

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> TenantServerCursor[Row]:
        self.lease.check(self._conn)
        super().execute(query, params, **options)
        return self

    def fetchone(self) -> Row | None:
        self.lease.check(self._conn)
        return super().fetchone()

    def fetchmany(self, size: int = 0) -> list[Row]:
        self.lease.check(self._conn)
        return super().fetchmany(size)

    def fetchall(self) -> list[Row]:
        self.lease.check(self._conn)
        return super().fetchall()

    def __next__(self) -> Row:
        self.lease.check(self._conn)
        return super().__next__()

    def close(self) -> None:
        if not self.lease.ended:  # the connection is another's now
            super().close()

    def ended(self) -> None:
        """The transaction's end has closed it."""
        self._closed = True

    def scroll(self, value: int, mode: str = "relative") -> None:
        self.lease.check(self._conn)
        super().scroll(value, mode)


class AsyncTenantCursor(psycopg.AsyncCursor[Row]):
    lease: Lease

    async def execute(self, query: Any, params: Params | None = None, **options: Any) -> AsyncTenantCursor[Row]:
        self.lease.check(self._conn)
        await super().execute(query, params, **options)
        if self.lease.suspects(self._conn, self._results):
            self.lease.confirm(await (await self._conn.execute(STILL_ENTERED)).fetchone())
        return self

    async def executemany(self, query: Any, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        self.lease.check(self._conn)
        await super().executemany(query, params_seq, returning=returning)

    def stream(self, *args: Any, **options: Any) -> AsyncIterator[Row]:
        self.lease.check(self._conn)
        return super().stream(*args, **options)

    def copy(self, *args: Any, **options: Any) -> Any:
        self.lease.check(self._conn)
        return super().copy(*args, **options)


class AsyncTenantServerCursor(psycopg.AsyncServerCursor[Row]):
    lease: Lease

    async def execute(self, query: Any, params: Params | None = None, **options: Any) -> AsyncTenantServerCursor[Row]:
        self.lease.check(self._conn)
        await super().execute(query, params, **options)
        return self

    async def fetchone(self) -> Row | None:
        self.lease.check(self._conn)
        return await super().fetchone()

    async def fetchmany(self, size: int = 0) -> list[Row]:
        self.lease.check(self._conn)
        return await super().fetchmany(size)

    async def fetchall(self) -> list[Row]:
        self.lease.check(self._conn)
        return await super().fetchall()

    async def __anext__(self) -> Row:
        self.lease.check(self._conn)
        return await super().__anext__()

    async def close(self) -> None:
        if not self.lease.ended:
            await super().close()

    def ended(self) -> None:
        self._closed = True

    async def scroll(self, value: int, mode: str = "relative") -> None:
        self.lease.check(self._conn)
        await super().scroll(value, mode)


class TenantSession:
    """A transaction on the tenant's database: committed when its block ends, rolled back if that raises."""

    def __init__(self, placement: Placement, connection: Sync) -> None:
        self.placement = placement
        self.tenant_id = placement.tenant_id
        self._connection = connection
        self._lease = Lease(placement.tenant_id)
        self._server_cursors: WeakSet[TenantServerCursor[Any]] = WeakSet()

    def execute(
        self, query: Query, params: Parameters | None = None, *, binary: bool = False
    ) -> TenantCursor[tuple[Any, ...]]:
        """Run one statement; values go in ``params``, never into the text."""
        return self.cursor().execute(query, params, binary=binary)

    def cursor(self, *, row_factory: RowFactory[Row] | None = None) -> TenantCursor[Any]:
        self._lease.check(self._connection)
        cursor: TenantCursor[Any] = TenantCursor(self._connection, row_factory=row_factory or tuple_row)
        cursor.lease = self._lease
        return cursor

    def server_cursor(self, name: str, *, row_factory: RowFactory[Row] | None = None) -> TenantServerCursor[Any]:
        """A cursor that leaves its rows on the server and fetches them in batches."""
        self._lease.check(self._connection)
        cursor: TenantServerCursor[Any] = TenantServerCursor(
            self._connection,
            name,
            row_factory=row_factory or tuple_row,
        )
        cursor.lease = self._lease
        self._server_cursors.add(cursor)
        return cursor

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """A savepoint: what fails inside the block is undone, and the session goes on."""
        self._lease.check(self._connection)
        with self._connection.transaction():
            yield

    def end(self) -> None:
        """Called by the SDK when the block ends."""
        self._lease.ended = True
        for cursor in self._server_cursors:
            cursor.ended()


class AsyncTenantSession:
    """``TenantSession`` for asyncio."""

    def __init__(self, placement: Placement, connection: Async) -> None:
        self.placement = placement
        self.tenant_id = placement.tenant_id
        self._connection = connection
        self._lease = Lease(placement.tenant_id)
        self._server_cursors: WeakSet[AsyncTenantServerCursor[Any]] = WeakSet()

    async def execute(
        self, query: Query, params: Parameters | None = None, *, binary: bool = False
    ) -> AsyncTenantCursor[tuple[Any, ...]]:
        return await self.cursor().execute(query, params, binary=binary)

    def cursor(self, *, row_factory: AsyncRowFactory[Row] | None = None) -> AsyncTenantCursor[Any]:
        self._lease.check(self._connection)
        cursor: AsyncTenantCursor[Any] = AsyncTenantCursor(self._connection, row_factory=row_factory or tuple_row)
        cursor.lease = self._lease
        return cursor

    def server_cursor(
        self, name: str, *, row_factory: AsyncRowFactory[Row] | None = None
    ) -> AsyncTenantServerCursor[Any]:
        self._lease.check(self._connection)
        cursor: AsyncTenantServerCursor[Any] = AsyncTenantServerCursor(
            self._connection,
            name,
            row_factory=row_factory or tuple_row,
        )
        cursor.lease = self._lease
        self._server_cursors.add(cursor)
        return cursor

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self._lease.check(self._connection)
        async with self._connection.transaction():
            yield

    def end(self) -> None:
        self._lease.ended = True
        for cursor in self._server_cursors:
            cursor.ended()
