"""What a request makes of a subscription, and the items that say so to Stripe."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigurationInvalid
from provisioner.selling import amounts, change
from provisioner.selling.change import Decision, When
from provisioner.selling.errors import NotChangeable, SeatsRefused
from provisioner.selling.standing import NEXT_INTERVAL, NEXT_PLAN, NEXT_SEATS, Selection, Standing, standing
from tests.unit.provisioner.selling.plans import END, PRICES, START, catalogue, item, price, subscription

PLANS = catalogue()


def stands(*items: dict[str, Any], **changes: Any) -> Standing:
    found = standing("acme", [subscription(*items, **changes)], PLANS, livemode=False)
    assert found is not None
    return found


def decide(
    found: Standing, plan: str, interval: str = "month", seats: int | None = None, when: str = "auto"
) -> Decision:
    return change.change_plan(found, Selection(plan, interval, seats), PLANS, PRICES, When(when))


BASIC = stands(item("basic_monthly"))
TEAM = stands(item("team_monthly", 4))


@pytest.mark.parametrize(
    ("present", "plan", "interval", "seats", "at_once"),
    [
        (BASIC, "metered", "month", None, True),  # 2000 -> 5000
        (BASIC, "free_trial", "month", None, False),  # 2000 -> 1000
        (BASIC, "basic", "year", None, True),  # the same, for longer
        (stands(item("basic_annual")), "basic", "month", None, False),
        (BASIC, "team", "month", 1, False),  # 2000 -> 1500
        (BASIC, "team", "month", 2, True),  # 2000 -> 3000
        (TEAM, "basic", "month", None, False),  # 6000 -> 2000
        (TEAM, "team", "year", 4, True),
        (TEAM, "metered", "month", None, False),  # 6000 -> 5000
        (stands(item("team_annual", 4)), "metered", "month", None, False),  # compared by the month: 6000 -> 5000
        (stands(item("team_annual", 3)), "metered", "month", None, True),  # 4500 -> 5000
    ],
)
def test_more_begins_at_once_and_less_when_the_period_ends(
    present: Standing, plan: str, interval: str, seats: int | None, at_once: bool
) -> None:
    target = Selection(plan, interval, seats)
    expected = Decision(target) if at_once else Decision(present.selection, target)
    assert decide(present, plan, interval, seats) == expected
    assert decide(present, plan, interval, seats, "now") == Decision(target)
    assert decide(present, plan, interval, seats, "period_end") == Decision(present.selection, target)


def test_the_plan_in_force_is_no_change_and_ends_a_planned_one() -> None:
    for when in When:
        assert decide(TEAM, "team", "month", 4, when) == Decision(TEAM.selection)


def test_a_trial_has_nothing_to_keep() -> None:
    trial = stands(item("team_monthly", 4), status="trialing", trial_end=END)
    assert decide(trial, "basic") == Decision(Selection("basic", "month"))
    assert decide(trial, "basic", when="period_end") == Decision(Selection("basic", "month"))


def test_nothing_is_planned_for_after_the_end() -> None:
    ending = stands(item("team_monthly", 4), cancel_at=END, cancel_at_period_end=True)
    with pytest.raises(NotChangeable, match="ends before"):
        decide(ending, "basic")
    assert decide(ending, "team", "year", 4).later is None, "more is possible until then"


@given(seats=st.integers(1, 10), present=st.integers(1, 10), when=st.sampled_from(When))
def test_seats(seats: int, present: int, when: When) -> None:
    found = stands(item("team_monthly", present))
    decision = change.set_seats(found, seats, when)
    final = decision.later or decision.now
    assert final == replace(found.selection, seats=seats)
    if seats == present:
        assert decision == Decision(found.selection)
    elif when is When.NOW or (when is When.AUTO and seats > present):
        assert decision.later is None
    else:
        assert decision.now == found.selection, "what was paid for is kept until the period ends"


@given(seats=st.integers(1, 10))
def test_seats_keep_a_planned_change_of_plan(seats: int) -> None:
    found = stands(item("team_monthly", 4), schedule=planned("team", "year", 4))
    decision = change.set_seats(found, seats, When.AUTO)
    assert decision.later == Selection("team", "year", seats)
    assert decision.now.seats == max(4, seats)
    flat = stands(item("team_monthly", 4), schedule=planned("basic", "month", None))
    assert change.set_seats(flat, seats, When.AUTO).later == Selection("basic", "month")


def test_the_newest_number_of_seats_counts() -> None:
    found = stands(item("team_monthly", 4), schedule=planned("team", "month", 2))
    assert found.pending == Selection("team", "month", 2)
    assert change.set_seats(found, 4, When.AUTO) == Decision(found.selection)
    assert change.set_seats(found, 3, When.AUTO).later == Selection("team", "month", 3)
    assert change.set_seats(found, 5, When.AUTO) == Decision(Selection("team", "month", 5))


def planned(plan: str, interval: str, seats: int | None, *, begun: bool = False, **changes: Any) -> dict[str, Any]:
    metadata = {NEXT_PLAN: plan, NEXT_INTERVAL: interval}
    return {
        "id": "sub_sched_1",
        "status": "active",
        "end_behavior": "release",
        "metadata": metadata | ({NEXT_SEATS: str(seats)} if seats is not None else {}),
        "phases": [{"start_date": START, "end_date": END}, {"start_date": END, "end_date": END + 2_592_000}],
        "current_phase": {"start_date": END if begun else START, "end_date": END},
        **changes,
    }


def test_a_schedule_whose_last_phase_has_begun_plans_nothing() -> None:
    assert stands(item("basic_monthly"), schedule=planned("basic", "month", None, begun=True)).pending is None
    released = planned("basic", "month", None, status="released")
    assert stands(item("basic_monthly"), schedule=released).schedule is None


def test_a_schedule_of_the_dashboard_is_left_alone() -> None:
    foreign = planned("basic", "month", None, metadata={})
    with pytest.raises(NotChangeable, match="sub_sched_1"):
        stands(item("basic_monthly"), schedule=foreign).require_changeable()
    lost = {**foreign, "phases": foreign["phases"][:1]}  # ours: created, and its answer lost
    stands(item("basic_monthly"), schedule=lost).require_changeable()


@pytest.mark.parametrize("status", ["past_due", "unpaid", "paused", "incomplete"])
def test_what_is_not_paid_is_not_changed(status: str) -> None:
    with pytest.raises(NotChangeable, match=status):
        stands(item("basic_monthly"), status=status).require_changeable()


@pytest.mark.parametrize(
    ("plan", "wanted", "present", "used", "expected"),
    [
        ("team", 3, None, None, 3),
        ("team", None, 4, None, 4),
        ("team", None, None, None, 1),
        ("team", None, None, 3, 3),
        ("team", 10, None, 10, 10),
        ("team", 11, None, None, None),
        ("team", 0, None, None, None),
        ("team", 3, 4, 4, None),
        ("team", None, 20, None, None),
        ("basic", None, 4, 5, "flat"),
        ("basic", None, 4, 6, None),
        ("basic", 3, None, None, None),
        ("metered", None, 4, 1000, "flat"),
    ],
)
def test_bounds_of_seats(plan: str, wanted: int | None, present: int | None, used: int | None, expected: Any) -> None:
    def ask() -> int | None:
        return change.seats_for(PLANS.plan(plan), wanted, present=present, used=used)

    if expected is None:
        with pytest.raises(SeatsRefused) as refused:
            ask()
        assert refused.value.hint
    else:
        assert ask() == (None if expected == "flat" else expected)


def test_metered_prices_are_swapped_along() -> None:
    into = change.changed_items(BASIC, Selection("metered", "month"), PLANS, PRICES)
    base = "si_price_basic_monthly"
    assert into == [
        {"id": base, "price": "price_metered_monthly", "quantity": 1},
        {"price": "price_metered_calls_monthly"},
    ]
    metered = stands(item("metered_calls_monthly"), item("metered_monthly"))
    assert metered.base["price"]["id"] == "price_metered_monthly"
    out = change.changed_items(metered, Selection("team", "month", 3), PLANS, PRICES)
    assert out == [
        {"id": "si_price_metered_monthly", "price": "price_team_monthly", "quantity": 3},
        {"id": "si_price_metered_calls_monthly", "deleted": True},
    ]


def test_an_item_of_the_same_meter_is_kept_with_its_new_price() -> None:
    old = item("metered_calls_monthly", id="price_old", lookup_key=None)
    # from another plan whose use is counted by the same meter
    found = replace(stands(item("metered_monthly"), old), selection=Selection("basic", "month"))
    items = change.changed_items(found, Selection("metered", "month"), PLANS, PRICES)
    assert {"id": old["id"], "price": "price_metered_calls_monthly"} in items
    assert not any(each.get("deleted") for each in items)


def test_a_superseded_price_stays_within_its_plan() -> None:
    old = stands(item("team_monthly", 4, id="price_of_2025", lookup_key=None))
    assert old.selection == Selection("team", "month", 4)
    assert change.changed_items(old, Selection("team", "month", 6), PLANS, PRICES) == [
        {"id": "si_price_of_2025", "quantity": 6}
    ]
    assert change.later_items(old, Selection("team", "month", 2), PLANS, PRICES) == [
        {"price": "price_of_2025", "quantity": 2}
    ]
    assert change.later_items(old, Selection("team", "year", 2), PLANS, PRICES) == [
        {"price": "price_team_annual", "quantity": 2}
    ]


def test_phases_keep_discounts_and_taxes() -> None:
    found = stands(
        {**item("metered_monthly"), "discounts": ["di_2"], "tax_rates": [{"id": "txr_1"}]},
        item("metered_calls_monthly"),
        discounts=["di_1"],
        automatic_tax={"enabled": True},
    )
    until, after = change.phases(found, {"phases": [{"start_date": START}]}, [{"price": "p", "quantity": 1}], "year")
    assert until["items"] == [
        {
            "price": "price_metered_monthly",
            "quantity": 1,
            "discounts": [{"discount": "di_2"}],
            "tax_rates": ["txr_1"],
        },
        {"price": "price_metered_calls_monthly"},
    ]
    assert (until["start_date"], until["end_date"]) == (START, END)
    assert after["duration"] == {"interval": "year", "interval_count": 1}
    assert after["proration_behavior"] == "none"
    for phase in (until, after):
        assert phase["discounts"] == [{"discount": "di_1"}]
        assert phase["automatic_tax"] == {"enabled": True}


def test_a_price_that_stripe_lacks_is_named_with_its_fix() -> None:
    with pytest.raises(ConfigurationInvalid, match="basic_annual"):
        change.full_items(Selection("basic", "year"), PLANS, {})


def test_several_subscriptions_and_unreadable_ones() -> None:
    ended = subscription(item("basic_monthly"), id="sub_0", status="canceled")
    unpaid = subscription(item("basic_monthly"), id="sub_2", status="unpaid", created=START + 5)
    good = subscription(item("team_monthly", 2), id="sub_3")
    other = subscription(item("metered_monthly"), id="sub_4", metadata={"tenant_id": "globex"}, created=START + 9)
    strange = subscription(item("basic_monthly", lookup_key="gone", metadata={}), id="sub_5")
    found = standing("acme", [ended, unpaid, good, other, strange], PLANS, livemode=False)
    assert found is not None
    assert found.subscription_id == "sub_3"
    assert standing("acme", [ended, other], PLANS, livemode=False) is None
    with pytest.raises(NotChangeable, match="gone"):
        standing("acme", [ended, strange], PLANS, livemode=False)
    with pytest.raises(NotChangeable, match="2 items"):
        stands(item("basic_monthly"), item("basic_monthly", id="price_more"))


TIERS = [
    {"up_to": 5, "unit_amount": 1000, "flat_amount": None},
    {"up_to": 20, "unit_amount_decimal": "800.5", "flat_amount": 100},
    {"up_to": None, "unit_amount": 500, "flat_amount": 0},
]


@pytest.mark.parametrize(
    ("mode", "quantity", "expected"),
    [
        ("graduated", 0, "0"),
        ("graduated", 5, "5000"),
        ("graduated", 6, "5900.5"),
        ("graduated", 25, "19607.5"),
        ("volume", 5, "5000"),
        ("volume", 6, "4903"),
        ("volume", 30, "15000"),
    ],
)
def test_amounts_of_tiers(mode: str, quantity: int, expected: str) -> None:
    tiered = price("team_annual", billing_scheme="tiered", tiers_mode=mode, tiers=TIERS)
    assert amounts.amount(tiered, quantity) == Decimal(expected)
    assert amounts.monthly(tiered, quantity) == Decimal(expected) / 12
