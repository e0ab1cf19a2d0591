"""Which messages a tenant is owed at a moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.spec import Access
from provisioner.notifications.due import LOOK_AGAIN, Due, due, one
from provisioner.notifications.facts import Card, Facts, Invoice, Money, Recipient, Recovery, Step, Subscription
from provisioner.notifications.kinds import TRAITS, Kind
from provisioner.notifications.policy import KindPolicy, Policy

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)  # a Tuesday
ANY_TIME = Policy(weekends=True)
ZONE = ZoneInfo("UTC")
DAY = timedelta(days=1)


def subscription(**changes: Any) -> Subscription:
    standard = Subscription(
        subscription_id="sub_1",
        status="active",
        interval="month",
        period_end=NOW + 20 * DAY,
        started=NOW - 100 * DAY,
        has_payment_method=True,
    )
    return replace(standard, **changes)


def facts(**changes: Any) -> Facts:
    standard = Facts("acme", 1, Recipient("a@example.com"), "Team", Access.FULL, subscription=subscription())
    return replace(standard, **changes)


def owed(**changes: Any) -> Invoice:
    standard = Invoice("in_1", "sub_1", NOW - DAY, Money(9900, "eur"), 1, NOW + 2 * DAY)
    return replace(standard, **changes)


def kinds(found: Due) -> list[str]:
    return sorted(message.kind for message in found.messages)


def ask(what: Facts, now: datetime = NOW, policy: Policy = ANY_TIME) -> Due:
    return due(what, policy, ZONE, now)


def test_who_pays_is_left_in_peace() -> None:
    found = ask(facts())
    assert found.messages == ()
    assert found.look_at == NOW + LOOK_AGAIN


def test_a_trials_end_is_announced_on_each_of_its_days_once() -> None:
    end = NOW + 10 * DAY
    trial = facts(subscription=subscription(status="trialing", trial_end=end, started=NOW - 20 * DAY, interval="year"))
    assert ask(trial).messages == ()
    assert ask(trial).look_at == end - 7 * DAY
    early, late = ask(trial, end - 7 * DAY), ask(trial, end - DAY / 2)
    assert kinds(early) == kinds(late) == ["trial_ending"]
    assert early.messages[0].occasion != late.messages[0].occasion
    # the first is of no use any more once the second is due
    assert early.messages[0].expires_at == end - DAY
    assert early.standing == late.standing
    assert ask(trial, end).messages == ()


def test_a_reminder_older_than_the_agreement_is_none() -> None:
    short = subscription(status="trialing", trial_end=NOW + 3 * DAY, started=NOW)
    assert ask(facts(subscription=short)).messages == ()
    assert kinds(ask(facts(subscription=short), NOW + 2 * DAY)) == ["trial_ending"]


@pytest.mark.parametrize(("status", "converted"), [("active", True), ("paused", False)])
def test_a_trial_has_ended(status: str, converted: bool) -> None:
    ended = subscription(status=status, trial_end=NOW - DAY, has_payment_method=converted)
    found = ask(facts(subscription=ended))
    assert kinds(found) == ["trial_ended"]
    assert found.messages[0].fields["converted"] is converted


def test_a_trial_that_ended_without_a_payment_method_is_told_once() -> None:
    paused = subscription(status="paused", trial_end=NOW - DAY, has_payment_method=False)
    closed = facts(subscription=paused, access=Access.SUSPENDED, access_since=NOW - DAY)
    assert kinds(ask(closed)) == ["trial_ended"]
    cancelled = subscription(status="canceled", trial_end=NOW - DAY, ended_at=NOW - DAY, has_payment_method=False)
    found = ask(facts(subscription=cancelled, access=Access.RETAINED, retain_until=NOW + 30 * DAY))
    assert kinds(found) == ["cancelled"]
    assert found.messages[0].fields["trial"] is True


def test_only_yearly_renewals_are_announced_unless_the_policy_says_otherwise() -> None:
    monthly = facts(subscription=subscription(period_end=NOW + 10 * DAY))
    yearly = facts(subscription=subscription(period_end=NOW + 10 * DAY, interval="year", renewal=Money(99000, "usd")))
    assert ask(monthly).messages == ()
    assert kinds(ask(yearly)) == ["renewal_upcoming"]
    assert ask(yearly).messages[0].fields["amount"] == {"amount": 99000, "currency": "usd"}
    all_of_them = Policy(weekends=True, kinds={Kind.RENEWAL_UPCOMING: KindPolicy(intervals=("month", "year"))})
    assert kinds(ask(monthly, policy=all_of_them)) == ["renewal_upcoming"]


@pytest.mark.parametrize(("month", "year", "days_left"), [(12, 2026, 31), (2, 2028, 29), (11, 2027, 30)])
def test_a_card_can_be_used_until_its_month_is_over(month: int, year: int, days_left: int) -> None:
    first = datetime(year, month, 1, tzinfo=UTC)
    what = facts(subscription=subscription(card=Card("Visa", "4242", month, year), period_end=first + 90 * DAY))
    assert ask(what, first + timedelta(days=days_left) - 31 * DAY).messages == ()
    assert kinds(ask(what, first + timedelta(days=days_left) - 7 * DAY)) == ["card_expiring"]
    assert ask(what, first + timedelta(days=days_left)).messages == ()


def test_each_failed_attempt_is_told_once_and_the_newest_only() -> None:
    first = facts(subscription=subscription(status="past_due"), invoices=(owed(),))
    second = replace(first, invoices=(owed(attempts=2),))
    assert kinds(ask(first)) == kinds(ask(second)) == ["payment_failed"]
    assert ask(first).messages[0].occasion != ask(second).messages[0].occasion
    assert ("payment_failed", "in_1/1") not in ask(second).standing  # what waits of it is taken back


def test_a_bank_that_wants_a_confirmation_is_another_message() -> None:
    what = facts(subscription=subscription(status="past_due"), invoices=(owed(action_required=True),))
    assert kinds(ask(what)) == ["payment_action_required"]


def test_nobody_is_told_of_a_first_payment_that_is_open() -> None:
    what = facts(subscription=subscription(status="incomplete"), invoices=(owed(),), access=Access.SUSPENDED)
    assert ask(what).messages == ()


@pytest.mark.parametrize("access", [Access.THROTTLED, Access.READ_ONLY, Access.SUSPENDED, Access.HIBERNATED])
def test_each_step_down_is_announced_before_and_at_it(access: Access) -> None:
    due_at = NOW + 10 * DAY
    what = facts(
        subscription=subscription(status="past_due"), invoices=(owed(attempts=0),), steps=(Step(access, due_at),)
    )
    assert ask(what).messages == ()
    before = ask(what, due_at - 3 * DAY)
    assert kinds(before) == ["access_ahead"]
    assert before.messages[0].fields["access"] == access.value
    assert before.messages[0].fields["amount"] == {"amount": 9900, "currency": "eur"}
    reached = replace(what, steps=(), access=access, access_since=due_at, overdue=True)
    assert kinds(ask(reached, due_at)) == ["access_changed"]
    # the payment arrived: what waits of both is taken back
    paid = ask(replace(what, steps=(), invoices=()), due_at)
    assert not {kind for kind, _ in paid.standing} & {"access_ahead", "access_changed"}


def test_grace_is_told_by_the_failed_payment_or_by_itself() -> None:
    grace = facts(subscription=subscription(status="past_due"), access=Access.GRACE, access_since=NOW)
    assert kinds(ask(replace(grace, invoices=(owed(),)))) == ["payment_failed"]
    assert kinds(ask(replace(grace, invoices=(owed(attempts=0),)))) == ["access_changed"]


def test_an_access_that_was_there_before_anybody_looked_is_no_news() -> None:
    assert ask(facts(access=Access.SUSPENDED, access_since=None)).messages == ()
    assert ask(facts(access=Access.SUSPENDED, access_since=NOW - 30 * DAY)).messages == ()


def test_a_payment_that_arrived_is_thanked_for_while_everything_is_back() -> None:
    back = facts(recovery=Recovery(NOW - 9 * DAY, NOW - DAY))
    assert kinds(ask(back)) == ["recovered"]
    assert ask(replace(back, access=Access.READ_ONLY)).messages == ()
    assert ask(back, NOW + 30 * DAY).messages == ()


def test_an_end_is_confirmed_told_and_followed_by_two_warnings() -> None:
    ends, kept = NOW + 5 * DAY, NOW + 35 * DAY
    scheduled = facts(subscription=subscription(cancel_at=ends, interval="year", period_end=ends))
    assert kinds(ask(scheduled)) == ["cancellation_scheduled"]
    over = facts(subscription=subscription(status="canceled", ended_at=ends), access=Access.RETAINED, retain_until=kept)
    assert kinds(ask(over, ends)) == ["cancelled"]
    told = [occasion for days in (15, 14, 10, 3, 1) for occasion in kinds(ask(over, kept - days * DAY))]
    assert told == ["deletion_ahead"] * 4  # on 14 and 10 the first, on 3 and 1 the second
    assert len({m.occasion for days in (14, 10, 3, 1) for m in ask(over, kept - days * DAY).messages}) == 2


def test_kinds_that_are_off_are_neither_sent_nor_waited_for() -> None:
    off = Policy(weekends=True, kinds={Kind.TRIAL_ENDING: KindPolicy(on=False)})
    trial = facts(subscription=subscription(status="trialing", trial_end=NOW + 3 * DAY))
    found = ask(trial, policy=off)
    assert found == Due((), frozenset(), NOW + LOOK_AGAIN)
    assert one(Kind.TRIAL_ENDING, "x", {}, off, ZONE, NOW) is None


def test_a_weekend_moves_a_reminder_forward_and_news_back() -> None:
    office = Policy(weekends=False, quiet_hours="20:00-08:00")
    saturday = datetime(2026, 12, 5, 12, tzinfo=UTC)
    trial = facts(subscription=subscription(status="trialing", trial_end=saturday + DAY, period_end=saturday + DAY))
    assert ask(trial, saturday - DAY, office).messages[0].send_after == saturday - DAY  # Friday
    failed = facts(subscription=subscription(status="past_due"), invoices=(owed(),))
    assert ask(failed, saturday, office).messages[0].send_after == datetime(2026, 12, 7, 8, tzinfo=UTC)
    welcome = ask(facts(just_ready=True), saturday, office)
    assert welcome.messages[0].send_after == saturday  # whoever waits for it is there


TIMES = st.integers(-60 * 24, 60 * 24).map(lambda hours: NOW + timedelta(hours=hours))
SUBSCRIPTIONS = st.builds(
    Subscription,
    subscription_id=st.just("sub_1"),
    status=st.sampled_from(
        ["trialing", "active", "past_due", "unpaid", "paused", "incomplete", "incomplete_expired", "canceled"]
    ),
    interval=st.sampled_from(["month", "year", None]),
    period_end=TIMES,
    started=st.none() | TIMES,
    trial_end=st.none() | TIMES,
    cancel_at=st.none() | TIMES,
    ended_at=st.none() | TIMES,
    has_payment_method=st.booleans(),
    card=st.none() | st.builds(Card, st.just("Visa"), st.just("4242"), st.integers(-1, 14), st.integers(0, 12_000)),
    renewal=st.none() | st.builds(Money, st.integers(0, 10**9), st.just("eur")),
)
INVOICES = st.builds(
    Invoice,
    invoice_id=st.sampled_from(["in_1", "in_2"]),
    subscription_id=st.just("sub_1"),
    owed_since=TIMES,
    amount=st.builds(Money, st.integers(0, 10**9), st.sampled_from(["eur", "usd"])),
    attempts=st.integers(0, 9),
    next_attempt_at=st.none() | TIMES,
    action_required=st.booleans(),
)
ANY_FACTS = st.builds(
    Facts,
    tenant_id=st.just("acme"),
    generation=st.just(1),
    recipient=st.just(Recipient("a@example.com")),
    plan_title=st.none() | st.just("Team"),
    access=st.sampled_from(list(Access)),
    access_since=st.none() | TIMES,
    overdue=st.booleans(),
    subscription=st.none() | SUBSCRIPTIONS,
    invoices=st.lists(INVOICES, max_size=2, unique_by=lambda each: each.invoice_id).map(tuple),
    steps=st.lists(st.builds(Step, st.sampled_from(list(Access)), TIMES), max_size=3).map(tuple),
    recovery=st.none() | st.builds(Recovery, TIMES, TIMES),
    retain_until=st.none() | TIMES,
    just_ready=st.booleans(),
    just_deleted=st.booleans(),
)
POLICIES = st.builds(
    Policy, weekends=st.booleans(), quiet_hours=st.sampled_from(["", "20:00-08:00", "12:00-13:00", "00:00-23:59"])
)
ANY_ZONE = st.sampled_from([ZONE, ZoneInfo("Europe/Vienna"), ZoneInfo("Pacific/Apia")])


@given(ANY_FACTS, POLICIES, ANY_ZONE, TIMES)
def test_whatever_the_facts_are_the_answer_is_sound(what: Facts, policy: Policy, zone: ZoneInfo, now: datetime) -> None:
    found = due(what, policy, zone, now)
    assert now < found.look_at <= now + LOOK_AGAIN
    keys = [(message.kind, message.occasion) for message in found.messages]
    assert len(keys) == len(set(keys))
    assert set(keys) <= found.standing
    for message in found.messages:
        assert now <= message.send_after < message.expires_at
        hours = policy.hours(Kind(message.kind))
        assert hours.allow(message.send_after, zone)
        if not policy.weekends and not TRAITS[Kind(message.kind)].any_time:
            assert message.send_after.astimezone(zone).weekday() < 5
    # asked again, it says the same; nothing depends on what was sent
    assert due(what, policy, zone, now) == found


@given(ANY_FACTS, ANY_ZONE, st.lists(TIMES, min_size=2, max_size=20))
def test_who_looks_often_and_who_looks_seldom_agree_on_the_keys(
    what: Facts, zone: ZoneInfo, moments: list[datetime]
) -> None:
    """However often and when it is asked, the same occasion has the same key: the outbox can tell."""
    keys = {
        frozenset(key for key in due(what, ANY_TIME, zone, moment).standing if key[0] != Kind.TRIAL_ENDED)
        for moment in moments  # that a trial has ended is true from its end on
    }
    assert len(keys) == 1
