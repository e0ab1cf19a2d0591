"""Which messages a tenant is owed at a moment, and when to look again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from components.spec import Access
from provisioner.notifications.facts import Facts, Message, Money
from provisioner.notifications.kinds import TRAITS, Kind
from provisioner.notifications.policy import Policy

#: However little is planned: what no event announced (a card that was changed) is seen after that time.
LOOK_AGAIN = timedelta(days=7)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Occasion:
    """Something to tell at a time. ``deadline``: what a reminder is before; it is no use after."""

    kind: Kind
    key: str
    at: datetime
    deadline: datetime | None = None
    fields: dict[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Due:
    """``standing``: (kind, occasion) of everything whose cause holds, sent or not; a message that waits and is not in
    it has lost its cause. ``look_at``: when the answer may change by time alone."""

    messages: tuple[Message, ...]
    standing: frozenset[tuple[str, str]]
    look_at: datetime


def due(facts: Facts, policy: Policy, zone: tzinfo, now: datetime) -> Due:
    messages, standing = [], set()
    look_at = now + LOOK_AGAIN
    for occasion in occasions(facts, policy, now):
        if not policy.of(occasion.kind).on:
            continue
        standing.add((occasion.kind.value, occasion.key))
        message = _message(occasion, policy, zone, now)
        if message is not None:
            messages.append(message)
            continue
        at = begins(occasion, policy, zone)
        if at > now:
            look_at = min(look_at, at)
    return Due(tuple(messages), frozenset(standing), look_at)


def begins(occasion: Occasion, policy: Policy, zone: tzinfo) -> datetime:
    """When the occasion's message may go out at the earliest."""
    hours = policy.hours(occasion.kind)
    return hours.before(occasion.at, zone) if TRAITS[occasion.kind].reminder else hours.next(occasion.at, zone)


def one(kind: Kind, key: str, fields: dict[str, object], policy: Policy, zone: tzinfo, now: datetime) -> Message | None:
    """A message that others have decided on, to be sent from now on; None if the policy has turned its kind off."""
    if not policy.of(kind).on:
        return None
    return _message(Occasion(kind, key, now, fields=fields), policy, zone, now)


def _message(occasion: Occasion, policy: Policy, zone: tzinfo, now: datetime) -> Message | None:
    """None: not yet, or no more."""
    begin = begins(occasion, policy, zone)
    hours = policy.hours(occasion.kind)
    # What has happened waits for working hours in the outbox; a reminder of what is to come isn't written yet.
    if (begin if TRAITS[occasion.kind].reminder else occasion.at) > now:
        return None
    send_after = hours.next(max(begin, now), zone)
    # the days that nobody may be written to don't count against a message
    expires_at = occasion.deadline or hours.next(occasion.at, zone) + TRAITS[occasion.kind].valid
    if send_after >= expires_at:
        return None
    return Message(occasion.kind.value, occasion.key, send_after, expires_at, occasion.fields)


def occasions(facts: Facts, policy: Policy, now: datetime) -> Iterator[Occasion]:
    """All that the facts give rise to, past and to come."""
    for rule in _RULES:
        yield from rule(facts, policy, now)


Rule = Callable[[Facts, Policy, datetime], Iterator[Occasion]]


def _life(facts: Facts, policy: Policy, now: datetime) -> Iterator[Occasion]:
    if facts.just_ready:
        yield Occasion(Kind.WELCOME, "ready", now, fields=_common(facts))
    if facts.just_deleted:
        yield Occasion(Kind.DELETED, "deleted", now, fields=_common(facts))


def _trial(facts: Facts, policy: Policy, now: datetime) -> Iterator[Occasion]:
    subscription = facts.subscription
    if subscription is None or subscription.trial_end is None:
        return
    end = subscription.trial_end
    key = f"{subscription.subscription_id}/{_stamp(end)}"
    fields = {**_common(facts), "at": end.isoformat(), "has_payment_method": subscription.has_payment_method}
    if subscription.status == "trialing" and subscription.cancel_at is None:
        fields["amount"] = _money(subscription.renewal)
        yield from _before(Kind.TRIAL_ENDING, key, end, fields, policy, since=subscription.started)
    elif subscription.status in ("active", "paused") and end <= now:
        yield Occasion(Kind.TRIAL_ENDED, key, end, fields={**fields, "converted": subscription.status == "active"})


