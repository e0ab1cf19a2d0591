"""Stack rules about tenancy, on our own components' stacks: nothing is found in them, and each fault is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.naming import Names
from components.spec import ENFORCED_ACCESS, Access, Environment
from policies.configuration import Configuration, RuleSettings
from policies.evaluate import Finding, Outcome, evaluate, judge_stack
from policies.model import Stack
from policies.rules import RULES, tenancy
from tests.unit.policies.component_stacks import MOMENTS, STACKS, Judged, Moment, component_stack
from tests.unit.policies.tenancy_faults import FAULTS, UNDECIDED, Fault

BY_ID = {rule.id: rule for rule in tenancy.RULES}


def found(rule_id: str, judged: Judged) -> list[Finding]:
    return judge_stack(BY_ID[rule_id], judged.stack, judged.facts, Configuration())


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("rule_id", BY_ID)
def test_our_own_stacks_keep_every_rule(rule_id: str, stack: str, moment: Moment) -> None:
    assert found(rule_id, component_stack(stack, moment)) == []


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stack", STACKS)
def test_no_rule_of_the_pack_finds_anything_in_our_own_stacks(stack: str, moment: Moment) -> None:
    judged = component_stack(stack, moment)
    report = evaluate(RULES, judged.stack, judged.stack, judged.facts)
    assert [each.text for each in report.findings] == []
    assert set(BY_ID) < set(report.evaluated)


@pytest.mark.parametrize("access", ENFORCED_ACCESS)
@pytest.mark.parametrize("environment", Environment)
@pytest.mark.parametrize("stack", ["pool", "bridge", "silo"])
def test_nor_in_any_environment_suspended_or_not(stack: str, environment: Environment, access: Access) -> None:
    judged = component_stack(stack, environment=environment, access=access)
    assert evaluate(RULES, judged.stack, judged.stack, judged.facts).findings == ()


@pytest.mark.parametrize("stack", ["pool", "bridge", "silo"])
@pytest.mark.parametrize("rule_id", BY_ID)
def test_a_second_life_keeps_every_rule(rule_id: str, stack: str) -> None:
    assert found(rule_id, component_stack(stack, generation=2)) == []


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("rule_id", "stack", "fault"), FAULTS)
def test_a_fault_is_found(rule_id: str, stack: str, fault: Fault, moment: Moment) -> None:
    findings = found(rule_id, fault(component_stack(stack, moment)))
    assert {each.outcome for each in findings} == {Outcome.VIOLATED}
    assert all(each.blocks for each in findings)


@pytest.mark.parametrize("moment", MOMENTS)
def test_of_two_security_groups_the_one_without_the_database_is_named(moment: Moment) -> None:
    judged = component_stack("silo", moment).having("aws:ec2/securityGroup:SecurityGroup", {})
    turned = replace(judged, stack=Stack(tuple(reversed(judged.stack.resources))))
    for each in (judged, turned):
        (finding,) = found("tenancy-silo-network", each)
        assert "added" in finding.urn


def test_every_rule_has_a_fault() -> None:
    assert {rule_id for rule_id, _, _ in FAULTS} == set(BY_ID)


@pytest.mark.parametrize(("rule_id", "stack", "fault"), UNDECIDED)
def test_what_a_preview_can_not_know_blocks(rule_id: str, stack: str, fault: Fault) -> None:
    findings = found(rule_id, fault(component_stack(stack)))
    assert {each.outcome for each in findings} == {Outcome.UNDECIDED}
    assert all(each.blocks for each in findings)


@pytest.mark.parametrize("rule_id", ["tenancy-encryption-key", "tenancy-foreign-reference", "tenancy-silo-network"])
def test_without_the_platforms_outputs_nothing_is_waved_through(rule_id: str) -> None:
    stack = "bridge" if rule_id == "tenancy-encryption-key" else "silo"
    judged = component_stack(stack)
    findings = found(rule_id, replace(judged, facts=replace(judged.facts, platform=None)))
    assert {each.outcome for each in findings} == {Outcome.UNDECIDED}


@pytest.mark.parametrize("rule_id", BY_ID)
def test_somebody_elses_stack_is_not_judged_by_our_tiers(rule_id: str) -> None:
    judged = component_stack("silo")
    assert found(rule_id, replace(judged, facts=replace(judged.facts, spec=None, platform=None))) == []


@pytest.mark.parametrize(
    "text",
    [
        "tenantry-acme-",
        "arn:aws:s3:::tenantry-${aws:PrincipalTag/tenant_id}-????????",
        "a tenantry-postgres provider",
        "tenantry-acme-two",
    ],
)
def test_what_only_looks_like_a_name_is_none(text: str) -> None:
    assert found("tenancy-foreign-reference", component_stack("silo").changed("instance:Instance", note=text)) == []


def test_a_tenant_whose_id_begins_with_anothers_is_another() -> None:
    theirs = Names("demo", "acme-deadbeef").aws
    assert found("tenancy-foreign-reference", component_stack("silo").changed("instance:Instance", note=theirs))


def test_keys_may_be_watched_by_something_outside_of_the_stack() -> None:
    judged = component_stack("platform").without("EventRule")
    settings = Configuration({"tenancy-alarms": RuleSettings(parameters={"keys_watched_elsewhere": True})})
    assert judge_stack(BY_ID["tenancy-alarms"], judged.stack, judged.facts, settings) == []


def test_a_rule_whose_target_is_a_topic_watches_keys_as_well() -> None:
    judged = component_stack("platform").without("MetricAlarm")
    judged = judged.having("aws:cloudwatch/eventTarget:EventTarget", {"rule": "x"}, arn="topic:Topic")
    judged = judged.changed("EventRule", name="x")
    messages = [each.message for each in found("tenancy-alarms", judged)]
    assert messages
    assert not [each for each in messages if "key" in each]
