"""Approvals: what an update would have destroyed, by its exact diff, and what an operator said to it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("approvals"))


class Answer(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"  #: a later operation on the stack asked anew


@dataclass(frozen=True)
class ApprovalRecord:
    """``operation_id``: of the operation that was parked; ``used_by``: of the one that relied on the approval."""

    operation_id: int
    tenant_id: str | None
    stack_name: str
    diff_hash: str
    diff: list[dict[str, Any]]
    requested_at: datetime
    expires_at: datetime
    decision: str | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    used_by: int | None

    @property
    def expired(self) -> bool:
        return self.expires_at <= datetime.now(UTC)

    @property
    def open(self) -> bool:
        """Whether it waits for an operator's answer."""
        return self.decision is None and not self.expired


async def request(
    connection: AsyncConnection,
    *,
    operation_id: int,
    tenant_id: str | None,
    stack_name: str,
    diff: Sequence[Mapping[str, Any]],
    diff_hash: str,
    valid_for: timedelta,
) -> None:
    """Ask for an answer; earlier questions about the stack are superseded."""
    await connection.execute(_sql("supersede"), {"stack_name": stack_name})
    await connection.execute(
        _sql("request"),
        {
            "operation_id": operation_id,
            "tenant_id": tenant_id,
            "stack_name": stack_name,
            "diff_hash": diff_hash,
            "diff": Jsonb(list(diff)),
            "valid_for": valid_for,
        },
    )


async def get(connection: AsyncConnection, operation_id: int) -> ApprovalRecord | None:
    async with connection.cursor(row_factory=class_row(ApprovalRecord)) as cursor:
        await cursor.execute(_sql("get"), {"operation_id": operation_id})
        return await cursor.fetchone()


async def list_approvals(
    connection: AsyncConnection, *, open_only: bool = False, limit: int = 50
) -> list[ApprovalRecord]:
    """Newest first."""
    async with connection.cursor(row_factory=class_row(ApprovalRecord)) as cursor:
        await cursor.execute(_sql("list"), {"open": open_only, "limit": limit})
        return await cursor.fetchall()


async def decide(
    connection: AsyncConnection, operation_id: int, answer: Answer, *, by: str, reason: str, diff_hash: str
) -> bool:
    """Record an answer to the diff with that hash; False if it is answered already, has expired or is another one.

    A rejection takes back an approval that no operation has relied on yet.
    """
    cursor = await connection.execute(
        _sql("decide"),
        {
            "operation_id": operation_id,
            "decision": answer,
            "decided_by": by,
            "reason": reason,
            "diff_hash": diff_hash,
        },
    )
    return cursor.rowcount == 1


async def approved(connection: AsyncConnection, stack_name: str) -> frozenset[str]:
    """Hashes of the diffs that may be carried out on the stack now."""
    cursor = await connection.execute(_sql("approved"), {"stack_name": stack_name})
    return frozenset(str(row[0]) for row in await cursor.fetchall())


async def use(connection: AsyncConnection, stack_name: str, diff_hash: str, *, operation_id: int) -> None:
    """An approval is good for one operation that succeeded."""
    await connection.execute(_sql("use"), {"stack_name": stack_name, "diff_hash": diff_hash, "used_by": operation_id})
