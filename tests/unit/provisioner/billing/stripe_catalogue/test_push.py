"""The catalogue and an account of Stripe: differences, pushes, crashes, and what isn't ours."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.billing import catalogue as catalogues
from provisioner.billing.gateway import Document
from provisioner.billing.stripe_catalogue import push
from provisioner.billing.stripe_catalogue.changes import Action, ChangePlan
from provisioner.billing.stripe_catalogue.wanted import LOOKUP_KEY, MANAGED_KEY, Kind
from provisioner.billing.translate import PLAN_KEY
from provisioner.errors import ConfigurationInvalid, OperatorNeeded
from tests.unit.provisioner.billing.stripe_catalogue.account import (
    Died,
    InProcessApi,
    deaths,
    parse,
    planned,
    pushed,
)

EXAMPLE = Path(__file__).parents[5] / "example" / "plans.toml"

SHOP = """
[features]
reports = "Reports"
sso = "Single sign-on"

[meters.api_calls]
title = "API calls"
unit = "calls"

[coupons.LAUNCH]
title = "Launch"
percent_off = 20
duration = "repeating"
months = 3
plans = ["team"]

[plans.starter]
tier = "pool"
entitlements = ["reports"]
[[plans.starter.prices]]
lookup_key = "starter_monthly"
interval = "month"
unit_amount = 2900

