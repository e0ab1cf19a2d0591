"""What a preview takes of each quota."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.aws.registry import HANDLERS
from provisioner.quotas.needs import CONSUMPTION, Planned, needs_of
from provisioner.quotas.table import NOT_COUNTED, QUOTAS
from provisioner.quotas.usage import READINGS

INSTANCE = "aws:rds/instance:Instance"
KEY = "aws:kms/key:Key"
ROLE = "aws:iam/role:Role"
RDS, STORAGE, SNAPSHOTS = "rds/L-7B6409FD", "rds/L-7ADDB58A", "rds/L-272F1212"
SECRETS, KEYS, ROLES, GROUPS = "secretsmanager/L-2F66C23C", "kms/L-C2F1777E", "iam/L-FE177D64", "vpc/L-E79EC296"


def amounts(*steps: Planned) -> dict[str, int]:
    return dict(needs_of(steps).amounts)


def test_an_instance_takes_its_storage_and_the_secret_of_its_master() -> None:
    inputs = {"allocatedStorage": 100.0, "manageMasterUserPassword": True}
    assert amounts(Planned(INSTANCE, "create", inputs)) == {RDS: 1, STORAGE: 100, SECRETS: 1}


@pytest.mark.parametrize("size", [None, "04da6b54-80e4-46f7-96ec-b56ff0331ba9", 0, True])
def test_an_unknown_size_is_the_smallest_there_is(size: Any) -> None:
    assert amounts(Planned(INSTANCE, "create", {"allocatedStorage": size}))[STORAGE] == 20


def test_growing_storage_takes_the_difference_and_shrinking_none() -> None:
    assert amounts(Planned(INSTANCE, "update", {"allocatedStorage": 80}, {"allocatedStorage": 50})) == {STORAGE: 30}
    assert amounts(Planned(INSTANCE, "update", {"allocatedStorage": 50}, {"allocatedStorage": 80})) == {}


def test_a_deleted_instance_leaves_its_final_snapshot() -> None:
    assert amounts(Planned(INSTANCE, "delete", {}, {"finalSnapshotIdentifier": "last"})) == {SNAPSHOTS: 1}
    assert amounts(Planned(INSTANCE, "delete", {}, {"skipFinalSnapshot": True})) == {}


@pytest.mark.parametrize("op", ["same", "read", "import", "refresh", "update", "delete", "discard-replaced"])
def test_what_creates_nothing_takes_nothing(op: str) -> None:
    assert amounts(Planned(ROLE, op, {}, {})) == {}


def test_the_sum_of_all_steps() -> None:
    steps = [Planned(ROLE, "create", {}) for _ in range(3)] + [Planned("aws:ec2/vpc:Vpc", "create", {})]
    assert amounts(*steps, Planned("aws:ec2/securityGroup:SecurityGroup", "create", {})) == {
        ROLES: 3,
        GROUPS: 2,
        "vpc/L-F678F1CE": 1,
    }


def test_only_gateway_endpoints_are_counted_as_such() -> None:
    endpoint = "aws:ec2/vpcEndpoint:VpcEndpoint"
    assert amounts(Planned(endpoint, "create", {"vpcEndpointType": "Interface"})) == {}
    assert amounts(Planned(endpoint, "create", {})) == {"vpc/L-1B52E74A": 1}


def test_what_is_deleted_first_makes_room_for_its_replacement_alone() -> None:
    replaced = [Planned(ROLE, "delete-replaced", {}, {}), Planned(ROLE, "create-replacement", {}, {})]
    assert amounts(*replaced) == {}
    assert amounts(*replaced, Planned(ROLE, "create", {})) == {ROLES: 1}
    assert amounts(*reversed(replaced)) == {ROLES: 1}
    assert amounts(Planned(ROLE, "delete", {}, {}), Planned(ROLE, "create", {})) == {ROLES: 1}
    assert amounts(Planned(ROLE, "replace", {}, {})) == {ROLES: 1}


def test_a_deleted_key_makes_no_room() -> None:
    assert amounts(Planned(KEY, "delete-replaced", {}, {}), Planned(KEY, "create-replacement", {}, {})) == {KEYS: 1}


def test_a_type_that_nothing_is_known_of_is_told() -> None:
    needs = needs_of(
        [
            Planned("aws:dynamodb/table:Table", "create", {}),
            Planned("aws:dynamodb/table:Table", "create", {}),
            Planned("aws:lambda/function:Function", "same", {}),
            Planned("aws:cloudwatch/metricAlarm:MetricAlarm", "create", {}),
            Planned("tenantry-postgres:index:Role", "create", {}),
        ]
    )
    assert needs.unchecked == ("aws:dynamodb/table:Table",)
    assert not needs


def test_every_type_that_components_create_is_counted_or_known_not_to_be() -> None:
    types = {handler.token for handler in HANDLERS}
    unexplained = types - CONSUMPTION.keys() - NOT_COUNTED.keys()
    assert unexplained == {"aws:ssm/parameter:Parameter"}, "no component creates a parameter"
    assert not CONSUMPTION.keys() & NOT_COUNTED.keys()


def test_every_quota_is_consumed_by_something_and_read_from_somewhere() -> None:
    assert {quota.key for uses in CONSUMPTION.values() for quota, _ in uses} == QUOTAS.keys()
    assert {quota.counter for quota in QUOTAS.values()} == READINGS.keys()
    assert all(len(quota.code) == 10 and quota.code.startswith("L-") for quota in QUOTAS.values())
