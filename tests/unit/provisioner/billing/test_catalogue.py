from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.spec import Budget, InstanceSpec
from components.tiers import Tier
from provisioner.billing import catalogue, catalogue_file
from provisioner.billing.catalogue import CatalogueInvalid, Problem
from provisioner.billing.pricing import PricingModel
from provisioner.errors import ConfigurationInvalid, NotFound, OperatorNeeded

EXAMPLE = Path(__file__).parents[4] / "example" / "plans.toml"
PRICES = '[[plans.team.prices]]\nlookup_key = "team_monthly"\ninterval = "month"\n'
TEAM = '[plans.team]\ntier = "bridge"\n'


def problems(text: str) -> list[Problem]:
    with pytest.raises(CatalogueInvalid) as error:
        catalogue_file.parse(text, "plans.toml")
    assert error.value.source == "plans.toml"
    assert str(error.value).startswith("plans.toml: ")
    return list(error.value.problems)


def problem(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, [str(each) for each in found]
    assert found[0].fix
    return found[0]


def test_the_example_is_valid_and_sells_every_tier() -> None:
    found = catalogue.load(EXAMPLE)
    assert {plan.tier for plan in found.plans.values()} == set(Tier)
    assert {
        plan.name: [price.interval for price in plan.prices if not price.metered] for plan in found.plans.values()
    } == {
        **{name: ["month", "year"] for name in ("starter", "team", "team_plus", "growth", "enterprise")},
        "scale": ["month"],
    }
    sold = [price for plan in found.plans.values() for price in plan.prices]
    assert all(price.unit_amount or price.tiers for price in sold), "it can be pushed"
    assert {price.model for price in sold} == set(PricingModel) - {PricingModel.METERED}, "included units make tiers"
    assert {price.meter for price in sold} == {None, *found.meters}
    assert found.plan("team").tier is found.plan("team_plus").tier
    assert found.plan("enterprise").entitlements == ("*",)


def test_a_plan_has_defaults() -> None:
    plan = catalogue_file.parse(TEAM + PRICES, "plans.toml").plan("team")
    assert (plan.title, plan.entitlements, dict(plan.limits)) == ("team", (), {})
    assert (plan.retention_days, plan.connection_limit, plan.instance) == (30, 20, None)
    assert (plan.prices[0].unit_amount, plan.prices[0].currency) == (None, "usd")


def test_a_budget_is_optional_and_counts_whole_dollars_too() -> None:
    assert catalogue_file.parse(TEAM + PRICES, "plans.toml").plan("team").budget is None
    text = TEAM + PRICES + "[plans.team.budget]\nmax_resources = 15\nmonthly_usd = 5\n"
    assert catalogue_file.parse(text, "plans.toml").plan("team").budget == Budget(max_resources=15, monthly_usd=5.0)


def test_a_tier_with_an_own_instance_has_one() -> None:
    silo = catalogue_file.parse(TEAM.replace("bridge", "silo") + PRICES, "plans.toml").plan("team")
    assert silo.instance == InstanceSpec()
    own = catalogue_file.parse(
        TEAM.replace("bridge", "silo") + PRICES + "[plans.team.instance]\nstorage_gib = 50\n", "plans.toml"
    ).plan("team")
    assert own.instance is not None
    assert own.instance.storage_gib == 50


def test_what_is_read_can_not_be_changed() -> None:
    found = catalogue_file.parse(TEAM + "limits = { seats = 5 }\n" + PRICES, "plans.toml")
    with pytest.raises(TypeError):
        found.plan("team").limits["seats"] = 6  # type: ignore[index]
    assert hash(found.plan("team")) == hash(found.plan("team"))


def test_plans_and_prices_are_found_or_the_nearest_is_named() -> None:
    found = catalogue.load(EXAMPLE)
    plan = found.plan_of_price("team_annual")
    assert plan is not None
    assert plan.name == "team"
    assert found.plan_of_price("nobody") is None
    with pytest.raises(NotFound) as near:
        found.plan("teem")
    assert near.value.hint == "Did you mean team?"
    with pytest.raises(NotFound) as far:
        found.plan("zzz")
    assert "starter, team" in far.value.hint
    assert plan.price("year").lookup_key == "team_annual"
    with pytest.raises(NotFound, match="interval week"):
        plan.price("week")


@pytest.mark.parametrize(
    ("text", "line", "key", "message", "fix"),
    [
        (
            TEAM.replace("bridge", "brige") + PRICES,
            2,
            "plans.team.tier",
            "unknown tier 'brige'",
            "did you mean bridge?",
        ),
        ("[plans.team]\n" + PRICES, 1, "plans.team.tier", "missing", "one of pool, bridge, silo"),
        (TEAM + "tyer = 1\n" + PRICES, 3, "plans.team.tyer", "unknown key", "did you mean tier?"),
        (TEAM + "colour = 1\n" + PRICES, 3, "plans.team.colour", "unknown key", "known keys: tier"),
        (TEAM, 1, "plans.team.prices", "missing", "add [[plans.<name>.prices]]"),
        (TEAM + "prices = []\n", 3, "plans.team.prices", "is no list of tables", "add [[plans.<name>.prices]]"),
        (TEAM + "prices = [1]\n", 3, "plans.team.prices", "is no list of tables", "add [[plans.<name>.prices]]"),
        (
            TEAM + PRICES.replace('month"', 'week"'),
            5,
            "plans.team.prices[0].interval",
            "unknown interval 'week'",
            "month",
        ),
        (
            TEAM + '[[plans.team.prices]]\ninterval = "month"\n',
            3,
            "plans.team.prices[0].lookup_key",
            "missing",
            "lookup key",
        ),
        (
            TEAM + PRICES + "unit_amount = 9.5\n",
            6,
            "plans.team.prices[0].unit_amount",
            "is no amount",
            "9900 is 99 dollars",
        ),
        (TEAM + PRICES + "unit_amount = true\n", 6, "plans.team.prices[0].unit_amount", "is no amount", "9900"),
        (TEAM + PRICES + 'currency = "USD"\n', 6, "plans.team.prices[0].currency", "is no currency", "lower-case"),
        (TEAM + PRICES + "amount = 5\n", 6, "plans.team.prices[0].amount", "unknown key", "did you mean unit_amount?"),
        (TEAM + PRICES + PRICES, 7, "plans.team.prices[1].lookup_key", "is used by plans.team.prices[0]", "own key"),
        (TEAM + "retention_days = -1\n" + PRICES, 3, "plans.team.retention_days", "-1 is out of range", "0 to 3650"),
        (TEAM + "retention_days = true\n" + PRICES, 3, "plans.team.retention_days", "out of range", "0 to 3650"),
        (TEAM + "connection_limit = 0\n" + PRICES, 3, "plans.team.connection_limit", "out of range", "1 to 5000"),
        (TEAM + 'entitlements = "sso"\n' + PRICES, 3, "plans.team.entitlements", "is no list", "for all"),
        (TEAM + 'entitlements = ["SSO"]\n' + PRICES, 3, "plans.team.entitlements", "'SSO'", ""),
        (TEAM + 'entitlements = ["*", "sso"]\n' + PRICES, 3, "plans.team.entitlements", "stands beside", "alone"),
        (TEAM + "limits = 5\n" + PRICES, 3, "plans.team.limits", "is no table", "seats = 25"),
        (TEAM + "limits = { seats = -1 }\n" + PRICES, 3, "plans.team.limits.seats", "no whole number", "unlimited"),
        (TEAM + "limits = { Seats = 1 }\n" + PRICES, 3, "plans.team.limits.Seats", "no limit name", "lower-case"),
        (TEAM + 'title = ""\n' + PRICES, 3, "plans.team.title", "is no text", "Team"),
        (
            TEAM + PRICES + "[plans.team.instance]\nstorage_gib = 20\n",
            6,
            "plans.team.instance",
            "has no own instance",
            "silo",
        ),
        (
            TEAM.replace("bridge", "silo") + PRICES + "[plans.team.instance]\nstorage = 20\n",
            7,
            "plans.team.instance.storage",
            "unknown key",
            "did you mean storage_gib?",
        ),
        (
            TEAM.replace("bridge", "silo") + PRICES + '[plans.team.instance]\nstorage_gib = "20"\n',
            7,
            "plans.team.instance.storage_gib",
            "valid integer",
            "",
        ),
        (TEAM + "budget = 5\n" + PRICES, 3, "plans.team.budget", "is no table", "[plans.<name>.budget]"),
        (
            TEAM + PRICES + "[plans.team.budget]\nmax_resources = 9\nmonthly_usd = 0\n",
            8,
            "plans.team.budget.monthly_usd",
            "greater than 0",
            "USD a month",
        ),
        (
            TEAM + PRICES + '[plans.team.budget]\nmax_resources = "9"\nmonthly_usd = 5\n',
            7,
            "plans.team.budget.max_resources",
            "valid integer",
            "resources",
        ),
        (
            TEAM + PRICES + "[plans.team.budget]\nmonthly_usd = 5\n",
            6,
            "plans.team.budget.max_resources",
            "required",
            "resources",
        ),
        (
            TEAM + PRICES + "[plans.team.budget]\nmax_resources = 9\nmonthly_usd = 5\nyearly_usd = 60\n",
            9,
            "plans.team.budget.yearly_usd",
            "unknown key",
            "",
        ),
        (
            TEAM.replace("bridge", "silo")
            + PRICES
            + '[plans.team.budget]\nmax_resources = 9\nmonthly_usd = 5\ninstance_classes = ["db.t4g.small"]\n',
            9,
            "plans.team.budget.instance_classes",
            "db.t4g.medium is not among them",
            "add it",
        ),
        (
            "[plans.Team]\n" + 'tier = "pool"\nprices = [{ lookup_key = "a", interval = "month" }]\n',
            1,
            "plans.Team",
            "no legal plan name",
            "lower-case",
        ),
        ("plans = 5\n", 1, "plans", "there is no plan", "add a table"),
        ("", None, "plans", "there is no plan", "add a table"),
        ("[plans]\nteam = 5\n", 2, "plans.team", "is no table", "[plans.team]"),
        ("version = 1\n" + TEAM + PRICES, 1, "version", "unknown key", "plans"),
        ("[plans.team\n", 1, "file", "is not TOML", "https://toml.io"),
        (TEAM + TEAM, 3, "file", "is not TOML", "https://toml.io"),
        ("a = " + "[" * 20000, None, "file", "", "https://toml.io"),
    ],
)
def test_a_problem_names_line_key_and_fix(text: str, line: int | None, key: str, message: str, fix: str) -> None:
    found = problem(text)
    assert (found.line, found.key) == (line, key)
    assert message in found.message
    assert fix in found.fix


def test_everything_that_is_wrong_is_said_at_once_in_the_files_order() -> None:
    text = (
        '[plans.one]\ntier = "lake"\nretention_days = "x"\n'
        '[[plans.one.prices]]\nlookup_key = "k"\ninterval = "month"\n'
        '[plans.two]\ntier = "pool"\n'
        '[[plans.two.prices]]\nlookup_key = "k"\ninterval = "daily"\n'
    )
    found = problems(text)
    assert [(each.line, each.key) for each in found] == [
        (2, "plans.one.tier"),
        (3, "plans.one.retention_days"),
        (10, "plans.two.prices[0].lookup_key"),
        (11, "plans.two.prices[0].interval"),
    ]


def test_the_error_is_the_operators_and_says_how_to_check() -> None:
    with pytest.raises(CatalogueInvalid) as error:
        catalogue_file.parse("x = 1", "/etc/plans.toml")
    assert isinstance(error.value, OperatorNeeded)
    assert error.value.code == "catalogue_invalid"
    assert "tenantry catalogue check /etc/plans.toml" in error.value.hint


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="No such file") as missing:
        catalogue.load(tmp_path / "none.toml")
    assert "TENANTRY_CATALOGUE" in missing.value.hint
    with pytest.raises(ConfigurationInvalid, match="directory"):
        catalogue.load(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'[plans.team]\ntitle = "caf\xe9"\n')
    with pytest.raises(CatalogueInvalid, match="UTF-8"):
        catalogue.load(latin)


