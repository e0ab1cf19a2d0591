"""The deletion of a tenant as steps, each of which is recorded when it is done and may be repeated.

begin -> export -> (protection off) -> purge -> (stack destroyed) -> finish -> certify. What is in brackets is the
reconciler's, which calls the rest under the stack's lease.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog
from psycopg import AsyncConnection

from components.naming import Names
from components.spec import Access, PlatformOutputs, TenantOutputs, TenantSpec
from components.tiers import TIERS
from isolation.evidence.document import Product
from isolation.evidence.signing import SigningKey
from provisioner import purge
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.terms import DEFAULT_TERMS, Terms
from provisioner.billing.terms import Deletion as Method
from provisioner.lifecycle import TenantState
from provisioner.offboarding import copies, instance
from provisioner.offboarding.certificate import sign
from provisioner.offboarding.compose import compose
from provisioner.offboarding.copies import Copies
from provisioner.offboarding.errors import LeftoversRemain, LeftoversSettling
from provisioner.offboarding.exporter import Export, Exporter
from provisioner.offboarding.leftovers import Leftover, Scanner, Target, Waiting
from provisioner.operate import Held, Pool
from provisioner.registry import deletions, platforms, proofs, timeline
from provisioner.registry.deletions import Cause, DeletionRecord, Step
from provisioner.registry.tenants import TenantRecord
from provisioner.registry.timeline import EntryKind

log = structlog.get_logger(__name__)

SETTLING = timedelta(minutes=10)  #: what AWS needs to forget what was deleted; later it is left over
_NAMED = 3  #: leftovers that a message names; all are recorded
_POLICY = "policy"  #: who authorised what nobody asked for: the plan's retention

OpenStack = Callable[[TenantSpec], Awaitable[object]]


class Stacks(Protocol):
    """What ``provisioner.engine.state.PostgresState`` answers."""

    def deployment(self, stack_name: str) -> Mapping[str, Any] | None: ...

    def prune(self, *, keep: int = 10, stack_name: str | None = None) -> int: ...


@dataclass(frozen=True)
class Keeping:
    """What an operator sets. ``export_days``: how long a final export waits for whoever fetches it; 0: none is kept."""

    spool: Path
    export_days: int
    evidence_days: int


@dataclass(frozen=True)
class Offboarding:
    """``copies``, ``signer``: called when they are needed, and raise ConfigurationInvalid if they are not set.
    ``billing_now``: Stripe's time, by which days of retention are counted. ``forget``: deletes Stripe's customer."""

    pool: Pool
    catalogue: Catalogue
    exporter: Exporter
    scanner: Scanner
    state: Stacks
    copies: Callable[[], Copies]
    signer: Callable[[], SigningKey]
    product: Callable[[], Product]
    billing_now: Callable[[], Awaitable[datetime]]
    forget: Callable[[str], Awaitable[None]]
    keeping: Keeping
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    # -- before anything is removed

    async def begin(self, held: Held, record: TenantRecord, platform: PlatformOutputs, why: str) -> DeletionRecord:
        """The deletion that is under way, or a new one. One whose export is out of date is called off first."""
        async with self.pool.connection() as connection:
            await held.require(connection)
            found = await deletions.open_one(connection, record.tenant_id, record.generation)
            if found is not None and record.state != TenantState.DESTROYING and await self._outdated(connection, found):
                await deletions.call_off(connection, found.deletion_id)
                found = None
            if found is not None and _erasure(record) and found.cause != Cause.ERASURE:
                asked = _asked(record, why, self.clock())
                await deletions.erase_instead(
                    connection,
                    found.deletion_id,
                    requested_by=asked.by,
                    reason=asked.reason,
                    requested_at=asked.at,
                    forget_customer=asked.forget_customer,
                )
            elif found is None:
                await self._request(connection, record, platform, why)
            begun = await deletions.open_one(connection, record.tenant_id, record.generation)
        assert begun is not None
        log.debug("offboarding.begun", deletion_id=begun.deletion_id, step=begun.step)
        return begun

    async def _outdated(self, connection: AsyncConnection, found: DeletionRecord) -> bool:
        if found.step != Step.EXPORTED:
            return False
        return await deletions.operation_mark(connection, found.tenant_id) != found.operation_mark

    async def _request(
        self, connection: AsyncConnection, record: TenantRecord, platform: PlatformOutputs, why: str
    ) -> None:
        assert record.tenant_spec is not None
        asked = _asked(record, why, self.clock())
        method = Method.CRYPTO_SHRED if asked.cause is Cause.ERASURE else self._terms(record).deletion
        await deletions.begin(
            connection,
            deletion_id=str(uuid.uuid4()),
            tenant_id=record.tenant_id,
            generation=record.generation,
            cause=asked.cause,
            requested_by=asked.by,
            reason=asked.reason,
            requested_at=asked.at,
            method=method,
            forget_customer=asked.forget_customer,
            tenant={
                "installation": record.tenant_spec.installation,
                "region": platform.region,
                "tier": record.tenant_spec.tier,
                "cell": record.cell,
                "plan": record.plan,
            },
        )

    def _terms(self, record: TenantRecord) -> Terms:
        plan = self.catalogue.plans.get(record.plan or "")
        return DEFAULT_TERMS if plan is None else plan.terms

    def spec(self, deletion: DeletionRecord, spec: TenantSpec) -> TenantSpec:
        """What is destroyed: a final snapshot is left only where the plan archives."""
        return spec.model_copy(update={"final_snapshot": deletion.archives})

    async def export(
        self,
        held: Held,
        record: TenantRecord,
        deletion: DeletionRecord,
        platform: PlatformOutputs,
        open_stack: OpenStack,
    ) -> bool:
        """Write the final export, and keep what the plan and the operator want kept; whether that took place now.

        ``open_stack``: brings the tenant's stack to a spec in which its instance runs and its files can be read.
        Raises what the exporter raises, and CopyUnavailable.
        """
        if deletion.step != Step.REQUESTED:
            return False
        if record.outputs is None or record.state == TenantState.DESTROYING:
            # Nothing ever stood, or a part of it is gone already: what is left would be no export.
            async with self.pool.connection() as connection:
                await held.require(connection)
                await deletions.record_export(
                    connection, deletion.deletion_id, mark=0, export={}, copy_name=None, copy_until=None
                )
            return False
        await self._open(held, record, deletion, platform, open_stack)
        async with self.pool.connection() as connection:
            mark = await deletions.operation_mark(connection, record.tenant_id)
        path = self.keeping.spool / f"{deletion.deletion_id}.zip"
        await asyncio.to_thread(path.unlink, missing_ok=True)
        try:
            export = await self.exporter.write(record, platform, path, purpose="final")
            log.debug("offboarding.export_written", deletion_id=deletion.deletion_id)
            name, until = await self._keep(held, record, deletion, export)
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        async with self.pool.connection() as connection:
            await held.require(connection)
            await deletions.record_export(
                connection,
                deletion.deletion_id,
                mark=mark,
                export=export.summary(),
                copy_name=name,
                copy_until=until,
            )
            kept = "no copy is kept" if until is None else f"a copy is kept until {until:%Y-%m-%d}"
            await timeline.add(
                connection,
                record.tenant_id,
                EntryKind.DECISION,
                f"its final export has {export.manifest.rows} rows and {export.manifest.files.count} files; {kept}",
                detail={"deletion_id": deletion.deletion_id, "sha256": export.digest, "size": export.size},
            )
        log.debug("offboarding.exported", deletion_id=deletion.deletion_id)
        return True

    async def _open(
        self,
        held: Held,
        record: TenantRecord,
        deletion: DeletionRecord,
        platform: PlatformOutputs,
        open_stack: OpenStack,
    ) -> None:
        """A shared instance always runs, and the shared role is open for whoever may choose the tenant."""
        spec = record.tenant_spec
        assert spec is not None
        if not TIERS[spec.tier].own_role or deletion.tenant.get("opened"):
            return
        if not spec.access.serves:
            await open_stack(spec.model_copy(update={"access": Access.SUSPENDED, "exporting": True}))
        async with self.pool.connection() as connection:
            await held.require(connection)
            await deletions.record_opened(connection, deletion.deletion_id)

    async def _keep(
        self, held: Held, record: TenantRecord, deletion: DeletionRecord, export: Export
    ) -> tuple[str | None, datetime | None]:
        if deletion.archives:
            days = self._terms(record).archive_days
        else:
            days = 0 if deletion.cause == Cause.ERASURE else self.keeping.export_days
        if not days:
            return None, None
        name, until = copies.name_of(deletion), await self.billing_now() + timedelta(days=days)
        async with self.pool.connection() as connection:
            await held.require(connection)
            await deletions.name_copy(connection, deletion.deletion_id, name, until)
        kept = await asyncio.to_thread(self.copies)
        await asyncio.to_thread(kept.keep, deletion, name, export.path)
        return name, until

    # -- what is removed

    async def purge(
        self, held: Held, record: TenantRecord, deletion: DeletionRecord, platform: PlatformOutputs
    ) -> None:
        """Delete all files, having written down what there is."""
        if deletion.step in (Step.REQUESTED, Step.EXPORTED):
            deployment = await asyncio.to_thread(self.state.deployment, record.stack_name)
            outputs = None if record.outputs is None else TenantOutputs.model_validate(record.outputs)
            there = purge.Stored() if outputs is None else await purge.stored(outputs, platform)
            async with self.pool.connection() as connection:
                await held.require(connection)
                await deletions.record_found(
                    connection, deletion.deletion_id, files=vars(there), resources=_resources(deployment or {})
                )
            log.debug("offboarding.purging", deletion_id=deletion.deletion_id)
            if outputs is not None:
                await purge.purge(outputs, platform)
            async with self.pool.connection() as connection:
                await held.require(connection)
                await deletions.record_purged(connection, deletion.deletion_id)
            log.debug("offboarding.purged", deletion_id=deletion.deletion_id)

    async def ready_to_destroy(self, record: TenantRecord, deletion: DeletionRecord, platform: PlatformOutputs) -> None:
        """RDS takes no final snapshot of an instance that is stopped. Raises InstanceStarting."""
        spec = record.tenant_spec
        assert spec is not None
        if deletion.archives and TIERS[spec.tier].own_instance:
            name = Names.of_tenant(spec).instance
            found = await asyncio.to_thread(instance.find, self.exporter.clients, platform.region, name)
            if found is not None and found["DBInstanceStatus"] in ("stopped", "starting"):
                await asyncio.to_thread(instance.require_running, self.exporter.clients, platform.region, name)

    # -- when the stack is gone

    async def finish(
        self, held: Held, record: TenantRecord, deletion: DeletionRecord, platform: PlatformOutputs
    ) -> list[Waiting]:
        """Look for what is left over. Raises LeftoversSettling or LeftoversRemain; returns what goes by itself."""
        async with self.pool.connection() as connection:
            await held.require(connection)
            gone_at = await deletions.record_destroyed(connection, deletion.deletion_id, self.clock())
            deletion = await self._again(connection, deletion)
        log.debug("offboarding.destroyed", deletion_id=deletion.deletion_id)
        spec = record.tenant_spec
        assert spec is not None
        outputs = None if record.outputs is None else TenantOutputs.model_validate(record.outputs)
        resources = [(each["type"], each["id"]) for each in deletion.resources or ()]
        target = Target(spec, outputs, platform, resources, deletion.archives)
        found = await asyncio.to_thread(self.scanner.scan, target)
        left = [each for each in found if isinstance(each, Leftover)]
        if left:
            raise _left_over(record.tenant_id, left, settling=self.clock() - gone_at < SETTLING)
        # Records of updates and copies of the state: they name what there was.
        await asyncio.to_thread(lambda: self.state.prune(keep=0, stack_name=record.stack_name))
        if deletion.forget_customer and record.stripe_customer_id is not None:
            await self.forget(record.stripe_customer_id)
        if deletion.copy_name is not None and deletion.copy_until is not None:
            await self._drop_ended_copy(deletion)
        log.debug("offboarding.scanned", deletion_id=deletion.deletion_id, waiting=len(found))
        return [each for each in found if isinstance(each, Waiting)]

    async def _drop_ended_copy(self, deletion: DeletionRecord) -> None:
        """That of an archive which an erasure has overtaken."""
        if deletion.cause == Cause.ERASURE and deletion.copy_removed_at is None and deletion.copy_name is not None:
            kept = await asyncio.to_thread(self.copies)
            await asyncio.to_thread(kept.store.delete, deletion.copy_name)
            async with self.pool.connection() as connection:
                await deletions.record_copy_removed(connection, deletion.deletion_id, self.clock())

    async def _again(self, connection: AsyncConnection, deletion: DeletionRecord) -> DeletionRecord:
        found = await deletions.open_one(connection, deletion.tenant_id, deletion.generation)
        assert found is not None
        return found

    async def certify(
        self,
        connection: AsyncConnection,
        record: TenantRecord,
        deletion: DeletionRecord,
        waiting: list[Waiting],
    ) -> None:
        """In the transaction that records the tenant's end: personal data goes out of what stays, and it is signed."""
        deletion = await self._again(connection, deletion)
        redacted = await deletions.redact(connection, record.tenant_id, record.stripe_customer_id)
        platform = await platforms.get(connection, record.cell)
        backup_days = 0 if platform is None else platform.platform_spec.shared_instance.backup_days
        now = self.clock()
        certificate = compose(
            record,
            deletion,
            waiting,
            redacted=redacted,
            backup_days=backup_days,
            evidence_days=self.keeping.evidence_days,
            product=self.product(),
            now=now,
        )
        key = await asyncio.to_thread(self.signer)
        content = sign(certificate, key)
        await proofs.put_key(connection, key.public.key_id, key.public.pem)
        await deletions.complete(
            connection, deletion.deletion_id, completed_at=now, certificate=content, redacted=redacted
        )
        await timeline.add(
            connection,
            record.tenant_id,
            EntryKind.DECISION,
            f"life {record.generation} is deleted and nothing of it is left over; "
            f"`tenantry certificate show {record.tenant_id}` has the certificate",
            detail={"deletion_id": deletion.deletion_id, "method": deletion.method},
        )
        log.debug("offboarding.certified", deletion_id=deletion.deletion_id)


