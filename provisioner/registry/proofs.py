"""Proofs of isolation: what was proved when, the signed documents, and the last word on each tenant."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("proofs"))

FAST_DAYS = 30  #: that passed proofs after operations are kept


class ProofStatus(StrEnum):
    ISOLATED = "isolated"  #: every attack was refused, and its permitted twin was not
    NOT_ISOLATED = "not_isolated"
    NOT_RUN = "not_run"  #: nothing is known; the reason says why


@dataclass(frozen=True)
class ProofRecord:
    """A row of ``registry.proof`` without its document."""

    proof_id: str
    scope: str
    tenant_ids: list[str]
    cell: str
    fast: bool
    trigger: str
    operation_id: int | None
    status: str
    reason: str | None
    attempts: int
    failed: int
    started_at: datetime
    ended_at: datetime
    digest: str | None
    key_id: str | None


@dataclass(frozen=True)
class Word:
    """What a proof says of one tenant."""

    status: ProofStatus
    reason: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What is known of a tenant's isolation. ``at``: when its last proof ended."""

    status: ProofStatus
    reason: str | None
    proof_id: str
    at: datetime
    fast: bool

    def told(self) -> str:
        """In a few words."""
        match self.status:
            case ProofStatus.ISOLATED:
                return f"proved {self.at:%Y-%m-%d %H:%M}"
            case ProofStatus.NOT_ISOLATED:
                return "NOT ISOLATED"
            case ProofStatus.NOT_RUN:
                return "not proved"


async def put_key(connection: AsyncConnection, key_id: str, public_key: str) -> None:
    await connection.execute(_sql("put_key"), {"key_id": key_id, "public_key": public_key})


async def keys(connection: AsyncConnection) -> list[str]:
    """Public keys in PEM that this installation has signed with and that are not revoked."""
    cursor = await connection.execute(_sql("keys"))
    return [str(row[0]) for row in await cursor.fetchall()]


async def is_revoked(connection: AsyncConnection, key_id: str) -> bool:
    cursor = await connection.execute(_sql("is_revoked"), {"key_id": key_id})
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def revoke_key(connection: AsyncConnection, key_id: str, *, why: str) -> bool:
    """Believe nothing any more that the key signed; False if it is unknown."""
    cursor = await connection.execute(_sql("revoke_key"), {"key_id": key_id, "why": why})
    return cursor.rowcount == 1


async def put(
    connection: AsyncConnection, record: ProofRecord, *, signature: str | None = None, document: bytes | None = None
) -> None:
    await connection.execute(_sql("put"), {**vars(record), "signature": signature, "document": document})


async def put_words(connection: AsyncConnection, record: ProofRecord, words: Mapping[str, Word]) -> set[str]:
    """Record what the proof says of each tenant; returns those of whom it is news.

    A failure that a thorough proof found is not taken back by a fast one, nor by one that did not run.
    """
    cursor = await connection.execute(
        _sql("put_verdicts"),
        {
            "tenant_ids": list(words),
            "statuses": [word.status.value for word in words.values()],
            "reasons": [word.reason for word in words.values()],
            "fast": record.fast,
            "proof_id": record.proof_id,
            "at": record.ended_at,
        },
    )
    return {str(row[0]) for row in await cursor.fetchall()}


async def get(connection: AsyncConnection, proof_id: str) -> ProofRecord | None:
    async with connection.cursor(row_factory=class_row(ProofRecord)) as cursor:
        await cursor.execute(_sql("get"), {"proof_id": proof_id})
        return await cursor.fetchone()


async def list_proofs(
    connection: AsyncConnection, *, tenant_id: str | None = None, limit: int = 50
) -> list[ProofRecord]:
    """Newest first; of a tenant, those that it was named for and those of all."""
    async with connection.cursor(row_factory=class_row(ProofRecord)) as cursor:
        await cursor.execute(_sql("list"), {"tenant_id": tenant_id, "limit": limit})
        return await cursor.fetchall()


async def document(connection: AsyncConnection, proof_id: str) -> bytes | None:
    """The file as it was signed."""
    cursor = await connection.execute(_sql("document"), {"proof_id": proof_id})
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


async def verdicts(connection: AsyncConnection, tenant_id: str | None = None) -> dict[str, Verdict]:
    """Of every tenant that was ever proved in its present life, or of one."""
    cursor: Any = await connection.execute(_sql("verdicts"), {"tenant_id": tenant_id})
    found: dict[str, list[Verdict]] = {}
    for identifier, fast, proof_id, status, reason, at in await cursor.fetchall():
        found.setdefault(identifier, []).append(Verdict(ProofStatus(status), reason, proof_id, at, fast))
    return {identifier: _last_word(given) for identifier, given in found.items()}


def _last_word(given: list[Verdict]) -> Verdict:
    """A failure, whichever found it; else the latest."""
    return max(given, key=lambda each: (each.status is ProofStatus.NOT_ISOLATED, each.at))


async def last_of_all(connection: AsyncConnection) -> list[tuple[str, str, float, float]]:
    """Of every cell the last proof of all its tenants: (cell, status, ended at in Unix seconds, seconds it took)."""
    cursor = await connection.execute(_sql("last_of_all"))
    return [(str(row[0]), str(row[1]), float(row[2]), float(row[3])) for row in await cursor.fetchall()]


async def count(connection: AsyncConnection) -> list[tuple[str, str, int]]:
    """(trigger, status, proofs)."""
    cursor = await connection.execute(_sql("count"))
    return [(str(row[0]), str(row[1]), int(row[2])) for row in await cursor.fetchall()]


async def nightly_due(connection: AsyncConnection, since: datetime) -> list[str]:
    """Cells with tenants of before ``since`` for which no proof of all was made after it, nor tried nightly."""
    cursor = await connection.execute(_sql("nightly_due"), {"since": since})
    return [str(row[0]) for row in await cursor.fetchall()]


async def prune(connection: AsyncConnection, *, days: int) -> int:
    """Delete proofs older than ``days``; passed ones after operations sooner; the last word on a tenant never."""
    cursor = await connection.execute(_sql("prune"), {"days": days, "fast_days": min(days, FAST_DAYS)})
    return cursor.rowcount
