"""What became of overdue payments, and why customers left."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("dunning"))


@dataclass(frozen=True)
class EpisodeRecord:
    """A row of ``registry.dunning_episode``; the columns are described in ``schema/50_notifications.sql``."""

    episode_id: int
    tenant_id: str
    generation: int
    subscription_id: str
    plan: str | None
    opened_at: datetime
    amount: int
    currency: str
    attempts: int
    steps: list[dict[str, str]]
    step: str
    last_kind: str | None
    closed_at: datetime | None
    outcome: str | None


@dataclass(frozen=True)
class Cancellation:
    subscription_id: str
    plan: str | None
    reason: str | None
    feedback: str | None
    comment: str | None
    canceled_at: datetime | None
    ended_at: datetime | None


async def current(connection: AsyncConnection, tenant_id: str) -> EpisodeRecord | None:
    return await _episode(connection, "current", {"tenant_id": tenant_id})


async def latest_recovered(connection: AsyncConnection, tenant_id: str, generation: int) -> EpisodeRecord | None:
    return await _episode(connection, "latest_recovered", {"tenant_id": tenant_id, "generation": generation})


async def open_episode(connection: AsyncConnection, tenant_id: str, generation: int, values: dict[str, Any]) -> None:
    """``values``: subscription_id, plan, opened_at, amount, currency, attempts, steps, step."""
    parameters = {**values, "steps": Jsonb(values["steps"]), "tenant_id": tenant_id, "generation": generation}
    await connection.execute(_sql("open"), parameters)


async def update(connection: AsyncConnection, episode_id: int, values: dict[str, Any]) -> None:
    """``values``: amount, attempts, steps, step."""
    await connection.execute(_sql("update"), {**values, "steps": Jsonb(values["steps"]), "episode_id": episode_id})


async def close(connection: AsyncConnection, episode_id: int, values: dict[str, Any]) -> None:
    """``values``: closed_at, outcome, attempts, steps, step. The message that was sent last is looked up."""
    await connection.execute(_sql("close"), {**values, "steps": Jsonb(values["steps"]), "episode_id": episode_id})


async def put_cancellation(connection: AsyncConnection, tenant_id: str, cancellation: Cancellation) -> None:
    await connection.execute(_sql("put_cancellation"), {**asdict(cancellation), "tenant_id": tenant_id})


async def resumed(connection: AsyncConnection, subscription_id: str) -> None:
    """The customer changed its mind before the end."""
    await connection.execute(_sql("resumed"), {"subscription_id": subscription_id})


async def count(connection: AsyncConnection) -> list[tuple[str, str, int]]:
    """(furthest step, outcome or ``open``, number)."""
    cursor = await connection.execute(_sql("count"))
    return [(str(step), str(outcome), int(number)) for step, outcome, number in await cursor.fetchall()]


async def report(connection: AsyncConnection, since: datetime) -> dict[str, list[dict[str, Any]]]:
    """Of episodes that opened since: ``by_step``, ``by_message``, ``by_currency``; and ``cancellations``."""
    found = {}
    async with connection.cursor(row_factory=dict_row) as cursor:
        for name in ("by_step", "by_message", "by_currency", "cancellations"):
            await cursor.execute(_sql(name), {"since": since})
            found[name] = await cursor.fetchall()
    return found


async def _episode(connection: AsyncConnection, name: str, parameters: dict[str, Any]) -> EpisodeRecord | None:
    async with connection.cursor(row_factory=class_row(EpisodeRecord)) as cursor:
        await cursor.execute(_sql(name), parameters)
        return await cursor.fetchone()
