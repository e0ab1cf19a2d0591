"""Reads all three parties, compares, keeps what was found, and fixes on request."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from provisioner import customer_clocks
from provisioner.audit.compare import Event, Picture, Resource, compare
from provisioner.audit.findings import Finding, FindingKind, Remedy
from provisioner.billing.catalogue import Catalogue
from provisioner.cases import Cases, Unreadable
from provisioner.desired import Installation
from provisioner.errors import NotFound, Quarantined, TenantryError
from provisioner.inbox import Inbox
from provisioner.operate import Pool
from provisioner.registry import audits, events, payment_cases, platforms, queue, tenants, timeline
from provisioner.registry.payment_cases import PaymentCase
from provisioner.registry.queue import Priority
from provisioner.registry.reading import reading
from provisioner.registry.timeline import EntryKind

log = structlog.get_logger(__name__)

CASES_LOOKED_BACK = timedelta(days=120)  #: a dispute may be opened, and refunds be made, that long after a payment
NIGHT = 3  #: hour (UTC) after which a day's audit is due


#: Findings that only an update of the stack, and of the placement with it, mends.
_OF_WHAT_STANDS = (FindingKind.PAID_NOT_PROVISIONED, FindingKind.PROVISIONED_NOT_PAID, FindingKind.ACCESS_DRIFT)


class Stacks(Protocol):
    def checkpoint_versions(self) -> dict[str, str]: ...


@dataclass(frozen=True)
class Audit:
    picture: Picture
    findings: Sequence[Finding]

    @property
    def complete(self) -> bool:
        return not self.picture.unreachable


@dataclass
class Auditor:
    """``resources``: what bears the installation's tags in some regions; it may take seconds, and fail."""

    pool: Pool
    inbox: Inbox
    catalogue: Catalogue
    installation: Installation
    stacks: Stacks
    resources: Callable[[Sequence[str]], Sequence[Resource]]

    async def run(self, *, nightly: bool = False) -> Audit:
        """What could not be read is a finding itself, and nothing is concluded from its absence."""
        started_at = datetime.now(UTC)
        picture = await self._look()
        if "Stripe" in picture.unreachable:  # nobody would seem to pay
            found = [
                each
                for each in compare(replace(picture, records=(), documents={}), self.catalogue, self.installation)
                if each.kind not in (FindingKind.ORPHANED_STACK, FindingKind.ORPHANED_RESOURCE)
            ]
        else:
            found = compare(picture, self.catalogue, self.installation)
        audit = Audit(picture, found)
        async with self.pool.connection() as connection:
            await audits.record(
                connection,
                found,
                started_at=started_at,
                nightly=nightly,
                tenants=len(picture.records),
                complete=audit.complete,
            )
        log.info("audit.done", tenants=len(picture.records), findings=len(found), complete=audit.complete)
        return audit

    async def run_nightly(self, now: datetime) -> None:
        """Once a day, whichever worker leads."""
        today = datetime.now(UTC).replace(hour=NIGHT, minute=0, second=0, microsecond=0)
        since = today if datetime.now(UTC) >= today else today - timedelta(days=1)
        async with self.pool.connection() as connection:
            if await audits.ran_since(connection, since):
                return
        await self.run(nightly=True)

    async def fix(self, findings: Sequence[Finding], *, by: str) -> list[Finding]:
        """Do what can be done without an operator's judgement; what was begun. Nothing of it destroys."""
        begun = []
        looked_at = await self._clock()
        cases: dict[str, PaymentCase] = {}
        if any(each.remedy is Remedy.RECORD_CASE for each in findings):
            cases = {case.case_id: case for case in (await self._cases())[0]}
        for each in findings:
            try:
                if await self._fix(each, cases, looked_at, by):
                    begun.append(each)
            except (Quarantined, NotFound) as problem:  # one that can't be fixed must not keep the others
                log.warning("audit.not_fixed", kind=each.kind.value, code=problem.code, message=problem.message)
        return begun

    async def _fix(self, finding: Finding, cases: Mapping[str, PaymentCase], looked_at: datetime, by: str) -> bool:
        tenant_id = finding.tenant_id
        if finding.remedy is Remedy.ADOPT:
            tenant_id = await self.inbox.adopt(await self.inbox.gateway.subscription(finding.subject))
        async with self.pool.connection() as connection:
            if finding.remedy is Remedy.REQUEUE_EVENT:
                await queue.defer_events(connection, await events.reopen(connection, [finding.subject]))
                return True
            if finding.remedy is Remedy.RECORD_CASE:
                if finding.subject not in cases:
                    return False
                await payment_cases.put(connection, cases[finding.subject], looked_at=looked_at)
            if finding.remedy is Remedy.NONE or tenant_id is None:
                return False
            await timeline.add(
                connection, tenant_id, EntryKind.OPERATOR, f"{by} let the audit mend {finding.kind}: {finding.what}"
            )
            await tenants.unpark(connection, tenant_id)
            if finding.kind in _OF_WHAT_STANDS:  # a reconcile would believe that the stack is what it made of it
                await tenants.distrust(connection, tenant_id)
            await queue.defer_reconcile(
                connection, [tenant_id], reason=f"audit: {finding.kind}", priority=Priority.OPERATOR
            )
        return True

    async def _look(self) -> Picture:
        unreachable: dict[str, str] = {}
        now, read_at = datetime.now(UTC), await self._clock()
        documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
        clocks: dict[str, datetime] = {}
        try:
            now = await self.inbox.gateway.now()
            async for document in self.inbox.gateway.subscriptions():
                customer = document["customer"]
                documents[customer["id"] if isinstance(customer, dict) else customer].append(document)
            clocks = await customer_clocks.times_of(self.inbox.gateway, documents)
        except TenantryError as error:
            unreachable["Stripe"] = f"{error.code}: {error.message}"
        cases: list[PaymentCase] = []
        if not unreachable:
            try:
                cases, unreadable = await self._cases()
                unreachable |= {each.case_id: f"{each.problem.code}: {each.problem.message}" for each in unreadable}
            except TenantryError as error:
                unreachable["disputes and refunds"] = f"{error.code}: {error.message}"
        versions: dict[str, str] = {}
        found: Sequence[Resource] = ()
        try:
            versions = await asyncio.to_thread(self.stacks.checkpoint_versions)
        except TenantryError as error:
            unreachable["Pulumi's state"] = f"{error.code}: {error.message}"
        async with self.pool.connection() as connection:
            cells = await platforms.all_platforms(connection)
        regions = sorted({cell.platform_outputs.region for cell in cells if cell.platform_outputs is not None})
        try:
            found = await asyncio.to_thread(self.resources, regions)
        except TenantryError as error:
            unreachable["AWS"] = f"{error.code}: {error.message}"
        # The registry last and as of one moment: whoever was changed since the others were read is left out.
        async with self.pool.connection() as connection:
            await audits.of_one_moment(connection)
            records = await tenants.all_tenants(connection)
            placed = await audits.placements(connection)
            running = await audits.running(connection)
            waiting = [Event(*row) for row in await audits.open_events(connection)]
        running |= {record.tenant_id for record in records if record.updated_at > read_at}
        return Picture(
            now=now,
            read_at=read_at,
            livemode=self.inbox.gateway.livemode,
            documents=documents,
            records=records,
            placements=placed,
            versions=versions,
            running=running,
            clocks=clocks,
            cases=cases,
            events=waiting,
            resources=found,
            unreachable=unreachable,
        )

    async def _cases(self) -> tuple[list[PaymentCase], list[Unreadable]]:
        since = int((await self.inbox.gateway.now() - CASES_LOOKED_BACK).timestamp())
        told = [each async for each in Cases(self.inbox.gateway).since(since)]
        return (
            [each for each in told if isinstance(each, PaymentCase)],
            [each for each in told if isinstance(each, Unreadable)],
        )

    async def _clock(self) -> datetime:
        async with reading(self.pool) as connection:
            return await payment_cases.clock(connection)
