"""Keeps hibernated tenants' instances stopped: AWS starts a stopped instance after seven days by itself."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from components.naming import Names
from components.spec import Access, TenantSpec
from provisioner.errors import TenantryError
from provisioner.operate import Held, Pool
from provisioner.quotas.aws import AwsClients
from provisioner.registry import hibernation, tenants, timeline
from provisioner.registry.hibernation import Sleeping
from provisioner.registry.leases import LeaseBusy
from provisioner.registry.timeline import EntryKind

log = structlog.get_logger(__name__)

EVERY_S = 900.0  #: between two looks; an instance that AWS has started costs until it is stopped again
AVAILABLE, MISSING = "available", "missing"
_GONE = ("DBInstanceNotFound", "DBInstanceNotFoundFault")


class Leases(Protocol):
    """``provisioner.operate.Operator`` is one."""

    def hold(self, stack_name: str, *, wait_s: float = 0.0) -> AbstractAsyncContextManager[Held]: ...


@dataclass(frozen=True)
class Keeper:
    """``clients``: of the account that the tenants' instances are in."""

    pool: Pool
    leases: Leases
    clients: AwsClients

    async def run_due(self, now: datetime) -> list[str]:
        """Look at every instance that should be stopped, and stop those that run; the tenants of these.

        What can't be stopped is noted down with the reason and tried again the next time; it stops nobody else's.
        """
        async with self.pool.connection() as connection:
            sleeping = await hibernation.sleeping(connection)
            await hibernation.forget_others(connection, [each.tenant_id for each in sleeping])
        stopped = []
        for tenant in sleeping:
            with structlog.contextvars.bound_contextvars(tenant_id=tenant.tenant_id):
                try:
                    if await self._look(tenant, now):
                        stopped.append(tenant.tenant_id)
                except LeaseBusy:
                    log.debug("hibernation.busy")  # it may be waking; the next look tells
                except TenantryError as error:
                    log.warning("hibernation.failed", code=error.code, message=error.message)
                except (ClientError, BotoCoreError) as error:
                    log.warning("hibernation.failed", code=_code(error))
        return stopped

    async def _look(self, tenant: Sleeping, now: datetime) -> bool:
        spec = await self._spec(tenant)
        if spec is None:
            return False
        identifier = Names.of_tenant(spec).instance
        status = await asyncio.to_thread(self._status, tenant.region, identifier)
        if status != AVAILABLE:
            async with self.pool.connection() as connection:
                problem = "RDS knows no such instance" if status == MISSING else None
                await hibernation.record(connection, tenant, identifier, status, now, problem=problem)
            return False
        # Under the lease: a tenant that is being woken must not be stopped in the middle of it.
        async with self.leases.hold(spec.stack_name) as held:
            if await self._spec(tenant) is None:
                return False
            return await self._stop(held, tenant, identifier, now)

    async def _spec(self, tenant: Sleeping) -> TenantSpec | None:
        """The tenant's spec, if it is to sleep still."""
        async with self.pool.connection() as connection:
            record = await tenants.get(connection, tenant.tenant_id)
        if record is None or record.tenant_spec is None or record.outputs is None:
            return None
        asleep = record.tenant_spec.access is Access.HIBERNATED and record.outputs["access"] == Access.HIBERNATED
        return record.tenant_spec if asleep and record.generation == tenant.generation else None

    def _status(self, region: str, identifier: str) -> str:
        try:
            found = self.clients("rds", region).describe_db_instances(DBInstanceIdentifier=identifier)
        except ClientError as error:
            if _code(error) in _GONE:
                return MISSING
            raise
        return str(found["DBInstances"][0]["DBInstanceStatus"])

    async def _stop(self, held: Held, tenant: Sleeping, identifier: str, now: datetime) -> bool:
        problem = None
        try:
            await asyncio.to_thread(
                self.clients("rds", tenant.region).stop_db_instance, DBInstanceIdentifier=identifier
            )
        except ClientError as error:
            # InvalidDBInstanceState: a replica, a modification under way, or somebody was faster
            problem = f"{_code(error)}: {error.response['Error'].get('Message', '')}"[:500]
        async with self.pool.connection() as connection:
            await held.require(connection)
            before = await hibernation.get(connection, tenant.tenant_id)
            status = "stopping" if problem is None else AVAILABLE
            await hibernation.record(
                connection, tenant, identifier, status, now, again=problem is None, problem=problem
            )
            if problem is None:
                text = "AWS had started its instance, as it does after seven days: it is stopped again"
                await timeline.add(connection, tenant.tenant_id, EntryKind.RECOVERY, text)
            elif before is None or before.problem != problem:
                text = f"its instance runs and can't be stopped ({problem}): it is tried again"
                await timeline.add(connection, tenant.tenant_id, EntryKind.FAILURE, text)
        if problem is None:
            log.info("hibernation.stopped_again", instance=identifier)
        else:
            log.warning("hibernation.not_stopped", instance=identifier, problem=problem)
        return problem is None


def _code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__
