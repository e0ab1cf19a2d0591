"""Components run without an engine on moto: what they declare is what the cloud has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pulumi
import pytest
from moto import mock_aws
from pulumi.runtime import mocks
from pulumi_aws.kms.key import Key
from pulumi_aws.provider import Provider
from pulumi_aws.s3.bucket import Bucket
from pulumi_aws.secretsmanager.secret_version import SecretVersion

from components.spec import Environment, PlatformOutputs
from components.tiers import Tier
from localcloud.aws.client import forget_clients
from localcloud.aws.mocks import AwsMocks
from providers.base import CheckFailed
from stacks import platform, tenant
from tests.unit.components.recording import Cloud, Run, platform_spec, run, tenant_spec

REGION = "eu-central-1"


@pytest.fixture(autouse=True)
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)  # moto is in this process, not at an address
    with mock_aws():
        forget_clients()
        yield
    forget_clients()


class Databases(mocks.Mocks):
    """The resources of the package ``tenantry-postgres``, which connects to servers that aren't there."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        assert not args.typ.startswith("aws:")
        return Cloud().new_resource(args)

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(args.token)


def _client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


def _run(program: Any, stack: str) -> Run:
    return run(program, stack_name=stack, cloud=AwsMocks(others=Databases()))


def _platform() -> PlatformOutputs:
    spec = platform_spec(environment=Environment.DEVELOPMENT)
    outputs = _run(lambda: platform.program(spec), spec.stack_name).result
    assert isinstance(outputs, PlatformOutputs)
    return outputs


def test_a_silo_is_what_the_cloud_has_afterwards() -> None:
    shared = _platform()
    spec = tenant_spec(Tier.SILO, environment=Environment.DEVELOPMENT)
    done = _run(lambda: tenant.program(spec, shared), spec.stack_name)
    outputs = done.result
    key = outputs.kms_key_arn

    instance = next(
        i for i in _client("rds").describe_db_instances()["DBInstances"] if "acme" in i["DBInstanceIdentifier"]
    )
    assert instance["KmsKeyId"] == key
    assert instance["MasterUserSecret"]["KmsKeyId"] == key
    assert instance["PubliclyAccessible"] is False
    assert instance["DBSubnetGroup"]["DBSubnetGroupName"] == shared.db_subnet_group
    assert outputs.database.address == instance["Endpoint"]["Address"]

    rule = _client("s3").get_bucket_encryption(Bucket=outputs.bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key
    assert _client("secretsmanager").describe_secret(SecretId=outputs.login_secret_arn)["KmsKeyId"] == key
    role = _client("iam").get_role(RoleName=outputs.role_arn.rsplit("/", 1)[1])["Role"]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == shared.permissions_boundary_arn
    assert "acme" in json.dumps(role["AssumeRolePolicyDocument"])

    tags = {tag["Key"]: tag["Value"] for tag in instance["TagList"]}
    assert tags["tenant_id"] == "acme"
    assert {each.type for each in done.custom if each.type.startswith("aws:")} >= {
        *("aws:kms/key:Key", "aws:rds/instance:Instance", "aws:s3/bucket:Bucket", "aws:iam/role:Role")
    }


def test_a_pool_tenant_makes_nothing_in_aws() -> None:
    shared = _platform()
    before = [key["KeyId"] for key in _client("kms").list_keys()["Keys"]]
    outputs = _run(lambda: tenant.program(tenant_spec(Tier.POOL), shared), "acme").result
    assert outputs.kms_key_arn == shared.platform_key_arn
    assert [key["KeyId"] for key in _client("kms").list_keys()["Keys"]] == before


def test_what_aws_would_refuse_fails_the_program() -> None:
    key = mocks.MockResourceArgs("aws:kms/key:Key", "data", {"deletionWindowInDays": 3}, custom=True)
    with pytest.raises(CheckFailed, match="deletionWindowInDays: 3 is not between 7 and 30"):
        AwsMocks().new_resource(key)
    assert _client("kms").list_keys()["Keys"] == []


def test_a_resource_acts_in_its_providers_region_with_its_default_tags() -> None:
    def program() -> None:
        there = Provider("there", region="eu-west-1", default_tags={"tags": {"cell": "eu"}})
        Key("far", description="far", opts=pulumi.ResourceOptions(provider=there))
        Key("near", description="near")

    keys = {each.inputs["description"]: each.outputs for each in run(program, cloud=AwsMocks(REGION)).of_type("Key")}
    assert keys["far"]["arn"].split(":")[3] == "eu-west-1"
    assert keys["far"]["tagsAll"] == {"cell": "eu"}
    assert keys["near"]["arn"].split(":")[3] == REGION


def test_a_secret_value_arrives_and_an_existing_resource_is_read() -> None:
    arn = _client("secretsmanager").create_secret(Name="login")["ARN"]
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="already-there")

    def program() -> None:
        SecretVersion("v", secret_id=arn, secret_string=pulumi.Output.secret("hunter-2"))
        Bucket.get("b", "already-there")

    run(program, cloud=AwsMocks(REGION))
    assert _client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"] == "hunter-2"


def test_reading_what_does_not_exist_says_so() -> None:
    with pytest.raises(LookupError, match="there is no not-there"):
        AwsMocks().new_resource(
            mocks.MockResourceArgs("aws:s3/bucket:Bucket", "b", {}, resource_id="not-there", custom=True)
        )


def test_without_moto_nothing_is_created_anywhere() -> None:
    with mock_aws():
        AwsMocks()
    from moto.core.models import botocore_stubber

    enabled, botocore_stubber.enabled = botocore_stubber.enabled, False
    try:
        with pytest.raises(RuntimeError, match="needs moto"):
            AwsMocks()
    finally:
        botocore_stubber.enabled = enabled
