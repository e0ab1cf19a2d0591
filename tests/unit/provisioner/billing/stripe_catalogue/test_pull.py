"""From what an account sells to ``plans.toml``: what nobody but the file knows stays in it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.billing import catalogue_file
from provisioner.billing.catalogue import CatalogueInvalid
from provisioner.billing.pricing import PriceTier
from provisioner.billing.stripe_catalogue import pull, snapshot
from provisioner.billing.stripe_catalogue.pull import EMPTY, FILL_IN, Pulled
from tests.unit.provisioner.billing.stripe_catalogue.account import InProcessApi, parse, planned, pushed
from tests.unit.provisioner.billing.stripe_catalogue.test_push import SHOP

EXAMPLE = (Path(__file__).parents[5] / "example" / "plans.toml").read_text("utf-8")


def pulled(api: InProcessApi, text: str = "") -> Pulled:
    return pull.pulled(text, snapshot.read(api, EMPTY), "plans.toml")


def filled_in(text: str) -> str:
    return text.replace(f'"{FILL_IN}"', '"pool"')


@pytest.fixture
def api() -> InProcessApi:
    return InProcessApi()


@pytest.mark.parametrize("text", [SHOP, EXAMPLE], ids=["shop", "example"])
def test_a_file_that_says_what_stripe_sells_stays_as_it_is_to_the_byte(api: InProcessApi, text: str) -> None:
    pushed(api, parse(text))
    assert pulled(api, text) == Pulled(text, ())


@pytest.mark.parametrize("text", [SHOP, EXAMPLE], ids=["shop", "example"])
def test_without_a_file_everything_that_stripe_knows_is_said(api: InProcessApi, text: str) -> None:
    catalogue = parse(text)
    pushed(api, catalogue)
    found = pulled(api)
    with pytest.raises(CatalogueInvalid) as error:
        catalogue_file.parse(found.text, "plans.toml")
    assert {problem.message for problem in error.value.problems} == {f"unknown tier '{FILL_IN}'"}
    again = parse(filled_in(found.text))
    assert {name: {price.lookup_key for price in plan.prices} for name, plan in again.plans.items()} == {
        name: {price.lookup_key for price in plan.prices} for name, plan in catalogue.plans.items()
    }
    for plan in catalogue.plans.values():
        theirs = {price.lookup_key: price for price in again.plan(plan.name).prices}
        for price in plan.prices:
            assert theirs[price.lookup_key].tiers == price.tiers
            assert theirs[price.lookup_key].unit_amount == price.unit_amount
            assert theirs[price.lookup_key].seats == price.seats
    assert not [change for change in planned(api, again).changes if change.kind == "price"]


FILE = """# Our plans. Ask Ada before changing them.

[plans.team]          # the one that sells
tier = "bridge"
limits = { seats = 25 }
retention_days = 60   # promised in the contract

[[plans.team.prices]]
lookup_key = "team_monthly"
interval = "month"
unit_amount = 9900    # since 2024

