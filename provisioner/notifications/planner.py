"""Looks at tenants whose facts may have changed, and writes what they are owed into the outbox.

Level-triggered, as a reconcile: no message is made from an event, but from what Stripe and the registry say at the
moment. So a duplicate, late or lost event changes nothing, and a payment that arrives takes back what still waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from components.spec import Access
from provisioner import payments, subscriptions
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import Document
from provisioner.billing.history import PaymentHistory
from provisioner.billing.payer import PayerGateway
from provisioner.billing.translate import SubscriptionState, SubscriptionStatus
from provisioner.billing.verdict import Verdict, judge
from provisioner.errors import NotFound, OperatorNeeded, StripeUnavailable, TenantryError
from provisioner.notifications import reading, recovery
from provisioner.notifications.due import Due, due, one
from provisioner.notifications.facts import Facts, Invoice, Recipient, Recovery, Step, Subscription
from provisioner.notifications.kinds import TRAITS, Kind
from provisioner.notifications.locales import zone_of
from provisioner.notifications.policy import Policy
from provisioner.operate import Pool
from provisioner.registry import dunning, notifications
from provisioner.registry.notifications import NewNotification, TenantView

log = structlog.get_logger(__name__)

AT_ONCE = 8  #: tenants that are looked at at the same time: three requests to Stripe each
PAGE = 200
#: So many in a run that Stripe does not answer: it is Stripe, not they, and each costs the time of all its retries.
UNAVAILABLE = 8
LONGEST_RUN_S = 50.0  #: then the other periodic work has its turn
OVERLAP_S = 600.0  #: a transaction that wrote a timeline entry is not older than this when it commits
_OWING = (SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID)
CONDITIONAL = tuple(kind.value for kind, traits in TRAITS.items() if traits.conditional)


@dataclass
class Planner:
    pool: Pool
    gateway: PayerGateway
    catalogue: Catalogue
    policy: Policy
    #: (when, the newest timeline entry then): entries before the last one that is older than `OVERLAP_S` were all seen
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    async def run_due(self, now: datetime) -> int:
        """Look at every tenant that is due, or that something happened to; how many. One that fails is tried again
        later, and the others are looked at all the same. ``StripeUnavailable`` when none can be asked about."""
        began = time.monotonic()
        async with self.pool.connection() as connection:
            newest = await notifications.newest_entry(connection)
        looked, after = 0, self._seen()
        while time.monotonic() - began < LONGEST_RUN_S:
            async with self.pool.connection() as connection:
                page = await notifications.to_look_at(connection, now=now, after=after, limit=PAGE)
            if not page:
                self._marks.append((began, newest))
                break
            looked += await self._look_at(page, now, began + LONGEST_RUN_S)
        return looked

    async def _look_at(self, tenant_ids: Sequence[str], now: datetime, until: float) -> int:
        """How many were looked at; those for whom there was no time are still due in the next run."""
        slots, looked, refused = asyncio.Semaphore(AT_ONCE), 0, 0

        async def one_of_them(tenant_id: str) -> None:
            nonlocal looked, refused
            async with slots:
                if refused >= UNAVAILABLE or time.monotonic() > until:
                    return
                looked += 1
                with structlog.contextvars.bound_contextvars(tenant_id=tenant_id):
                    answered = await self._guarded_look(tenant_id, now)
                refused += not answered

        done = await asyncio.gather(*map(one_of_them, tenant_ids), return_exceptions=True)
        for error in done:
            if error is not None:
                raise error
        if refused >= UNAVAILABLE:
            raise StripeUnavailable("Stripe can't be asked what customers are to be told")
        return looked

    async def _guarded_look(self, tenant_id: str, now: datetime) -> bool:
        """False if Stripe could not be asked."""
        try:
            await self.look(tenant_id, now)
        except psycopg.OperationalError:
            raise  # the registry is gone: nothing can be recorded either
        except Exception as error:
            expected = isinstance(error, TenantryError)
            failure = error.message if isinstance(error, TenantryError) else f"failed with {type(error).__name__}"
            async with self.pool.connection() as connection:
                attempts = await notifications.record_failed_look(connection, tenant_id, failure[:500], now)
            log.warning("notifications.look_failed", failure=failure, attempts=attempts,
                        exc_info=None if expected else error)  # fmt: skip
            return not isinstance(error, StripeUnavailable)
        return True

    def _seen(self) -> int:
        """The newest timeline entry before which all were seen, by whatever transaction they came."""
        horizon = time.monotonic() - OVERLAP_S
        while len(self._marks) > 1 and self._marks[1][0] <= horizon:
            self._marks.popleft()
        return self._marks[0][1] if self._marks and self._marks[0][0] <= horizon else 0

    async def look(self, tenant_id: str, now: datetime) -> Due | None:
        """Decide on one tenant's messages; None when there is no such tenant. Raises what the gateway raises."""
        async with self.pool.connection() as connection:
            view = await notifications.tenant(connection, tenant_id)
        if view is None:
            return None
        seen = await self._ask_stripe(view, now)
        async with self.pool.connection() as connection:
            await notifications.lock_tenant(connection, tenant_id)
            view = await notifications.tenant(connection, tenant_id) or view
            return await plan_for(connection, view, seen, self.policy, self.catalogue)

    async def _ask_stripe(self, view: TenantView, now: datetime) -> Seen:
        customer, catalogue = view.stripe_customer_id, self.catalogue
        documents = [] if customer is None else await self._subscriptions(customer)
        states = subscriptions.bought(
            view.tenant_id, documents, catalogue, expected_livemode=self.gateway.livemode
        ).states
        clock, asked_at = next((each.test_clock for each in states if each.test_clock), None), now
        now = await self.gateway.now(clock) if clock is not None else now
        recipient = next((found for each in documents if (found := reading.recipient_of(each.get("customer")))), None)
        owing: list[Document] = []
        if customer is not None and any(state.status in _OWING for state in states):
            owing = await self.gateway.invoices_of(customer, "open")
        history = PaymentHistory(
            tuple(each for document in owing if (each := payments.open_invoice(document)) is not None)
        )
        verdict = judge(states, history, catalogue, now)
        if verdict.subscription is None:
            return Seen(now, asked_at - now, recipient)
        document = next(each for each in documents if each["id"] == verdict.subscription.subscription_id)
        return Seen(
            now,
            asked_at - now,
            recipient,
            verdict=verdict,
            document=document,
            subscription=await self._subscription(verdict.subscription, document, now),
            invoices=await self._invoices(owing, verdict.subscription),
            steps=reading.steps_ahead(verdict, states, history, catalogue),
        )

    async def _subscriptions(self, customer: str) -> list[Document]:
        try:
            return await self.gateway.subscriptions_of(customer)
        except NotFound:
            return []  # the reconcile tells the operator

    async def _subscription(self, state: SubscriptionState, document: Document, now: datetime) -> Subscription:
        method, card = reading.default_payment_method(document), None
        if method is not None and not state.status.ended:
            found = await self._optional(self.gateway.payment_method(method))
            card = None if found is None else reading.card_of(found)
        bare = reading.subscription_of(
            state,
            document,
            card=card,
            has_payment_method=method is not None or reading.has_source(document),
            renewal=None,
        )
        if not self._is_renewal_near(bare, now):
            return bare
        renewal = await self._optional(self.gateway.renewal(state.subscription_id))
        return reading.subscription_of(
            state, document, card=card, has_payment_method=bare.has_payment_method, renewal=renewal
        )

    def _is_renewal_near(self, subscription: Subscription, now: datetime) -> bool:
        """Whether a reminder may be written that names the amount; previews cost Stripe more than anything else."""
        if subscription.cancel_at is not None or subscription.status not in ("active", "trialing"):
            return False
        trial = subscription.status == "trialing"
        kind = Kind.TRIAL_ENDING if trial else Kind.RENEWAL_UPCOMING
        if not trial and subscription.interval not in self.policy.of(kind).intervals:
            return False
        days = self.policy.days_before(kind)
        # a reminder that a weekend moves forward comes up to four days before its time
        return bool(days) and self.policy.of(kind).on and (subscription.period_end - now).days <= days[0] + 4

    async def _invoices(self, owing: Sequence[Document], state: SubscriptionState) -> tuple[Invoice, ...]:
        found = []
        for invoice in sorted(
            reading.invoices_of(owing, state.subscription_id), key=lambda each: (each.owed_since, each.invoice_id)
        )[:5]:
            made = await self._optional(self.gateway.payments_of(invoice.invoice_id))
            found.append(replace(invoice, action_required=reading.waits_for_customer(made or [])))
        return tuple(found)

    async def _optional(self, asked: Any) -> Any:
        """None for what Stripe doesn't have, or doesn't tell with this key: the message goes without."""
        try:
            return await asked
        except (NotFound, OperatorNeeded) as problem:
            log.info("notifications.detail_missing", code=problem.code, message=problem.message)
            return None


