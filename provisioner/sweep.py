"""Catches what no event announced: compares every subscription in Stripe, and every stack, with the registry.

One listing of Stripe and one query of the state's versions for all tenants; only tenants that differ get a reconcile.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from provisioner import customer_clocks
from provisioner.billing import webhooks
from provisioner.billing.translate import Refetch, hint_of
from provisioner.errors import NotFound, Quarantined, TenantryError
from provisioner.inbox import Inbox, classify
from provisioner.operate import Pool
from provisioner.reconcile import Reconciler
from provisioner.registry import events, platforms, queue, tenants
from provisioner.registry.queue import Priority
from provisioner.registry.tenants import TenantRecord

log = structlog.get_logger(__name__)

STRANDED_AFTER_S = 120.0  #: an event without a job for so long is queued again
EVENTS_OVERLAP_S = 3600  #: how far before the last sweep missing events are looked for
EVENTS_KEPT_S = 30 * 86400  #: Stripe's own limit


@dataclass
class SweepResult:
    tenants: int = 0
    queued: list[str] = field(default_factory=list)  #: tenants whose reconcile was queued
    recovered_events: int = 0
    requeued_events: int = 0
    seconds: float = 0.0


@dataclass
class Sweep:
    pool: Pool
    inbox: Inbox
    reconciler: Reconciler
    last_swept_at: float | None = None  #: billing time, Unix seconds

    async def run(self) -> SweepResult:
        """Queue what is behind. Raises ``StripeUnavailable`` when Stripe can't be listed."""
        began = time.monotonic()
        now = await self.inbox.gateway.now()
        result = SweepResult()
        async with self.pool.connection() as connection:
            stranded = await events.stranded(connection, older_than_s=STRANDED_AFTER_S)
            await queue.defer_events(connection, stranded)
        result.requeued_events = len(stranded)
        result.recovered_events = await self._recover_events(now.timestamp())
        documents = await self._subscriptions()
        result.queued = await self._queue_behind(documents, result, now)
        self.last_swept_at = now.timestamp()
        result.seconds = round(time.monotonic() - began, 3)
        return result

    async def _recover_events(self, now: float) -> int:
        """Events that were never delivered go through the inbox like others: what is wrong with them is seen there."""
        since = self.last_swept_at - EVENTS_OVERLAP_S if self.last_swept_at else now - EVENTS_KEPT_S
        recovered = 0
        async for document in self.inbox.gateway.events(since=int(since), undelivered_only=True):
            body = json.dumps(document, separators=(",", ":")).encode()
            try:
                event = webhooks.parse(body)
                if hint_of(event).refetch is Refetch.NOTHING:
                    continue
            except TenantryError:
                log.warning("sweep.event_unreadable", event_id=str(document.get("id"))[:80])
                continue
            async with self.pool.connection() as connection:
                recovered += await events.store(connection, classify(event, body))
        return recovered

    async def _subscriptions(self) -> dict[str, list[dict[str, Any]]]:
        """customer -> its subscriptions."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        async for document in self.inbox.gateway.subscriptions():
            customer = document.get("customer")
            identifier = customer.get("id") if isinstance(customer, dict) else customer
            if isinstance(identifier, str):
                found[identifier].append(document)
        return found

    async def _queue_behind(
        self, documents: dict[str, list[dict[str, Any]]], result: SweepResult, now: datetime
    ) -> list[str]:
        async with self.pool.connection() as connection:
            records = await tenants.all_tenants(connection)
            cells = {record.cell: record for record in await platforms.all_platforms(connection)}
        result.tenants = len(records)
        bound = {record.stripe_customer_id for record in records}
        for customer, unknown in documents.items():
            if customer not in bound:
                await self._adopt(unknown)
        async with self.pool.connection() as connection:
            records = await tenants.all_tenants(connection)
        versions = await asyncio.to_thread(self.reconciler.state.checkpoint_versions)
        clocks = await customer_clocks.times_of(self.inbox.gateway, documents)
        behind = []
        for index, record in enumerate(records):
            bought = documents.get(record.stripe_customer_id or "", [])
            try:
                at = clocks.get(record.stripe_customer_id or "", now)
                if self.reconciler.is_behind(record, bought, cells.get(record.cell), versions, at):
                    behind.append(record)
            except Exception as error:  # one tenant that can't be judged must not keep the others from being swept
                log.error("sweep.tenant_unreadable", tenant_id=record.tenant_id, exc_info=error)
                if record.failure is None:
                    behind.append(record)  # its reconcile records what is wrong
            if index % 50 == 49:
                await asyncio.sleep(0)  # the same loop serves jobs
        return await self._queue(behind)

    async def _adopt(self, documents: list[dict[str, Any]]) -> None:
        for document in documents:
            try:
                await self.inbox.adopt(document)
            except (Quarantined, NotFound) as problem:
                # Its event is quarantined, if there was one; here only the log can tell.
                log.warning("sweep.subscription_not_adopted", code=problem.code, message=problem.message)

    async def _queue(self, behind: list[TenantRecord]) -> list[str]:
        identifiers = [record.tenant_id for record in behind]
        async with self.pool.connection() as connection:
            await queue.defer_reconcile(connection, identifiers, reason="sweep", priority=Priority.SWEEP)
        return identifiers
