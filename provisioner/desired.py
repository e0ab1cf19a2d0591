"""What a tenant should be: a pure function of its subscriptions, the catalogue, what stands, and the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from components.spec import Access, Environment, TenantSpec
from components.tiers import TIERS, Tier
from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.history import NO_HISTORY, PaymentHistory
from provisioner.billing.translate import SubscriptionState
from provisioner.billing.verdict import DEFAULT_RETENTION_DAYS, Reason, Verdict, judge, moment
from provisioner.entitlements import Entitled, entitled
from provisioner.lifecycle import STATE_OF_ACCESS, TenantState


@dataclass(frozen=True)
class Installation:
    """What is the same for every tenant."""

    name: str
    environment: Environment
    app_schema_version: int


@dataclass(frozen=True)
class Standing:
    """What the registry knows of a tenant. ``spec`` is None until its first stack operation of this life began."""

    tenant_id: str
    generation: int
    cell: str
    epoch: int
    state: TenantState
    plan: str | None
    spec: TenantSpec | None
    retain_until: datetime | None
    destruction_authorised: bool


class Course(StrEnum):
    """What a reconcile does with the tenant's stack."""

    NOTHING = "nothing"  #: nothing stands and nothing is to stand
    CONVERGE = "converge"  #: bring the stack to ``spec``
    DESTROY = "destroy"  #: take protection off, then destroy
    REVIVE = "revive"  #: begin the id's next generation, then decide again


@dataclass(frozen=True)
class Decision:
    """``access`` is the verdict's; what a stack must make true of it is in ``spec``."""

    course: Course
    access: Access
    verdict: Verdict
    plan: str | None
    entitled_tier: Tier | None  #: what is paid for
    placed_tier: Tier | None  #: where the tenant stands, or will
    entitled: Entitled  #: features, quotas and rates
    state: TenantState  #: the state once the course is through
    spec: TenantSpec | None  #: for ``CONVERGE``; for ``DESTROY`` the spec with protection off
    retain_until: datetime | None
    review_at: datetime | None  #: when time alone will decide otherwise
    why: str  #: one sentence for the timeline
    decided_at: datetime | None = None  #: billing time

    @property
    def subscription(self) -> SubscriptionState | None:
        """The subscription that counts."""
        return self.verdict.subscription

    @property
    def reason(self) -> Reason:
        return self.verdict.reason

    @property
    def access_since(self) -> datetime | None:
        """When the access began, as far as Stripe tells; else when it was decided."""
        return moment(self.verdict.since) or self.decided_at

    @property
    def pending_graduation(self) -> Tier | None:
        """The tier that is paid for, when the tenant stands in another one."""
        return self.entitled_tier if self.entitled_tier != self.placed_tier else None


def decide(
    standing: Standing,
    subscriptions: Sequence[SubscriptionState],
    catalogue: Catalogue,
    installation: Installation,
    now: datetime,
    history: PaymentHistory = NO_HISTORY,
) -> Decision:
    """``subscriptions`` are all readable ones of the tenant's customer; their order does not matter.

    A payment that arrives before a destruction has begun calls it off.
    """
    decision = _decide(standing, subscriptions, catalogue, installation, now, history)
    if any(state.test_clock for state in subscriptions):
        # ``review_at`` is compared with the account's time, and one that is past would be due for ever: a test clock
        # that stands still never reaches it. The events of its next advance, and the sweep, look at the tenant.
        decision = replace(decision, review_at=None)
    return replace(decision, decided_at=now)


