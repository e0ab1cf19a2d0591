"""One trial for one customer and company: who had one, who may have one, and what an operator may do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from provisioner.billing.gateway import BillingGateway
from provisioner.billing.sales import StripeSales
from provisioner.billing.translate import TENANT_KEY, SubscriptionState, SubscriptionStatus
from provisioner.errors import NotFound
from provisioner.operate import Pool
from provisioner.registry import queue, storefront, tenants, timeline
from provisioner.registry.queue import Priority
from provisioner.registry.timeline import EntryKind
from provisioner.selling.errors import InvalidRequest, NotChangeable, UnknownTenant
from provisioner.selling.identity import trial_identity

MAX_EXTENSION = timedelta(days=730)  #: Stripe's longest trial
DAY = timedelta(days=1)


async def refused_trials(
    connection: AsyncConnection, customer: Mapping[str, Any], subscriptions: Iterable[Mapping[str, Any]]
) -> frozenset[str]:
    """The subscriptions in trial whose trial is not the first of their customer or company, and that nobody allowed.

    ``customer``: Stripe's document. ``subscriptions``: all of it. Trials are recorded on the way, and a verdict that is
    news is told on the timeline. A customer that has no trial costs no statement.
    """
    had = [document for document in subscriptions if document.get("trial_start") is not None]
    running = [document["id"] for document in had if document["status"] == SubscriptionStatus.TRIALING.value]
    if not running:
        return frozenset()
    metadata = customer.get("metadata") or {}
    identity = trial_identity(customer.get("email"))
    tenant_of: dict[str, str] = {}
    for document in had:
        tenant_id = (document.get("metadata") or {}).get(TENANT_KEY) or metadata.get(TENANT_KEY)
        if not tenant_id:
            continue
        tenant_of[document["id"]] = tenant_id
        news = await storefront.record_trial(
            connection,
            document["id"],
            tenant_id=tenant_id,
            customer_id=customer["id"],
            identity=identity,
            started_at=_moment(document["trial_start"]),
            ends_at=_moment(document.get("trial_end") or document["trial_start"]),
        )
        if news and (others := await storefront.trials_after(connection, document["id"])):
            # seen late: what was taken for the first trial was none
            await queue.defer_reconcile(
                connection, others, reason=f"an earlier trial: {document['id']}", priority=Priority.EVENT
            )
    repeated = await storefront.refused_trials(connection, running)
    excused = {each for each in sorted(repeated) if await _excused(connection, tenant_of.get(each), each)}
    refused = repeated - excused
    for subscription_id, tenant_id, is_refused in await storefront.mark_trials(connection, running, refused):
        word = "is not its company's first: it gives no access" if is_refused else "is allowed"
        await timeline.add(
            connection,
            tenant_id,
            EntryKind.DECISION,
            f"the trial of {subscription_id} {word}",
            detail={"subscription_id": subscription_id, "refused": is_refused},
        )
    return refused


async def _excused(connection: AsyncConnection, tenant_id: str | None, subscription_id: str) -> bool:
    return tenant_id is not None and await storefront.use_trial_exception(connection, tenant_id, subscription_id)


@dataclass(frozen=True)
class TrialGuard:
    """What a reconcile asks of a customer with a subscription in trial."""

    pool: Pool
    gateway: BillingGateway

    async def __call__(self, customer_id: str, running: Sequence[SubscriptionState]) -> frozenset[str]:
        documents = await self.gateway.subscriptions_of(customer_id)
        if not documents or not running:
            return frozenset()
        async with self.pool.connection() as connection:
            return await refused_trials(connection, documents[0]["customer"], documents)


@dataclass(frozen=True)
class Offer:
    """``refused``: why there is none, for the application; None: there is one, or the plan has none."""

    days: int
    refused: str | None = None


async def offer(
    connection: AsyncConnection,
    tenant_id: str,
    customer: Mapping[str, Any],
    days: int,
    *,
    now: datetime,
    open_for: timedelta,
) -> Offer:
    """The trial that a checkout of ``days`` may have. The company's is kept for it while the checkout is open."""
    if days <= 0:
        return Offer(0)
    identity = trial_identity(customer.get("email"))
    if not await storefront.has_trial_exception(connection, tenant_id):
        if await storefront.earlier_trial(connection, customer["id"], identity) is not None:
            return Offer(0, "there was a trial before")
        if identity is not None and not await storefront.offer_trial(
            connection, identity, tenant_id, open_until=now + open_for, now=now
        ):
            return Offer(0, "a trial is offered to somebody of the same company already")
    return Offer(days)


# -- what an operator does


async def allow(connection: AsyncConnection, tenant_id: str, *, by: str, reason: str) -> None:
    """Let the tenant have a trial though its customer or company had one: the refused one it has, or the next one."""
    if not reason.strip():
        raise InvalidRequest("no reason is given", hint="say why: it is recorded")
    known = await tenants.get(connection, tenant_id)
    if known is None and await storefront.signup(connection, tenant_id) is None:
        raise UnknownTenant(f"there is no tenant {tenant_id}", hint="`tenantry tenants list` shows all")
    await storefront.allow_trial(connection, tenant_id, by=by, reason=reason)
    for trial in await storefront.trials_of(connection, tenant_id):
        if trial.refused:
            await storefront.use_trial_exception(connection, tenant_id, trial.subscription_id)
            break
    await timeline.add(
        connection,
        tenant_id,
        EntryKind.OPERATOR,
        f"{by} allowed a further trial: {reason}",
        detail={"by": by, "reason": reason},
    )
    if known is not None:
        await queue.defer_reconcile(
            connection, [tenant_id], reason=f"a trial was allowed by {by}", priority=Priority.OPERATOR
        )


async def extend(
    connection: AsyncConnection, sales: StripeSales, tenant_id: str, *, days: int, by: str, reason: str
) -> datetime:
    """Give a running trial ``days`` more; returns its new end. ``NotChangeable`` if none runs."""
    if not 1 <= days <= MAX_EXTENSION.days:
        raise InvalidRequest(f"a trial can't be extended by {days} days", hint=f"1 to {MAX_EXTENSION.days}")
    if not reason.strip():
        raise InvalidRequest("no reason is given", hint="say why: it is recorded")
    record = await tenants.get(connection, tenant_id)
    if record is None or record.stripe_customer_id is None:
        raise NotFound(f"there is no tenant {tenant_id} with a customer", hint="`tenantry trials list` shows trials")
    documents = await sales.subscriptions_of(record.stripe_customer_id)
    running = [each for each in documents if each["status"] == SubscriptionStatus.TRIALING.value]
    if not running:
        raise NotChangeable(
            f"tenant {tenant_id} has no trial that runs",
            hint="a trial that has ended is not begun again; give a discount in Stripe, or a new subscription",
        )
    document = running[0]
    started, end = _moment(document["trial_start"]), _moment(document["trial_end"]) + days * DAY
    if end - started > MAX_EXTENSION:
        raise NotChangeable(
            f"the trial would last {(end - started).days} days", hint=f"Stripe allows {MAX_EXTENSION.days} in all"
        )
    changed = await sales.update_subscription(
        document["id"], {"trial_end": int(end.timestamp()), "proration_behavior": "none"}
    )
    new_end = _moment(changed["trial_end"])
    await storefront.move_trial_end(connection, document["id"], new_end)
    await timeline.add(
        connection,
        tenant_id,
        EntryKind.OPERATOR,
        f"{by} extended the trial by {days} days, to {new_end:%Y-%m-%d}: {reason}",
        detail={"by": by, "reason": reason, "days": days, "subscription_id": document["id"]},
    )
    return new_end


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
