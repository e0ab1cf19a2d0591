"""What a tenant should be: pure rules, checked for every history of subscriptions that Stripe can send."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.spec import ENFORCED_ACCESS, Access, Budget, Environment, InstanceSpec, TenantSpec
from components.tiers import TIERS, Tier
from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.history import NO_HISTORY
from provisioner.billing.pricing import PlanPrice
from provisioner.billing.translate import CollectionPause, SubscriptionState, SubscriptionStatus
from provisioner.billing.verdict import Verdict, judge
from provisioner.desired import Course, Decision, Installation, Standing, decide
from provisioner.entitlements import Entitled
from provisioner.lifecycle import TenantState, may_move

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INSTALLATION = Installation("demo", Environment.PRODUCTION, 2)
DAY = timedelta(days=1)


def plan(name: str, tier: Tier, retention_days: int = 30, **changes: Any) -> Plan:
    return Plan(
        **{
            "name": name,
            "title": name.title(),
            "tier": tier,
            "prices": (PlanPrice(f"{name}_monthly", "month"),),
            "entitlements": ("reports", name),
            "limits": {"seats": len(name)},
            "retention_days": retention_days,
            "connection_limit": 20,
            "instance": InstanceSpec() if TIERS[tier].own_instance else None,
            **changes,
        }
    )


CATALOGUE = Catalogue(
    "plans.toml",
    {
        each.name: each
        for each in (
            plan("starter", Tier.POOL, 7),
            plan("team", Tier.BRIDGE),
            plan("enterprise", Tier.SILO, 90),
        )
    },
)
ENDED = [status for status in SubscriptionStatus if status.ended]
GRANTING = [SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING, SubscriptionStatus.PAST_DUE]


def subscription(status: SubscriptionStatus = SubscriptionStatus.ACTIVE, **changes: Any) -> SubscriptionState:
    return SubscriptionState(
        **{
            "subscription_id": "sub_1",
            "customer_id": "cus_1",
            "tenant_id": "acme",
            "status": status,
            "plan": "team",
            "items": (),
            "created": int((NOW - 60 * DAY).timestamp()),
            "period_start": int((NOW - DAY).timestamp()),
            "current_period_end": int((NOW + 30 * DAY).timestamp()),
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "ended_at": int((NOW - DAY).timestamp()) if status.ended else None,
            "trial_end": None,
            "collection_paused": None,
            "livemode": False,
            **changes,
        }
    )


def spec(tier: Tier = Tier.BRIDGE, **changes: Any) -> TenantSpec:
    return TenantSpec.model_validate(
        {
            "installation": "demo",
            "environment": Environment.PRODUCTION,
            "tenant_id": "acme",
            "cell": "default",
            "tier": tier,
            "plan": "team",
            "instance": InstanceSpec(instance_class="db.m7g.large") if TIERS[tier].own_instance else None,
            "app_schema_version": 1,
            **changes,
        }
    )


def standing(state: TenantState = TenantState.READY, tenant_spec: TenantSpec | None = None, **changes: Any) -> Standing:
    stands = state not in (TenantState.PENDING, TenantState.DESTROYED)
    return Standing(
        **{
            "tenant_id": "acme",
            "generation": 1,
            "cell": "default",
            "epoch": 1,
            "state": state,
            "plan": "team" if stands else None,
            "spec": (tenant_spec or spec()) if stands else None,
            "retain_until": None,
            "destruction_authorised": False,
            **changes,
        }
    )


def ask(who: Standing, *subscriptions: SubscriptionState, now: datetime = NOW) -> Decision:
    return decide(who, subscriptions, CATALOGUE, INSTALLATION, now)


# Strategies: everything that Stripe and the registry can say

#: Few of them, so that subscriptions of the same second meet; and any.
MOMENTS = st.sampled_from([int((NOW - days * DAY).timestamp()) for days in (1, 50)]) | st.integers(
    int((NOW - 200 * DAY).timestamp()), int(NOW.timestamp())
)


@st.composite
def subscription_states(draw: st.DrawFn) -> SubscriptionState:
    status = draw(st.sampled_from(SubscriptionStatus))
    return subscription(
        status,
        subscription_id=f"sub_{draw(st.integers(0, 99))}",
        plan=draw(st.sampled_from(sorted(CATALOGUE.plans))),
        created=draw(MOMENTS),
        canceled_at=draw(st.none() | MOMENTS),
        ended_at=draw(MOMENTS) if status.ended else None,
        collection_paused=draw(st.sampled_from([None, *CollectionPause])),
        period_start=draw(MOMENTS),
        cancel_at_period_end=draw(st.booleans()),
    )


def histories(min_size: int = 0) -> st.SearchStrategy[list[SubscriptionState]]:
    return st.lists(subscription_states(), min_size=min_size, max_size=5, unique_by=lambda each: each.subscription_id)


@st.composite
def standings(draw: st.DrawFn, *, stands: bool | None = None) -> Standing:
    states = [
        state
        for state in TenantState
        if stands is None or stands is (state not in (TenantState.PENDING, TenantState.DESTROYED))
    ]
    epoch, cell = draw(st.integers(1, 9)), draw(st.sampled_from(["default", "eu1"]))
    return standing(
        draw(st.sampled_from(states)),
        spec(
            draw(st.sampled_from(Tier)),
            plan=draw(st.sampled_from(sorted(CATALOGUE.plans))),
            epoch=epoch,
            cell=cell,
            access=draw(st.sampled_from(ENFORCED_ACCESS)),
            installation=draw(st.sampled_from(["demo", "former"])),
        ),
        epoch=epoch,
        cell=cell,
        plan=draw(st.sampled_from(sorted(CATALOGUE.plans))),
        retain_until=draw(st.none() | st.integers(-40, 40).map(lambda days: NOW + days * DAY)),
        destruction_authorised=draw(st.booleans()),
    )


def verdict(states: list[SubscriptionState], now: datetime = NOW) -> Verdict:
    return judge(states, NO_HISTORY, CATALOGUE, now)


@settings(deadline=None)
@given(standings(), histories(), st.randoms(use_true_random=False))
def test_the_decision_does_not_depend_on_the_order_of_subscriptions(
    who: Standing, states: list[SubscriptionState], random: Any
) -> None:
    shuffled = list(states)
    random.shuffle(shuffled)
    assert ask(who, *shuffled) == ask(who, *states)


# What stands


@settings(deadline=None)
@given(standings(stands=True), histories())
def test_a_standing_tenant_never_changes_tier_cell_epoch_or_name(
    who: Standing, states: list[SubscriptionState]
) -> None:
    decision = ask(who, *states)
    assert who.spec is not None
    assert decision.spec is not None
    for name in ("tier", "cell", "epoch", "generation", "tenant_id", "installation"):
        assert getattr(decision.spec, name) == getattr(who.spec, name), name
    assert decision.placed_tier == who.spec.tier


@settings(deadline=None)
@given(standings(), histories())
def test_the_access_is_the_verdicts_and_the_stack_enforces_it(who: Standing, states: list[SubscriptionState]) -> None:
    decision, said = ask(who, *states), verdict(states)
    if who.state is TenantState.DESTROYING:
        assert decision.access is Access.DELETED
    elif said.access.serves:
        assert decision.access is said.access
        assert decision.state is TenantState.READY
        assert decision.course in (Course.CONVERGE, Course.REVIVE)
        assert decision.retain_until is None
        assert decision.spec is not None
        assert decision.spec.access is (Access.READ_ONLY if said.access is Access.READ_ONLY else Access.FULL)
    else:
        assert not decision.access.serves
        assert decision.entitled == Entitled()
        if decision.spec is not None:
            assert decision.spec.access in (Access.SUSPENDED, Access.HIBERNATED)


@settings(deadline=None)
@given(standings(stands=True), histories())
def test_only_an_instance_of_its_own_sleeps_and_nothing_of_it_changes_meanwhile(
    who: Standing, states: list[SubscriptionState]
) -> None:
    decision = ask(who, *states)
    assert who.spec is not None
    assert decision.spec is not None
    if decision.spec.access is Access.HIBERNATED:
        assert TIERS[who.spec.tier].own_instance
        assert decision.spec == who.spec.model_copy(update={"access": Access.HIBERNATED})


@settings(deadline=None)
@given(standings(), histories())
def test_every_decision_is_a_legal_move(who: Standing, states: list[SubscriptionState]) -> None:
    decision = ask(who, *states)
    via = {
        Course.NOTHING: who.state,
        Course.CONVERGE: TenantState.PROVISIONING if who.spec is None else who.state,
        Course.DESTROY: TenantState.DESTROYING,
        Course.REVIVE: TenantState.PENDING,
    }[decision.course]
    assert may_move(who.state, via), (who.state, via)
    if decision.course is not Course.REVIVE:
        assert may_move(via, decision.state), (via, decision.state)


@settings(deadline=None)
@given(standings(), histories())
def test_nothing_stands_and_nothing_is_paid_is_the_only_reason_to_do_nothing(
    who: Standing, states: list[SubscriptionState]
) -> None:
    decision = ask(who, *states)
    idle = who.spec is None and not verdict(states).access.serves
    assert (decision.course is Course.NOTHING) is idle
    assert (decision.spec is None) is idle
    assert (decision.course is Course.REVIVE) is (who.state is TenantState.DESTROYED and not idle)


@settings(deadline=None)
@given(standings(stands=True), histories())
def test_what_was_decided_and_done_is_decided_again(who: Standing, states: list[SubscriptionState]) -> None:
    """Level-triggered: a repeated look at the same facts changes nothing."""
    first = ask(who, *states)
    assume(first.course is Course.CONVERGE)
    done = replace(who, spec=first.spec, state=first.state, plan=first.plan, retain_until=first.retain_until)
    second = ask(done, *states)
    assert (second.course, second.spec, second.state, second.retain_until) == (
        Course.CONVERGE,
        first.spec,
        first.state,
        first.retain_until,
    )


def test_a_first_payment_builds_what_the_plan_says() -> None:
    decision = ask(standing(TenantState.PENDING, cell="eu1", epoch=3), subscription(plan="enterprise"))
    assert decision.course is Course.CONVERGE
    assert decision.spec == TenantSpec(
        installation="demo",
        environment=Environment.PRODUCTION,
        tenant_id="acme",
        cell="eu1",
        tier=Tier.SILO,
        plan="enterprise",
        epoch=3,
        instance=InstanceSpec(),
        app_schema_version=2,
    )
    assert (decision.entitled.features, decision.entitled.limits) == (("reports", "enterprise"), {"seats": 10})
    assert decision.pending_graduation is None


@pytest.mark.parametrize(("stands_in", "pays_for"), [(Tier.POOL, "enterprise"), (Tier.SILO, "starter")])
def test_another_tier_is_entitled_at_once_and_waits_for_its_graduation(stands_in: Tier, pays_for: str) -> None:
    decision = ask(standing(tenant_spec=spec(stands_in)), subscription(plan=pays_for))
    assert decision.entitled_tier is decision.pending_graduation is CATALOGUE.plans[pays_for].tier
    assert decision.placed_tier is stands_in
    assert decision.entitled.features == ("reports", pays_for)
    assert decision.spec is not None
    assert decision.spec.tier is stands_in
    assert "until it graduates" in decision.why
    if stands_in is Tier.SILO:  # its instance is the one that stands
        assert decision.spec.instance == InstanceSpec(instance_class="db.m7g.large")


SMALL, LARGE = Budget(max_resources=10, monthly_usd=5), Budget(max_resources=50, monthly_usd=150)
BUDGETED = Catalogue(
    "plans.toml",
    {
        "team": plan("team", Tier.BRIDGE, budget=SMALL),
        "enterprise": plan("enterprise", Tier.SILO, budget=LARGE),
        "starter": plan("starter", Tier.POOL),
    },
)


@pytest.mark.parametrize(
    ("stands_in", "before", "pays_for", "budget"),
    [
        (Tier.SILO, None, "enterprise", LARGE),
        # What a smaller plan pays for must not stop the updates of what still stands.
        (Tier.SILO, LARGE, "team", LARGE),
        (Tier.SILO, None, "team", None),
        (Tier.BRIDGE, SMALL, "enterprise", SMALL),
        (Tier.POOL, SMALL, "starter", None),
    ],
)
def test_the_budget_is_the_plans_of_the_tier_that_stands(
    stands_in: Tier, before: Budget | None, pays_for: str, budget: Budget | None
) -> None:
    where = standing(tenant_spec=spec(stands_in, budget=before))
    decision = decide(where, [subscription(plan=pays_for)], BUDGETED, INSTALLATION, NOW)
    assert decision.spec is not None
    assert decision.spec.budget == budget


def test_a_spec_of_before_there_were_budgets_is_read() -> None:
    old = spec().model_dump(mode="json", exclude={"budget"})
    assert TenantSpec.model_validate_json(json.dumps(old)) == spec()


def test_a_larger_instance_of_the_same_tier_is_applied() -> None:
    decision = ask(standing(tenant_spec=spec(Tier.SILO)), subscription(plan="enterprise"))
    assert decision.spec is not None
    assert decision.spec.instance == InstanceSpec()
    assert decision.spec.app_schema_version == 2


# Ending


@pytest.mark.parametrize("status", [status for status in SubscriptionStatus if status not in GRANTING])
def test_without_a_payment_access_is_closed_and_the_data_stays(status: SubscriptionStatus) -> None:
    decision = ask(standing(), subscription(status))
    assert decision.course is Course.CONVERGE
    assert decision.spec is not None
    assert (decision.spec.access, decision.spec.protect) == (Access.SUSPENDED, True)
    assert decision.state is (TenantState.RETAINED if status.ended else TenantState.SUSPENDED)
    assert (decision.retain_until is not None) is status.ended


@settings(deadline=None)
@given(standings(stands=True), histories(), st.integers(-400, 400))
def test_nothing_is_destroyed_before_its_time(who: Standing, states: list[SubscriptionState], days: int) -> None:
    """Only an operator's word, a destruction that has begun, or an end longer ago than the plan retains destroys."""
    now = NOW + days * DAY
    decision = ask(who, *states, now=now)
    if decision.course is not Course.DESTROY:
        assert decision.spec is not None
        assert decision.spec.protect
        return
    assert decision.spec is not None
    assert not decision.spec.protect
    assert decision.spec.final_snapshot
    if who.state is TenantState.DESTROYING or who.destruction_authorised:
        return
    said = verdict(states, now)
    if said.subscription is None:
        assert who.retain_until is not None
        assert who.retain_until <= now
        return
    ends = [
        datetime.fromtimestamp(at, UTC) + timedelta(days=CATALOGUE.plans[state.plan].retention_days)
        for state in states
        if (at := state.ended_at if state.ended_at is not None else state.canceled_at) is not None
        and (state.status is SubscriptionStatus.CANCELED or said.subscription.status is not SubscriptionStatus.CANCELED)
    ]
    assert all(state.status.ended for state in states)
    assert max(ends) <= now


