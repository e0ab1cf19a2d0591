"""What the platform stack holds, once for all tenants of a cell."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_network
from typing import Any

import pytest

from components.app_schema import AppMigrations
from components.naming import Names
from components.network import subnet_cidrs
from components.spec import Environment, InstanceSpec, PlatformOutputs
from components.tags import REQUIRED_TAGS
from stacks import platform
from tests.unit.components.recording import ACCOUNT, Run, platform_spec, run

MIGRATIONS = AppMigrations("/srv/app_schema", ({"version": 1, "name": "one", "sha256": "0" * 64},))
NAMES = Names("demo", "platform")


@cache
def declared(**changes: Any) -> Run:
    spec = platform_spec(app_schema_version=1, **changes)
    return run(lambda: platform.program(spec, MIGRATIONS), stack_name=spec.stack_name)


def test_the_outputs_name_everything_that_tenants_share() -> None:
    program = declared()
    outputs = program.result
    assert isinstance(outputs, PlatformOutputs)
    assert outputs.account_id == ACCOUNT.id
    assert outputs.region == ACCOUNT.region
    assert outputs.shared_bucket == NAMES.bucket(ACCOUNT)
    assert outputs.platform_key_arn == program.one("aws:kms/key:Key").outputs["arn"]
    assert outputs.shared_role_arn == NAMES.role_arn(ACCOUNT)
    assert outputs.shared_database.name == "tenantry"
    assert outputs.pool_login == "pool_app"
    assert outputs.app_schema_version == 1
    assert len(outputs.private_subnet_ids) == 2
    exported = PlatformOutputs.model_validate_json(PlatformOutputs(**program.exports["platform"]).model_dump_json())
    assert exported == outputs


def test_there_is_no_way_in_from_the_internet() -> None:
    program = declared()
    types = {each.type for each in program.custom}
    assert not types & {"aws:ec2/internetGateway:InternetGateway", "aws:ec2/natGateway:NatGateway"}
    assert all(each.inputs["mapPublicIpOnLaunch"] is False for each in program.of_type("Subnet"))
    assert "ingress" not in program.one("DefaultSecurityGroup").inputs
    assert "egress" not in program.one("DefaultSecurityGroup").inputs
    for rule in program.of_type("SecurityGroupIngressRule"):
        assert rule.inputs.keys() & {"cidrIpv4", "cidrIpv6"} == set()
        assert rule.inputs["referencedSecurityGroupId"] == program.result.app_security_group_id
    for rule in program.of_type("SecurityGroupEgressRule"):
        assert rule.inputs.get("cidrIpv4") in {None, "10.64.0.0/16"}


def test_every_private_subnet_has_a_zone_of_its_own_and_keeps_it() -> None:
    subnets = declared().of_type("Subnet")
    assert sorted(each.inputs["availabilityZone"] for each in subnets) == ["eu-central-1a", "eu-central-1b"]
    assert all("availabilityZone" in each.ignore_changes for each in subnets)


def test_aws_services_are_reached_inside_the_network() -> None:
    endpoints = {each.inputs["serviceName"].split(".")[-1]: each for each in declared().of_type("VpcEndpoint")}
    assert endpoints.keys() == {"s3", "kms", "secretsmanager", "logs", "sts"}
    assert endpoints.pop("s3").inputs["vpcEndpointType"] == "Gateway"
    for each in endpoints.values():
        assert each.inputs["vpcEndpointType"] == "Interface"
        assert each.inputs["privateDnsEnabled"] is True
        assert len(each.inputs["subnetIds"]) == 2


def test_the_shared_database_takes_tls_only_and_is_ready_to_be_replicated() -> None:
    parameters = {each["name"]: each for each in declared().one("ParameterGroup").inputs["parameters"]}
    assert parameters["rds.force_ssl"]["value"] == "1"
    assert parameters["rds.logical_replication"] == {
        "name": "rds.logical_replication",
        "value": "1",
        "applyMethod": "pending-reboot",
    }
    # Entry tokens are bound parameters: a slow statement must not write them into the log.
    assert parameters["log_parameter_max_length"]["value"] == "0"


def test_the_instances_major_version_fits_the_parameter_groups_family() -> None:
    program = declared()
    version = program.one("aws:rds/instance:Instance").inputs["engineVersion"]
    assert program.one("ParameterGroup").inputs["family"] == f"postgres{version.split('.')[0]}"


def test_the_shared_instance_has_a_standby_in_production() -> None:
    assert declared().one("aws:rds/instance:Instance").inputs["multiAz"] is True
    development = declared(environment=Environment.DEVELOPMENT)
    assert development.one("aws:rds/instance:Instance").inputs["multiAz"] is False
    asked_for = declared(environment=Environment.DEVELOPMENT, shared_instance=InstanceSpec(multi_az=True))
    assert asked_for.one("aws:rds/instance:Instance").inputs["multiAz"] is True


def test_pool_tables_come_after_the_token_check_and_the_default_privileges() -> None:
    program = declared()
    needed = program.all_dependencies(program.one("AppSchema"))
    assert program.one("PoolSecurity").urn in needed
    assert program.one("Privileges").urn in needed
    assert program.one("AppSchema").inputs["mode"] == "pool"
    assert "tenantId" not in program.one("AppSchema").inputs


def test_the_token_key_and_the_login_are_secrets_of_their_own() -> None:
    program = declared()
    secrets = {each.inputs["name"]: each for each in program.of_type("Secret")}
    assert secrets.keys() == {NAMES.secret("pool-login"), NAMES.secret("pool-token")}
    assert program.one("PoolSecurity").inputs["tokenSecretArn"] == secrets[NAMES.secret("pool-token")].outputs["arn"]
    assert all(each.inputs["kmsKeyId"] == program.result.platform_key_arn for each in secrets.values())


def test_the_shared_role_is_bounded_and_knows_no_tenant() -> None:
    program = declared(broker_principal_arns=("arn:aws:iam::123456789012:role/broker",))
    role = program.one("aws:iam/role:Role")
    assert role.inputs["permissionsBoundary"] == program.result.permissions_boundary_arn
    (trust,) = role.policy("assumeRolePolicy")["Statement"]
    assert trust["Condition"]["StringLike"] == {"aws:RequestTag/tenant_id": "?*"}
    assert trust["Principal"] == {"AWS": ["arn:aws:iam::123456789012:role/broker"]}
    assert program.result.broker_principal_arns == ("arn:aws:iam::123456789012:role/broker",)


def test_the_alarm_topic_is_encrypted_and_cloudwatch_may_use_its_key() -> None:
    program = declared()
    topic = program.one("Topic")
    assert topic.inputs["kmsMasterKeyId"] == program.result.platform_key_arn
    sids = [each["Sid"] for each in program.one("aws:kms/key:Key").policy()["Statement"]]
    assert "AlarmsToTopic" in sids


def test_everything_carries_the_platforms_tags() -> None:
    for each in declared().custom:
        if "tags" in each.inputs:
            assert each.inputs["tags"].keys() >= REQUIRED_TAGS
            assert each.inputs["tags"]["tenant_id"] == "platform"


@pytest.mark.parametrize("protect", [True, False])
def test_what_tenants_would_miss_is_protected(protect: bool) -> None:
    protected = {each.type.split(":")[-1] for each in declared(protect=protect).resources if each.protect}
    stateful = {"Key", "Instance", "Bucket", "Secret", "LogGroup", "Database", "Schema", "AppSchema", "PoolSecurity"}
    assert protected == (stateful | {"Vpc", "Subnet"} if protect else set())


def test_every_resource_has_an_explicit_provider() -> None:
    assert all(each.provider for each in declared().custom)


def test_two_cells_of_one_account_share_no_name() -> None:
    def names(program: Run) -> set[tuple[str, str]]:
        return {
            (each.type, str(each.inputs[key]))
            for each in program.custom
            if each.type.startswith("aws:") and each.type != "aws:iam/rolePolicy:RolePolicy"
            for key in ("name", "bucket", "identifier")
            if key in each.inputs
        }

    assert not names(declared()) & names(declared(cell="eu1"))


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "10.0.0.0/28", "8.8.0.0/16", "10.0.0.1/16", "nonsense"])
def test_a_range_that_aws_would_refuse_is_refused(cidr: str) -> None:
    with pytest.raises(ValueError, match="cidr"):
        subnet_cidrs(cidr, 2)


def test_subnets_lie_in_the_range_and_do_not_overlap() -> None:
    networks = [ip_network(each) for each in subnet_cidrs("10.1.0.0/20", 3)]
    assert all(each.subnet_of(ip_network("10.1.0.0/20")) for each in networks)  # type: ignore[arg-type]
    assert not any(one.overlaps(other) for one in networks for other in networks if one is not other)