@dataclass(frozen=True)
class Seen:
    """What Stripe said of a tenant at ``now``, billing time. ``behind``: how far the customer's test clock is behind
    the installation's time, by which the outbox lives."""

    now: datetime
    behind: timedelta = timedelta(0)
    recipient: Recipient | None = None
    verdict: Verdict | None = None
    document: Document | None = None
    subscription: Subscription | None = None
    invoices: tuple[Invoice, ...] = ()
    steps: tuple[Step, ...] = ()


async def plan_for(
    connection: AsyncConnection, view: TenantView, seen: Seen, policy: Policy, catalogue: Catalogue
) -> Due:
    """Write down, in the caller's transaction, what a tenant is owed, and when to look again.

    Doing it twice with the same facts adds nothing.
    """
    former = Recipient() if not view.seen_recipient else reading.recipient_from(view.seen_recipient)
    recipient = seen.recipient or former  # of a deleted customer the last known one
    facts = _facts(view, seen, recipient, catalogue)
    facts = await _follow_episode(connection, view, facts, seen.now)
    await _note_cancellation(connection, view, seen)
    decided = due(facts, policy, zone_of(recipient, policy), seen.now)
    document = reading.recipient_document(recipient)
    for message in decided.messages:
        new = NewNotification(
            message.kind,
            message.occasion,
            message.fields,
            message.send_after + seen.behind,
            message.expires_at + seen.behind,
        )
        if await notifications.put(connection, view.tenant_id, view.generation, document, new):
            log.info("notification.planned", kind=message.kind, occasion=message.occasion)
    await notifications.readdress(connection, view.tenant_id, document)
    await notifications.withdraw(
        connection, view.tenant_id, view.generation, conditional=CONDITIONAL, standing=decided.standing
    )
    await notifications.put_profile(
        connection, view, document, now=seen.now + seen.behind, look_at=decided.look_at + seen.behind
    )
    return decided