def _decide(
    standing: Standing,
    subscriptions: Sequence[SubscriptionState],
    catalogue: Catalogue,
    installation: Installation,
    now: datetime,
    history: PaymentHistory,
) -> Decision:
    verdict = judge(subscriptions, history, catalogue, now)
    plan = verdict.plan if verdict.subscription is not None else catalogue.plans.get(standing.plan or "")
    if standing.spec is not None and standing.state is TenantState.DESTROYING:
        # what has lost a part of its data can't be given back: it ends, and a payment begins the next generation
        return _destroy(standing, verdict, plan, "its destruction has begun")
    if verdict.access.serves:
        assert plan is not None
        return _stand(standing, verdict, plan, installation)
    if standing.spec is None:
        return _absent(standing, verdict, plan)
    if standing.destruction_authorised:
        return _destroy(standing, verdict, plan, "an operator authorised its destruction")
    return _close(standing, verdict, plan, installation, now)


def _stand(standing: Standing, verdict: Verdict, plan: Plan, installation: Installation) -> Decision:
    course = Course.REVIVE if standing.state is TenantState.DESTROYED else Course.CONVERGE
    spec = _spec(standing, plan, installation, verdict.access.enforced)
    moved = "" if spec.tier is plan.tier else f"; it stands in {spec.tier} until it graduates to {plan.tier}"
    return Decision(
        course=course,
        access=verdict.access,
        verdict=verdict,
        plan=plan.name,
        entitled_tier=plan.tier,
        placed_tier=spec.tier,
        entitled=_entitled(plan, verdict),
        state=TenantState.READY,
        spec=spec,
        retain_until=None,
        review_at=moment(verdict.next_change_at),
        why=f"{_status(verdict)}: plan {plan.name} ({plan.tier}){moved}",
    )


def _entitled(plan: Plan, verdict: Verdict) -> Entitled:
    """What the plan gives; where seats are sold, as many as are paid for: people who have one keep it."""
    given = entitled(plan, verdict.access)
    return given if verdict.seats is None else replace(given, limits={**given.limits, "seats": verdict.seats})


def _absent(standing: Standing, verdict: Verdict, plan: Plan | None) -> Decision:
    gone = standing.state is TenantState.DESTROYED
    return Decision(
        course=Course.NOTHING,
        access=Access.DELETED if gone else Access.SUSPENDED,
        verdict=verdict,
        plan=plan.name if plan else None,
        entitled_tier=None,
        placed_tier=None,
        entitled=Entitled(),
        state=TenantState.DESTROYED if gone else TenantState.PENDING,
        spec=None,
        retain_until=None,
        review_at=None if gone else moment(verdict.next_change_at),
        why=_status(verdict) + ": nothing stands, nothing is built",
    )


def _close(
    standing: Standing, verdict: Verdict, plan: Plan | None, installation: Installation, now: datetime
) -> Decision:
    ended = verdict.access in (Access.RETAINED, Access.DELETED)
    retain_until = _retain_until(standing, verdict, plan, now) if ended else None
    if retain_until is not None and retain_until <= now:
        return _destroy(standing, verdict, plan, f"its data was retained until {retain_until:%Y-%m-%d %H:%M} UTC")
    assert standing.spec is not None
    access = Access.RETAINED if ended else verdict.access
    # Only an instance of the tenant's own can be stopped.
    sleeps = verdict.asleep and TIERS[standing.spec.tier].own_instance
    spec = _spec(standing, plan, installation, Access.HIBERNATED if sleeps else Access.SUSPENDED)
    until = f"; data is kept until {retain_until:%Y-%m-%d %H:%M} UTC" if retain_until else ""
    changes = [each for each in (moment(verdict.next_change_at), retain_until) if each is not None]
    return Decision(
        course=Course.CONVERGE,
        access=access,
        verdict=verdict,
        plan=plan.name if plan else standing.plan,
        entitled_tier=spec.tier,
        placed_tier=spec.tier,
        entitled=Entitled(),
        state=STATE_OF_ACCESS[access],
        spec=spec,
        retain_until=retain_until,
        review_at=min(changes, default=None),
        why=f"{_status(verdict)}: access is closed{until}",
    )


