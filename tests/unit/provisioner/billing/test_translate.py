from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.billing import catalogue_file, fake, webhooks
from provisioner.billing.translate import (
    PLAN_KEY,
    CollectionPause,
    ReconcileHint,
    Refetch,
    SubscriptionState,
    SubscriptionStatus,
    hint_of,
    is_paid,
    subscription_state,
    tenant_of,
)
from provisioner.errors import Quarantined

CREATED = 1_790_000_000
PLANS = catalogue_file.parse(
    """
    [plans.starter]
    tier = "pool"
    [[plans.starter.prices]]
    lookup_key = "starter_monthly"
    interval = "month"
    [[plans.starter.prices]]
    lookup_key = "starter_annual"
    interval = "year"

    [plans.team]
    tier = "bridge"
    prices = [{ lookup_key = "team_monthly", interval = "month" }]
    """,
    "plans.toml",
)


def document(**changes: Any) -> dict[str, Any]:
    made = fake.subscription_document("sub_1", "acme", "team_monthly", created=CREATED)
    made["customer"] = fake.customer_document("cus_1")
    return {**made, **changes}


def items(*prices: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [
            {
                "object": "subscription_item",
                "current_period_start": CREATED - number,
                "current_period_end": CREATED + number,
                "price": price,
                "quantity": 1,
                **changes,
            }
            for number, price in enumerate(prices)
        ],
    }


def read(**changes: Any) -> SubscriptionState:
    return subscription_state(document(**changes), PLANS, expected_livemode=False)


def quarantined(**changes: Any) -> Quarantined:
    with pytest.raises(Quarantined) as error:
        read(**changes)
    assert error.value.hint, "an operator is told what to do"
    return error.value


def test_a_subscription_is_read() -> None:
    state = read(
        trial_end=CREATED + 5, cancel_at=CREATED + 9, cancel_at_period_end=True, pause_collection={"behavior": "void"}
    )
    assert (state.subscription_id, state.customer_id, state.tenant_id, state.plan) == ("sub_1", "cus_1", "acme", "team")
    assert (state.trial_end, state.cancel_at, state.cancel_at_period_end) == (CREATED + 5, CREATED + 9, True)
    assert (state.created, state.ended_at, state.canceled_at, state.livemode) == (CREATED, None, None, False)
    assert state.collection_paused is CollectionPause.VOID
    assert state.items[0].lookup_key == "team_monthly"


@pytest.mark.parametrize("status", list(SubscriptionStatus))
def test_every_status_of_stripes_is_known_and_is_paid_or_not(status: SubscriptionStatus) -> None:
    state = read(status=status.value)
    assert state.status is status
    assert is_paid(state) == (status.value in ("active", "trialing"))
    assert status.ended == (status.value in ("canceled", "incomplete_expired"))


def test_the_librarys_statuses_are_ours() -> None:
    """A status that a newer library knows would be quarantined: then this has to be looked at."""
    import re
    from pathlib import Path

    import stripe

    source = Path(stripe.__file__).with_name("_subscription.py").read_text()
    listed = re.search(r"^    status: Union\[\s*Literal\[(.*?)\]", source, re.DOTALL | re.MULTILINE)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed.group(1))) == {status.value for status in SubscriptionStatus}


def test_a_period_ends_when_the_first_items_does() -> None:
    state = read(items=items(fake.price_document("starter_annual"), fake.price_document("starter_monthly")))
    assert state.current_period_end == CREATED
    assert (state.plan, [item.lookup_key for item in state.items]) == ("starter", ["starter_annual", "starter_monthly"])


def test_a_metered_item_has_no_quantity() -> None:
    listing = items(fake.price_document("team_monthly"))
    del listing["data"][0]["quantity"]
    assert read(items=listing).items[0].quantity is None


# -- plans


def test_an_unknown_price_is_quarantined_with_its_name() -> None:
    error = quarantined(items=items(fake.price_document("forgotten", "price_9")))
    assert error.code == "unknown_price"
    assert "price_9" in error.message
    assert "'forgotten'" in error.message


def test_a_price_whose_key_moved_on_keeps_its_plan_by_metadata() -> None:
    moved = fake.price_document(None, "price_old", metadata={PLAN_KEY: "team"})
    assert read(items=items(moved)).plan == "team"
    renamed = fake.price_document("starter_monthly", metadata={PLAN_KEY: "team"})
    assert read(items=items(renamed)).plan == "starter", "the lookup key speaks first"
    for metadata in ({PLAN_KEY: "gone"}, {}, None, {PLAN_KEY: 5}):
        assert quarantined(items=items(fake.price_document(None, metadata=metadata))).code == "unknown_price"


