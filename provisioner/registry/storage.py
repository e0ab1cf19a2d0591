"""What tenants store, as last measured, and which of their limit's shares were reported."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from psycopg import AsyncConnection

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("storage"))


@dataclass(frozen=True)
class Measured:
    database_bytes: int
    files_bytes: int
    files: int

    @property
    def bytes(self) -> int:
        return self.database_bytes + self.files_bytes


async def due(
    connection: AsyncConnection, *, every: timedelta, but: Collection[str], most: int
) -> list[tuple[str, int]]:
    """Tenants that may read their data and were not measured for ``every``, with generations; the longest first."""
    cursor = await connection.execute(_sql("due"), {"every": every, "but": list(but), "most": most})
    return [(str(row[0]), int(row[1])) for row in await cursor.fetchall()]


async def put(connection: AsyncConnection, tenant_id: str, generation: int, measured: Measured) -> int | None:
    """Record it; the highest share of the limit that was reported so far. None if that life of the tenant is over."""
    cursor = await connection.execute(
        _sql("put"),
        {
            "tenant_id": tenant_id,
            "generation": generation,
            "database_bytes": measured.database_bytes,
            "files_bytes": measured.files_bytes,
            "files": measured.files,
        },
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def limit(connection: AsyncConnection, tenant_id: str) -> tuple[int | None, bool]:
    """(MiB that the tenant may store, None: any number; whether that is only reported)."""
    row = await (await connection.execute(_sql("limit"), {"tenant_id": tenant_id})).fetchone()
    return (None, False) if row is None else (None if row[0] is None else int(row[0]), bool(row[1]))


async def set_alerted(connection: AsyncConnection, tenant_id: str, percent: int) -> None:
    await connection.execute(_sql("set_alerted"), {"tenant_id": tenant_id, "percent": percent})
