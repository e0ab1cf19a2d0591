"""What ``plans.toml`` says about money: price models, tiers, meters, discounts, coupons."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.billing import catalogue_file
from provisioner.billing.catalogue import Catalogue, CatalogueInvalid, Plan, Problem
from provisioner.billing.pricing import (
    Aggregation,
    CouponDuration,
    Meter,
    PriceTier,
    PricingModel,
    TaxBehavior,
    annual,
    units_included,
)

TEAM = '[plans.team]\ntier = "pool"\n'
METER = "[meters.api_calls]\n"


def price(*lines: str, key: str = "k", interval: str = "month") -> str:
    return "\n".join(
        ["[[plans.team.prices]]", f'lookup_key = "{key}"', f'interval = "{interval}"', *lines, ""],
    )


def parsed(*parts: str) -> Catalogue:
    return catalogue_file.parse("".join(parts), "plans.toml")


def team(*parts: str) -> Plan:
    return parsed(*parts).plan("team")


def problems(*parts: str) -> list[Problem]:
    with pytest.raises(CatalogueInvalid) as error:
        parsed(*parts)
    found = list(error.value.problems)
    assert all(each.line is not None and each.fix for each in found)
    return found


FLAT = price("unit_amount = 2000")
YEAR = price("unit_amount = 20000", key="y", interval="year")
USE = price('meter = "api_calls"', "unit_amount = 0.02", key="use")


def test_the_plainest_price_is_flat() -> None:
    (sold,) = team(TEAM, FLAT).prices
    assert (sold.model, sold.unit_amount, sold.seats, sold.metered) == (PricingModel.FLAT, Decimal(2000), False, False)
    assert sold.tax_behavior is TaxBehavior.UNSPECIFIED


def test_a_price_a_seat() -> None:
    plan = team(TEAM, price('model = "per_seat"', "unit_amount = 1500", 'tax_behavior = "exclusive"'))
    assert plan.per_seat
    assert plan.prices[0].seats
    assert plan.prices[0].tax_behavior is TaxBehavior.EXCLUSIVE
    assert not team(TEAM, FLAT).per_seat


@pytest.mark.parametrize("model", ["graduated", "volume"])
def test_tiers(model: str) -> None:
    tiers = "tiers = [{ up_to = 10, unit_amount = 1000 }, { up_to = 50, unit_amount = 900.5, flat_amount = 100 }, "
    sold = team(TEAM, price(f'model = "{model}"', tiers + "{ unit_amount = 800 }]")).prices[0]
    assert sold.model == model
    assert sold.seats
    assert sold.unit_amount is None
    assert sold.tiers == (
        PriceTier(10, Decimal(1000)),
        PriceTier(50, Decimal("900.5"), Decimal(100)),
        PriceTier(None, Decimal(800)),
    )


def test_use_is_billed_by_a_meter() -> None:
    found = parsed('[meters.api_calls]\ntitle = "API calls"\naggregation = "count"\nunit = "calls"\n', TEAM, FLAT, USE)
    assert found.meters == {"api_calls": Meter("api_calls", "API calls", Aggregation.COUNT, "calls")}
    plan = found.plan("team")
    (use,) = plan.metered_prices("month")
    assert (use.model, use.unit_amount, use.seats) == (PricingModel.METERED, Decimal("0.02"), False)
    assert plan.price("month").lookup_key == "k", "the plan's own price is the one without a meter"
    assert dict(plan.included) == {}


def test_what_is_included_becomes_a_tier_that_costs_nothing_and_twelve_times_as_much_for_a_year() -> None:
    use_a_year = price('meter = "api_calls"', "unit_amount = 0.02", key="uy", interval="year")
    plan = team(METER, TEAM, "included = { api_calls = 1000 }\n", FLAT, YEAR, USE, use_a_year)
    assert dict(plan.included) == {"api_calls": 1000}
    assert plan.metered_prices("month")[0].tiers == (PriceTier(1000), PriceTier(None, Decimal("0.02")))
    assert plan.metered_prices("year")[0].tiers == (PriceTier(12000), PriceTier(None, Decimal("0.02")))
    assert {each.model for each in plan.prices if each.metered} == {PricingModel.GRADUATED}


def test_what_is_included_comes_before_the_tiers_of_overage() -> None:
    tiers = 'model = "graduated"\ntiers = [{ up_to = 500, unit_amount = 3 }, { unit_amount = 2 }]'
    plan = team(METER, TEAM, "included = { api_calls = 1000 }\n", FLAT, price('meter = "api_calls"', tiers, key="use"))
    assert plan.metered_prices("month")[0].tiers == (
        PriceTier(1000),
        PriceTier(1500, Decimal(3)),
        PriceTier(None, Decimal(2)),
    )


def test_free_tiers_say_what_is_included_too() -> None:
    tiers = 'model = "graduated"\ntiers = [{ up_to = 1200, unit_amount = 0 }, { unit_amount = 2 }]'
    month = price('meter = "api_calls"', tiers, key="use")
    assert dict(team(METER, TEAM, FLAT, month).included) == {"api_calls": 1200}
    year = price('meter = "api_calls"', tiers, key="use", interval="year")
    assert dict(team(METER, TEAM, YEAR, year).included) == {"api_calls": 100}


@pytest.mark.parametrize(
    ("model", "monthly", "yearly"),
    [
        ("flat", "unit_amount = 2000", Decimal(20400)),
        ("per_seat", "unit_amount = 999", Decimal(10190)),  # 10189.8
    ],
)
def test_a_year_with_a_discount_is_derived_from_the_month(model: str, monthly: str, yearly: Decimal) -> None:
    kind = f'model = "{model}"'
    year = price(kind, "annual_discount_percent = 15", key="y", interval="year")
    assert team(TEAM, price(kind, monthly), year).price("year").unit_amount == yearly
    agreeing = price(kind, "annual_discount_percent = 15", f"unit_amount = {yearly}", key="y", interval="year")
    assert team(TEAM, price(kind, monthly), agreeing).price("year").unit_amount == yearly


def test_tiers_of_a_year_are_derived_too() -> None:
    tiers = "tiers = [{ up_to = 10, unit_amount = 1000 }, { unit_amount = 800, flat_amount = 50 }]"
    year = price('model = "volume"', "annual_discount_percent = 10", key="y", interval="year")
    assert team(TEAM, price('model = "volume"', tiers), year).price("year").tiers == (
        PriceTier(10, Decimal(10800)),
        PriceTier(None, Decimal(8640), Decimal(540)),
    )


def test_coupons_features_and_tax() -> None:
    found = parsed(
        "[tax]\nautomatic = true\n",
        '[features]\nreports = "Reports"\n',
        '[coupons.LAUNCH]\ntitle = "Launch"\npercent_off = 12.5\nduration = "repeating"\n',
        'months = 3\nplans = ["team"]\n',
        '[coupons.flat]\namount_off = 500\ncurrency = "eur"\n',
        TEAM,
        'entitlements = ["reports"]\n',
        FLAT,
    )
    assert found.automatic_tax
    assert found.features == {"reports": "Reports"}
    launch, flat = found.coupons["LAUNCH"], found.coupons["flat"]
    assert (launch.percent_off, launch.months, launch.plans) == (Decimal("12.5"), 3, ("team",))
    assert (flat.amount_off, flat.currency, flat.duration) == (500, "eur", CouponDuration.ONCE)
    assert not parsed(TEAM, FLAT).automatic_tax


def test_the_plan_of_a_price_is_found_by_its_key_whatever_kind_it_is() -> None:
    found = parsed(METER, TEAM, FLAT, YEAR, USE)
    assert found.lookup_keys == ("k", "y", "use")
    for key in found.lookup_keys:
        plan = found.plan_of_price(key)
        assert plan is not None
        assert plan.name == "team"


TIERED = 'model = "graduated"'


@pytest.mark.parametrize(
    ("text", "key", "message", "fix"),
    [
        (price('model = "flatt"'), "[0].model", "unknown model 'flatt'", "did you mean flat?"),
        (price("unit_amount = -1"), "[0].unit_amount", "is no amount", "9900"),
        (price("unit_amount = 100_000_000"), "[0].unit_amount", "is no amount", "9900"),
        (price("unit_amount = nan"), "[0].unit_amount", "is no amount", "9900"),
        (price('model = "per_seat"', "unit_amount = 0.5"), "[0].unit_amount", "is no amount", "9900"),
        (price('tax_behavior = "none"'), "[0].tax_behavior", "unknown tax_behavior", "inclusive, exclusive"),
        (price("tiers = [{ unit_amount = 1 }]"), "[0].tiers", "no model", "graduated"),
        (price('model = "flat"', "tiers = [{ unit_amount = 1 }]"), "[0].tiers", "has no tiers", "remove"),
        (price(TIERED, "tiers = []"), "[0].tiers", "no list of tiers", "up_to = 10"),
        (price(TIERED, "tiers = [1]"), "[0].tiers", "no list of tiers", "up_to = 10"),
        (price(TIERED, "unit_amount = 5"), "[0].unit_amount", "in its tiers", "move"),
        (price(TIERED, "tiers = [{ up_to = 5, unit_amount = 1 }]"), "[0].tiers[0].up_to", "last tier ends", "out"),
        (
            price(TIERED, "tiers = [{ unit_amount = 2 }, { unit_amount = 1 }]"),
            "[0].tiers[0]",
            "has tiers after it",
            "last one",
        ),
        (
            price(
                TIERED, "tiers = [{ up_to = 5, unit_amount = 2 }, { up_to = 5, unit_amount = 1 }, { unit_amount = 0 }]"
            ),
            "[0].tiers[1].up_to",
            "tiers don't rise",
            "more than",
        ),
        (price(TIERED, "tiers = [{ up_to = 0, unit_amount = 2 }, { unit_amount = 0 }]"), "[0].tiers[0].up_to", "0", ""),
        (price(TIERED, "tiers = [{ up_to = 5 }, { unit_amount = 1 }]"), "[0].tiers[0]", "says no amount", "0 is free"),
        (price(TIERED, "tiers = [{ unit_amount = 1, upto = 5 }]"), "[0].tiers[0].upto", "unknown key", "up_to"),
        (price(TIERED, "tiers = [{ unit_amount = -1 }]"), "[0].tiers[0].unit_amount", "is no amount", "decimals"),
        (price(TIERED, "tiers = [{ unit_amount = 1e-13 }]"), "[0].tiers[0].unit_amount", "is no amount", "decimals"),
        (price(TIERED, "tiers = [{ flat_amount = 0.5 }]"), "[0].tiers[0].flat_amount", "is no amount", "whole"),
        (price('meter = "api_cals"'), "[0].meter", "no meter 'api_cals'", "did you mean api_calls?"),
        (price('meter = "x"'), "[0].meter", "no meter 'x'", "[meters.x]"),
        (price('model = "metered"'), "[0].model", "names no meter", "meter ="),
        (price('model = "flat"', 'meter = "api_calls"'), "[0].model", "can't be flat", "metered"),
        (FLAT + price("unit_amount = 1", key="b"), "[1]", "second price per month", "remove one"),
        (FLAT + YEAR.replace("unit", 'currency = "eur"\nunit'), "[1].currency", "is in eur", "one currency"),
        (FLAT + USE + USE.replace('"use"', '"use2"'), "[2]", "bills meter api_calls per month", "remove one"),
        (YEAR + USE, "[1].interval", "no price of its own per month", "plan's interval"),
        (USE, "[0].interval", "no price of its own", "unit_amount = 0"),
        (FLAT + YEAR.replace("unit", 'model = "per_seat"\nunit'), "[1].model", "counts seats, unlike", "both"),
        (
            FLAT.replace("unit", "annual_discount_percent = 5\nunit"),
            "[0].annual_discount_percent",
            "per year",
            "remove",
        ),
        (
            FLAT + YEAR.replace("unit", "annual_discount_percent = 5\nunit"),
            "[1].annual_discount_percent",
            "less 5 % are 22800, and unit_amount is 20000",
            "remove one",
        ),
        (YEAR.replace("unit", "annual_discount_percent = 5\nunit"), "[0].annual_discount_percent", "no monthly", "add"),
        (
            FLAT + YEAR.replace("unit_amount = 20000", "annual_discount_percent = 0"),
            "[1].annual_discount_percent",
            "0 is no percentage",
            "more than 0",
        ),
        (
            FLAT + YEAR.replace("unit_amount = 20000", "annual_discount_percent = 101"),
            "[1].annual_discount_percent",
            "101 is no percentage",
            "up to 100",
        ),
    ],
)
def test_a_wrong_price_names_line_key_and_fix(text: str, key: str, message: str, fix: str) -> None:
    (found,) = problems(METER, TEAM, text)
    assert found.key == f"plans.team.prices{key}"
    assert message in found.message
    assert fix in found.fix


@pytest.mark.parametrize(
    ("head", "key", "message", "fix"),
    [
        ("[meters.API]\n", "meters.API", "no legal meter name", "lower-case"),
        ('[meters.a]\naggregation = "max"\n', "meters.a.aggregation", "unknown aggregation 'max'", "sum"),
        ("[meters.a]\nunits = 1\n", "meters.a.units", "unknown key", "unit"),
        ("[meters.a]\nunit = 5\n", "meters.a.unit", "no text", "calls"),
        ("[meters]\na = 1\n", "meters.a", "is no table", "[meters.a]"),
        ("[tax]\nautomatic = 1\n", "tax.automatic", "neither true nor false", "true"),
        ("[tax]\nautomatik = true\n", "tax.automatik", "unknown key", "automatic"),
        ('[features]\nSSO = "x"\n', "features.SSO", "no feature name", "lower-case"),
        ("[features]\nsso = 5\n", "features.sso", "no text", "Sso"),
        ("[coupons.a]\n", "coupons.a", "not exactly one", "one of the two"),
        ("[coupons.a]\npercent_off = 5\namount_off = 5\n", "coupons.a", "not exactly one", "one of the two"),
        ("[coupons.a]\npercent_off = 500\n", "coupons.a.percent_off", "no percentage", "100"),
        ("[coupons.a]\namount_off = 0\n", "coupons.a.amount_off", "is no amount", "from 1"),
        ("[coupons.a]\npercent_off = 5\nmonths = 3\n", "coupons.a.months", "repeating", "remove"),
        ('[coupons.a]\npercent_off = 5\nduration = "repeating"\n', "coupons.a.months", "repeating", "add"),
        ('[coupons.a]\npercent_off = 5\nplans = ["teem"]\n', "coupons.a.plans", "no plan 'teem'", "team?"),
        ('[coupons."a b"]\npercent_off = 5\n', "coupons.a b", "no legal coupon name", "letters"),
        ('[portal]\nreturn_url = "http://x"\n', "portal.return_url", "is no address", "https://"),
        ("[portal]\nplan_changes = 1\n", "portal.plan_changes", "neither true nor false", "false"),
        ('[portal]\ncancellation = "never"\n', "portal.cancellation", "unknown cancellation", "off"),
    ],
)
def test_a_wrong_table_names_line_key_and_fix(head: str, key: str, message: str, fix: str) -> None:
    (found,) = problems(head, TEAM, FLAT)
    assert found.key == key
    assert message in found.message
    assert fix in found.fix


@pytest.mark.parametrize(
    ("line", "key", "message", "fix"),
    [
        ("included = { apicalls = 5 }", "included.apicalls", "no meter 'apicalls'", "api_calls?"),
        ("included = { api_calls = 0 }", "included.api_calls", "0 is no number of units", "from 1"),
        ("included = 5", "included", "is no table", "included"),
        ('soft_limits = ["seats"]', "soft_limits", "no limit 'seats'", "unlimited"),
        ('entitlements = ["sso"]', "entitlements", "not among [features]", 'sso = "..."'),
    ],
)
def test_a_wrong_key_of_a_plan(line: str, key: str, message: str, fix: str) -> None:
    (found,) = problems(METER, '[features]\nreports = "Reports"\n', TEAM, line + "\n", FLAT)
    assert found.key == f"plans.team.{key}"
    assert message in found.message
    assert fix in found.fix


def test_included_units_are_said_once_and_not_with_volume_tiers() -> None:
    head = METER + TEAM + "included = { api_calls = 10 }\n" + FLAT
    twice = "tiers = [{ up_to = 10, unit_amount = 0 }, { unit_amount = 2 }]"
    (found,) = problems(head, price('meter = "api_calls"', 'model = "graduated"', twice, key="use"))
    assert "first 10 units are free" in found.message
    (found,) = problems(head, price('meter = "api_calls"', 'model = "volume"', twice, key="use"))
    assert "price all units alike" in found.message


# -- properties

AMOUNTS = st.decimals(0, 99_999_999, places=4, allow_nan=False)
STEPS = st.lists(st.tuples(st.integers(1, 1000), AMOUNTS, st.integers(0, 5000)), min_size=1, max_size=6)


@given(STEPS)
def test_tiers_survive_the_file_exactly(steps: list[tuple[int, Decimal, int]]) -> None:
    up_to, texts, expected = 0, [], []
    for index, (width, unit, flat) in enumerate(steps):
        up_to += width
        end = None if index == len(steps) - 1 else up_to
        said = "" if end is None else f"up_to = {end}, "
        texts.append(f"{{ {said}unit_amount = {unit:f}, flat_amount = {flat} }}")
        expected.append(PriceTier(end, unit, Decimal(flat)))
    sold = team(TEAM, price('model = "graduated"', f"tiers = [{', '.join(texts)}]")).prices[0]
    assert sold.tiers == tuple(expected)


def amount_of(tiers: tuple[PriceTier, ...], units: int) -> Decimal:
    """What graduated tiers cost, unit by unit: slow, and written apart."""
    total, used = Decimal(0), set()
    for unit in range(1, units + 1):
        index = next(index for index, tier in enumerate(tiers) if tier.up_to is None or unit <= tier.up_to)
        total += tiers[index].unit_amount + (tiers[index].flat_amount if index not in used else 0)
        used.add(index)
    return total


@given(st.integers(1, 60), st.integers(0, 200), st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), max_size=3))
def test_included_units_cost_nothing_and_shift_the_rest(
    included: int, units: int, steps: list[tuple[int, int]]
) -> None:
    up_to, tiers = 0, []
    for width, amount in steps:
        up_to += width
        tiers.append(f"{{ up_to = {up_to}, unit_amount = {amount} }}")
    text = f'model = "graduated"\ntiers = [{", ".join([*tiers, "{ unit_amount = 1 }"])}]'
    use = price('meter = "api_calls"', text, key="use")
    bare = team(METER, TEAM, FLAT, use).metered_prices("month")[0].tiers
    plan = team(METER, TEAM, f"included = {{ api_calls = {included} }}\n", FLAT, use)
    shifted = plan.metered_prices("month")[0].tiers
    assert units_included(shifted) == included
    assert amount_of(shifted, units) == amount_of(bare, max(0, units - included))


@given(st.integers(0, 8_000_000), st.decimals("0.01", 100, places=2))
def test_a_discount_never_costs_more_than_twelve_months(amount: int, percent: Decimal) -> None:
    yearly = annual(Decimal(amount), percent)
    assert 0 <= yearly <= 12 * amount
    assert abs(yearly - Decimal(amount) * 12 * (1 - percent / 100)) <= Decimal("0.5")
    assert yearly == yearly.to_integral_value()


JUNK = (
    st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["month", "year", "flat", "graduated", "metered", "api_calls", "usd", "eur", "k"])
    | st.lists(
        st.dictionaries(st.sampled_from(["up_to", "unit_amount", "flat_amount", "x"]), st.integers(-3, 99), max_size=3),
        max_size=3,
    )
)
PRICE = st.dictionaries(
    st.sampled_from(
        ["lookup_key", "interval", "unit_amount", "currency", "model", "tiers", "meter", "annual_discount_percent", "y"]
    ),
    JUNK,
    max_size=6,
)


def toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            escaped = "".join(f"\\U{ord(letter):08X}" for letter in value)
            return f'"{escaped}"'
        case list():
            return "[" + ", ".join(toml(each) for each in value) + "]"
        case dict():
            return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
        case _:
            return str(value)


@given(st.lists(PRICE, min_size=1, max_size=4))
def test_whatever_prices_say_they_are_prices_or_problems_with_line_and_fix(prices: list[dict[str, object]]) -> None:
    text = METER + TEAM + "included = { api_calls = 7 }\n"
    for each in prices:
        text += "\n".join(["[[plans.team.prices]]", *(f"{key} = {toml(value)}" for key, value in each.items()), ""])
    try:
        plan = team(text)
    except CatalogueInvalid as error:
        listed = error.problems
    else:
        assert_sold_once(plan)
        return
    assert listed
    assert all(each.line is not None and each.fix and each.message for each in listed)


def assert_sold_once(plan: Plan) -> None:
    assert len({sold.interval for sold in plan.prices if not sold.metered}) == len(
        [sold for sold in plan.prices if not sold.metered]
    )