def test_prices_of_several_plans_are_ambiguous() -> None:
    error = quarantined(items=items(fake.price_document("team_monthly"), fake.price_document("starter_monthly")))
    assert error.code == "ambiguous_plan"
    assert "starter, team" in error.message


def test_an_add_on_that_no_plan_knows_is_not_ignored() -> None:
    error = quarantined(items=items(fake.price_document("team_monthly"), fake.price_document("addon")))
    assert error.code == "unknown_price"


# -- tenants


def test_the_subscriptions_tenant_comes_before_the_customers() -> None:
    customer = fake.customer_document("cus_1", {"tenant_id": "globex"})
    assert read(customer=customer).tenant_id == "acme"
    for metadata in ({}, {"tenant_id": ""}, None):
        assert read(customer=customer, metadata=metadata).tenant_id == "globex"


@pytest.mark.parametrize("customer", ["cus_1", fake.customer_document("cus_1"), {"id": "cus_1", "deleted": True}])
@pytest.mark.parametrize("metadata", [{}, {"tenant_id": ""}, {"tenant": "acme"}, None, "acme", ["tenant_id"]])
def test_a_missing_tenant_is_quarantined(customer: Any, metadata: Any) -> None:
    assert quarantined(customer=customer, metadata=metadata).code == "tenant_missing"


@pytest.mark.parametrize(
    "tenant",
    [
        "Acme",
        "acme_corp",
        "-acme",
        "a" * 100,
        "acme/../x",
        "acme'; DROP TABLE",
        "ac\x00me",
        "platform",
        " acme",
        "акме",
        7,
        ["acme"],
    ],
)
def test_an_illegal_tenant_is_quarantined(tenant: Any) -> None:
    assert quarantined(metadata={"tenant_id": tenant}).code == "tenant_illegal"


def test_an_illegal_tenant_does_not_fall_back_to_the_customers() -> None:
    customer = fake.customer_document("cus_1", {"tenant_id": "globex"})
    assert quarantined(customer=customer, metadata={"tenant_id": "NOT LEGAL"}).code == "tenant_illegal"


def test_the_tenant_can_be_asked_for_alone() -> None:
    assert tenant_of({"id": "sub_1", "customer": "cus_1", "metadata": {"tenant_id": "acme"}}) == "acme"


# -- what can't be read


@pytest.mark.parametrize(
    "changes",
    [
        {"object": "invoice"},
        {"id": ""},
        {"id": 5},
        {"livemode": None},
        {"livemode": "no"},
        {"status": "lively"},
        {"status": None},
        {"customer": None},
        {"customer": ""},
        {"customer": {}},
        {"customer": 5},
        {"items": None},
        {"items": []},
        {"items": {"data": []}},
        {"items": {"data": ["si_1"]}},
        {"items": {"data": [{"price": "price_1"}]}},
        {"items": items(fake.price_document("team_monthly"), current_period_end=None)},
        {"items": items(fake.price_document("team_monthly"), current_period_end="soon")},
        {"items": items(fake.price_document("team_monthly"), quantity="1")},
        {"items": items(fake.price_document("team_monthly"), quantity=True)},
        {"items": items({**fake.price_document("team_monthly"), "lookup_key": 5})},
        {"items": items({**fake.price_document("team_monthly"), "id": None})},
        {"created": None},
        {"created": True},
        {"trial_end": -1},
        {"cancel_at": 2**41},
        {"ended_at": 1.5},
    ],
)
def test_another_shape_is_unreadable_never_guessed(changes: dict[str, Any]) -> None:
    assert quarantined(**changes).code == "unreadable_object"


def test_a_subscription_in_the_shape_before_basil_is_unreadable() -> None:
    """Until 2025-03-31 the period was the subscription's: what is loaded has the pinned version's shape."""
    old = document(current_period_start=CREATED, current_period_end=CREATED + 5)
    for item in old["items"]["data"]:
        del item["current_period_end"]
    with pytest.raises(Quarantined, match="current_period_end"):
        subscription_state(old, PLANS, expected_livemode=False)