async def notify(
    connection: AsyncConnection,
    tenant_id: str,
    kind: Kind,
    occasion: str,
    fields: dict[str, Any],
    policy: Policy,
    catalogue: Catalogue,
    now: datetime,
) -> bool:
    """Tell a tenant something that others have found out (usage, an export, its deletion), in their transaction; once
    an ``occasion``. False if it was told already, the policy is against it, or there is no such tenant.

    ``fields`` are JSON values; ``tenant_id`` and ``plan`` are added.
    """
    view = await notifications.tenant(connection, tenant_id)
    if view is None:
        return False
    recipient = reading.recipient_from(view.seen_recipient or {})
    message = one(
        kind,
        occasion,
        {"tenant_id": tenant_id, "plan": _plan_title(view.plan, catalogue), **fields},
        policy,
        zone_of(recipient, policy),
        now,
    )
    if message is None:
        return False
    new = NewNotification(message.kind, message.occasion, message.fields, message.send_after, message.expires_at)
    return await notifications.put(connection, tenant_id, view.generation, reading.recipient_document(recipient), new)


def _facts(view: TenantView, seen: Seen, recipient: Recipient, catalogue: Catalogue) -> Facts:
    same_life = view.seen_generation == view.generation
    ready = view.ready_at is not None and view.state not in ("pending", "provisioning", "destroyed")
    was_ready = same_life and view.seen_state not in (None, "", "pending", "provisioning")
    plan = seen.verdict.plan if seen.verdict is not None else None
    return Facts(
        tenant_id=view.tenant_id,
        generation=view.generation,
        recipient=recipient,
        plan_title=plan.title if plan is not None else _plan_title(view.plan, catalogue),
        access=Access(view.access),
        # before it stood there was nothing that could be taken away
        access_since=view.access_since if view.ready_at is not None else None,
        overdue=view.access_reason in {reason.value for reason in reading.OVERDUE},
        subscription=seen.subscription,
        invoices=seen.invoices,
        steps=seen.steps,
        retain_until=view.retain_until,
        just_ready=ready and not was_ready and (view.fresh or same_life),
        just_deleted=view.state == "destroyed" and same_life and view.seen_state not in (None, "", "destroyed"),
    )


async def _follow_episode(connection: AsyncConnection, view: TenantView, facts: Facts, now: datetime) -> Facts:
    """Open, go on with or close the episode of an overdue payment; the facts with the last one that ended well."""
    current = await dunning.current(connection, view.tenant_id)
    changed = recovery.change(current, facts, now)
    if current is not None and changed.close is not None:
        await dunning.close(connection, current.episode_id, changed.close)
    if current is not None and changed.update is not None:
        await dunning.update(connection, current.episode_id, changed.update)
    if changed.open is not None:
        await dunning.open_episode(connection, view.tenant_id, view.generation, changed.open)
        return facts
    last = await dunning.latest_recovered(connection, view.tenant_id, view.generation)
    if last is None or last.closed_at is None or (current is not None and changed.close is None):
        return facts
    return replace(facts, recovery=Recovery(last.opened_at, last.closed_at))


async def _note_cancellation(connection: AsyncConnection, view: TenantView, seen: Seen) -> None:
    if seen.verdict is None or seen.verdict.subscription is None or seen.document is None:
        return
    found = reading.cancellation_of(seen.verdict.subscription, seen.document)
    if found is None:
        await dunning.resumed(connection, seen.verdict.subscription.subscription_id)
    else:
        await dunning.put_cancellation(connection, view.tenant_id, found)


def _plan_title(name: str | None, catalogue: Catalogue) -> str | None:
    plan = catalogue.plans.get(name) if name else None
    return name if plan is None else plan.title
