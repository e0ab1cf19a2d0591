"""What ``plans.toml`` promises around payments: trials, dunning, deletion, rates and the portal."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.spec import Access
from provisioner.billing import catalogue_file
from provisioner.billing.catalogue import CatalogueInvalid, Plan, Problem, RateLimit
from provisioner.billing.terms import (
    DEFAULT_TERMS,
    Deletion,
    PortalCancellation,
    Trial,
    WithoutPaymentMethod,
)

TEAM = '[plans.team]\ntier = "pool"\nprices = [{ lookup_key = "k", interval = "month" }]\n'


def team(text: str, head: str = "") -> Plan:
    return catalogue_file.parse(head + TEAM + text, "plans.toml").plan("team")


def problem(text: str, head: str = "") -> Problem:
    with pytest.raises(CatalogueInvalid) as error:
        team(text, head)
    (found,) = error.value.problems
    assert found.line is not None
    assert found.fix
    return found


def days(plan: Plan) -> list[int | None]:
    dunning = plan.terms.dunning
    steps = (dunning.throttled_after, dunning.read_only_after, dunning.suspended_after, dunning.hibernated_after)
    return [None if step is None else step.days for step in steps]


def test_what_is_not_said_is_the_default() -> None:
    assert team("").terms == DEFAULT_TERMS
    assert team("[plans.team.dunning]\n").terms == DEFAULT_TERMS


def test_a_trial() -> None:
    text = '[plans.team.trial]\ndays = 14\nrequires_payment_method = true\nwithout_payment_method = "pause"\n'
    assert team(text).terms.trial == Trial(14, True, WithoutPaymentMethod.PAUSE)
    assert team("[plans.team.trial]\ndays = 7\n").terms.trial == Trial(7)


def test_dunning_of_all_plans_and_of_one() -> None:
    head = "[dunning]\nthrottled_after_days = 3\nthrottled_percent = 25\n"
    own = '[plans.team.dunning]\nread_only_after_days = 5\nsuspended_after_days = "never"\non_dispute = "suspended"\n'
    plan = team(own, head)
    assert days(plan) == [3, 5, None, 30]
    assert plan.terms.throttled_percent == 25
    assert (plan.terms.on_dispute, plan.terms.on_dispute_lost) == (Access.SUSPENDED, Access.SUSPENDED)
    assert plan.terms.on_refund is Access.FULL
    assert days(team("", head)) == [3, 14, 21, 30]


def test_a_step_may_come_at_once_or_never() -> None:
    plan = team("[plans.team.dunning]\nthrottled_after_days = 0\n" + 'hibernated_after_days = "never"\n')
    assert days(plan) == [0, 14, 21, None]
    assert plan.terms.dunning.throttled_after == timedelta(0)


def test_deletion() -> None:
    plan = team(
        "", TEAM.replace("team", "other").replace('"k"', '"o"').replace("prices", 'deletion = "archive"\nprices')
    )
    assert plan.terms.deletion is Deletion.CRYPTO_SHRED
    text = TEAM.replace("prices", 'deletion = "archive"\narchive_days = 40\nprices')
    found = catalogue_file.parse(text, "x").plan("team").terms
    assert (found.deletion, found.archive_days) == (Deletion.ARCHIVE, 40)


@pytest.mark.parametrize(("value", "expected"), [("5", timedelta(days=5)), ("0", timedelta(0)), ('"never"', None)])
def test_when_an_instance_of_who_left_is_stopped(value: str, expected: timedelta | None) -> None:
    text = TEAM.replace("prices", f"asleep_after_days = {value}\nprices")
    assert catalogue_file.parse(text, "x").plan("team").terms.asleep_after == expected


def test_rates_in_short_and_in_long() -> None:
    short = TEAM.replace("prices", 'rates = { api = "100/second", exports = "5 per 10 minutes" }\nprices')
    assert catalogue_file.parse(short, "x").plan("team").rates == (
        RateLimit("api", 100, 1),
        RateLimit("exports", 5, 600),
    )
    long = (
        '[[plans.team.rates]]\nname = "api"\namount = 100\nper = "minute"\n'
        '[[plans.team.rates]]\nname = "api"\namount = 900\nper = "hour"\nsoft = true\n'
    )
    assert team(long).rates == (RateLimit("api", 100, 60), RateLimit("api", 900, 3600, soft=True))


def test_soft_limits() -> None:
    text = TEAM.replace("prices", 'limits = { seats = 5, files = 9 }\nsoft_limits = ["files"]\nprices')
    assert catalogue_file.parse(text, "x").plan("team").soft_limits == ("files",)


def test_the_portal() -> None:
    head = '[portal]\nheadline = "Hi"\nreturn_url = "https://x.example/a"\ncancellation = "off"\nplan_changes = false\n'
    found = catalogue_file.parse(head + TEAM, "x").portal
    assert (found.headline, found.return_url, found.plan_changes) == ("Hi", "https://x.example/a", False)
    assert found.cancellation is PortalCancellation.OFF


@pytest.mark.parametrize(
    ("text", "key", "message", "fix"),
    [
        ("[plans.team.trial]\n", "trial.days", "missing", "1 to 730"),
        ("[plans.team.trial]\ndays = 0\n", "trial.days", "0 is out of range", "1 to 730"),
        ("[plans.team.trial]\ndays = 731\n", "trial.days", "731 is out of range", "1 to 730"),
        ("[plans.team.trial]\ndays = 1.5\n", "trial.days", "1.5 is out of range", "1 to 730"),
        ("[plans.team.trial]\ndays = 2\nday = 1\n", "trial.day", "unknown key", "days?"),
        (
            '[plans.team.trial]\ndays = 2\nwithout_payment_method = "charge"\n',
            "trial.without_payment_method",
            "unknown without_payment_method 'charge'",
            "cancel",
        ),
        (
            "[plans.team.trial]\ndays = 2\nrequires_payment_method = 1\n",
            "trial.requires_payment_method",
            "neither true nor false",
            "true",
        ),
        (
            "[plans.team.dunning]\nread_only_after_days = 7\n",
            "dunning.read_only_after_days",
            "steps must come in order",
            "never",
        ),
        (
            "[plans.team.dunning]\nthrottled_after_days = 14\n",
            "dunning.throttled_after_days",
            "read_only_after_days, by default, is 14, and throttled_after_days is 14",
            "leave the step out",
        ),
        (
            "[plans.team.dunning]\nthrottled_after_days = -1\n",
            "dunning.throttled_after_days",
            "-1 is no",
            "0 (at once)",
        ),
        ("[plans.team.dunning]\nthrottled_after_days = 1.5\n", "dunning.throttled_after_days", "1.5", "never"),
        ('[plans.team.dunning]\nthrottled_after_days = "no"\n', "dunning.throttled_after_days", "'no'", "never"),
        ("[plans.team.dunning]\nthrottled_percent = 0\n", "dunning.throttled_percent", "out of range", "1 to 100"),
        ('[plans.team.dunning]\non_dispute = "deleted"\n', "dunning.on_dispute", "unknown on_dispute", "suspended"),
        ('[plans.team.dunning]\non_refund = "grace"\n', "dunning.on_refund", "unknown on_refund", "full"),
        ("[plans.team.dunning]\nafter = 1\n", "dunning.after", "unknown key", "throttled_after_days"),
        ('[[plans.team.rates]]\nname = "api"\namount = 0\n', "rates[0]", "out of range", "at least 1"),
        ('[[plans.team.rates]]\nname = "api"\namount = 5\nper = "week"\n', "rates[0]", "no rate", "second"),
        ("[[plans.team.rates]]\namount = 5\n", "rates[0]", "no name of a rate", "lower-case"),
        (
            '[[plans.team.rates]]\nname = "a"\namount = 5\n[[plans.team.rates]]\nname = "a"\namount = 6\n',
            "rates[1]",
            "two rates",
            "remove one",
        ),
        ("[plans.team.rates]\napi = 100\n", "rates.api", "100 is no rate", "100/second"),
        ('[plans.team.rates]\napi = "100/0seconds"\n', "rates.api", "out of range", "1 second"),
        ('[plans.team.rates]\napi = "-1/second"\n', "rates.api", "no rate", "100/second"),
    ],
)
def test_a_wrong_term_names_line_key_and_fix(text: str, key: str, message: str, fix: str) -> None:
    found = problem(text)
    assert found.key == f"plans.team.{key}"
    assert message in found.message
    assert fix in found.fix


def test_an_instance_is_stopped_after_a_number_of_days() -> None:
    with pytest.raises(CatalogueInvalid) as error:
        catalogue_file.parse(TEAM.replace("prices", "asleep_after_days = -1\nprices"), "x")
    (found,) = error.value.problems
    assert "since the subscription ended" in found.fix


def test_an_archive_that_isnt_kept_has_no_days() -> None:
    with pytest.raises(CatalogueInvalid) as error:
        catalogue_file.parse(TEAM.replace("prices", "archive_days = 40\nprices"), "x")
    (found,) = error.value.problems
    assert found.key == "plans.team.archive_days"
    assert 'deletion = "archive"' in found.fix


STEP: st.SearchStrategy[str | int | None] = st.none() | st.just("never") | st.integers(-2, 400)
NAMES = ("throttled", "read_only", "suspended", "hibernated")


@given(st.tuples(STEP, STEP, STEP, STEP))
def test_a_ladder_that_is_accepted_falls_step_by_step_and_any_other_is_refused(
    given: tuple[str | int | None, ...],
) -> None:
    lines = [
        f"{name}_after_days = {value if isinstance(value, int) else chr(34) + str(value) + chr(34)}"
        for name, value in zip(NAMES, given, strict=True)
        if value is not None
    ]
    defaults = (7, 14, 21, 30)
    expected = [
        default if value is None else None if value == "never" else value
        for value, default in zip(given, defaults, strict=True)
    ]
    standing = [int(step) for step in expected if step is not None]
    legal = all(0 <= step <= 365 for step in standing) and all(earlier < later for earlier, later in pairwise(standing))
    text = "\n".join(["[plans.team.dunning]", *lines, ""])
    if legal:
        assert days(team(text)) == expected
    else:
        with pytest.raises(CatalogueInvalid) as error:
            team(text)
        assert all(each.line is not None and each.fix for each in error.value.problems)