[[plans.team.prices]]
lookup_key = "team_annual"
interval = "year"
annual_discount_percent = 10
"""


def test_what_differs_is_rewritten_and_everything_else_kept(api: InProcessApi) -> None:
    pushed(api, parse(FILE.replace("9900", "12900")))
    found = pulled(api, FILE)
    assert found.text == FILE.replace("9900", "12900").replace(
        "annual_discount_percent = 10", f"unit_amount = {12900 * 12 * 9 // 10}"
    )
    assert any("team_annual no longer says a discount" in note for note in found.notes)
    assert not planned(api, parse(found.text)).changes


def test_what_was_derived_from_a_price_that_differs_is_said_plainly(api: InProcessApi) -> None:
    """The yearly price is what it was: derived from the monthly one that is taken over, it would be another."""
    yearly = 9900 * 12 * 9 // 10
    plain = FILE.replace("annual_discount_percent = 10", f"unit_amount = {yearly}")
    pushed(api, parse(plain.replace("9900    #", "12900    #")))
    found = pulled(api, FILE)
    assert found.text == plain.replace("9900    #", "12900    #")
    assert not planned(api, parse(found.text)).changes


def test_included_units_that_differ_are_said_by_tiers(api: InProcessApi) -> None:
    pushed(api, parse(SHOP.replace("api_calls = 1000", "api_calls = 5000")))
    found = pulled(api, SHOP)
    plan = parse(found.text).plan("team")
    assert plan.metered_prices("month")[0].tiers == (PriceTier(5000), PriceTier(None, Decimal("0.02")))
    assert dict(plan.included) == {"api_calls": 5000}
    assert "included" not in found.text
    assert not planned(api, parse(found.text)).changes


def test_plans_made_by_hand_are_added_with_what_must_be_filled_in(api: InProcessApi) -> None:
    product = api.post("/v1/products", {"name": "Big Business!"})["id"]
    params: dict[str, Any] = {"product": product, "currency": "eur", "unit_amount": 5000}
    keyed = api.post("/v1/prices", {**params, "recurring": {"interval": "month"}, "lookup_key": "big"})["id"]
    bare = api.post("/v1/prices", {**params, "recurring": {"interval": "year"}, "tax_behavior": "exclusive"})["id"]
    weekly = api.post("/v1/prices", {**params, "recurring": {"interval": "week"}})["id"]
    api.post("/v1/prices", params)  # paid once
    found = pulled(api, FILE)
    assert len(found.notes) == 2
    assert found.text.startswith(FILE.rstrip("\n"))
    assert f"{FILL_IN}: give price {bare} this lookup key in Stripe" in found.text
    assert any(weekly in note and "every 1 week" in note for note in found.notes)
    plan = parse(filled_in(found.text)).plan("big_business")
    assert plan.title == "Big Business!"
    assert {(price.lookup_key, price.currency, price.unit_amount) for price in plan.prices} == {
        ("big", "eur", Decimal(5000)),
        ("big_business_annual", "eur", Decimal(5000)),
    }
    api.post(f"/v1/prices/{bare}", {"lookup_key": "big_business_annual"})
    adopted = pushed(api, parse(filled_in(found.text)), adopt=True)
    assert {change.object_id for change in adopted.changes if change.action == "adopt"} == {product, keyed, bare}
    assert planned(api, parse(filled_in(found.text))).empty


def test_superseded_and_archived_prices_are_not_sold(api: InProcessApi) -> None:
    pushed(api, parse(FILE))
    pushed(api, parse(FILE.replace("9900", "12900")))
    assert pulled(api, FILE.replace("9900", "12900")).text == FILE.replace("9900", "12900")


def test_a_file_that_is_no_catalogue_is_not_guessed_at(api: InProcessApi) -> None:
    with pytest.raises(CatalogueInvalid):
        pulled(api, "[plans.team]\n")


PRICES = st.lists(
    st.tuples(
        st.sampled_from(["flat", "per_seat", "graduated", "volume"]),
        st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9999)), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=15, deadline=None)
@given(PRICES, PRICES)
def test_whatever_is_sold_a_pull_makes_the_file_say_it(first: list[Any], second: list[Any]) -> None:
    """From any catalogue to any other one, by Stripe: afterwards a push has nothing to do."""

    def text(plans: list[Any]) -> str:
        lines = ["[portal]", "plan_changes = false"]
        for number, (model, steps) in enumerate(plans):
            lines += [f"[plans.p{number}]", 'tier = "pool"', f"limits = {{ seats = {number} }}"]
            lines += [f"[[plans.p{number}.prices]]", f'lookup_key = "k{number}"', 'interval = "month"']
            lines.append(f'model = "{model}"')
            if model in ("flat", "per_seat"):
                lines.append(f"unit_amount = {steps[0][1]}")
                continue
            up_to, tiers = 0, []
            for width, amount in steps[:-1]:
                up_to += width
                tiers.append(f"{{ up_to = {up_to}, unit_amount = {amount} }}")
            tiers.append(f"{{ unit_amount = {steps[-1][1]}, flat_amount = 7 }}")
            lines.append(f"tiers = [{', '.join(tiers)}]")
        return "\n".join(lines) + "\n"

    api = InProcessApi()
    pushed(api, parse(text(first)))
    found = parse(filled_in(pulled(api, text(second)).text))
    changes = [each for each in planned(api, found).changes if each.name in {f"k{n}" for n in range(len(first))}]
    assert [each for each in changes if each.action in ("supersede", "archive")] == []
    for name, plan in parse(text(second)).plans.items():
        assert found.plan(name).limits == plan.limits
