"""Episodes of overdue payments: when one opens, how far down it leads, and how it ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.spec import Access
from provisioner.notifications.facts import Facts, Invoice
from provisioner.registry.dunning import EpisodeRecord

RECOVERED, LOST = "recovered", "lost"
_ORDER = (Access.GRACE, Access.THROTTLED, Access.READ_ONLY, Access.SUSPENDED, Access.HIBERNATED)
_ENDED = ("canceled", "incomplete_expired")


@dataclass(frozen=True)
class Change:
    """``close``, ``update``: values for the episode that is open; ``open``: for a new one."""

    close: dict[str, Any] | None = None
    update: dict[str, Any] | None = None
    open: dict[str, Any] | None = None


def change(current: EpisodeRecord | None, facts: Facts, now: datetime) -> Change:
    """What the facts make of a tenant's open episode. An episode is one of a subscription, and lasts as long as any
    invoice of it is owed: a second one that fails meanwhile belongs to it."""
    subscription, owed = facts.subscription, _owed(facts)
    same = current is not None and subscription is not None and current.subscription_id == subscription.subscription_id
    if current is not None and (not same or not owed or _is_over(facts)):
        done = {**_progress(current, facts, owed), "closed_at": now}
        recovered = same and not _is_over(facts)
        ended = subscription.ended_at if same and subscription is not None else None
        if ended is not None and not recovered:
            done["closed_at"] = ended
        done["outcome"] = RECOVERED if recovered else LOST
        following = change(None, facts, now) if not same else Change()
        return Change(close=done, open=following.open)
    if current is not None:
        update = {**_progress(current, facts, owed), "amount": max(current.amount, _total(owed, current.currency))}
        before = {name: getattr(current, name) for name in update}
        return Change(update=update if update != before else None)
    if not owed or subscription is None or _is_over(facts):
        return Change()
    first = min(owed, key=lambda each: (each.owed_since, each.invoice_id))
    opened = {
        "subscription_id": subscription.subscription_id,
        "plan": facts.plan_title,
        "opened_at": first.owed_since,
        "amount": _total(owed, first.amount.currency),
        "currency": first.amount.currency,
    }
    return Change(open={**opened, **_progress(None, facts, owed)})


def _owed(facts: Facts) -> tuple[Invoice, ...]:
    """First payments are none of it: who never paid has nothing to come back to."""
    if facts.subscription is None or facts.subscription.status == "incomplete":
        return ()
    return facts.invoices


def _is_over(facts: Facts) -> bool:
    return facts.subscription is None or facts.subscription.status in _ENDED


def _total(owed: tuple[Invoice, ...], currency: str) -> int:
    return sum(invoice.amount.amount for invoice in owed if invoice.amount.currency == currency)


def _progress(current: EpisodeRecord | None, facts: Facts, owed: tuple[Invoice, ...]) -> dict[str, Any]:
    """Only ever further: a step that was reached stays reached."""
    steps = [] if current is None else list(current.steps)
    reached = facts.access if owed and facts.access in _ORDER else Access.GRACE
    if reached.value not in {step["access"] for step in steps}:
        since = facts.access_since if reached is facts.access else None
        began = min((invoice.owed_since for invoice in owed), default=None)
        at = since or began or (current.opened_at if current is not None else None)
        steps.append({"access": reached.value, "at": "" if at is None else at.isoformat()})
    furthest = max((Access(step["access"]) for step in steps), key=_ORDER.index)
    attempts = sum(invoice.attempts for invoice in owed)
    return {
        "attempts": max(attempts, 0 if current is None else current.attempts),
        "steps": steps,
        "step": furthest.value,
    }


def tabulated(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """A report with its steps in the order of the way down, and the rate of those that came back. An open episode is
    neither recovered nor lost: the rate leaves it out, and is None when there are no others."""
    rows = sorted(found["by_step"], key=lambda row: _ORDER.index(Access(row["step"])))
    for row in rows:
        done = row["recovered"] + row["lost"]
        row["rate"] = row["recovered"] / done if done else None
        row["median_days"] = None if row["median_days"] is None else float(row["median_days"])
    return {**found, "by_step": rows}
