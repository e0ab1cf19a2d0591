"""What a customer has bought: what can't be read is never taken for absent, neither for access nor for retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.tiers import Tier
from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.history import NO_HISTORY
from provisioner.billing.pricing import PlanPrice
from provisioner.billing.verdict import DEFAULT_RETENTION_DAYS, judge
from provisioner.subscriptions import SubscriptionUnreadable, bought

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CATALOGUE = Catalogue(
    "plans.toml",
    {
        "starter": Plan(
            name="starter",
            title="Starter",
            tier=Tier.POOL,
            prices=(PlanPrice("starter_monthly", "month"),),
            entitlements=(),
            limits={},
            retention_days=7,
            connection_limit=20,
            instance=None,
        )
    },
)


def document(identifier: str, status: str, *, price: str = "starter_monthly", **changes: Any) -> dict[str, Any]:
    start = int((NOW - 400 * DAY).timestamp())
    ends = {"canceled_at": None, "ended_at": None}
    return {
        "id": identifier,
        "object": "subscription",
        "livemode": False,
        "status": status,
        "customer": {"id": "cus_1", "object": "customer", "metadata": {}},
        "metadata": {"tenant_id": "acme"},
        "items": {
            "data": [
                {
                    "price": {"id": f"price_{price}", "lookup_key": price, "metadata": {}},
                    "quantity": 1,
                    "current_period_start": start,
                    "current_period_end": start + 30 * 86400,
                }
            ]
        },
        "created": start,
        **ends,
        **changes,
    }


def ended(identifier: str, days_ago: int, **changes: Any) -> dict[str, Any]:
    at = int((NOW - days_ago * DAY).timestamp())
    return document(identifier, "canceled", **{"canceled_at": at, "ended_at": at, **changes})


def states_of(*documents: dict[str, Any]) -> Any:
    return bought("acme", documents, CATALOGUE, expected_livemode=False).require_readable()


def test_data_outlives_a_plan_that_left_the_catalogue() -> None:
    """The one that ended yesterday retains the data, whatever older subscriptions would let go."""
    old, new = ended("sub_old", 300), ended("sub_new", 1, price="gone_monthly")
    assert judge(states_of(old), NO_HISTORY, CATALOGUE, NOW).access == "deleted"
    verdict = judge(states_of(old, new), NO_HISTORY, CATALOGUE, NOW)
    assert verdict.access == "retained"
    assert verdict.retain_until == int((NOW + (DEFAULT_RETENTION_DAYS - 1) * DAY).timestamp())


@pytest.mark.parametrize(
    "changes",
    [
        {"price": "gone_monthly"},
        {"metadata": {}},
        {"metadata": {}, "customer": {"id": "cus_1", "object": "customer", "deleted": True}},
        {"items": {"data": []}},
        {"cancel_at": "soon"},
    ],
)
def test_whatever_can_not_be_read_of_an_ended_subscription_its_end_counts(changes: dict[str, Any]) -> None:
    states = states_of(ended("sub_old", 300), ended("sub_new", 1, **changes))
    assert [state.subscription_id for state in states] == ["sub_old", "sub_new"]
    assert judge(states, NO_HISTORY, CATALOGUE, NOW).access == "retained"


@pytest.mark.parametrize(
    "document",
    [
        ended("sub_2", 1, price="gone_monthly", metadata={"tenant_id": "other"}),
        ended("sub_2", 1, livemode=True),
        ended("sub_2", 1, price="gone_monthly", created="long ago"),
        {**document("sub_2", "incomplete_expired", price="gone_monthly"), "ended_at": int(NOW.timestamp())},
    ],
)
def test_what_is_anothers_or_was_never_paid_for_retains_nothing(document: dict[str, Any]) -> None:
    assert [state.subscription_id for state in states_of(ended("sub_1", 300), document)] == ["sub_1"]


def test_one_that_may_give_access_and_can_not_be_read_stops_the_decision() -> None:
    with pytest.raises(SubscriptionUnreadable, match="sub_2"):
        states_of(ended("sub_1", 300), document("sub_2", "active", price="gone_monthly"))


def test_a_readable_one_that_pays_for_all_makes_up_for_another_that_can_not_be_read() -> None:
    paid, odd = document("sub_1", "active"), document("sub_2", "active", price="gone_monthly")
    assert [state.subscription_id for state in states_of(odd, paid)] == ["sub_1"]
    with pytest.raises(SubscriptionUnreadable, match="sub_2"):  # that one gives no service
        states_of(odd, {**paid, "pause_collection": {"behavior": "void", "resumes_at": None}})


@pytest.mark.parametrize("quantity", [-1, 2**31, 10**30])
def test_quantities_beyond_reason_are_not_believed(quantity: int) -> None:
    found = document("sub_1", "active")
    found["items"]["data"][0]["quantity"] = quantity
    with pytest.raises(SubscriptionUnreadable, match="quantity"):
        states_of(found)


def test_times_that_no_calendar_has_are_not_believed() -> None:
    with pytest.raises(SubscriptionUnreadable, match="cancel_at"):
        states_of(document("sub_1", "active", cancel_at=2**39))
