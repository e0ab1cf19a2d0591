"""No rule finds anything in the stacks of our own components: previewed, and as they stand, in every environment."""

from __future__ import annotations

from typing import Any

import pytest

from components.spec import Access, Environment
from policies.evaluate import evaluate
from policies.rules import RULES
from tests.unit.policies.component_stacks import MOMENTS, STACKS, Moment, component_stack


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stack", STACKS)
def test_no_rule_finds_anything_in_our_own_stacks(stack: str, moment: Moment) -> None:
    judged = component_stack(stack, moment)
    report = evaluate(RULES, judged.stack, judged.stack, judged.facts)
    assert [f"{each.rule.id} {each.urn} {each.message}" for each in report.findings] == []
    assert len(report.evaluated) == len(RULES)


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": Environment.DEVELOPMENT},
        {"environment": Environment.STAGING},
        {"access": Access.SUSPENDED},
        {"protect": False},
        {"protect": False, "final_snapshot": False},
        {"generation": 2},
    ],
    ids=str,
)
def test_nor_in_any_state_that_a_silo_comes_through(changes: dict[str, Any]) -> None:
    judged = component_stack("silo", "standing", **changes)
    report = evaluate(RULES, judged.stack, judged.stack, judged.facts)
    assert [f"{each.rule.id} {each.urn} {each.message}" for each in report.findings] == []
