"""A tenant's subscription as it stands, read from Stripe's document with customer and schedule expanded. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.translate import SubscriptionStatus, subscription_state
from provisioner.errors import Quarantined
from provisioner.selling.errors import NotChangeable, NotSubscribed

#: On a schedule that we made: what the subscription becomes.
NEXT_PLAN, NEXT_INTERVAL, NEXT_SEATS = "tenantry_next_plan", "tenantry_next_interval", "tenantry_next_seats"

#: Best first: which of several subscriptions a tenant's changes are about.
_ORDER = (
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.TRIALING,
    SubscriptionStatus.PAST_DUE,
    SubscriptionStatus.UNPAID,
    SubscriptionStatus.PAUSED,
    SubscriptionStatus.INCOMPLETE,
)


@dataclass(frozen=True)
class Selection:
    """What is bought. ``seats``: None if the plan is not sold by the seat."""

    plan: str
    interval: str
    seats: int | None = None


@dataclass(frozen=True)
class Standing:
    """Times are Unix seconds. ``pending``: what a schedule of ours makes of it when the period ends."""

    document: Mapping[str, Any]
    subscription_id: str
    customer_id: str
    status: SubscriptionStatus
    selection: Selection
    base: Mapping[str, Any]  #: the item that the plan itself is paid by
    metered: tuple[Mapping[str, Any], ...]  #: items of use beyond the plan
    period_end: int
    trial_end: int | None
    cancel_at: int | None
    cancel_at_period_end: bool
    schedule: Mapping[str, Any] | None
    pending: Selection | None

    @property
    def trialing(self) -> bool:
        return self.status is SubscriptionStatus.TRIALING

    def require_changeable(self) -> None:
        """``NotChangeable`` while it is unpaid, paused, or managed by somebody else."""
        if self.status not in (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING):
            raise NotChangeable(
                f"the subscription is {self.status}: it can be changed again once it is paid",
                hint="send the customer to the portal, flow payment_method_update; a paused one is resumed",
            )
        self.require_own_schedule()

    def require_own_schedule(self) -> None:
        if self.schedule is not None and not (self.own_schedule or blank(self.schedule)):
            raise NotChangeable(
                f"the subscription is managed by schedule {self.schedule['id']}, which was not made here",
                hint="release that schedule in Stripe's dashboard, then ask again",
            )

    @property
    def own_schedule(self) -> bool:
        return self.schedule is not None and NEXT_PLAN in (self.schedule.get("metadata") or {})


def blank(schedule: Mapping[str, Any]) -> bool:
    """Whether it changes nothing: created over a subscription, and no more. Ours, when its answer was lost."""
    return len(schedule.get("phases") or ()) <= 1 and schedule.get("end_behavior") == "release"


def standing(
    tenant_id: str, documents: Iterable[Mapping[str, Any]], catalogue: Catalogue, *, livemode: bool
) -> Standing | None:
    """The subscription that changes are about; None if every one has ended. ``NotChangeable`` for an unreadable one."""
    unreadable: Quarantined | None = None
    found: list[Standing] = []
    for document in documents:
        if has_ended(document):
            continue
        try:
            state = subscription_state(document, catalogue, expected_livemode=livemode)
        except Quarantined as problem:
            unreadable = problem
            continue
        if state.tenant_id == tenant_id:
            found.append(_read(document, state.plan, catalogue, state.status))
    if not found and unreadable is not None:
        raise NotChangeable(f"the subscription can't be managed: {unreadable.message}", hint=unreadable.hint)
    return min(found, key=lambda each: (_ORDER.index(each.status), -each.document["created"]), default=None)


def has_ended(document: Mapping[str, Any]) -> bool:
    """A status that is not known yet is no end."""
    return document.get("status") in [each.value for each in SubscriptionStatus if each.ended]


def require(found: Standing | None, tenant_id: str) -> Standing:
    if found is None:
        raise NotSubscribed(f"tenant {tenant_id} has no subscription", hint="open a checkout for it")
    return found


def _read(document: Mapping[str, Any], plan: str, catalogue: Catalogue, status: SubscriptionStatus) -> Standing:
    items = document["items"]["data"]
    metered = tuple(item for item in items if item["price"]["recurring"].get("usage_type") == "metered")
    licensed = [item for item in items if item not in metered]
    if len(licensed) != 1:
        raise NotChangeable(
            f"subscription {document['id']} has {len(licensed)} items that a plan is paid by",
            hint="leave the one of the plan in Stripe's dashboard, then ask again",
        )
    base = licensed[0]
    seats = int(base["quantity"]) if catalogue.plan(plan).per_seat else None
    schedule = document.get("schedule")
    schedule = schedule if isinstance(schedule, Mapping) and schedule.get("status") == "active" else None
    customer = document["customer"]
    return Standing(
        document=document,
        subscription_id=document["id"],
        customer_id=customer if isinstance(customer, str) else customer["id"],
        status=status,
        selection=Selection(plan, base["price"]["recurring"]["interval"], seats),
        base=base,
        metered=metered,
        period_end=base["current_period_end"],
        trial_end=document.get("trial_end"),
        cancel_at=document.get("cancel_at"),
        cancel_at_period_end=bool(document.get("cancel_at_period_end")),
        schedule=schedule,
        pending=None if schedule is None else _pending(schedule),
    )


def _pending(schedule: Mapping[str, Any]) -> Selection | None:
    metadata = schedule.get("metadata") or {}
    if NEXT_PLAN not in metadata or not _is_ahead(schedule):
        return None
    seats = metadata.get(NEXT_SEATS)
    return Selection(metadata[NEXT_PLAN], metadata.get(NEXT_INTERVAL, ""), int(seats) if seats else None)


def _is_ahead(schedule: Mapping[str, Any]) -> bool:
    """Whether its last phase has not begun."""
    phases: Sequence[Mapping[str, Any]] = schedule.get("phases") or ()
    current = schedule.get("current_phase") or {}
    return bool(phases) and phases[-1]["start_date"] > int(current.get("start_date") or 0)
