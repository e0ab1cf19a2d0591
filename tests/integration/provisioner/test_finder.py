"""What a Create made is found again in AWS, by the id that the provider gave it, and nothing else ever is."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from components.app_schema import AppMigrations
from components.tiers import Tier
from localcloud.aws.registry import aws_provider
from providers.base.testing import ProviderClient, serving
from provisioner.errors import OperatorNeeded, RetryLater
from provisioner.finder import KNOWN_TYPES, AwsFinder
from stacks import platform, tenant
from tests.unit.components.recording import PLATFORM, platform_spec, run, tenant_spec

REGION = "eu-central-1"
ANYONE = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}]}'
TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},'
    '"Action":"sts:AssumeRole"}]}'
)
READ = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}


@pytest.fixture(scope="module")
def session(moto_server: str) -> Iterator[boto3.session.Session]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", moto_server)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield boto3.session.Session(region_name=REGION)


@dataclass
class Cloud:
    """AWS as a tenant's stack finds it. `name` is the tenant's, `tags` are those of everything that is its own."""

    session: boto3.session.Session
    provider: ProviderClient
    name: str = field(default_factory=lambda: f"tenantry-acme-{secrets.token_hex(4)}")

    @property
    def tags(self) -> dict[str, str]:
        return {"tenant_id": self.name, "generation": "1", "installation": "demo", "plan": "enterprise"}

    def client(self, service: str) -> Any:
        return self.session.client(service)  # type: ignore[call-overload]

    def create(self, type_: str, inputs: dict[str, Any]) -> str:
        return self.provider.create(type_, "it", inputs).id

    def vpc(self, cidr: str = "10.20.0.0/16") -> str:
        return self.create(VPC, {"cidrBlock": cidr, "tags": {**self.tags, "Name": self.name}})

    def group(self, vpc: str, name: str) -> str:
        return self.create(GROUP, {"name": name, "vpcId": vpc, "tags": {**self.tags, "Name": name}})


@pytest.fixture(scope="module")
def provider(moto_server: str) -> Iterator[ProviderClient]:
    config = {"region": REGION, "accessKey": "test", "secretKey": "test"}
    with serving(aws_provider(moto_server), config) as client:
        yield client


@pytest.fixture
def cloud(session: boto3.session.Session, provider: ProviderClient) -> Cloud:
    return Cloud(session, provider)


@pytest.fixture(scope="module")
def finder(session: boto3.session.Session) -> AwsFinder:
    return AwsFinder(REGION, session)


KEY, ALIAS = "aws:kms/key:Key", "aws:kms/alias:Alias"
ROLE, POLICY = "aws:iam/role:Role", "aws:iam/policy:Policy"
BUCKET, TOPIC = "aws:s3/bucket:Bucket", "aws:sns/topic:Topic"
LOGS, ALARM = "aws:cloudwatch/logGroup:LogGroup", "aws:cloudwatch/metricAlarm:MetricAlarm"
VPC, SUBNET, TABLE = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/routeTable:RouteTable"
ASSOCIATION, ENDPOINT = "aws:ec2/routeTableAssociation:RouteTableAssociation", "aws:ec2/vpcEndpoint:VpcEndpoint"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
INSTANCE, SECRET_TYPE = "aws:rds/instance:Instance", "aws:secretsmanager/secret:Secret"
SUBNETS, PARAMETERS = "aws:rds/subnetGroup:SubnetGroup", "aws:rds/parameterGroup:ParameterGroup"


def _named(cloud: Cloud, **inputs: Any) -> dict[str, Any]:
    return {"name": cloud.name, "tags": cloud.tags, **inputs}


def _marked(cloud: Cloud, shown: str = "", /, **inputs: Any) -> dict[str, Any]:
    return {"tags": {**cloud.tags, "Name": shown or cloud.name}, **inputs}


def _rule(cloud: Cloud, peer: dict[str, Any]) -> dict[str, Any]:
    group = cloud.group(cloud.vpc(), f"{cloud.name}-database")
    return {
        "securityGroupId": group,
        "ipProtocol": "tcp",
        "fromPort": 5432,
        "toPort": 5432,
        "tags": cloud.tags,
        **peer,
    }


def _rule_from_group(cloud: Cloud) -> dict[str, Any]:
    vpc = cloud.vpc()
    database, app = cloud.group(vpc, f"{cloud.name}-database"), cloud.group(vpc, f"{cloud.name}-app")
    return {**_rule(cloud, {"referencedSecurityGroupId": app}), "securityGroupId": database}


def _subnet_group(cloud: Cloud) -> dict[str, Any]:
    vpc, ids = cloud.vpc(), []
    for index in range(2):
        place = {"cidrBlock": f"10.20.{index * 64}.0/18", "availabilityZone": f"{REGION}{'ab'[index]}"}
        ids.append(cloud.create(SUBNET, _marked(cloud, f"{cloud.name}-{index}", vpcId=vpc, **place)))
    return _named(cloud, subnetIds=ids, description="d")


def _instance(cloud: Cloud, **inputs: Any) -> dict[str, Any]:
    return {
        "identifier": cloud.name,
        "engine": "postgres",
        "engineVersion": "17",
        "instanceClass": "db.t4g.small",
        "allocatedStorage": 20,
        "username": "tenantry_master",
        "manageMasterUserPassword": True,
        "skipFinalSnapshot": True,
        "tags": cloud.tags,
        **inputs,
    }


def _association(cloud: Cloud) -> dict[str, Any]:
    vpc = cloud.vpc()
    subnet = cloud.create(SUBNET, _marked(cloud, vpcId=vpc, cidrBlock="10.20.0.0/18"))
    return {"subnetId": subnet, "routeTableId": cloud.create(TABLE, _marked(cloud, vpcId=vpc))}


#: Type to the inputs of one, as the provider's Check leaves them; what it stands on is created first.
MADE_BY_THE_PROVIDER: dict[str, Callable[[Cloud], dict[str, Any]]] = {
    KEY: lambda cloud: {"description": "all data", "policy": ANYONE, "tags": cloud.tags},
    ALIAS: lambda cloud: {"name": f"alias/{cloud.name}", "targetKeyId": cloud.create(KEY, {"policy": ANYONE})},
    ROLE: lambda cloud: _named(cloud, path="/tenantry/", assumeRolePolicy=TRUST),
    POLICY: lambda cloud: _named(cloud, path="/tenantry/", policy=READ),
    BUCKET: lambda cloud: {"bucket": cloud.name, "tags": cloud.tags},
    TOPIC: _named,
    LOGS: _named,
    ALARM: lambda cloud: _named(
        cloud,
        comparisonOperator="GreaterThanThreshold",
        evaluationPeriods=1,
        metricName="CPUUtilization",
        namespace="AWS/RDS",
        period=300,
        statistic="Average",
        threshold=90,
    ),
    VPC: lambda cloud: _marked(cloud, cidrBlock="10.20.0.0/16"),
    SUBNET: lambda cloud: _marked(cloud, f"{cloud.name}-private-0", vpcId=cloud.vpc(), cidrBlock="10.20.0.0/18"),
    TABLE: lambda cloud: _marked(cloud, vpcId=cloud.vpc()),
    ASSOCIATION: _association,
    ENDPOINT: lambda cloud: _marked(
        cloud,
        f"{cloud.name}-kms",
        vpcId=cloud.vpc(),
        serviceName=f"com.amazonaws.{REGION}.kms",
        vpcEndpointType="Interface",
    ),
    GROUP: lambda cloud: _marked(cloud, name=f"{cloud.name}-app", vpcId=cloud.vpc()),
    INGRESS: _rule_from_group,
    EGRESS: lambda cloud: _rule(cloud, {"cidrIpv4": "10.20.0.0/16"}),
    INSTANCE: _instance,
    SUBNETS: _subnet_group,
    PARAMETERS: lambda cloud: _named(cloud, family="postgres18", description="d"),
    SECRET_TYPE: lambda cloud: _named(cloud, description="d"),
}


@pytest.mark.parametrize("type_", MADE_BY_THE_PROVIDER)
def test_what_a_create_made_is_found_by_the_providers_id(cloud: Cloud, finder: AwsFinder, type_: str) -> None:
    inputs = MADE_BY_THE_PROVIDER[type_](cloud)
    assert finder.find(type_, "it", inputs) is None
    made = cloud.provider.create(type_, "it", inputs)
    assert finder.find(type_, "it", made.inputs) == made.id
    assert finder.find(type_, "it", inputs) == made.id


def test_an_instance_is_waited_for_while_rds_makes_it(cloud: Cloud, finder: AwsFinder, moto_server: str) -> None:
    inputs = _instance(cloud)
    id_ = cloud.create(INSTANCE, inputs)
    assert id_.startswith("db-")
    _set_status(moto_server, cloud.name, "creating")
    with pytest.raises(RetryLater, match="is creating"):
        finder.find(INSTANCE, "it", inputs)
    _set_status(moto_server, cloud.name, "available")
    assert finder.find(INSTANCE, "it", inputs) == id_


def test_another_tenants_instance_is_not_waited_for(cloud: Cloud, finder: AwsFinder, moto_server: str) -> None:
    inputs = _instance(cloud)
    cloud.create(INSTANCE, {**inputs, "tags": {**cloud.tags, "tenant_id": "globex"}})
    _set_status(moto_server, cloud.name, "creating")
    with pytest.raises(OperatorNeeded, match=f"{cloud.name} exists and is not this stack's.*tenant_id=globex"):
        finder.find(INSTANCE, "it", inputs)


def _set_status(moto_server: str, identifier: str, status: str) -> None:
    document = {"account": "123456789012", "region": REGION, "identifier": identifier, "status": status}
    request = urllib.request.Request(f"{moto_server}/tenantry/rds/status", data=json.dumps(document).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 204


def test_a_secret_that_is_being_deleted_is_none(cloud: Cloud, finder: AwsFinder) -> None:
    inputs = MADE_BY_THE_PROVIDER[SECRET_TYPE](cloud)
    cloud.client("secretsmanager").delete_secret(SecretId=cloud.create(SECRET_TYPE, inputs), RecoveryWindowInDays=7)
    assert finder.find(SECRET_TYPE, "it", inputs) is None


@pytest.mark.parametrize("type_", [ROLE, POLICY, BUCKET, TOPIC, LOGS, ALARM, GROUP, INGRESS, PARAMETERS, SECRET_TYPE])
@pytest.mark.parametrize("other", [{"tenant_id": "globex"}, {"generation": "2"}, {"installation": "prod"}, None])
def test_something_with_our_name_that_is_not_ours_stops_the_operation(
    cloud: Cloud, finder: AwsFinder, type_: str, other: dict[str, str] | None
) -> None:
    inputs = MADE_BY_THE_PROVIDER[type_](cloud)
    foreign = {"owner": "somebody"} if other is None else {**cloud.tags, **other}
    id_ = cloud.create(type_, {**inputs, "tags": foreign})
    with pytest.raises(OperatorNeeded) as refused:
        finder.find(type_, "it", inputs)
    shown = "none of ours" if other is None else "=".join(*other.items())
    assert f"{cloud.name if type_ == SECRET_TYPE else id_} exists and is not this stack's" in refused.value.message
    assert shown in refused.value.message
    assert refused.value.hint


def test_a_bucket_whose_create_ended_before_its_tags_is_adopted(cloud: Cloud, finder: AwsFinder) -> None:
    cloud.client("s3").create_bucket(Bucket=cloud.name, CreateBucketConfiguration={"LocationConstraint": REGION})
    assert finder.find(BUCKET, "it", {"bucket": cloud.name, "tags": cloud.tags}) == cloud.name


def test_a_key_that_waits_for_its_deletion_is_none(cloud: Cloud, finder: AwsFinder) -> None:
    inputs = MADE_BY_THE_PROVIDER[KEY](cloud)
    cloud.client("kms").schedule_key_deletion(KeyId=cloud.create(KEY, inputs), PendingWindowInDays=7)
    assert finder.find(KEY, "it", inputs) is None


def test_of_two_keys_with_the_same_tags_the_younger_is_the_one_that_replaces(cloud: Cloud, finder: AwsFinder) -> None:
    inputs = MADE_BY_THE_PROVIDER[KEY](cloud)
    cloud.create(KEY, inputs)
    younger = cloud.create(KEY, inputs)
    assert finder.find(KEY, "it", inputs) == younger


def test_a_tagged_thing_must_bear_all_tags(cloud: Cloud, finder: AwsFinder) -> None:
    inputs = MADE_BY_THE_PROVIDER[KEY](cloud)
    cloud.create(KEY, {**inputs, "tags": {**cloud.tags, "plan": "starter"}})
    cloud.create(KEY, {**inputs, "tags": {key: value for key, value in cloud.tags.items() if key != "generation"}})
    assert finder.find(KEY, "it", inputs) is None
    vpc = cloud.vpc()
    subnet = {"vpcId": vpc, "cidrBlock": "10.20.0.0/18"}
    cloud.create(SUBNET, {**subnet, "tags": {**cloud.tags, "Name": "another"}})
    assert finder.find(SUBNET, "it", _marked(cloud, **subnet)) is None


def test_what_the_organisation_adds_to_the_tags_hides_nothing(cloud: Cloud, finder: AwsFinder) -> None:
    vpc = cloud.vpc()
    cloud.client("ec2").create_tags(Resources=[vpc], Tags=[{"Key": "scanned-by", "Value": "security"}])
    assert finder.find(VPC, "it", _marked(cloud, cidrBlock="10.20.0.0/16")) == vpc
    assert finder.find(VPC, "it", _marked(cloud, cidrBlock="10.30.0.0/16")) is None


def test_two_that_bear_all_tags_are_named_to_the_operator(cloud: Cloud, finder: AwsFinder) -> None:
    both = {cloud.vpc(), cloud.vpc()}
    with pytest.raises(OperatorNeeded) as refused:
        finder.find(VPC, "it", _marked(cloud, cidrBlock="10.20.0.0/16"))
    assert all(vpc in refused.value.message for vpc in both)


def test_a_deleted_endpoint_is_none(cloud: Cloud, finder: AwsFinder) -> None:
    inputs = MADE_BY_THE_PROVIDER[ENDPOINT](cloud)
    cloud.provider.delete(cloud.provider.create(ENDPOINT, "it", inputs))
    assert finder.find(ENDPOINT, "it", inputs) is None


def test_an_alias_of_another_key_stops_the_operation(cloud: Cloud, finder: AwsFinder) -> None:
    inputs = MADE_BY_THE_PROVIDER[ALIAS](cloud)
    cloud.create(ALIAS, inputs)
    other = cloud.create(KEY, {"policy": ANYONE})
    with pytest.raises(OperatorNeeded, match=f"points to the key {inputs['targetKeyId']}, not to {other}"):
        finder.find(ALIAS, "it", {**inputs, "targetKeyId": other})


def test_a_subnet_in_another_route_table_stops_the_operation(cloud: Cloud, finder: AwsFinder) -> None:
    inputs = _association(cloud)
    cloud.create(ASSOCIATION, inputs)
    with pytest.raises(OperatorNeeded, match=f"is associated with {inputs['routeTableId']}, not with rtb-0123"):
        finder.find(ASSOCIATION, "it", {**inputs, "routeTableId": "rtb-0123"})


def test_a_rule_with_another_port_direction_or_peer_is_another_rule(cloud: Cloud, finder: AwsFinder) -> None:
    inputs = _rule(cloud, {"cidrIpv4": "10.20.0.0/16"})
    cloud.create(EGRESS, inputs)
    assert finder.find(INGRESS, "it", inputs) is None
    for difference in ({"fromPort": 443, "toPort": 443}, {"cidrIpv4": "10.30.0.0/16"}, {"ipProtocol": "udp"}):
        assert finder.find(EGRESS, "it", {**inputs, **difference}) is None


def test_the_resources_own_region_is_searched(cloud: Cloud, session: boto3.session.Session) -> None:
    inputs = MADE_BY_THE_PROVIDER[TOPIC](cloud)
    arn = cloud.create(TOPIC, inputs)
    elsewhere = AwsFinder("us-east-1", session)
    assert elsewhere.find(TOPIC, "it", inputs) is None
    assert elsewhere.find(TOPIC, "it", {**inputs, "region": REGION}) == arn


@pytest.mark.parametrize(
    "type_",
    [
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "tenantry-postgres:index:Schema",
        "tenantry-postgres:index:NotThereYet",
    ],
)
def test_what_a_second_create_adopts_by_itself_need_not_be_found(finder: AwsFinder, type_: str) -> None:
    assert finder.find(type_, "it", {"bucket": "b", "role": "r", "name": "n"}) is None


def test_an_unknown_type_stops_the_operation(finder: AwsFinder) -> None:
    with pytest.raises(OperatorNeeded, match=r"aws:ec2/natGateway:NatGateway it: .*can't be looked up"):
        finder.find("aws:ec2/natGateway:NatGateway", "it", {"tags": {}})


def test_without_the_tags_that_say_whose_it_is_nothing_is_adopted(cloud: Cloud, finder: AwsFinder) -> None:
    cloud.create(TOPIC, {"name": cloud.name})
    with pytest.raises(OperatorNeeded, match="lack one of the tags tenant_id, generation, installation"):
        finder.find(TOPIC, "it", {"name": cloud.name})


def test_encrypted_inputs_are_not_needed_and_never_shown(cloud: Cloud, finder: AwsFinder) -> None:
    inputs = _instance(cloud)
    id_ = cloud.create(INSTANCE, inputs)
    assert finder.find(INSTANCE, "it", {**inputs, "password": SECRET}) == id_
    with pytest.raises(OperatorNeeded, match="its identifier is not known") as refused:
        finder.find(INSTANCE, "it", {**inputs, "identifier": SECRET})
    assert "v1:abc" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(503, "ServiceUnavailable", RetryLater), (400, "Throttling", RetryLater), (403, "AccessDenied", OperatorNeeded)],
)
def test_an_answer_that_tells_nothing_is_never_taken_for_an_absence(
    status: int, code: str, expected: type[Exception]
) -> None:
    body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"

    class Raw:
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield body.encode()

    asked = []

    def answer(request: Any, **_: Any) -> Any:
        asked.append(request.url)
        return AWSResponse(request.url, status, HTTPHeaders(), Raw())

    session = boto3.session.Session("test", "test", region_name=REGION)
    session.events.register("before-send.iam.*", answer)
    with pytest.raises(expected, match=code):
        AwsFinder(REGION, session).find(ROLE, "it", {"name": "r", "tags": PLATFORM_TAGS})
    assert asked


PLATFORM_TAGS = {"tenant_id": "platform", "generation": "1", "installation": "demo"}


def test_an_aws_that_cant_be_reached_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    session = boto3.session.Session("test", "test", region_name=REGION)
    with pytest.raises(RetryLater, match="AWS can't be asked"):
        AwsFinder(REGION, session).find(ROLE, "it", {"name": "r", "tags": PLATFORM_TAGS})


def test_whatever_our_programs_declare_can_be_found() -> None:
    migrations = AppMigrations("/srv/app_schema", ({"version": 1, "name": "step1", "sha256": "0" * 64},))
    programs: list[Callable[[], Any]] = [partial(platform.program, platform_spec(), migrations)]
    programs += [
        partial(tenant.program, tenant_spec(tier, app_schema_version=1), PLATFORM, migrations) for tier in Tier
    ]
    declared = {each.type for program in programs for each in run(program).custom}
    assert {type_ for type_ in declared if type_.startswith("aws:")} <= KNOWN_TYPES
    assert len(declared) > 25
