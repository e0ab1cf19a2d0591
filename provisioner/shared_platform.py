"""What a tenant needs of its cell's platform stack before its own can be changed."""

from __future__ import annotations

from components.spec import PlatformOutputs
from provisioner.errors import OperatorNeeded, PlatformMissing, RetryLater
from provisioner.operate import Pool
from provisioner.registry import queue
from provisioner.registry.platforms import PlatformRecord
from provisioner.registry.tenants import TenantRecord


class PlatformUnfinished(RetryLater):
    """The cell's first deployment has begun and not succeeded yet."""

    code = "platform_unfinished"


class PlatformParked(OperatorNeeded):
    """The cell's update waits for an operator; the tenant is woken when it has succeeded."""

    code = "platform_parked"


class PlatformOutdated(RetryLater):
    """The cell's platform stack is older than the application schema; its update has been queued."""

    code = "platform_outdated"


async def require(pool: Pool, record: TenantRecord, platform: PlatformRecord | None, wanted: int) -> PlatformOutputs:
    """The outputs of the tenant's cell; raises one of the above, having queued the update that the tenant waits for.

    ``wanted``: version of the application schema that the platform must have at least.
    """
    outputs = None if platform is None else platform.platform_outputs
    if platform is not None and platform.failure is not None:
        if outputs is None or outputs.app_schema_version < wanted:
            raise PlatformParked(
                f"the platform stack of cell {record.cell} waits for an operator: {platform.failure.get('message')}",
                hint=f"{platform.failure.get('hint')}; this tenant follows",
            )
    elif platform is not None and outputs is None:
        await _queue(pool, record.cell, "a tenant waits for it")
        raise PlatformUnfinished(
            f"the platform stack of cell {record.cell} is being deployed",
            hint="this tenant follows as soon as it stands",
        )
    if outputs is None:
        raise PlatformMissing(
            f"the platform stack of cell {record.cell} has not been deployed",
            hint=f"deploy it: tenantry platform up --cell {record.cell}",
        )
    if outputs.app_schema_version < wanted:
        await _queue(pool, record.cell, "the application schema is newer")
        raise PlatformOutdated(
            f"the platform stack of cell {record.cell} has application schema {outputs.app_schema_version}, "
            f"version {wanted} is wanted",
            hint="its update has been queued; this tenant follows",
        )
    return outputs


async def _queue(pool: Pool, cell: str, reason: str) -> None:
    # In a transaction of its own: the caller raises, which would undo the job with the rest.
    async with pool.connection() as connection:
        await queue.defer_platform(connection, cell, reason=reason)
