"""A plan is admitted where its stack lives."""

from __future__ import annotations

from typing import Any

import pytest

from policies.model import Facts
from provisioner.deployer.plan import Plan, PlannedStep
from provisioner.quotas import Preflight, QuotaShortfall
from provisioner.quotas.admission import Admission, needs_of_plan
from tests.unit.provisioner.quotas.fakes import Clock, FakeAws

INSTANCE = "aws:rds/instance:Instance"


def urn(type_: str, name: str = "it") -> str:
    return f"urn:pulumi:acme::tenantry::tenantry:index:Silo${type_}::{name}"


def plan(*steps: PlannedStep) -> Plan:
    return Plan("acme", (), steps)


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def admission(aws: FakeAws) -> Admission:
    return Admission(Preflight(aws, clock=Clock()), aws, "eu-central-1")


def test_a_plans_steps_are_read_in_the_engines_form() -> None:
    old: dict[str, Any] = {"inputs": {"allocatedStorage": 20.0}}
    new: dict[str, Any] = {"inputs": {"allocatedStorage": 50.0}, "outputs": {"allocatedStorage": 50.0}}
    needs = needs_of_plan(
        plan(
            PlannedStep(urn(INSTANCE, "a"), "create", new=new),
            PlannedStep(urn(INSTANCE, "b"), "update", old=old, new=new),
            PlannedStep(urn(INSTANCE, "c"), "delete", old=old),
            PlannedStep(urn("aws:kms/key:Key"), "replace", old={}, new={}),
        )
    )
    assert dict(needs.amounts) == {
        "rds/L-7B6409FD": 1,
        "rds/L-7ADDB58A": 80,
        "rds/L-272F1212": 1,
        "kms/L-C2F1777E": 1,
    }


def test_a_plan_that_creates_nothing_asks_nobody(admission: Admission, aws: FakeAws) -> None:
    with admission.admitted(plan(PlannedStep(urn("aws:iam/role:Role"), "update")), Facts("acme")):
        pass
    assert not aws.calls


def test_a_stack_without_a_platform_is_of_the_credentials_account(admission: Admission, aws: FakeAws) -> None:
    aws.use_instances(40, 40)
    with (
        pytest.raises(QuotaShortfall, match="allowed in eu-central-1"),
        admission.admitted(plan(PlannedStep(urn(INSTANCE), "create")), Facts("acme")),
    ):
        pass
    assert aws.calls["get_caller_identity"] == 1


def test_preparing_asks_for_the_account_once(admission: Admission, aws: FakeAws) -> None:
    admission.prepare()
    admission.prepare()
    assert aws.calls["get_caller_identity"] == 1
    assert aws.calls["describe_account_attributes"] == 0
