"""Copies that are kept of what was deleted: final exports for their days, archives as long as the plan promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from components.naming import Names
from provisioner.errors import TenantryError
from provisioner.offboarding.envelope import Envelope
from provisioner.offboarding.errors import CopyUnavailable
from provisioner.offboarding.store import Store
from provisioner.operate import Pool
from provisioner.quotas.aws import AwsClients, error_code
from provisioner.registry import deletions, timeline
from provisioner.registry.deletions import DeletionRecord, Step
from provisioner.registry.timeline import EntryKind

log = structlog.get_logger(__name__)

SPOOLED_S = 24 * 3600.0  #: an unencrypted file of a process that died is deleted after that


@dataclass(frozen=True)
class Copies:
    """``envelope`` encrypts what ``store`` keeps. All methods block."""

    store: Store
    envelope: Envelope

    def keep(self, deletion: DeletionRecord, name: str, path: Path) -> None:
        with path.open("rb") as source, self.envelope.encrypting(source, context(deletion)) as stream:
            self.store.put(name, stream)

    def fetch(self, deletion: DeletionRecord, target: IO[bytes]) -> None:
        """Decrypt it into ``target``. Raises NotFound, ExportRefused, CopyUnavailable."""
        assert deletion.copy_name is not None
        with self.store.open(deletion.copy_name) as source:
            self.envelope.decrypt(source, context(deletion), target)


def context(deletion: DeletionRecord) -> dict[str, str]:
    """What a copy is bound to: it is authenticated with every frame."""
    return {
        "tenant_id": deletion.tenant_id,
        "generation": str(deletion.generation),
        "deletion_id": deletion.deletion_id,
    }


def name_of(deletion: DeletionRecord) -> str:
    kind = "archives" if deletion.archives else "exports"
    return f"{kind}/{deletion.tenant_id}.{deletion.generation}/{deletion.deletion_id}.zip.enc"


@dataclass(frozen=True)
class Retention:
    """Deletes copies whose days are over, with the final snapshot that an archive kept, and takes out what came late
    about those who are deleted; periodic work.

    ``copies``: called when there is something to delete; raises ConfigurationInvalid if no store is set.
    """

    pool: Pool
    copies: Callable[[], Copies]
    clients: AwsClients
    spool: Path

    async def run_due(self, now: datetime) -> int:
        """How many copies were deleted. A copy that can't be deleted is tried again, and keeps no other."""
        await asyncio.to_thread(sweep_spool, self.spool)
        async with self.pool.connection() as connection:
            await deletions.redact_late(connection)
            due = await deletions.copies_due(connection, now)
        removed = 0
        for deletion in due:
            try:
                await self.remove(deletion, now)
                removed += 1
            except TenantryError as error:
                log.warning("copy.not_removed", tenant_id=deletion.tenant_id, code=error.code, message=error.message)
        return removed

    async def remove(self, deletion: DeletionRecord, now: datetime) -> None:
        assert deletion.copy_name is not None
        copies = await asyncio.to_thread(self.copies)
        await asyncio.to_thread(copies.store.delete, deletion.copy_name)
        if deletion.archives and deletion.step == Step.COMPLETE:
            await asyncio.to_thread(self._delete_snapshot, deletion)
        async with self.pool.connection() as connection:
            await deletions.record_copy_removed(connection, deletion.deletion_id, now)
            what = "archive" if deletion.archives else "final export"
            called_off = "; its deletion was called off" if deletion.step == Step.CALLED_OFF else ""
            await timeline.add(
                connection,
                deletion.tenant_id,
                EntryKind.DECISION,
                f"the {what} of life {deletion.generation} was deleted{called_off}",
                detail={"deletion_id": deletion.deletion_id, "copy": deletion.copy_name},
            )
        log.info("copy.removed", tenant_id=deletion.tenant_id, copy=deletion.copy_name)

    def _delete_snapshot(self, deletion: DeletionRecord) -> None:
        """The final snapshot of an instance of its own; nothing happens if there is none."""
        name = Names(deletion.tenant["installation"], deletion.tenant_id, deletion.generation).final_snapshot
        try:
            self.clients("rds", deletion.tenant["region"]).delete_db_snapshot(DBSnapshotIdentifier=name)
        except (ClientError, BotoCoreError) as error:
            if error_code(error) not in ("DBSnapshotNotFound", "DBSnapshotNotFoundFault"):
                raise CopyUnavailable(f"snapshot {name} can't be deleted: {error_code(error)}") from error


def sweep_spool(spool: Path) -> None:
    """Delete what a process that died has left there, unencrypted."""
    for path in spool.glob("*.zip"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > SPOOLED_S:
                path.unlink()
                log.warning("spool.swept", file=path.name)