def _destroy(standing: Standing, verdict: Verdict, plan: Plan | None, why: str) -> Decision:
    assert standing.spec is not None
    spec = standing.spec.model_copy(update={"protect": False, "final_snapshot": True, "access": Access.SUSPENDED})
    return Decision(
        course=Course.DESTROY,
        access=Access.DELETED,
        verdict=verdict,
        plan=plan.name if plan else standing.plan,
        entitled_tier=spec.tier,
        placed_tier=spec.tier,
        entitled=Entitled(),
        state=TenantState.DESTROYED,
        spec=spec,
        retain_until=standing.retain_until,
        review_at=None,
        why=f"{why}: protection comes off, then the stack is destroyed",
    )


def _spec(standing: Standing, plan: Plan | None, installation: Installation, access: Access) -> TenantSpec:
    """A standing tenant keeps tier, cell and epoch: moving its data is a graduation's work, not an update's."""
    before = standing.spec
    if access is Access.HIBERNATED:
        # Nothing that needs the database can be changed while its instance is stopped: the waking brings it.
        assert before is not None
        return before.model_copy(update={"access": access})
    if plan is None:
        assert before is not None
        return before.model_copy(update={"access": access, "app_schema_version": installation.app_schema_version})
    tier = before.tier if before is not None else plan.tier
    instance = None
    if TIERS[tier].own_instance:
        # a plan of another tier says nothing about the instance that stands
        instance = plan.instance if plan.instance is not None else before.instance if before is not None else None
    return TenantSpec(
        installation=before.installation if before is not None else installation.name,
        environment=installation.environment,
        tenant_id=standing.tenant_id,
        generation=standing.generation,
        cell=before.cell if before is not None else standing.cell,
        tier=tier,
        plan=plan.name,
        epoch=standing.epoch,
        access=access,
        connection_limit=plan.connection_limit,
        instance=instance,
        # nor does it about what that one may cost
        budget=plan.budget if tier is plan.tier else before.budget if before is not None else None,
        app_schema_version=installation.app_schema_version,
    )


def _retain_until(standing: Standing, verdict: Verdict, plan: Plan | None, now: datetime) -> datetime:
    known = moment(verdict.retain_until)
    if known is not None:
        # what was promised when it ended holds, though its plan retains less now or left the catalogue
        return known if standing.retain_until is None else max(known, standing.retain_until)
    # a deleted customer, or an end without a time: the first time that it was noticed counts
    days = plan.retention_days if plan is not None else DEFAULT_RETENTION_DAYS
    return standing.retain_until or now + timedelta(days=days)


_BECAUSE: dict[Reason, str] = {
    Reason.PAID: "",
    Reason.TRIAL: "",
    Reason.PAYMENT_OVERDUE: "a payment is overdue",
    Reason.PAYMENT_FAILED: "Stripe has given up collecting a payment",
    Reason.PAYMENT_DISPUTED: "a payment is disputed",
    Reason.DISPUTE_LOST: "a disputed payment was lost",
    Reason.PAYMENT_REFUNDED: "the period's payment was refunded",
    Reason.TRIAL_PAUSED: "its trial ended without a payment method",
    Reason.TRIAL_REFUSED: "its customer, or the customer's domain, has had a trial already",
    Reason.COLLECTION_PAUSED: "its invoices are void while collection is paused",
    Reason.FIRST_PAYMENT_OPEN: "its first payment is open",
    Reason.FIRST_PAYMENT_EXPIRED: "its first payment never came",
    Reason.CANCELED: "",
    Reason.NO_SUBSCRIPTION: "",
}


def _status(verdict: Verdict) -> str:
    if verdict.subscription is None:
        return "the customer has no subscription"
    because = _BECAUSE[verdict.reason]
    access = "" if verdict.access in (Access.FULL, Access.RETAINED, Access.DELETED) else f", access {verdict.access}"
    return (
        f"subscription {verdict.subscription.subscription_id} is {verdict.subscription.status}"
        + (f", {because}" if because else "")
        + access
    )