@pytest.mark.parametrize(("name", "days"), [("starter", 7), ("team", 30), ("enterprise", 90)])
def test_data_is_retained_for_the_plans_days_to_the_second(name: str, days: int) -> None:
    ended = subscription(SubscriptionStatus.CANCELED, plan=name, ended_at=int(NOW.timestamp()))
    until = NOW + timedelta(days=days)
    before = ask(standing(), ended, now=until - timedelta(seconds=1))
    assert (before.course, before.retain_until) == (Course.CONVERGE, until)
    assert ask(standing(), ended, now=until).course is Course.DESTROY


def test_a_deleted_customers_data_is_retained_from_when_it_was_noticed() -> None:
    first = ask(standing())
    assert first.retain_until == NOW + 30 * DAY
    later = standing(TenantState.RETAINED, retain_until=first.retain_until)
    assert ask(later, now=NOW + 29 * DAY).retain_until == first.retain_until
    assert ask(later, now=NOW + 30 * DAY).course is Course.DESTROY


def test_a_payment_calls_an_authorised_destruction_off_until_it_has_begun() -> None:
    authorised = standing(TenantState.RETAINED, destruction_authorised=True)
    assert ask(authorised, subscription(SubscriptionStatus.CANCELED)).course is Course.DESTROY
    assert ask(authorised, subscription()).course is Course.CONVERGE
    assert ask(standing(TenantState.DESTROYING), subscription()).course is Course.DESTROY