@given(st.text(max_size=200))
def test_any_text_is_a_catalogue_or_a_list_of_problems(text: str) -> None:
    try:
        found = catalogue_file.parse(text, "x")
    except CatalogueInvalid as error:
        listed = error.problems
    else:
        assert found.plans
        return
    assert listed


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 99999)
    | st.text('ab*"', max_size=3)
    | st.lists(st.just("sso"), max_size=2)
)
KEYS = [
    "tier",
    "title",
    "entitlements",
    "limits",
    "retention_days",
    "connection_limit",
    "instance",
    "budget",
    "prices",
    "other",
]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5))
def test_whatever_a_plan_says_it_is_a_plan_or_its_problems_have_a_line_and_a_fix(values: dict[str, object]) -> None:
    def toml(value: object) -> str:
        match value:
            case bool():
                return str(value).lower()
            case str():
                return '"' + value.replace('"', '\\"') + '"'
            case list():
                return "[" + ", ".join(toml(each) for each in value) + "]"
            case _:
                return str(value)

    lines = [f"{key} = {toml(value)}" for key, value in values.items() if value is not None]
    text = "\n".join(["[plans.team]", *lines, *([] if "prices" in values else PRICES.splitlines())])
    try:
        catalogue_file.parse(text, "x")
    except CatalogueInvalid as error:
        listed = error.problems
    else:
        return
    assert all(each.line is not None and each.fix for each in listed)
