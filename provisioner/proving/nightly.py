"""Every tenant, once a night: queued by whichever worker leads, and old evidence is removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from provisioner.operate import Pool
from provisioner.registry import proofs, queue

log = structlog.get_logger(__name__)

NEVER = "never"


@dataclass(frozen=True)
class Nightly:
    """``time``: ``HH:MM`` in UTC, or ``never``; ``keep_days``: how long evidence is kept."""

    pool: Pool
    time: str
    keep_days: int

    async def queue_due(self, now: datetime | None = None) -> list[str]:
        """Queue a proof of each cell that has not been proved since the last time; the cells that were queued."""
        if self.time == NEVER:
            return []
        async with self.pool.connection() as connection:
            due = await proofs.nightly_due(connection, last_time(self.time, now or datetime.now(UTC)))
            return [cell for cell in due if await queue.defer_cell_proof(connection, cell, nightly=True)]

    async def prune(self) -> None:
        async with self.pool.connection() as connection:
            removed = await proofs.prune(connection, days=self.keep_days)
        if removed:
            log.info("evidence.pruned", proofs=removed)


def last_time(time: str, now: datetime) -> datetime:
    """The last moment before ``now`` (UTC) at which the clock showed ``time``."""
    hour, minute = map(int, time.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)
