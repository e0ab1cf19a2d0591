"""What an application is told of a subscription, and of a change before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from provisioner.billing.gateway import Document
from provisioner.selling.standing import Standing


@dataclass(frozen=True)
class PlannedView:
    plan: str
    interval: str
    seats: int | None
    at: datetime


@dataclass(frozen=True)
class SubscriptionView:
    """``seats``: None if the plan is not sold by the seat. ``cancels_at``: when it ends; None: it renews.
    ``next``: what it becomes at the period's end."""

    status: str
    plan: str
    interval: str
    seats: int | None
    current_period_end: datetime
    trial_end: datetime | None
    cancels_at: datetime | None
    next: PlannedView | None


@dataclass(frozen=True)
class PreviewLine:
    description: str
    amount: int
    proration: bool


@dataclass(frozen=True)
class Preview:
    """``amount``: due at ``effective_at``, with taxes and credits, in the smallest unit of ``currency``; below 0: a
    credit. ``change``: ``now``, ``period_end``, or ``none`` if the subscription stays as it is."""

    change: str
    effective_at: datetime
    currency: str
    amount: int
    lines: tuple[PreviewLine, ...]


def view(found: Standing) -> SubscriptionView:
    end, pending, chosen = moment(found.period_end), found.pending, found.selection
    return SubscriptionView(
        status=found.status.value,
        plan=chosen.plan,
        interval=chosen.interval,
        seats=chosen.seats,
        current_period_end=end,
        trial_end=moment(found.trial_end) if found.trialing and found.trial_end is not None else None,
        cancels_at=None if found.cancel_at is None else moment(found.cancel_at),
        next=None if pending is None else PlannedView(pending.plan, pending.interval, pending.seats, end),
    )


def preview_of(kind: str, at: datetime, invoice: Document) -> Preview:
    lines = tuple(
        PreviewLine(str(line.get("description") or ""), int(line["amount"]), _is_proration(line))
        for line in invoice["lines"]["data"]
    )
    return Preview(kind, at, str(invoice["currency"]), int(invoice["total"]), lines)


def _is_proration(line: Document) -> bool:
    details = (line.get("parent") or {}).get("subscription_item_details") or {}
    return bool(details.get("proration"))


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
