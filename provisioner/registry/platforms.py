"""Platforms: what the tenants of a cell share."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from components.spec import PlatformOutputs, PlatformSpec
from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("platforms"))


@dataclass(frozen=True)
class PlatformRecord:
    cell: str
    spec: dict[str, Any]
    outputs: dict[str, Any] | None
    fingerprint: str | None
    failure: dict[str, Any] | None  #: {code, message, hint, judged_by, ...} of an update that waits for an operator
    updated_at: datetime

    @property
    def platform_spec(self) -> PlatformSpec:
        return PlatformSpec.model_validate(self.spec)

    @property
    def platform_outputs(self) -> PlatformOutputs | None:
        return None if self.outputs is None else PlatformOutputs.model_validate(self.outputs)


async def get(connection: AsyncConnection, cell: str) -> PlatformRecord | None:
    async with connection.cursor(row_factory=class_row(PlatformRecord)) as cursor:
        await cursor.execute(_sql("get"), {"cell": cell})
        return await cursor.fetchone()


async def all_platforms(connection: AsyncConnection) -> list[PlatformRecord]:
    async with connection.cursor(row_factory=class_row(PlatformRecord)) as cursor:
        await cursor.execute(_sql("all"))
        return await cursor.fetchall()


async def record_spec(connection: AsyncConnection, spec: PlatformSpec) -> None:
    await connection.execute(_sql("record_spec"), {"cell": spec.cell, "spec": Jsonb(spec.model_dump(mode="json"))})


async def record_outputs(connection: AsyncConnection, outputs: PlatformOutputs, fingerprint: str) -> None:
    await connection.execute(
        _sql("record_outputs"),
        {"cell": outputs.cell, "outputs": Jsonb(outputs.model_dump(mode="json")), "fingerprint": fingerprint},
    )


async def record_failure(connection: AsyncConnection, cell: str, failure: Mapping[str, Any]) -> None:
    """Park the cell's update until an operator, another program or other rules change what failed it."""
    await connection.execute(_sql("record_failure"), {"cell": cell, "failure": Jsonb(dict(failure))})


async def clear_failure(connection: AsyncConnection, cell: str) -> None:
    await connection.execute(_sql("clear_failure"), {"cell": cell})
