"""What a tenant should be: a pure function of its subscriptions, the catalogue, what stands, and the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from components.spec import Access, Environment, TenantSpec
from components.tiers import TIERS, Tier
from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.translate import SubscriptionState, access_of, decisive
from provisioner.lifecycle import TenantState


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
    course: Course
    access: Access
    plan: str | None
    entitled_tier: Tier | None  #: what is paid for
    placed_tier: Tier | None  #: where the tenant stands, or will
    features: tuple[str, ...]
    limits: dict[str, int] = field(hash=False)
    subscription: SubscriptionState | None
    state: TenantState  #: the state once the course is through
    spec: TenantSpec | None  #: for ``CONVERGE``; for ``DESTROY`` the spec with protection off
    retain_until: datetime | None
    why: str  #: one sentence for the timeline

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
) -> Decision:
    """``subscriptions`` are all readable ones of the tenant's customer; their order does not matter.

    A payment that arrives before a destruction has begun calls it off.
    """
    subscription = decisive(subscriptions)
    access = access_of(subscription, now=int(now.timestamp()))
    plan = _plan(subscription, standing, catalogue)
    if standing.spec is not None and standing.state is TenantState.DESTROYING:
        # what has lost a part of its data can't be given back: it ends, and a payment begins the next generation
        return _destroy(standing, subscription, plan, "its destruction has begun")
    if access is Access.FULL:
        assert subscription is not None
        assert plan is not None
        return _stand(standing, subscription, plan, installation)
    if standing.spec is None:
        return _absent(standing, subscription, plan)
    if standing.destruction_authorised:
        return _destroy(standing, subscription, plan, "an operator authorised its destruction")
    return _close(standing, subscription, plan, installation, now)


def _stand(standing: Standing, subscription: SubscriptionState, plan: Plan, installation: Installation) -> Decision:
    course = Course.REVIVE if standing.state is TenantState.DESTROYED else Course.CONVERGE
    spec = _spec(standing, plan, installation, Access.FULL)
    moved = "" if spec.tier is plan.tier else f"; it stands in {spec.tier} until it graduates to {plan.tier}"
    return Decision(
        course=course,
        access=Access.FULL,
        plan=plan.name,
        entitled_tier=plan.tier,
        placed_tier=spec.tier,
        features=plan.entitlements,
        limits=dict(plan.limits),
        subscription=subscription,
        state=TenantState.READY,
        spec=spec,
        retain_until=None,
        why=f"{_status(subscription)}: plan {plan.name} ({plan.tier}){moved}",
    )


def _absent(standing: Standing, subscription: SubscriptionState | None, plan: Plan | None) -> Decision:
    state = standing.state if standing.state is TenantState.DESTROYED else TenantState.PENDING
    return Decision(
        course=Course.NOTHING,
        access=Access.SUSPENDED,
        plan=plan.name if plan else None,
        entitled_tier=None,
        placed_tier=None,
        features=(),
        limits={},
        subscription=subscription,
        state=state,
        spec=None,
        retain_until=None,
        why=_status(subscription) + ": nothing stands, nothing is built",
    )


def _close(
    standing: Standing,
    subscription: SubscriptionState | None,
    plan: Plan | None,
    installation: Installation,
    now: datetime,
) -> Decision:
    ended = subscription is None or subscription.status.ended
    retain_until = _retain_until(standing, subscription, plan, now) if ended else None
    if retain_until is not None and retain_until <= now:
        return _destroy(standing, subscription, plan, f"its data was retained until {retain_until:%Y-%m-%d %H:%M} UTC")
    assert standing.spec is not None
    spec = _spec(standing, plan, installation, Access.SUSPENDED)
    until = f"; data is kept until {retain_until:%Y-%m-%d %H:%M} UTC" if retain_until else ""
    return Decision(
        course=Course.CONVERGE,
        access=Access.SUSPENDED,
        plan=plan.name if plan else standing.plan,
        entitled_tier=spec.tier,
        placed_tier=spec.tier,
        features=(),
        limits={},
        subscription=subscription,
        state=TenantState.RETAINED if ended else TenantState.SUSPENDED,
        spec=spec,
        retain_until=retain_until,
        why=f"{_status(subscription)}: access is closed{until}",
    )


def _destroy(standing: Standing, subscription: SubscriptionState | None, plan: Plan | None, why: str) -> Decision:
    assert standing.spec is not None
    spec = standing.spec.model_copy(update={"protect": False, "final_snapshot": True, "access": Access.SUSPENDED})
    return Decision(
        course=Course.DESTROY,
        access=Access.SUSPENDED,
        plan=plan.name if plan else standing.plan,
        entitled_tier=spec.tier,
        placed_tier=spec.tier,
        features=(),
        limits={},
        subscription=subscription,
        state=TenantState.DESTROYED,
        spec=spec,
        retain_until=standing.retain_until,
        why=f"{why}: protection comes off, then the stack is destroyed",
    )


def _plan(subscription: SubscriptionState | None, standing: Standing, catalogue: Catalogue) -> Plan | None:
    name = subscription.plan if subscription is not None else standing.plan
    return catalogue.plans.get(name) if name else None


def _spec(standing: Standing, plan: Plan | None, installation: Installation, access: Access) -> TenantSpec:
    """A standing tenant keeps tier, cell and epoch: moving its data is a graduation's work, not an update's."""
    before = standing.spec
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


def _retain_until(
    standing: Standing, subscription: SubscriptionState | None, plan: Plan | None, now: datetime
) -> datetime:
    days = timedelta(days=plan.retention_days if plan is not None else 30)
    ended = None if subscription is None else subscription.ended_at or subscription.canceled_at
    if ended is None:
        # a deleted customer, or an end without a time: the first time that it was noticed counts
        return standing.retain_until or now + days
    return datetime.fromtimestamp(ended, UTC) + days


def _status(subscription: SubscriptionState | None) -> str:
    if subscription is None:
        return "the customer has no subscription"
    return f"subscription {subscription.subscription_id} is {subscription.status}"