@dataclass(frozen=True)
class _Asked:
    cause: Cause
    by: str
    reason: str
    at: datetime
    forget_customer: bool


def _asked(record: TenantRecord, why: str, now: datetime) -> _Asked:
    """Who wants it: what an operator authorised, or else the plan."""
    given = record.destruction
    if given is None:
        return _Asked(Cause.RETENTION, _POLICY, why, now, forget_customer=False)
    return _Asked(
        Cause(given.get("cause", Cause.OPERATOR)),
        str(given["by"]),
        str(given["reason"]),
        datetime.fromisoformat(given["at"]),
        bool(given.get("forget_customer", False)),
    )


def _erasure(record: TenantRecord) -> bool:
    return record.destruction is not None and record.destruction.get("cause") == Cause.ERASURE


def _resources(deployment: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the stack has in the world, by ARN where it has one."""
    return [
        {"type": each["type"], "id": str((each.get("outputs") or {}).get("arn") or each["id"])}
        for each in deployment.get("resources") or ()
        if each.get("custom") and not each["type"].startswith("pulumi:")
    ]


def _left_over(tenant_id: str, left: list[Leftover], *, settling: bool) -> LeftoversSettling | LeftoversRemain:
    named = "; ".join(f"{each.what} {each.where}" for each in left[:_NAMED])
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    message = f"the stack of {tenant_id} is gone, and still there are: {named}{more}"
    if settling:
        return LeftoversSettling(message, hint="AWS may need some minutes; it is looked at again")
    return LeftoversRemain(
        message,
        hint=f"remove what is left ({left[0].fix}); the certificate follows",
        detail={"leftovers": [vars(each) for each in left]},
    )