[plans.team]
title = "Team"
tier = "bridge"
entitlements = ["*"]
included = { api_calls = 1000 }
[[plans.team.prices]]
lookup_key = "team_monthly"
interval = "month"
model = "graduated"
tax_behavior = "exclusive"
tiers = [{ up_to = 10, unit_amount = 1000 }, { unit_amount = 800, flat_amount = 50 }]
[[plans.team.prices]]
lookup_key = "team_annual"
interval = "year"
model = "graduated"
annual_discount_percent = 10
[[plans.team.prices]]
lookup_key = "team_calls"
interval = "month"
meter = "api_calls"
unit_amount = 0.02
"""


@pytest.fixture
def api() -> InProcessApi:
    return InProcessApi()


def actions(plan: ChangePlan) -> set[tuple[Action, Kind, str]]:
    return {(change.action, change.kind, change.name) for change in plan.changes}


def price_of(api: InProcessApi, key: str) -> Document:
    (found,) = api.all("/v1/prices", lookup_keys=[key], expand=["data.tiers"])
    return found


def state(api: InProcessApi) -> dict[str, Any]:
    """What the account sells, without the ids that are drawn."""
    products = {each["id"]: (each["name"], each["active"]) for each in api.all("/v1/products")}
    prices = sorted(
        (
            str(each["lookup_key"]),
            each["product"],
            each["unit_amount_decimal"] or str(each["tiers"]),
            each["active"],
            each["metadata"].get(PLAN_KEY, ""),
        )
        for each in api.all("/v1/prices", expand=["data.tiers"])
    )
    features = sorted((each["lookup_key"], each["active"]) for each in api.all("/v1/entitlements/features"))
    attached = {
        product: sorted(
            each["entitlement_feature"]["lookup_key"] for each in api.all(f"/v1/products/{product}/features")
        )
        for product in products
    }
    portals = [
        (each["features"]["subscription_update"]["enabled"], each["active"])
        for each in api.all("/v1/billing_portal/configurations")
    ]
    meters = sorted((each["event_name"], each["status"]) for each in api.all("/v1/billing/meters"))
    coupons = sorted((each["id"], each["percent_off"]) for each in api.all("/v1/coupons"))
    return {
        "products": products,
        "prices": prices,
        "features": features,
        "attached": attached,
        "portals": portals,
        "meters": meters,
        "coupons": coupons,
    }


@pytest.mark.parametrize("text", [SHOP, EXAMPLE.read_text("utf-8")], ids=["shop", "example"])
def test_what_was_pushed_is_what_the_catalogue_says_and_a_second_push_does_nothing(
    api: InProcessApi, text: str
) -> None:
    catalogue = parse(text)
    first = pushed(api, catalogue)
    assert not first.conflicts
    assert {change.action for change in first.changes} == {Action.CREATE, Action.ATTACH}
    again = planned(api, catalogue)
    assert again.empty, [str(change) for change in again.changes]
    assert {each["lookup_key"] for each in api.all("/v1/prices")} == set(catalogue.lookup_keys)


def test_every_kind_of_price_is_made_as_stripe_has_it(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    team = price_of(api, "team_monthly")
    assert (team["billing_scheme"], team["tiers_mode"], team["tax_behavior"]) == ("tiered", "graduated", "exclusive")
    assert [(tier["up_to"], Decimal(tier["unit_amount_decimal"]), tier["flat_amount"]) for tier in team["tiers"]] == [
        (10, Decimal(1000), 0),
        (None, Decimal(800), 50),
    ]
    annual = price_of(api, "team_annual")
    assert [Decimal(tier["unit_amount_decimal"]) for tier in annual["tiers"]] == [Decimal(10800), Decimal(8640)]
    calls = price_of(api, "team_calls")
    (meter,) = api.all("/v1/billing/meters")
    assert (calls["recurring"]["usage_type"], calls["recurring"]["meter"]) == ("metered", meter["id"])
    assert [Decimal(tier["unit_amount_decimal"]) for tier in calls["tiers"]] == [Decimal(0), Decimal("0.02")]
    assert calls["product"] == "tenantry_meter_api_calls"
    assert team["product"] == annual["product"] == "tenantry_team"
    assert all(
        each["metadata"][PLAN_KEY] == "team" and each["metadata"][LOOKUP_KEY] == each["lookup_key"]
        for each in (team, annual, calls)
    )


def test_all_features_are_those_that_there_are(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    assert state(api)["attached"]["tenantry_team"] == ["reports", "sso"]
    assert state(api)["attached"]["tenantry_starter"] == ["reports"]
    plan = pushed(api, parse(SHOP.replace('sso = "Single', 'audit = "Audit log"\nsso = "Single')))
    assert (Action.ATTACH, Kind.PRODUCT_FEATURE, "team: audit") in actions(plan)


def test_the_portal_offers_plans_without_metered_prices(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    listed = api.all("/v1/billing_portal/configurations", expand=["data.features.subscription_update.products"])
    (portal,) = [each for each in listed if MANAGED_KEY in each["metadata"]]
    update = portal["features"]["subscription_update"]
    assert [(each["product"], each["prices"]) for each in update["products"]] == [
        ("tenantry_starter", [price_of(api, "starter_monthly")["id"]])
    ]
    assert portal["features"]["subscription_cancel"]["cancellation_reason"]["enabled"]
    assert portal["metadata"][MANAGED_KEY] == "portal"


def test_a_price_is_never_edited_but_superseded(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    old = price_of(api, "starter_monthly")
    dearer = parse(SHOP.replace("2900", "3900"))
    plan = planned(api, dearer)
    assert actions(plan) == {
        (Action.SUPERSEDE, Kind.PRICE, "starter_monthly"),
        (Action.UPDATE, Kind.PORTAL, "portal"),
    }
    assert plan.changes[0].detail == "amount: 2900 -> 3900"
    pushed(api, dearer)
    new = price_of(api, "starter_monthly")
    assert new["id"] != old["id"]
    assert (new["unit_amount"], new["active"]) == (3900, True)
    left = api.get(f"/v1/prices/{old['id']}")
    assert (left["unit_amount"], left["active"], left["lookup_key"]) == (2900, False, None)
    assert (left["metadata"][PLAN_KEY], left["metadata"][LOOKUP_KEY]) == ("starter", "starter_monthly")
    assert planned(api, dearer).empty


def test_an_old_price_is_marked_before_its_key_moves(api: InProcessApi) -> None:
    """One that an older version made says its plan alone: its former key is needed to find its successor."""
    pushed(api, parse(SHOP))
    old = price_of(api, "starter_monthly")["id"]
    api.post(f"/v1/prices/{old}", {"metadata": {LOOKUP_KEY: ""}})
    api.log.clear()
    pushed(api, parse(SHOP.replace("2900", "3900")))
    assert api.get(f"/v1/prices/{old}")["metadata"][LOOKUP_KEY] == "starter_monthly"
    assert [path for _, path, _ in api.log][:2] == [f"/v1/prices/{old}", "/v1/prices"]


def test_a_price_that_returns_to_an_earlier_amount_is_a_new_one_also_on_the_same_day(api: InProcessApi) -> None:
    """The very same request was made before: Stripe would repeat its old answer to the same idempotency key."""
    ids = set()
    for amount in (2900, 3900, 2900, 3900):
        pushed(api, parse(SHOP.replace("2900", str(amount))))
        found = price_of(api, "starter_monthly")
        assert (found["unit_amount"], found["active"]) == (amount, True)
        ids.add(found["id"])
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("unit_amount = 2900", 'unit_amount = 2900\ncurrency = "eur"', "currency: usd -> eur"),
        ("up_to = 10,", "up_to = 20,", "amount"),
        ("flat_amount = 50", "flat_amount = 51", "amount"),
        ("unit_amount = 0.02", "unit_amount = 0.021", "amount"),
        ("api_calls = 1000", "api_calls = 2000", "amount"),
        ('tax_behavior = "exclusive"', 'tax_behavior = "inclusive"', "tax: exclusive -> inclusive"),
        ('model = "graduated"', 'model = "volume"', "amount: graduated"),
    ],
)
def test_whatever_a_price_says_makes_another_price(api: InProcessApi, before: str, after: str, what: str) -> None:
    pushed(api, parse(SHOP))
    changed = parse(SHOP.replace(before, after))
    superseded = [change for change in planned(api, changed).changes if change.action is Action.SUPERSEDE]
    assert superseded
    assert any(what in change.detail for change in superseded)
    pushed(api, changed)
    assert planned(api, changed).empty


def test_a_tax_behaviour_may_be_said_once_later(api: InProcessApi) -> None:
    pushed(api, parse(SHOP.replace('tax_behavior = "exclusive"\n', "")))
    old = price_of(api, "team_monthly")["id"]
    assert actions(pushed(api, parse(SHOP))) == {(Action.UPDATE, Kind.PRICE, "team_monthly")}
    assert price_of(api, "team_monthly")["id"] == old
    assert price_of(api, "team_monthly")["tax_behavior"] == "exclusive"


def test_names_are_changed_in_place(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    renamed = SHOP.replace('"Team"', '"Business"').replace('"API calls"', '"Calls"').replace("Single sign-on", "SSO")
    plan = pushed(api, parse(renamed))
    assert actions(plan) == {
        (Action.UPDATE, Kind.PRODUCT, "team"),
        (Action.UPDATE, Kind.PRODUCT, "api_calls"),
        (Action.UPDATE, Kind.METER, "api_calls"),
        (Action.UPDATE, Kind.FEATURE, "sso"),
    }
    assert planned(api, parse(renamed)).empty


def test_what_is_dropped_is_archived_and_comes_back(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    before = state(api)
    start = SHOP.index("[plans.team]")
    small = SHOP[:start].replace('sso = "Single sign-on"\n', "")
    small = small[: small.index("[coupons")] + small[small.index("[plans.starter]") :]
    plan = pushed(api, parse(small))
    assert {
        (Action.ARCHIVE, Kind.PRODUCT, "team"),
        (Action.ARCHIVE, Kind.PRODUCT, "api_calls"),
        (Action.ARCHIVE, Kind.PRICE, "team_monthly"),
        (Action.ARCHIVE, Kind.FEATURE, "sso"),
        (Action.DELETE, Kind.COUPON, "LAUNCH"),
    } <= actions(plan)
    assert planned(api, parse(small)).empty
    assert not price_of(api, "team_monthly")["active"]
    pushed(api, parse(SHOP))
    assert state(api) == before, "the same objects, sold again, also on the same day"
    pushed(api, parse(small))
    pushed(api, parse(SHOP))
    assert state(api) == before


def test_a_dropped_plan_with_subscribers_is_warned_about(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    customer = api.post("/v1/customers", {"metadata": {"tenant_id": "acme"}})["id"]
    method = api.post("/v1/payment_methods/pm_card_visa/attach", {"customer": customer})["id"]
    api.post(
        "/v1/subscriptions",
        {
            "customer": customer,
            "items": [{"price": price_of(api, "starter_monthly")["id"]}],
            "default_payment_method": method,
        },
    )
    start, end = SHOP.index("[plans.starter]"), SHOP.index("[plans.team]")
    warnings = planned(api, parse(SHOP[:start] + SHOP[end:])).warnings
    assert any("of plan starter has subscribers" in warning for warning in warnings)
    assert "starter" not in " ".join(planned(api, parse(SHOP)).warnings)


def test_a_product_whose_default_is_the_old_price_gets_the_new_one_before_the_old_is_archived(
    api: InProcessApi,
) -> None:
    pushed(api, parse(SHOP))
    old = price_of(api, "starter_monthly")["id"]
    api.post("/v1/products/tenantry_starter", {"default_price": old})
    pushed(api, parse(SHOP.replace("2900", "3900")))
    new = price_of(api, "starter_monthly")["id"]
    assert api.get("/v1/products/tenantry_starter")["default_price"] == new
    paths = [path for method, path, params in api.log if "default_price" in params or params.get("active") is False]
    assert paths[-2:] == ["/v1/products/tenantry_starter", f"/v1/prices/{old}"]


# -- what isn't ours


def by_hand(api: InProcessApi) -> tuple[str, str]:
    """A product and a price as somebody made them in the dashboard."""
    product = api.post("/v1/products", {"name": "Starter (by hand)"})["id"]
    price = api.post(
        "/v1/prices",
        {
            "product": product,
            "currency": "usd",
            "unit_amount": 2900,
            "recurring": {"interval": "month"},
            "lookup_key": "starter_monthly",
        },
    )
    return product, price["id"]


def test_objects_without_our_mark_are_never_touched(api: InProcessApi) -> None:
    other = api.post("/v1/products", {"name": "T-shirts"})["id"]
    price = api.post(
        "/v1/prices", {"product": other, "currency": "usd", "unit_amount": 5, "recurring": {"interval": "month"}}
    )
    feature = api.post("/v1/entitlements/features", {"lookup_key": "theirs", "name": "Theirs"})
    coupon = api.post("/v1/coupons", {"id": "THEIRS", "percent_off": 5, "duration": "once"})
    portal = api.post("/v1/billing_portal/configurations", {"features": {"invoice_history": {"enabled": True}}})
    pushed(api, parse(SHOP))
    link = api.post("/v1/products/tenantry_starter/features", {"entitlement_feature": feature["id"]})
    untouched = {each["id"] for each in (price, feature, coupon, portal, link)} | {other}
    api.log.clear()
    for text in (SHOP, SHOP.replace("2900", "3900"), SHOP[: SHOP.index("[plans.team]")].split("[coupons")[0] + MINI):
        pushed(api, parse(text))
    assert not [path for _, path, _ in api.log if any(identifier in path for identifier in untouched)]
    assert api.get(f"/v1/prices/{price['id']}")["active"]


MINI = '[plans.one]\ntier = "pool"\nprices = [{ lookup_key = "one", interval = "month", unit_amount = 1 }]\n'


def test_a_foreign_object_with_our_key_is_a_conflict_and_nothing_is_pushed(api: InProcessApi) -> None:
    _, price = by_hand(api)
    plan = planned(api, parse(SHOP))
    assert {(each.kind, each.name) for each in plan.conflicts} == {
        (Kind.PRODUCT, "starter"),
        (Kind.PRICE, "starter_monthly"),
    }
    assert all("--adopt" in each.fix for each in plan.conflicts)
    writes = api.writes
    with pytest.raises(ConfigurationInvalid, match=price):
        pushed(api, parse(SHOP))
    assert api.writes == writes


def test_what_was_made_by_hand_can_be_adopted(api: InProcessApi) -> None:
    product, price = by_hand(api)
    plan = pushed(api, parse(SHOP), adopt=True)
    assert {(Action.ADOPT, Kind.PRODUCT, "starter"), (Action.ADOPT, Kind.PRICE, "starter_monthly")} <= actions(plan)
    found = price_of(api, "starter_monthly")
    assert (found["id"], found["product"], found["metadata"][PLAN_KEY]) == (price, product, "starter")
    assert "tenantry_starter" not in state(api)["products"]
    assert planned(api, parse(SHOP)).empty
    pushed(api, parse(SHOP.replace("2900", "3900")))
    assert price_of(api, "starter_monthly")["product"] == product


def test_what_costs_something_else_is_not_adopted(api: InProcessApi) -> None:
    _, price = by_hand(api)
    (conflict,) = planned(api, parse(SHOP.replace("2900", "3900")), adopt=True).conflicts
    assert price in conflict.message
    assert "amount: 2900 -> 3900" in conflict.message
    assert "pull" in conflict.fix


def test_a_price_that_is_paid_once_can_not_hold_our_key_either(api: InProcessApi) -> None:
    product = api.post("/v1/products", {"name": "Poster"})["id"]
    params = {"product": product, "currency": "usd", "unit_amount": 2900, "lookup_key": "starter_monthly"}
    once = api.post("/v1/prices", params)["id"]
    assert any(once in each.message for each in planned(api, parse(SHOP)).conflicts)


def test_objects_of_the_other_mode_are_refused(api: InProcessApi) -> None:
    by_hand(api)
    api.livemode = True  # as a live key would be with an API base that leads to a test account
    with pytest.raises(ConfigurationInvalid, match="the key is for live mode, and product"):
        planned(api, parse(SHOP))


def test_a_foreign_feature_and_coupon_with_our_names_are_conflicts(api: InProcessApi) -> None:
    api.post("/v1/entitlements/features", {"lookup_key": "sso", "name": "Theirs"})
    api.post("/v1/coupons", {"id": "LAUNCH", "percent_off": 20, "duration": "once"})
    kinds = {(each.kind, each.name) for each in planned(api, parse(SHOP)).conflicts}
    assert kinds == {(Kind.FEATURE, "sso"), (Kind.COUPON, "LAUNCH")}
    (conflict,) = planned(api, parse(SHOP), adopt=True).conflicts
    assert "terms" in conflict.message, "its duration is another: adopting can't help"


def test_the_terms_of_a_coupon_never_change(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    for changed in (SHOP.replace("percent_off = 20", "percent_off = 25"), SHOP.replace("months = 3", "months = 6")):
        (conflict,) = planned(api, parse(changed)).conflicts
        assert "new name" in conflict.fix
    assert actions(pushed(api, parse(SHOP.replace('"Launch"', '"Launched"')))) == {
        (Action.UPDATE, Kind.COUPON, "LAUNCH")
    }


def test_a_meter_that_counts_otherwise_is_a_conflict(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    (conflict,) = planned(api, parse(SHOP.replace('title = "API calls"', 'aggregation = "last"'))).conflicts
    assert (conflict.kind, conflict.name) == (Kind.METER, "api_calls")


def test_an_inactive_meter_is_woken(api: InProcessApi) -> None:
    pushed(api, parse(SHOP))
    (meter,) = api.all("/v1/billing/meters")
    api.post(f"/v1/billing/meters/{meter['id']}/deactivate", {})
    assert actions(pushed(api, parse(SHOP))) == {(Action.UPDATE, Kind.METER, "api_calls")}
    assert planned(api, parse(SHOP)).empty


def test_a_price_without_an_amount_must_be_there_already(api: InProcessApi) -> None:
    silent = parse(SHOP.replace("unit_amount = 2900\n", ""))
    (conflict,) = planned(api, silent).conflicts
    assert "has no unit_amount" in conflict.message
    by_hand(api)
    pushed(api, silent, adopt=True)
    assert planned(api, silent).empty, "whatever it costs"


def test_two_pushes_at_once_make_nothing_twice(api: InProcessApi) -> None:
    for text in (SHOP, SHOP.replace("2900", "3900")):
        both = [planned(api, parse(text)), planned(api, parse(text))]
        for plan in both:
            # Stripe refuses a second object of the same name; what has none is known by its idempotency key.
            with contextlib.suppress(OperatorNeeded):
                push.apply(api, plan, source="plans.toml")
        pushed(api, parse(text))
        assert planned(api, parse(text)).empty
    assert len(api.all("/v1/prices")) == len(parse(SHOP).lookup_keys) + 1
    assert len([each for each in api.all("/v1/billing_portal/configurations") if each["metadata"]]) == 1


# -- crashes

STEPS = {
    "first": (None, SHOP),
    "dearer": (SHOP, SHOP.replace("2900", "3900").replace("0.02", "0.03").replace("sso =", 'audit = "A"\nsso =')),
    "smaller": (SHOP, SHOP[: SHOP.index("[features]")] + MINI),
    "renamed": (SHOP, SHOP.replace("plans.starter", "plans.basic")),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_push_that_dies_anywhere_is_finished_by_the_next(name: str) -> None:
    """Before and after every writing request: nothing is made twice, nothing is left out."""
    before, after = STEPS[name]

    def begun() -> InProcessApi:
        api = InProcessApi()
        if before is not None:
            pushed(api, parse(before))
        api.writes = 0
        return api

    calm = begun()
    pushed(calm, parse(after))
    expected, writes = state(calm), calm.writes
    assert writes >= 2
    for number, answered in deaths(writes):
        api = begun()
        api.die_at, api.answered = number, answered
        with pytest.raises(Died):
            pushed(api, parse(after))
        api.die_at = None
        pushed(api, parse(after))
        assert state(api) == expected, (number, answered)
        assert planned(api, parse(after)).empty, (number, answered)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([2900, 3900]), st.sampled_from(["reports", "sso", "*"]), st.integers(0, 25) | st.none()
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_history_of_pushes_and_crashes_ends_where_the_last_catalogue_says(
    history: list[tuple[int, str, int | None]],
) -> None:
    api = InProcessApi()
    text = SHOP
    for amount, feature, dies in history:
        text = SHOP.replace("2900", str(amount)).replace('entitlements = ["reports"]', f'entitlements = ["{feature}"]')
        api.writes, api.die_at = 0, dies
        with contextlib.suppress(Died):
            pushed(api, parse(text))
        # An owner of a key at any time: events of subscribers always find the plan.
        assert all(each["metadata"].get(PLAN_KEY) for each in api.all("/v1/prices"))
    api.die_at = None
    pushed(api, parse(text))
    assert planned(api, parse(text)).empty
    active = [each["lookup_key"] for each in api.all("/v1/prices") if each["active"]]
    assert sorted(active) == sorted(parse(text).lookup_keys), "each is sold once"


def test_the_example_says_what_the_loader_reads() -> None:
    assert catalogues.load(EXAMPLE).lookup_keys == parse(EXAMPLE.read_text("utf-8")).lookup_keys