def _renewal(facts: Facts, policy: Policy, now: datetime) -> Iterator[Occasion]:
    subscription = facts.subscription
    if subscription is None or subscription.status != "active" or subscription.cancel_at is not None:
        return
    end = subscription.period_end
    if subscription.interval in policy.of(Kind.RENEWAL_UPCOMING).intervals:
        key = f"{subscription.subscription_id}/{_stamp(end)}"
        fields = {**_common(facts), "at": end.isoformat(), "amount": _money(subscription.renewal)}
        fields["interval"] = subscription.interval
        yield from _before(Kind.RENEWAL_UPCOMING, key, end, fields, policy, since=subscription.started)


def _card(facts: Facts, policy: Policy, now: datetime) -> Iterator[Occasion]:
    subscription = facts.subscription
    if subscription is None or subscription.card is None or subscription.cancel_at is not None:
        return
    if subscription.status not in ("active", "trialing", "past_due"):
        return
    card = subscription.card
    if not (1 <= card.exp_month <= 12 and 2000 <= card.exp_year < 9999):
        return
    end = datetime(card.exp_year + card.exp_month // 12, card.exp_month % 12 + 1, 1, tzinfo=UTC)
    key = f"{card.brand}-{card.last4}/{card.exp_year}-{card.exp_month:02}"
    fields = {**_common(facts), "at": (end - _DAY).isoformat(), "brand": card.brand, "last4": card.last4}
    yield from _before(Kind.CARD_EXPIRING, key, end, fields, policy)


def _payment(facts: Facts, policy: Policy, now: datetime) -> Iterator[Occasion]:
    # Who has not paid for the first time yet stands at the checkout, which says what is wrong.
    if facts.subscription is None or facts.subscription.status in ("canceled", "incomplete", "incomplete_expired"):
        return
    for invoice in facts.invoices:
        if invoice.attempts < 1:
            continue
        kind = Kind.PAYMENT_ACTION_REQUIRED if invoice.action_required else Kind.PAYMENT_FAILED
        fields = {**_common(facts), "amount": _money(invoice.amount), "attempt": invoice.attempts, "url": invoice.url}
        fields["next_attempt_at"] = None if invoice.next_attempt_at is None else invoice.next_attempt_at.isoformat()
        fields |= _next_step(facts)
        # An attempt is seen at once: when it was is not among Stripe's facts.
        yield Occasion(kind, f"{invoice.invoice_id}/{invoice.attempts}", now, fields=fields)


def _steps(facts: Facts, policy: Policy, now: datetime) -> Iterator[Occasion]:
    for step in facts.steps:
        if step.access in policy.of(Kind.ACCESS_AHEAD).steps and step.access is not Access.GRACE:
            fields = {**_common(facts), **_owed(facts), "access": step.access.value, "at": step.at.isoformat()}
            yield from _before(Kind.ACCESS_AHEAD, f"{step.access.value}/{_stamp(step.at)}", step.at, fields, policy)
    if facts.access_since is None or facts.access not in policy.of(Kind.ACCESS_CHANGED).steps:
        return
    if facts.access is Access.GRACE and any(invoice.attempts for invoice in facts.invoices):
        return  # the message about the failed payment says so
    paused = facts.subscription is not None and facts.subscription.status == "paused"
    if paused and _by_trial(facts.access_since, facts):
        return  # and that about the trial's end
    fields = {**_common(facts), **_owed(facts), **_next_step(facts), "access": facts.access.value}
    fields |= {"at": facts.access_since.isoformat(), "overdue": facts.overdue}
    yield Occasion(
        Kind.ACCESS_CHANGED, f"{facts.access.value}/{_stamp(facts.access_since)}", facts.access_since, fields=fields
    )


def _recovered(facts: Facts, policy: Policy, now: datetime) -> Iterator[Occasion]:
    if facts.recovery is not None and facts.access is Access.FULL:
        yield Occasion(
            Kind.RECOVERED,
            _stamp(facts.recovery.opened_at),
            facts.recovery.recovered_at,
            fields={**_common(facts), "at": facts.recovery.recovered_at.isoformat()},
        )


def _ending(facts: Facts, policy: Policy, now: datetime) -> Iterator[Occasion]:
    subscription = facts.subscription
    if subscription is None:
        return
    identifier, ended = subscription.subscription_id, subscription.status == "canceled"
    if subscription.cancel_at is not None and not ended:
        key, fields = f"{identifier}/{_stamp(subscription.cancel_at)}", _common(facts)
        fields["at"] = subscription.cancel_at.isoformat()
        yield Occasion(Kind.CANCELLATION_SCHEDULED, key, now, subscription.cancel_at, fields)
    if not ended or facts.access is not Access.RETAINED:
        return
    fields = {**_common(facts), "retain_until": None if facts.retain_until is None else facts.retain_until.isoformat()}
    if subscription.ended_at is not None:
        fields["at"] = subscription.ended_at.isoformat()
        fields["trial"] = _by_trial(subscription.ended_at, facts)
        yield Occasion(Kind.CANCELLED, f"{identifier}/{_stamp(subscription.ended_at)}", subscription.ended_at,
                       fields=fields)  # fmt: skip
    if facts.retain_until is not None:
        key = f"{identifier}/{_stamp(facts.retain_until)}"
        fields = {**fields, "at": facts.retain_until.isoformat()}
        yield from _before(Kind.DELETION_AHEAD, key, facts.retain_until, fields, policy)


_RULES: tuple[Rule, ...] = (_life, _trial, _renewal, _card, _payment, _steps, _recovered, _ending)


def _by_trial(moment: datetime, facts: Facts) -> bool:
    """Whether something happened because the trial ended without a payment method."""
    subscription = facts.subscription
    if subscription is None or subscription.trial_end is None or subscription.has_payment_method:
        return False
    return abs(moment - subscription.trial_end) < _DAY


def _before(
    kind: Kind,
    key: str,
    deadline: datetime,
    fields: dict[str, object],
    policy: Policy,
    *,
    since: datetime | None = None,
) -> Iterator[Occasion]:
    """A reminder for each of the policy's days; each ends where the next begins, so that a late start sends one.

    None for days before ``since``: whoever has just agreed to a date needs no reminder of it."""
    days = policy.days_before(kind)
    for index, before in enumerate(days):
        if since is not None and deadline - timedelta(days=before) < since:
            continue
        following = deadline - timedelta(days=days[index + 1]) if index + 1 < len(days) else deadline
        yield Occasion(kind, f"{key}/{before}", deadline - timedelta(days=before), following, fields)


def _common(facts: Facts) -> dict[str, object]:
    return {"tenant_id": facts.tenant_id, "plan": facts.plan_title}


def _owed(facts: Facts) -> dict[str, object]:
    """What would bring everything back, if it is one payment."""
    if len({invoice.amount.currency for invoice in facts.invoices}) != 1:
        return {}
    total = sum(invoice.amount.amount for invoice in facts.invoices)
    url = facts.invoices[0].url if len(facts.invoices) == 1 else None
    return {"amount": _money(Money(total, facts.invoices[0].amount.currency)), "url": url}


def _next_step(facts: Facts) -> dict[str, object]:
    for step in facts.steps:
        return {"next_access": step.access.value, "next_access_at": step.at.isoformat()}
    return {}


def _money(money: Money | None) -> dict[str, object] | None:
    return None if money is None else {"amount": money.amount, "currency": money.currency}


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
