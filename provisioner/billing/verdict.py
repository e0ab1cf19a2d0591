"""What a tenant may do, by what it has bought and paid: pure, from subscriptions, payment history, catalogue and clock.

Each subscription gets a verdict of its own; the one that gives most counts. So an unpaid, disputed or ended
subscription never takes away what another one pays for. ``docs/lifecycle.md`` has the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from components.spec import Access
from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.history import PaymentHistory
from provisioner.billing.terms import Dunning
from provisioner.billing.translate import CollectionPause, SubscriptionState, SubscriptionStatus

_ACCESS_ORDER = {access: position for position, access in enumerate(Access)}
#: Among equals of access: whose status says most.
_STATUS_ORDER = (
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.TRIALING,
    SubscriptionStatus.PAST_DUE,
    SubscriptionStatus.UNPAID,
    SubscriptionStatus.PAUSED,
    SubscriptionStatus.INCOMPLETE,
    SubscriptionStatus.CANCELED,
    SubscriptionStatus.INCOMPLETE_EXPIRED,
)


class Reason(StrEnum):
    """Why the access is what it is; what an application may show."""

    PAID = "paid"
    TRIAL = "trial"
    PAYMENT_OVERDUE = "payment_overdue"  #: Stripe still tries
    PAYMENT_FAILED = "payment_failed"  #: Stripe tries no more
    PAYMENT_DISPUTED = "payment_disputed"
    DISPUTE_LOST = "dispute_lost"
    PAYMENT_REFUNDED = "payment_refunded"
    TRIAL_PAUSED = "trial_paused"  #: it ended without a payment method
    TRIAL_REFUSED = "trial_refused"  #: the customer, or its domain, has had one
    COLLECTION_PAUSED = "collection_paused"
    FIRST_PAYMENT_OPEN = "first_payment_open"
    FIRST_PAYMENT_EXPIRED = "first_payment_expired"
    CANCELED = "canceled"
    NO_SUBSCRIPTION = "no_subscription"


@dataclass(frozen=True)
class Verdict:
    """Times are Unix seconds.

    ``since``: when ``access`` began, as far as Stripe's facts tell. ``next_change_at``: when time alone, or a date
    that is set already, will change the verdict. ``retain_until``: for what has ended. ``asleep``: whether an
    instance of the tenant's own is to be stopped.
    """

    access: Access
    reason: Reason
    subscription: SubscriptionState | None = None
    plan: Plan | None = None
    since: int | None = None
    next_change_at: int | None = None
    retain_until: int | None = None
    asleep: bool = False

    @property
    def seats(self) -> int | None:
        """What is paid for in a plan that is sold by the seat."""
        if self.subscription is None or self.plan is None or not self.plan.per_seat:
            return None
        keys = {price.lookup_key for price in self.plan.prices if price.seats}
        counts = [item.quantity or 0 for item in self.subscription.items if item.lookup_key in keys]
        if not counts:  # a price whose key moved on to its successor
            counts = [item.quantity for item in self.subscription.items if item.quantity is not None]
        return sum(counts)


def judge(
    subscriptions: Iterable[SubscriptionState], history: PaymentHistory, catalogue: Catalogue, now: datetime
) -> Verdict:
    """The verdict that counts of all of a tenant's subscriptions, in whatever order they come."""
    moment = int(now.timestamp())
    verdicts = [_of_subscription(state, history, catalogue, moment) for state in subscriptions]
    if not verdicts:
        return Verdict(Access.RETAINED, Reason.NO_SUBSCRIPTION)
    return max(verdicts, key=_rank)


def _weight(state: SubscriptionState) -> tuple[int, int, str]:
    return -_STATUS_ORDER.index(state.status), state.created, state.subscription_id


def _rank(verdict: Verdict) -> tuple[int, int, int, int, int, str]:
    state = verdict.subscription
    assert state is not None
    bought = state.status is not SubscriptionStatus.INCOMPLETE_EXPIRED  # what was never paid for retains nothing
    kept = verdict.retain_until if state.status.ended and verdict.retain_until is not None else 0
    return -_ACCESS_ORDER[verdict.access], bought, kept, *_weight(state)


def _of_subscription(state: SubscriptionState, history: PaymentHistory, catalogue: Catalogue, now: int) -> Verdict:
    plan = catalogue.plans.get(state.plan)
    verdict = replace(_by_status(state, history, plan, now), subscription=state, plan=plan)
    if verdict.access.serves and plan is not None:
        verdict = _by_payments(verdict, history, plan, now)
    if verdict.access.serves and state.cancel_at is not None and state.cancel_at > now:
        verdict = replace(verdict, next_change_at=min(state.cancel_at, verdict.next_change_at or state.cancel_at))
    return verdict


