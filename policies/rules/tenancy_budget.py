"""A tenant's stack stays within what its plan pays for."""

from __future__ import annotations

from collections.abc import Iterator

from policies.costs import INSTANCE, Prices
from policies.model import Facts, Parameter, Rule, Severity, Stack, Violation
from policies.references import saas_lens
from policies.values import CannotTell, is_unknown

_NOT_COUNTED = ("pulumi:", "tenantry:index:")  #: the stack itself, providers, components


def _judge(stack: Stack, facts: Facts) -> Iterator[Violation]:
    budget = facts.tenant.budget if facts.tenant is not None else None
    if budget is None:
        return
    counted = [each for each in stack.resources if not each.type.startswith(_NOT_COUNTED)]
    if len(counted) > budget.max_resources:
        yield Violation("", f"the stack has {len(counted)} resources, and its plan allows {budget.max_resources}")
    for instance in stack.of_type(INSTANCE):
        class_ = instance.get("instanceClass")
        if budget.instance_classes and not is_unknown(class_) and class_ not in budget.instance_classes:
            allowed = ", ".join(budget.instance_classes)
            yield Violation(instance.urn, f"the instance class {class_} is none of the plan's: {allowed}")
    prices = Prices.of(facts.parameters)
    total = 0.0
    unpriced = False
    for each in counted:
        try:
            total += prices.monthly(each)
        except CannotTell as unknown:
            unpriced = True
            yield Violation(each.urn, f"{unknown.what} is not known", undecided=True)
    if total > budget.monthly_usd:
        least = "at least " if unpriced else ""
        yield Violation(
            "", f"the stack costs {least}{total:.2f} USD a month, and its plan has {budget.monthly_usd:.2f}"
        )


RULES: tuple[Rule, ...] = (
    Rule(
        id="tenancy-budget",
        title="The number, class and monthly cost of a tenant's resources stay within its plan's budget",
        severity=Severity.MEDIUM,
        remediation="Remove what the plan does not pay for, raise the plan's budget, or complete the parameter prices",
        stack=_judge,
        references=saas_lens("SaaS COST 1"),
        parameters=(
            Parameter(
                "prices",
                {},
                {
                    "type": "object",
                    "additionalProperties": {"type": "number", "minimum": 0},
                    "description": "USD an hour by RDS instance class, or USD a month by resource type, over the table",
                },
            ),
            Parameter(
                "region_factor",
                1.0,
                {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "description": "what the region's prices are to those of us-east-1, which the table has",
                },
            ),
        ),
    ),
)
