"""What becomes of a stored event: the object it names is loaded afresh, its tenant bound, and a reconcile queued.

An event that can't be trusted or understood is quarantined with the reason; nothing is dropped. A redelivered or
retried event does no harm: binding is idempotent, and a reconcile looks at the present state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog

from provisioner.billing import webhooks
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import BillingGateway
from provisioner.billing.translate import ReconcileHint, Refetch, hint_of, subscription_state
from provisioner.cases import Cases
from provisioner.errors import NotFound, OperatorNeeded, Quarantined, Reject, TenantryError
from provisioner.operate import Pool
from provisioner.registry import events, payment_cases, queue, storefront, tenants, timeline
from provisioner.registry.events import EventStatus, NewEvent
from provisioner.registry.queue import Priority
from provisioner.registry.reading import reading
from provisioner.registry.tenants import Binding
from provisioner.registry.timeline import EntryKind

log = structlog.get_logger(__name__)


def classify(event: webhooks.WebhookEvent, body: bytes) -> NewEvent:
    """The row to store: ``ignored`` if the event's type changes no tenant, else ``received``."""
    try:
        hint = hint_of(event)
        wanted, refetch_id = hint.refetch is not Refetch.NOTHING, hint.object_id
    except Quarantined:
        wanted, refetch_id = True, None  # its job says what is wrong with it, where an operator sees it
    return NewEvent(
        event_id=event.id,
        type=event.type,
        object_id=event.object_id,
        api_version=event.api_version,
        created=event.created,
        livemode=event.livemode,
        body=body,
        status=EventStatus.RECEIVED if wanted else EventStatus.IGNORED,
        refetch_id=refetch_id,
    )