def _by_status(state: SubscriptionState, history: PaymentHistory, plan: Plan | None, now: int) -> Verdict:
    match state.status:
        case SubscriptionStatus.TRIALING:
            refused = state.subscription_id in history.refused_trials
            access = Access.SUSPENDED if refused else Access.FULL
            ends = state.trial_end if state.trial_end is not None and state.trial_end > now else None
            return Verdict(
                access, Reason.TRIAL_REFUSED if refused else Reason.TRIAL, since=state.created, next_change_at=ends
            )
        case SubscriptionStatus.ACTIVE:
            pause = state.collection_paused
            if pause is CollectionPause.VOID:
                resumes = state.resumes_at if state.resumes_at is not None and state.resumes_at > now else None
                return Verdict(Access.SUSPENDED, Reason.COLLECTION_PAUSED, next_change_at=resumes)
            return Verdict(Access.FULL, Reason.PAID, since=state.created)
        case SubscriptionStatus.PAST_DUE:
            return _step(plan, _owed_since(state, history), now, Reason.PAYMENT_OVERDUE)
        case SubscriptionStatus.UNPAID:
            step = _step(plan, _owed_since(state, history), now, Reason.PAYMENT_FAILED)
            return _at_least(step, Access.SUSPENDED, Dunning() if plan is None else plan.terms.dunning)
        case SubscriptionStatus.PAUSED:
            began = state.trial_end if state.trial_end is not None else state.period_start
            step = _step(plan, began, now, Reason.TRIAL_PAUSED)
            return _at_least(step, Access.SUSPENDED, Dunning() if plan is None else plan.terms.dunning)
        case SubscriptionStatus.INCOMPLETE:
            return Verdict(Access.SUSPENDED, Reason.FIRST_PAYMENT_OPEN, since=state.created)
        case SubscriptionStatus.CANCELED | SubscriptionStatus.INCOMPLETE_EXPIRED:
            return _ended(state, plan, now)


def _owed_since(state: SubscriptionState, history: PaymentHistory) -> int:
    """When its oldest open invoice became due; when none is known, the period that is being paid for began."""
    owed = [invoice.owed_since for invoice in history.open_invoices if invoice.subscription_id == state.subscription_id]
    return min(owed, default=state.period_start)


def _step(plan: Plan | None, began: int, now: int, reason: Reason) -> Verdict:
    """Where on the way down a tenant is that has owed a payment since ``began``."""
    steps = list((Dunning() if plan is None else plan.terms.dunning).steps())
    current, since, following = Access.GRACE, began, None
    for after, access in steps:
        at = began + int(after.total_seconds())
        if at <= now or access is Access.GRACE:
            current, since = access, at
        else:
            following = at
            break
    return Verdict(current, reason, since=since, next_change_at=following, asleep=current is Access.HIBERNATED)


def _at_least(verdict: Verdict, access: Access, dunning: Dunning) -> Verdict:
    """The verdict, or ``access`` if that is less; the only change that is still to come is then what is below it."""
    if _ACCESS_ORDER[verdict.access] >= _ACCESS_ORDER[access]:
        return verdict
    assert verdict.since is not None
    reached = next(after for after, step in dunning.steps() if step is verdict.access)
    began = verdict.since - int(reached.total_seconds())
    below = [after for after, step in dunning.steps() if _ACCESS_ORDER[step] > _ACCESS_ORDER[access]]
    following = began + int(below[0].total_seconds()) if below else None
    return replace(verdict, access=access, since=began, next_change_at=following)


def _by_payments(verdict: Verdict, history: PaymentHistory, plan: Plan, now: int) -> Verdict:
    """Less, when a payment behind the subscription was taken back."""
    assert verdict.subscription is not None
    identifier = verdict.subscription.subscription_id
    paid = dict(history.last_paid_at).get(identifier, 0)
    for dispute in sorted(history.disputes, key=lambda each: (each.created, each.dispute_id)):
        if dispute.subscription_id not in (None, identifier):
            continue
        if dispute.status.open:
            verdict = _worse(verdict, plan.terms.on_dispute, Reason.PAYMENT_DISPUTED, dispute.created)
        elif dispute.status.lost and paid <= dispute.created:
            verdict = _worse(verdict, plan.terms.on_dispute_lost, Reason.DISPUTE_LOST, dispute.created)
    for refund in sorted(history.refunds, key=lambda each: (each.refunded_at, each.charge_id)):
        if refund.subscription_id not in (None, identifier) or paid > refund.refunded_at:
            continue
        if refund.period_end is not None and refund.period_end <= now:
            continue
        ends = verdict.next_change_at
        verdict = _worse(verdict, plan.terms.on_refund, Reason.PAYMENT_REFUNDED, refund.refunded_at)
        if verdict.reason is Reason.PAYMENT_REFUNDED and refund.period_end is not None:
            ends = min(refund.period_end, ends or refund.period_end)
            verdict = replace(verdict, next_change_at=ends)
    return verdict


def _worse(verdict: Verdict, access: Access, reason: Reason, since: int) -> Verdict:
    if _ACCESS_ORDER[access] <= _ACCESS_ORDER[verdict.access]:
        return verdict
    return replace(verdict, access=access, reason=reason, since=since)


def _ended(state: SubscriptionState, plan: Plan | None, now: int) -> Verdict:
    bought = state.status is SubscriptionStatus.CANCELED
    reason = Reason.CANCELED if bought else Reason.FIRST_PAYMENT_EXPIRED
    ended = state.ended_at if state.ended_at is not None else state.canceled_at
    if ended is None:
        return Verdict(Access.RETAINED, reason)
    until = ended + (plan.retention_days if plan is not None else DEFAULT_RETENTION_DAYS) * DAY
    if until <= now:
        return Verdict(Access.DELETED, reason, since=until, retain_until=until)
    sleeps = plan.terms.asleep_after if plan is not None else None
    asleep_at = None if sleeps is None else ended + int(sleeps.total_seconds())
    asleep = asleep_at is not None and asleep_at <= now
    following = until if asleep or asleep_at is None else min(until, asleep_at)
    return Verdict(Access.RETAINED, reason, since=ended, next_change_at=following, retain_until=until, asleep=asleep)


DAY = 86400
DEFAULT_RETENTION_DAYS = 30  #: for what was bought under a plan that left the catalogue


def moment(seconds: int | None) -> datetime | None:
    """Unix seconds as a time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