@pytest.mark.parametrize(("livemode", "expected"), [(True, False), (False, True)])
def test_the_other_modes_objects_are_not_ours(livemode: bool, expected: bool) -> None:
    with pytest.raises(Quarantined) as error:
        subscription_state(document(livemode=livemode), PLANS, expected_livemode=expected)
    assert error.value.code == "livemode_mismatch"
    assert subscription_state(document(livemode=livemode), PLANS, expected_livemode=livemode).livemode is livemode


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda child: st.lists(child, max_size=2) | st.dictionaries(st.text(max_size=4), child, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(document())), JSON, max_size=3))
def test_whatever_a_document_holds_it_is_read_or_quarantined(changes: dict[str, Any]) -> None:
    try:
        state = read(**changes)
    except Quarantined as error:
        code = error.code
    else:
        assert state.plan == "team"
        return
    assert code in {
        *("unreadable_object", "livemode_mismatch", "tenant_missing"),
        *("tenant_illegal", "unknown_price", "ambiguous_plan"),
    }


# -- hints


def event(kind: str, subject: dict[str, Any]) -> webhooks.WebhookEvent:
    return webhooks.parse(json.dumps(fake.event_document("evt_1", kind, subject)).encode())


@pytest.mark.parametrize(
    ("kind", "subject", "refetch", "identifier"),
    [
        ("customer.subscription.created", {"id": "sub_1", "object": "subscription"}, Refetch.SUBSCRIPTION, "sub_1"),
        ("customer.subscription.deleted", {"id": "sub_1", "object": "subscription"}, Refetch.SUBSCRIPTION, "sub_1"),
        ("customer.subscription.paused", {"id": "sub_1", "object": "subscription"}, Refetch.SUBSCRIPTION, "sub_1"),
        (
            "invoice.paid",
            {"id": "in_1", "object": "invoice", "parent": {"subscription_details": {"subscription": "sub_1"}}},
            Refetch.SUBSCRIPTION,
            "sub_1",
        ),
        (
            "invoice.payment_failed",
            {"id": "in_1", "object": "invoice", "subscription": "sub_1"},
            Refetch.SUBSCRIPTION,
            "sub_1",
        ),
        ("invoice.paid", {"id": "in_1", "object": "invoice", "parent": None}, Refetch.NOTHING, None),
        (
            "invoice.upcoming",
            {"object": "invoice", "parent": {"subscription_details": {"subscription": "sub_1"}}},
            Refetch.SUBSCRIPTION,
            "sub_1",
        ),
        ("customer.updated", {"id": "cus_1", "object": "customer"}, Refetch.CUSTOMER, "cus_1"),
        ("customer.deleted", {"id": "cus_1", "object": "customer"}, Refetch.CUSTOMER, "cus_1"),
        ("customer.created", {"id": "cus_1", "object": "customer"}, Refetch.NOTHING, None),
        (
            "entitlements.active_entitlement_summary.updated",
            {"object": "entitlements.active_entitlement_summary", "customer": "cus_1"},
            Refetch.CUSTOMER,
            "cus_1",
        ),
        (
            "checkout.session.completed",
            {"id": "cs_1", "object": "checkout.session", "subscription": "sub_1"},
            Refetch.SUBSCRIPTION,
            "sub_1",
        ),
        (
            "checkout.session.completed",
            {"id": "cs_1", "object": "checkout.session", "subscription": None},
            Refetch.NOTHING,
            None,
        ),
        ("charge.succeeded", {"id": "ch_1", "object": "charge", "customer": "cus_1"}, Refetch.NOTHING, None),
        ("some.future.type", {"id": "x", "object": "y"}, Refetch.NOTHING, None),
    ],
)
def test_an_event_asks_for_what_changed(
    kind: str, subject: dict[str, Any], refetch: Refetch, identifier: str | None
) -> None:
    assert hint_of(event(kind, subject)) == ReconcileHint(refetch, identifier)


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("customer.subscription.updated", {"object": "subscription"}),
        ("customer.updated", {"object": "customer"}),
        ("entitlements.active_entitlement_summary.updated", {"object": "entitlements.active_entitlement_summary"}),
    ],
)
def test_a_known_event_that_names_nothing_is_quarantined(kind: str, subject: dict[str, Any]) -> None:
    with pytest.raises(Quarantined) as error:
        hint_of(event(kind, subject))
    assert error.value.code == "unreadable_object"