@dataclass(frozen=True)
class Inbox:
    pool: Pool
    gateway: BillingGateway
    catalogue: Catalogue
    cell: str  #: where new tenants are placed

    @property
    def cases(self) -> Cases:
        return Cases(self.gateway)

    async def handle(self, event_id: str) -> None:
        """Process a stored event, and every other one that waits for a look at the same object: one look answers
        them all. Raises ``RetryLater`` while Stripe or the database can't be reached."""
        async with reading(self.pool) as connection:
            record = await events.take(connection, event_id)
        if record is None:
            return
        with structlog.contextvars.bound_contextvars(event_id=event_id):
            log.debug("event.loaded", type=record.type)
            waiting = [event_id, *record.companions]
            try:
                affected = await self._affected(webhooks.parse(record.body))
            except (Reject, OperatorNeeded) as problem:
                await self._quarantine(waiting, problem)
                return
            except (TenantryError, psycopg.Error):
                raise
            except Exception as error:  # a bug: the event would fail as often as it is tried
                log.error("event.unexpected", exc_info=error)
                await self._quarantine([event_id], _unexpected(error))
                return
            async with self.pool.connection() as connection:
                processed = await events.process(connection, waiting, affected)
                if processed and affected:
                    await queue.defer_reconcile(
                        connection, affected, reason=f"event {event_id} ({record.type})", priority=Priority.EVENT
                    )
            log.info("event.processed", type=record.type, tenants=affected, events=len(processed))

    async def _affected(self, event: webhooks.WebhookEvent) -> list[str]:
        """The tenants that the event is about, each bound to its customer; ``Quarantined`` if it can't be told."""
        if event.livemode != self.gateway.livemode:
            raise _livemode_mismatch(event)
        hint = hint_of(event)
        if hint.refetch is Refetch.NOTHING:
            return []
        assert hint.object_id is not None
        if hint.refetch in (Refetch.DISPUTE, Refetch.CHARGE):
            return await self._payment_taken_back(hint)
        if hint.refetch is Refetch.SUBSCRIPTION:
            try:
                return [await self.adopt(await self.gateway.subscription(hint.object_id))]
            except NotFound as missing:
                raise _gone(missing) from None
        async with reading(self.pool) as connection:
            bound = await tenants.get_by_customer(connection, hint.object_id)
        if bound is not None:
            return [bound.tenant_id]
        try:
            documents = await self.gateway.subscriptions_of(hint.object_id)
        except NotFound:
            documents = []
        return sorted({await self.adopt(document) for document in documents})

    async def _payment_taken_back(self, hint: ReconcileHint) -> list[str]:
        """Record what Stripe says of a dispute or a refund now; the tenant of its customer, if there is one."""
        assert hint.object_id is not None
        async with reading(self.pool) as connection:
            looked_at = await payment_cases.clock(connection)
        try:
            case = await self.cases.load(hint)
        except NotFound as missing:
            raise _gone(missing) from None
        if case is None:
            return []
        async with self.pool.connection() as connection:
            await payment_cases.put(connection, case, looked_at=looked_at)
            bound = await tenants.get_by_customer(connection, case.customer_id)
        return [] if bound is None else [bound.tenant_id]

    async def adopt(self, document: Mapping[str, Any]) -> str:
        """The tenant of a subscription, bound to its customer the first time; ``Quarantined`` if that can't be."""
        state = subscription_state(document, self.catalogue, expected_livemode=self.gateway.livemode)
        async with reading(self.pool) as connection:
            known = await tenants.binding(connection, state.tenant_id, state.customer_id)
        if known is Binding.KNOWN:  # as with all but a customer's first event
            return state.tenant_id
        async with self.pool.connection() as connection:
            reserved = await storefront.signup(connection, state.tenant_id)
            if (
                reserved is not None
                and not reserved.lapsed
                and reserved.stripe_customer_id not in (None, state.customer_id)
            ):  # somebody is signing up under the id right now
                raise _claimed(state.subscription_id, state.tenant_id, state.customer_id)
            binding = await tenants.bind(connection, state.tenant_id, state.customer_id, cell=self.cell)
            if binding is Binding.REFUSED:
                raise _claimed(state.subscription_id, state.tenant_id, state.customer_id)
            if binding is Binding.BOUND:
                await timeline.add(
                    connection, state.tenant_id, EntryKind.BOUND, f"bound to Stripe customer {state.customer_id}"
                )
        if binding is Binding.BOUND:
            log.info("tenant.bound", tenant_id=state.tenant_id)
        return state.tenant_id

    async def _quarantine(self, event_ids: Sequence[str], problem: Reject | OperatorNeeded) -> None:
        async with self.pool.connection() as connection:
            for event_id in sorted(event_ids):
                await events.settle(
                    connection,
                    event_id,
                    EventStatus.QUARANTINED,
                    reason=f"{problem.code}: {problem.message}",
                    hint=problem.hint or "correct the cause, then: tenantry events retry",
                )
        log.warning("event.quarantined", code=problem.code, message=problem.message)


def _quarantined(code: str, message: str, hint: str) -> Quarantined:
    error = Quarantined(message, hint=hint)
    error.code = code
    return error


def _unexpected(error: Exception) -> Quarantined:
    return _quarantined(
        "unexpected",
        f"handling it failed with {type(error).__name__}",
        "The worker's log has the traceback; once that is mended: tenantry events retry",
    )


def _livemode_mismatch(event: webhooks.WebhookEvent) -> Quarantined:
    mode = "live" if event.livemode else "test"
    return _quarantined(
        "livemode_mismatch",
        f"event {event.id} is of {mode} mode, and this installation's key is for the other mode",
        "Point the webhook endpoint and TENANTRY_STRIPE_API_KEY at the same mode",
    )


def _gone(missing: NotFound) -> Quarantined:
    return _quarantined(
        "object_missing", missing.message, "Check that the key and the webhook endpoint are of one Stripe account"
    )


def _claimed(subscription_id: str, tenant_id: str, customer_id: str) -> Quarantined:
    return _quarantined(
        "tenant_claimed",
        f"subscription {subscription_id} of customer {customer_id} names tenant {tenant_id}, "
        "and the tenant, or the customer, is bound to another one",
        "If the claim is right, correct metadata.tenant_id in Stripe; a customer pays for one tenant",
    )