def test_a_destroyed_tenant_that_pays_again_begins_another_life() -> None:
    gone = standing(TenantState.DESTROYED)
    assert ask(gone, subscription(SubscriptionStatus.CANCELED)).course is Course.NOTHING
    decision = ask(gone, subscription())
    assert decision.course is Course.REVIVE
    assert decision.access is Access.FULL


@pytest.mark.parametrize(
    ("status", "access"),
    [
        (SubscriptionStatus.ACTIVE, Access.FULL),
        (SubscriptionStatus.TRIALING, Access.FULL),
        (SubscriptionStatus.PAST_DUE, Access.GRACE),
    ],
)
def test_grace_and_trials_change_nothing_of_what_stands(status: SubscriptionStatus, access: Access) -> None:
    decision = ask(standing(), subscription(status))
    assert decision.access is access
    assert decision.spec is not None
    assert decision.spec.access is Access.FULL


def test_a_plan_that_left_the_catalogue_closes_access_without_changing_what_stands() -> None:
    without = Catalogue("plans.toml", {"starter": CATALOGUE.plans["starter"]})
    who = standing(tenant_spec=spec(Tier.SILO))
    decision = decide(who, [subscription(SubscriptionStatus.UNPAID)], without, INSTALLATION, NOW)
    assert who.spec is not None
    assert decision.spec == who.spec.model_copy(update={"access": Access.SUSPENDED, "app_schema_version": 2})
    assert decision.plan == "team"


