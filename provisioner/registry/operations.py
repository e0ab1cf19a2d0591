"""Operations: one row a run that changes a stack, one row a resource that it touched, written while it runs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from provisioner.lifecycle import OperationState
from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("operations"))


class OperationKind(StrEnum):
    PROVISION = "provision"  #: the first operation of a tenant's life
    UPDATE = "update"
    RESTRICT = "restrict"  #: to read_only
    SUSPEND = "suspend"
    HIBERNATE = "hibernate"
    RESUME = "resume"  #: to more access than before
    EXPORT = "export"  #: the instance runs and the files can be read, for an export of a tenant whose access is closed
    UNPROTECT = "unprotect"  #: first step of destruction: protection off, final snapshot on
    DESTROY = "destroy"  #: second step
    PLATFORM = "platform"


@dataclass(frozen=True)
class OperationRecord:
    operation_id: int
    tenant_id: str | None
    stack_name: str
    kind: str
    status: str
    reason: str
    fencing: int
    holder: str
    changes: dict[str, int]
    error: dict[str, Any] | None
    seconds: float | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class StepRow:
    """``status``: ``running``, ``done`` or ``failed``."""

    urn: str
    type: str
    name: str
    op: str
    status: str
    seconds: float | None = None
    message: str | None = None
    started_at: datetime | None = None


async def abandon(connection: AsyncConnection, stack_name: str, fencing: int) -> list[int]:
    """What earlier leases of the stack left running is interrupted; which operations those are."""
    cursor = await connection.execute(_sql("abandon"), {"stack_name": stack_name, "fencing": fencing})
    abandoned = [int(row[0]) for row in await cursor.fetchall()]
    if abandoned:
        await connection.execute(_sql("abandon_steps"), {"operation_ids": abandoned})
    return abandoned


async def begin(
    connection: AsyncConnection,
    *,
    tenant_id: str | None,
    stack_name: str,
    kind: OperationKind,
    reason: str,
    fencing: int,
    holder: str,
) -> int:
    """Returns the operation's id."""
    cursor = await connection.execute(
        _sql("begin"),
        {
            "tenant_id": tenant_id,
            "stack_name": stack_name,
            "kind": kind,
            "reason": reason,
            "fencing": fencing,
            "holder": holder,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def finish(
    connection: AsyncConnection,
    operation_id: int,
    status: OperationState,
    *,
    changes: Mapping[str, int] | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    await connection.execute(
        _sql("finish"),
        {
            "operation_id": operation_id,
            "status": status,
            "changes": Jsonb(dict(changes or {})),
            "error": None if error is None else Jsonb(dict(error)),
        },
    )


async def record_steps(connection: AsyncConnection, operation_id: int, steps: Iterable[StepRow]) -> None:
    rows = [
        {
            "operation_id": operation_id,
            "urn": step.urn,
            "type": step.type,
            "name": step.name,
            "op": step.op,
            "status": step.status,
            "seconds": step.seconds,
            "message": step.message,
        }
        for step in steps
    ]
    if rows:
        async with connection.cursor() as cursor:
            await cursor.executemany(_sql("step"), rows)


async def get(connection: AsyncConnection, operation_id: int) -> OperationRecord | None:
    async with connection.cursor(row_factory=class_row(OperationRecord)) as cursor:
        await cursor.execute(_sql("get"), {"operation_id": operation_id})
        return await cursor.fetchone()


async def steps_of(connection: AsyncConnection, operation_ids: Sequence[int]) -> list[tuple[int, StepRow]]:
    """(operation, step) of all the operations, each one's in the order in which they began."""
    cursor = await connection.execute(_sql("steps"), {"operation_ids": list(operation_ids)})
    return [(int(row[0]), StepRow(*row[1:])) for row in await cursor.fetchall()]


async def list_operations(
    connection: AsyncConnection, *, tenant_id: str | None = None, status: str | None = None, limit: int = 50
) -> list[OperationRecord]:
    """Newest first."""
    async with connection.cursor(row_factory=class_row(OperationRecord)) as cursor:
        await cursor.execute(_sql("list"), {"tenant_id": tenant_id, "status": status, "limit": limit})
        return await cursor.fetchall()


async def count(connection: AsyncConnection) -> list[tuple[str, str, int, float]]:
    """(kind, status, operations, their seconds in all)."""
    cursor = await connection.execute(_sql("count"))
    return [(str(row[0]), str(row[1]), int(row[2]), float(row[3])) for row in await cursor.fetchall()]
