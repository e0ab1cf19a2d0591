"""What stacks cost, by the table of prices: sums that one can check by hand, and no guess where a price lacks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from components.spec import InstanceSpec
from components.tiers import Tier
from policies.configuration import Configuration, RuleSettings
from policies.costs import FREE, INSTANCE, PRICES, NoPrice, Prices
from policies.evaluate import Finding, judge_stack
from policies.model import Resource
from policies.rules.tenancy_budget import RULES
from policies.values import CannotTell, Unknown
from provisioner.billing.catalogue import load
from tests.unit.policies.component_stacks import Judged, component_stack

(BUDGET,) = RULES
EXAMPLE = Path(__file__).parents[3] / "example" / "plans.toml"
MEDIUM: dict[str, Any] = {"instanceClass": "db.t4g.medium", "storageType": "gp3", "allocatedStorage": 20}


def price(type_: str, properties: dict[str, Any], **parameters: Any) -> float:
    return Prices.of(parameters).monthly(Resource("urn", type_, "it", properties))


def judged(stack: Judged, **parameters: Any) -> list[Finding]:
    settings = Configuration({BUDGET.id: RuleSettings(parameters=parameters)})
    return judge_stack(BUDGET, stack.stack, stack.facts, settings)


def test_an_instance_costs_its_hours_and_its_storage() -> None:
    assert price(INSTANCE, MEDIUM) == pytest.approx(730 * 0.065 + 20 * 0.115)


def test_a_standby_doubles_both_and_a_managed_password_is_a_secret() -> None:
    whole = {**MEDIUM, "multiAz": True, "manageMasterUserPassword": True}
    assert price(INSTANCE, whole) == pytest.approx(2 * (730 * 0.065 + 20 * 0.115) + 0.40)


def test_a_secrets_replicas_cost_as_much_each() -> None:
    assert price("aws:secretsmanager/secret:Secret", {"replicas": [{"region": "eu-west-1"}]}) == pytest.approx(0.80)


def test_an_interface_endpoint_costs_by_its_subnets_and_a_gateway_nothing() -> None:
    endpoint = "aws:ec2/vpcEndpoint:VpcEndpoint"
    assert price(endpoint, {"vpcEndpointType": "Interface", "subnetIds": ["a", "b"]}) == pytest.approx(14.6)
    assert price(endpoint, {"vpcEndpointType": "Gateway"}) == 0


def test_another_region_has_a_factor_and_missing_prices_are_parameters() -> None:
    assert price("aws:kms/key:Key", {}, region_factor=1.2) == pytest.approx(1.2)
    assert price("aws:ec2/natGateway:NatGateway", {}, prices={"aws:ec2/natGateway:NatGateway": 32.85}) == 32.85
    own = {**MEDIUM, "instanceClass": "db.x99.large"}
    assert price(INSTANCE, own, prices={"db.x99.large": 1.0}) == pytest.approx(730 + 2.3)


@pytest.mark.parametrize(
    ("type_", "properties", "lacks"),
    [
        (INSTANCE, {**MEDIUM, "instanceClass": "db.x99.large"}, "instance class db.x99.large"),
        (INSTANCE, {**MEDIUM, "storageType": "io2"}, "io2 storage"),
        (INSTANCE, {**MEDIUM, "iops": 12000}, "provisioned IOPS"),
        ("aws:ec2/natGateway:NatGateway", {}, "aws:ec2/natGateway:NatGateway"),
        ("random:index/randomPet:RandomPet", {}, "random:index/randomPet:RandomPet"),
    ],
)
def test_what_has_no_price_is_said_and_not_guessed(type_: str, properties: dict[str, Any], lacks: str) -> None:
    with pytest.raises(NoPrice, match=lacks):
        price(type_, properties)


@pytest.mark.parametrize("name", ["instanceClass", "allocatedStorage", "multiAz"])
def test_what_a_preview_does_not_know_has_no_price(name: str) -> None:
    with pytest.raises(CannotTell, match=name):
        price(INSTANCE, {**MEDIUM, name: Unknown(name)})


def test_the_table_says_where_and_when_it_is_from() -> None:
    table = Prices.of({}).table
    assert table["region"] == "us-east-1"
    assert date(2025, 1, 1) < table["as_of"] <= datetime.now(UTC).date()
    assert all(each.startswith("https://aws.amazon.com/") for each in table["sources"])
    assert not set(table["monthly"]) & FREE
    assert PRICES.name == "prices.toml"


@pytest.mark.parametrize("plan", ["starter", "team", "team_plus", "enterprise"])
def test_every_plan_of_the_example_pays_for_its_tier_in_production(plan: str) -> None:
    found = load(EXAMPLE).plans[plan]
    assert found.budget is not None
    changes = {"instance": found.instance or InstanceSpec()} if found.tier is Tier.SILO else {}
    stack = component_stack(found.tier.value, budget=found.budget, **changes)
    assert judged(stack) == []


def test_a_cost_that_is_partly_unknown_is_told_with_what_is_known() -> None:
    stack = component_stack("silo").budget(monthly_usd=50).having("aws:ec2/natGateway:NatGateway", {})
    messages = [each.message for each in judged(stack)]
    assert any("at least 1" in each for each in messages)
    assert any("price of aws:ec2/natGateway" in each for each in messages)


def test_without_a_budget_nothing_is_limited() -> None:
    assert judged(component_stack("silo").having("aws:ec2/natGateway:NatGateway", {})) == []
