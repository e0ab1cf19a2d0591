"""An export that somebody asked for, of a tenant that goes on: what access is closed is opened for it, and closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import AsyncConnection

from components.spec import Access, PlatformOutputs
from components.tiers import TIERS
from provisioner import operator_tasks, stack_request
from provisioner.deployer import Operation
from provisioner.errors import Reject
from provisioner.offboarding.errors import InstanceStarting
from provisioner.offboarding.exporter import Export, Exporter
from provisioner.operate import Operator
from provisioner.registry import platforms, queue, timeline
from provisioner.registry.operations import OperationKind
from provisioner.registry.queue import Priority
from provisioner.registry.tenants import TenantRecord
from provisioner.registry.timeline import EntryKind

START_S = 1800.0  #: how long a stopped instance is waited for
LOOK_S = 5.0


class NothingStands(Reject):
    """There is no data to export."""

    code = "nothing_stands"


@dataclass(frozen=True)
class Standing:
    record: TenantRecord
    platform: PlatformOutputs

    @property
    def closed(self) -> bool:
        """Whether its stack must be changed before its files and its instance can be reached."""
        spec = self.record.tenant_spec
        assert spec is not None
        return TIERS[spec.tier].own_role and not spec.access.serves


async def standing(connection: AsyncConnection, tenant_id: str) -> Standing:
    """NotFound, NothingStands."""
    record = await operator_tasks.require(connection, tenant_id)
    platform = await platforms.get(connection, record.cell)
    outputs = None if platform is None else platform.platform_outputs
    if record.outputs is None or record.spec is None or outputs is None:
        raise NothingStands(
            f"tenant {tenant_id} has nothing to export: it is {record.state}",
            hint="`tenantry archive list` shows what is kept of former lives",
        )
    return Standing(record, outputs)


async def note(connection: AsyncConnection, export: Export, tenant_id: str, by: str) -> None:
    await timeline.add(
        connection,
        tenant_id,
        EntryKind.OPERATOR,
        f"{by} exported its data: {export.manifest.rows} rows, {export.manifest.files.count} files",
        detail={"sha256": export.digest, "size": export.size},
    )


@asynccontextmanager
async def opened(
    operator: Operator, app_schema: Path, found: Standing, connection: AsyncConnection, *, by: str
) -> AsyncIterator[None]:
    """Inside, a closed tenant's files and instance can be reached; a crash inside is mended by the next reconcile."""
    record, spec = found.record, found.record.tenant_spec
    assert spec is not None
    reason = f"an export for {by}"
    async with operator.hold(record.stack_name, wait_s=600.0) as held:
        for_export = spec.model_copy(update={"access": Access.SUSPENDED, "exporting": True})
        try:
            await operator.run(
                held,
                Operation.UP,
                OperationKind.EXPORT,
                stack_request.of_tenant(for_export, found.platform, app_schema),
                tenant_id=record.tenant_id,
                reason=reason,
            )
            yield
        finally:
            await operator.run(
                held,
                Operation.UP,
                OperationKind.SUSPEND,
                stack_request.of_tenant(spec, found.platform, app_schema),
                tenant_id=record.tenant_id,
                reason=f"{reason} has ended",
            )
            await queue.defer_reconcile(
                connection, [record.tenant_id], reason=f"{reason} has ended", priority=Priority.OPERATOR
            )


async def write(exporter: Exporter, found: Standing, path: Path) -> Export:
    """Write the file, waiting for an instance that is on its way up."""
    until = time.monotonic() + START_S
    while True:
        try:
            return await exporter.write(found.record, found.platform, path, purpose="request")
        except InstanceStarting:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(LOOK_S)
