"""What a tenant may do, against a table that was written by hand from what is promised, not from the code."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.spec import Access
from components.tiers import Tier
from provisioner.billing import access_table
from provisioner.billing.access_table import BEGAN, DAYS, situations
from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.history import (
    NO_HISTORY,
    Dispute,
    DisputeStatus,
    OpenInvoice,
    PaymentHistory,
    Refund,
)
from provisioner.billing.pricing import PlanPrice, PricingModel
from provisioner.billing.terms import Dunning, Terms
from provisioner.billing.translate import (
    CollectionPause,
    SubscriptionItemState,
    SubscriptionState,
    SubscriptionStatus,
)
from provisioner.billing.verdict import Reason, Verdict, judge

DAY = 86400
F, G, T, R, S, H, K, D = "full", "grace", "throttled", "read_only", "suspended", "hibernated", "retained", "deleted"

#: Situation -> access on the days 0, 7, 14, 21, 30 and 60 after it began.
ORACLE: dict[str, tuple[str, str, str, str, str, str]] = {
    "`trialing`": (F, F, F, F, F, F),
    "`trialing`, and the customer or its domain has had a trial": (S, S, S, S, S, S),
    "`active`": (F, F, F, F, F, F),
    "`active`, a coupon of 100 %: nothing is charged": (F, F, F, F, F, F),
    "`active`, cancelled at the period's end": (F, F, F, F, F, F),
    "`active`, `pause_collection` keep_as_draft": (F, F, F, F, F, F),
    "`active`, `pause_collection` mark_uncollectible": (F, F, F, F, F, F),
    "`active`, `pause_collection` void": (S, S, S, S, S, S),
    "`active`, a dispute warning_needs_response": (F, F, F, F, F, F),
    "`active`, a dispute warning_under_review": (F, F, F, F, F, F),
    "`active`, a dispute warning_closed": (F, F, F, F, F, F),
    "`active`, a dispute needs_response": (R, R, R, R, R, R),
    "`active`, a dispute under_review": (R, R, R, R, R, R),
    "`active`, a dispute won": (F, F, F, F, F, F),
    "`active`, a dispute lost": (S, S, S, S, S, S),
    "`active`, a dispute prevented": (F, F, F, F, F, F),
    "`active`, a dispute lost, and a later invoice paid": (F, F, F, F, F, F),
    "`active`, the period's payment refunded in full": (F, F, F, F, F, F),
    "`past_due`: Stripe retries": (G, T, R, S, H, H),
    "`unpaid`: Stripe has given up": (S, S, S, S, H, H),
    "`paused`: a trial ended without a payment method": (S, S, S, S, H, H),
    "`incomplete`: the first payment is open": (S, S, S, S, S, S),
    "`incomplete_expired`": (K, K, K, K, K, D),
    "`canceled`, with 60 days of retention": (K, K, K, K, K, D),
    "`unpaid`, and another subscription `active`": (F, F, F, F, F, F),
    "`canceled`, and another subscription `past_due`": (G, T, R, S, H, H),
    "no subscription": (K, K, K, K, K, K),
}


def test_the_table_is_about_exactly_these_situations() -> None:
    assert DAYS == (0, 7, 14, 21, 30, 60)
    assert [each.name for each in situations()] == list(ORACLE)
    assert {access for row in ORACLE.values() for access in row} == {access.value for access in Access}


@pytest.mark.parametrize("situation", situations(), ids=lambda each: each.name)
def test_every_cell_is_what_was_promised(situation: access_table.Situation) -> None:
    assert tuple(situation.access(days).value for days in DAYS) == ORACLE[situation.name]


# -- what the plan may say otherwise

ACTIVE, PAST_DUE, UNPAID = SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID
SEATED = (PlanPrice("team_monthly", "month", model=PricingModel.PER_SEAT), PlanPrice("calls", "month", meter="calls"))


def plan(terms: Terms, **changes: Any) -> Plan:
    return replace(access_table.PLAN, terms=terms, **changes)


def verdict(
    *subscriptions: SubscriptionState,
    days: float = 0,
    history: PaymentHistory = NO_HISTORY,
    terms: Terms | None = None,
    **plan_changes: Any,
) -> Verdict:
    catalogue = Catalogue("plans.toml", {"team": plan(terms or Terms(), **plan_changes)})
    now = datetime.fromtimestamp(BEGAN, UTC) + timedelta(days=days)
    return judge(subscriptions, history, catalogue, now)


def subscription(status: SubscriptionStatus, **changes: Any) -> SubscriptionState:
    return access_table.subscription(status, **changes)


def owed(since: int = BEGAN, subscription_id: str = "sub_1") -> PaymentHistory:
    return PaymentHistory(open_invoices=(OpenInvoice("in_1", subscription_id, since, None, 4),))


@pytest.mark.parametrize(
    ("dunning", "days", "access", "next_day"),
    [
        (Dunning(), 6.99, Access.GRACE, 7),
        (Dunning(), 7, Access.THROTTLED, 14),
        (Dunning(throttled_after=None), 13.9, Access.GRACE, 14),
        (Dunning(throttled_after=None, read_only_after=None), 20.9, Access.GRACE, 21),
        (Dunning(None, None, None, None), 900, Access.GRACE, None),
        (Dunning(throttled_after=timedelta(0)), 0, Access.THROTTLED, 14),
        (Dunning(hibernated_after=None), 400, Access.SUSPENDED, None),
        (Dunning(), 30, Access.HIBERNATED, None),
    ],
)
def test_the_way_down_has_the_plans_steps_and_says_when_the_next_one_comes(
    dunning: Dunning, days: float, access: Access, next_day: int | None
) -> None:
    found = verdict(subscription(PAST_DUE), days=days, history=owed(), terms=Terms(dunning=dunning))
    assert found.access is access
    assert found.reason is Reason.PAYMENT_OVERDUE
    assert found.next_change_at == (None if next_day is None else BEGAN + next_day * DAY)
    assert found.asleep is (access is Access.HIBERNATED)


def test_the_oldest_unpaid_invoice_counts_not_the_latest_period() -> None:
    history = PaymentHistory(
        open_invoices=(
            OpenInvoice("in_2", "sub_1", BEGAN, BEGAN + DAY, 1),
            OpenInvoice("in_1", "sub_1", BEGAN - 10 * DAY, None, 4),
            OpenInvoice("in_0", "sub_other", BEGAN - 99 * DAY, None, 4),
        )
    )
    assert verdict(subscription(PAST_DUE), history=history).access is Access.THROTTLED
    assert verdict(subscription(PAST_DUE), history=history).since == BEGAN - 3 * DAY


def test_an_unpaid_one_that_was_suspended_by_its_status_still_falls_asleep_in_time() -> None:
    found = verdict(subscription(UNPAID), days=1, history=owed())
    assert (found.access, found.next_change_at) == (Access.SUSPENDED, BEGAN + 30 * DAY)
    never = Terms(dunning=Dunning(hibernated_after=None))
    assert verdict(subscription(UNPAID), days=400, history=owed(), terms=never).access is Access.SUSPENDED


@pytest.mark.parametrize(
    ("status", "terms", "access"),
    [
        (DisputeStatus.NEEDS_RESPONSE, Terms(on_dispute=Access.FULL), Access.FULL),
        (DisputeStatus.UNDER_REVIEW, Terms(on_dispute=Access.SUSPENDED), Access.SUSPENDED),
        (DisputeStatus.LOST, Terms(on_dispute_lost=Access.READ_ONLY), Access.READ_ONLY),
        (DisputeStatus.WON, Terms(on_dispute=Access.SUSPENDED), Access.FULL),
    ],
)
def test_a_dispute_takes_what_the_plan_says(status: DisputeStatus, terms: Terms, access: Access) -> None:
    history = PaymentHistory(disputes=(Dispute("du_1", status, BEGAN, None),))
    assert verdict(subscription(ACTIVE), history=history, terms=terms).access is access


def test_a_dispute_about_another_subscription_takes_nothing() -> None:
    history = PaymentHistory(disputes=(Dispute("du_1", DisputeStatus.LOST, BEGAN, "sub_old"),))
    assert verdict(subscription(ACTIVE), history=history).access is Access.FULL


def test_a_dispute_never_gives_access_back() -> None:
    history = replace(owed(), disputes=(Dispute("du_1", DisputeStatus.UNDER_REVIEW, BEGAN, "sub_1"),))
    assert verdict(subscription(PAST_DUE), days=25, history=history).access is Access.SUSPENDED


@pytest.mark.parametrize(
    ("days", "paid_at", "access"),
    [(0, None, "suspended"), (29.9, None, "suspended"), (30, None, "full"), (1, BEGAN + 60, "full")],
)
def test_a_refund_counts_for_the_period_it_was_of(days: float, paid_at: int | None, access: str) -> None:
    history = PaymentHistory(
        refunds=(Refund("ch_1", BEGAN, "sub_1", BEGAN + 30 * DAY),),
        last_paid_at=() if paid_at is None else (("sub_1", paid_at),),
    )
    found = verdict(subscription(ACTIVE), days=days, history=history, terms=Terms(on_refund=Access.SUSPENDED))
    assert found.access.value == access
    if access == "suspended":
        assert found.next_change_at == BEGAN + 30 * DAY


@pytest.mark.parametrize(
    ("field", "at"), [("cancel_at", BEGAN + 3 * DAY), ("trial_end", BEGAN + 3 * DAY), ("resumes_at", BEGAN + 3 * DAY)]
)
def test_a_date_that_is_set_is_looked_at_when_it_comes(field: str, at: int) -> None:
    status = SubscriptionStatus.TRIALING if field == "trial_end" else ACTIVE
    pause = CollectionPause.VOID if field == "resumes_at" else None
    assert verdict(subscription(status, collection_paused=pause, **{field: at})).next_change_at == at


def test_what_has_ended_sleeps_after_a_day_and_is_kept_to_the_second() -> None:
    ended = subscription(SubscriptionStatus.CANCELED)
    assert not verdict(ended, days=0.9).asleep
    assert verdict(ended, days=0.9).next_change_at == BEGAN + DAY
    assert verdict(ended, days=1).asleep
    assert verdict(ended, days=1).next_change_at == BEGAN + 60 * DAY
    assert verdict(ended, days=60 - 1 / DAY).access is Access.RETAINED
    assert verdict(ended, days=60).access is Access.DELETED
    assert not verdict(ended, days=50, terms=Terms(asleep_after=None)).asleep


def test_of_several_ends_the_last_one_keeps_and_a_purchase_that_never_was_keeps_nothing() -> None:
    first = subscription(SubscriptionStatus.CANCELED)
    last = subscription(SubscriptionStatus.CANCELED, ended_at=BEGAN + DAY)
    never = subscription(SubscriptionStatus.INCOMPLETE_EXPIRED, ended_at=BEGAN + 9 * DAY)
    last, never = replace(last, subscription_id="sub_0"), replace(never, subscription_id="sub_9")
    assert verdict(first, last, never, days=10).retain_until == BEGAN + 61 * DAY
    assert verdict(never, first, days=10).retain_until == BEGAN + 60 * DAY
    assert verdict(never, days=10).retain_until == BEGAN + 69 * DAY


@pytest.mark.parametrize(
    ("items", "seats"),
    [
        ([("team_monthly", 7)], 7),
        ([("team_monthly", 7), ("calls", None)], 7),
        ([(None, 3)], 3),
        ([("team_monthly", 0)], 0),
    ],
)
def test_seats_are_the_quantity_that_is_paid_for(items: list[tuple[str | None, int | None]], seats: int) -> None:
    states = tuple(SubscriptionItemState(key, "price_1", quantity, BEGAN) for key, quantity in items)
    assert verdict(subscription(ACTIVE, items=states), prices=SEATED).seats == seats
    assert verdict(subscription(ACTIVE, items=states)).seats is None


# -- whatever Stripe can say


@st.composite
def states(draw: st.DrawFn) -> SubscriptionState:
    moments = st.integers(BEGAN - 100 * DAY, BEGAN + 100 * DAY)
    status = draw(st.sampled_from(SubscriptionStatus))
    return subscription(
        status,
        subscription_id=f"sub_{draw(st.integers(0, 9))}",
        plan=draw(st.sampled_from(["team", "gone"])) if status not in (ACTIVE, PAST_DUE) else "team",
        created=draw(moments),
        period_start=draw(moments),
        trial_end=draw(st.none() | moments),
        cancel_at=draw(st.none() | moments),
        canceled_at=draw(st.none() | moments),
        ended_at=draw(st.none() | moments) if status.ended else None,
        collection_paused=draw(st.sampled_from([None, *CollectionPause])),
        resumes_at=draw(st.none() | moments),
    )


@st.composite
def histories(draw: st.DrawFn) -> PaymentHistory:
    moments = st.integers(BEGAN - 100 * DAY, BEGAN + 100 * DAY)
    names = st.sampled_from([f"sub_{number}" for number in range(10)])
    invoices = st.builds(OpenInvoice, st.just("in"), names, moments, st.none())
    disputes = st.builds(Dispute, st.just("du"), st.sampled_from(DisputeStatus), moments, st.none() | names)
    refunds = st.builds(Refund, st.just("ch"), moments, st.none() | names, st.none() | moments)
    return PaymentHistory(
        open_invoices=tuple(draw(st.lists(invoices, max_size=3))),
        disputes=tuple(draw(st.lists(disputes, max_size=3))),
        refunds=tuple(draw(st.lists(refunds, max_size=2))),
        last_paid_at=tuple(draw(st.dictionaries(names, moments, max_size=3)).items()),
        refused_trials=frozenset(draw(st.sets(names, max_size=2))),
    )


SOME = st.lists(states(), max_size=5, unique_by=lambda each: each.subscription_id)
RANK = {access: position for position, access in enumerate(Access)}


@settings(deadline=None)
@given(SOME, histories(), st.floats(-90, 90), st.randoms(use_true_random=False))
def test_the_order_of_subscriptions_never_matters(
    found: list[SubscriptionState], history: PaymentHistory, days: float, random: Any
) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert verdict(*shuffled, days=days, history=history) == verdict(*found, days=days, history=history)


@settings(deadline=None)
@given(SOME, states(), histories(), st.floats(-90, 90))
def test_another_subscription_never_takes_access_away(
    found: list[SubscriptionState], other: SubscriptionState, history: PaymentHistory, days: float
) -> None:
    if found and other.subscription_id not in {each.subscription_id for each in found}:
        before, after = verdict(*found, days=days, history=history), verdict(*found, other, days=days, history=history)
        assert RANK[after.access] <= RANK[before.access]


@settings(deadline=None)
@given(SOME, histories(), st.floats(-90, 90), st.floats(0, 90))
def test_nothing_changes_before_the_time_it_names(
    found: list[SubscriptionState], history: PaymentHistory, days: float, later: float
) -> None:
    """Housekeeping looks again at ``next_change_at``, and at an event: what time alone changes must lie behind it."""
    first = verdict(*found, days=days, history=history)
    then = BEGAN + (days + later) * DAY
    if first.next_change_at is not None and then >= first.next_change_at:
        return
    # Stripe says itself, by an event, that another subscription's pause or refund period is over.
    second = verdict(*found, days=days + later, history=history)
    if RANK[second.access] > RANK[first.access]:
        pytest.fail(f"{first.access} became {second.access} unannounced")


@pytest.mark.parametrize("field", ["cancel_at", "trial_end", "resumes_at"])
def test_a_date_that_is_past_is_not_looked_at_again(field: str) -> None:
    """Stripe is late with what it does at its date: its event will tell."""
    status = SubscriptionStatus.TRIALING if field == "trial_end" else ACTIVE
    pause = CollectionPause.VOID if field == "resumes_at" else None
    found = verdict(subscription(status, collection_paused=pause, **{field: BEGAN + 3 * DAY}), days=3)
    assert found.next_change_at is None


@settings(deadline=None)
@given(SOME, histories(), st.integers(-90 * DAY, 90 * DAY))
def test_what_is_to_come_lies_ahead(found: list[SubscriptionState], history: PaymentHistory, seconds: int) -> None:
    """Or housekeeping would look at the tenant again and again."""
    said = verdict(*found, days=seconds / DAY, history=history)
    assert said.next_change_at is None or said.next_change_at > BEGAN + seconds - 1


@settings(deadline=None)
@given(SOME, histories(), st.floats(-90, 90))
def test_nothing_is_deleted_that_was_not_ended_and_kept_for_its_days(
    found: list[SubscriptionState], history: PaymentHistory, days: float
) -> None:
    said = verdict(*found, days=days, history=history)
    if said.access is Access.DELETED:
        assert all(each.status.ended for each in found)
        assert said.retain_until is not None
        assert said.retain_until <= BEGAN + days * DAY


def test_a_tier_is_no_matter_of_the_verdict() -> None:
    assert verdict(subscription(ACTIVE), tier=Tier.SILO).access is Access.FULL
