"""Every rule: stacks that keep it, that break it, and of which a preview can't tell."""

from __future__ import annotations

import pytest

from components.tags import REQUIRED_TAGS as TAGS_OF_COMPONENTS
from policies.configuration import Configuration, RuleSettings
from policies.evaluate import Finding, Outcome, evaluate
from policies.model import Rule, Scope
from policies.rules import RULES
from policies.rules.ownership import REQUIRED_TAGS
from tests.unit.policies import cases_access, cases_data, cases_operations
from tests.unit.policies.stacks import Case, R, Spec, facts_of, one, stack_of

BY_ID = {rule.id: rule for rule in RULES}
CASES = (*cases_data.CASES, *cases_access.CASES, *cases_operations.CASES)


def findings(rule: Rule, resources: tuple[R, ...], spec: Spec = None, **parameters: object) -> tuple[Finding, ...]:
    stack = stack_of(resources)
    settings = Configuration({rule.id: RuleSettings(parameters=parameters)})
    return evaluate([rule], stack, stack, facts_of(spec), settings).findings


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_tells_what_keeps_it_from_what_breaks_it(case: Case) -> None:
    rule = BY_ID[case.rule]
    for stack in case.keeps:
        assert findings(rule, stack, case.spec) == (), stack
    for stack in case.breaks:
        found = findings(rule, stack, case.spec)
        assert found, stack
        assert {each.outcome for each in found} == {Outcome.VIOLATED}, (stack, [each.message for each in found])
        assert all(rule.remediation in each.text and not each.message.endswith(".") for each in found)
    for stack in case.undecided:
        assert {each.outcome for each in findings(rule, stack, case.spec)} == {Outcome.UNDECIDED}, stack


def test_every_rule_has_stacks_that_keep_and_break_it_and_ids_are_unique() -> None:
    mine = {rule.id for rule in RULES if not rule.id.startswith("tenancy-")}
    assert {case.rule for case in CASES if case.keeps} == mine
    assert {case.rule for case in CASES if case.breaks} == mine
    assert len(BY_ID) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_ignores_resources_of_other_types(rule: Rule) -> None:
    assert findings(rule, one("random:index/randomPet:RandomPet", {})[0]) == ()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_says_what_an_operator_and_an_auditor_need(rule: Rule) -> None:
    assert rule.id == rule.id.lower()
    assert " " not in rule.id
    assert not rule.title.endswith(".")
    assert not rule.remediation.endswith(".")
    assert rule.references
    assert all(each.schema.get("description") for each in rule.parameters)
    assert rule.scope is Scope.STACK or rule.types


def test_the_tags_that_are_required_are_those_that_components_set() -> None:
    assert set(REQUIRED_TAGS) == TAGS_OF_COMPONENTS


def test_parameters_change_what_is_a_violation() -> None:
    rule = BY_ID["exposure-ingress-rule"]
    web = one(
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "cidrIpv4": "0.0.0.0/0"},
    )[0]
    assert findings(rule, web)
    assert not findings(rule, web, public_ports=[443])
    assert findings(rule, web, public_ports=[80])
    version = one("aws:rds/instance:Instance", {"engine": "postgres", "engineVersion": "14"})[0]
    assert not findings(BY_ID["lifecycle-engine-version"], version)
    assert findings(BY_ID["lifecycle-engine-version"], version, notice_days=120)
    logs = one("aws:cloudwatch/logGroup:LogGroup", {"retentionInDays": 30})[0]
    assert findings(BY_ID["records-retention"], logs, days=365)