def test_an_access_that_stripe_does_not_date_began_when_it_was_decided() -> None:
    paused = ask(standing(), subscription(collection_paused=CollectionPause.VOID))
    assert (paused.access, paused.access_since) == (Access.SUSPENDED, NOW)
    paid = ask(standing(), subscription())
    assert paid.access_since == NOW - 60 * DAY


def test_retention_that_was_promised_is_kept_though_its_plan_retains_less_now() -> None:
    ended = subscription(SubscriptionStatus.CANCELED, ended_at=int((NOW - 40 * DAY).timestamp()))
    promised = standing(TenantState.RETAINED, retain_until=NOW + 50 * DAY)  # of 90 days; the plan has 30 now
    kept = ask(promised, ended)
    assert (kept.course, kept.access, kept.retain_until) == (Course.CONVERGE, Access.RETAINED, NOW + 50 * DAY)
    assert kept.review_at == NOW + 50 * DAY
    assert ask(promised, ended, now=NOW + 50 * DAY).course is Course.DESTROY
    assert ask(standing(TenantState.RETAINED), ended).course is Course.DESTROY


def test_a_customer_on_a_test_clock_is_reviewed_when_its_clock_moves() -> None:
    """Its dates are not the account's: one that the account has passed would be due again and again."""
    ends = int((NOW + DAY).timestamp())
    trial = subscription(SubscriptionStatus.TRIALING, trial_end=ends)
    assert ask(standing(), trial).review_at == NOW + DAY
    assert ask(standing(), replace(trial, test_clock="clock_1")).review_at is None
