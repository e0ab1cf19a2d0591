"""What all types of the provider have in common: names, tags, secrets, regions, functions, errors."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from pulumi._types import _py_properties, input_type_py_to_pulumi_names

from localcloud.aws.registry import FUNCTIONS, HANDLERS, aws_provider
from providers.base import CheckFailed, Handler
from providers.base.testing import ProviderClient, RpcFailed, serving
from tests.integration.localcloud.aws.cases import CASES, instance
from tests.integration.localcloud.aws.world import ACCOUNT, REGION, World

KEY, BUCKET, ROLE = "aws:kms/key:Key", "aws:s3/bucket:Bucket", "aws:iam/role:Role"
SECRET, VERSION = "aws:secretsmanager/secret:Secret", "aws:secretsmanager/secretVersion:SecretVersion"
INSTANCE, PARAMETER = "aws:rds/instance:Instance", "aws:ssm/parameter:Parameter"


# -- names of the SDK --------------------------------------------------------------------------------------------


def _classes(token: str) -> tuple[Any, Any]:
    """The resource class of the unmodified SDK, and the class of its arguments."""
    package, module, name = re.fullmatch(r"aws:(\w+)/(\w+):(\w+)", token).groups()  # type: ignore[union-attr]
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), module)
    found = importlib.import_module(f"pulumi_aws.{package}.{snake}")
    # Where an object type of the package has that name, the resource's arguments have another one.
    return getattr(found, name), getattr(found, f"{name}InitArgs", None) or getattr(found, f"{name}Args")


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.token)
def test_every_name_of_a_handler_is_the_sdks(handler: Handler[Any]) -> None:
    resource, arguments = _classes(handler.token)
    inputs = set(input_type_py_to_pulumi_names(arguments).values())
    outputs = {pulumi_name for _, pulumi_name, _ in _py_properties(resource)}
    taken = handler.inputs | handler.required | handler.computed_inputs | handler.local_inputs
    assert taken | set(handler.defaults) <= inputs
    assert handler.outputs | handler.secret_outputs | handler.changed_by_update <= outputs | inputs
    top = {path.split(".")[0] for path in handler.replace_on | handler.json_properties | handler.set_properties}
    assert top <= inputs


# -- automatic names ---------------------------------------------------------------------------------------------

NAMED = [case for case in CASES if next(h for h in HANDLERS if h.token == case.token).auto_name is not None]


@pytest.mark.parametrize("case", NAMED, ids=str)
def test_a_resource_without_a_name_gets_one_that_is_legal_and_stays(case: Any, world: World) -> None:
    handler = next(h for h in HANDLERS if h.token == case.token)
    spec = handler.auto_name
    assert spec is not None
    inputs = {key: value for key, value in case.inputs(world).items() if key != spec.property}
    # As long as names of Pulumi get, with what the services refuse.
    long = "Tenant-" + "x" * 600
    checked, _ = world.client.check(case.token, long, inputs)
    name = checked[spec.property]
    assert len(name) <= spec.max_length + len("alias/")
    again, _ = world.client.check(case.token, long, inputs, olds=checked)
    assert again[spec.property] == name, "an update keeps the name"


def test_a_name_prefix_begins_the_name(world: World) -> None:
    made = world.client.create(ROLE, "it", {**_trusting(world), "namePrefix": f"{world.name}-"})
    assert re.fullmatch(rf"{world.name}-\w{{7,}}", made.id)
    assert made.outputs["name"] == made.id


def _trusting(world: World) -> dict[str, Any]:
    return {"assumeRolePolicy": world.role.inputs["assumeRolePolicy"]}


# -- tags --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tagging(moto_server: str) -> Iterator[ProviderClient]:
    config = {"region": REGION, "defaultTags": {"tags": {"managed-by": "tenantry", "plan": "none"}}}
    with serving(aws_provider(moto_server), config) as client:
        yield client


def test_default_tags_are_on_the_resource_and_its_own_win(tagging: ProviderClient, world: World) -> None:
    inputs = {"bucket": world.name, "tags": {"plan": "team"}}
    made = tagging.create(BUCKET, "it", inputs)
    assert made.outputs["tags"] == {"plan": "team"}
    assert made.outputs["tagsAll"] == {"managed-by": "tenantry", "plan": "team"}
    live = world.api("s3").get_bucket_tagging(Bucket=world.name)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in live} == made.outputs["tagsAll"]
    read = tagging.refresh(made)
    assert read is not None
    assert read.inputs == made.inputs, "default tags are no drift"
    assert tagging.plan(read, inputs).changes == {}
    world.api("s3").put_bucket_tagging(Bucket=world.name, Tagging={"TagSet": [{"Key": "stray", "Value": "1"}]})
    drifted = tagging.refresh(made)
    assert drifted is not None
    assert tagging.plan(drifted, inputs).changes, "a default tag that is gone is drift"
    tagging.update(drifted, inputs)
    live = world.api("s3").get_bucket_tagging(Bucket=world.name)["TagSet"]
    assert {tag["Key"] for tag in live} == {"managed-by", "plan"}


@pytest.mark.parametrize("case", [case for case in CASES if hasattr(case, "token")], ids=str)
def test_tags_reach_the_cloud(case: Any, world: World) -> None:
    handler = next(h for h in HANDLERS if h.token == case.token)
    if not handler.tagged:  # type: ignore[attr-defined]
        assert "tags" not in handler.inputs
        return
    made = world.client.create(case.token, "it", {**case.inputs(world), "tags": {"tenant_id": world.name}})
    read = world.client.refresh(made)
    assert read is not None
    assert read.outputs["tagsAll"] == {"tenant_id": world.name}


# -- secrets -----------------------------------------------------------------------------------------------------

PASSWORD = "correct-horse-battery"


def test_what_is_secret_stays_secret_in_inputs_and_outputs(world: World) -> None:
    database = {key: value for key, value in instance(world).items() if not key.startswith(("manage", "masterUser"))}
    for token, name, inputs in (
        (PARAMETER, "value", {"name": f"/{world.name}", "type": "SecureString", "value": PASSWORD}),
        (VERSION, "secretString", {"secretId": world.secret.id, "secretString": PASSWORD}),
        (INSTANCE, "password", {**database, "password": PASSWORD}),
    ):
        made = world.client.create(token, "it", inputs)
        assert (name,) in made.secret_inputs
        assert (name,) in made.secret_outputs
        plain = {key for key, value in made.outputs.items() if PASSWORD in str(value)}
        assert all((key,) in made.secret_outputs for key in plain)
        read = world.client.refresh(made)
        assert read is not None
        assert (name,) in read.secret_outputs


def test_a_secret_is_in_no_message(world: World) -> None:
    secret = frozenset({("password",)})
    inputs = {**instance(world), "manageMasterUserPassword": False, "password": PASSWORD + " @"}
    inputs.pop("masterUserSecretKmsKeyId")
    with pytest.raises(CheckFailed) as refused:
        world.client.check(INSTANCE, "it", inputs, secrets=secret)
    assert "password" in str(refused.value)
    assert PASSWORD not in str(refused.value)
    inputs |= {"password": PASSWORD, "dbSubnetGroupName": f"no-{PASSWORD}"}
    with pytest.raises(RpcFailed, match="DBSubnetGroupNotFoundFault") as failed:
        world.client.create(INSTANCE, "it", inputs, secrets=secret)
    assert PASSWORD not in failed.value.message


def test_a_managed_master_password_never_reaches_the_state(world: World) -> None:
    made = world.client.create(INSTANCE, "it", instance(world))
    (secret,) = made.outputs["masterUserSecrets"]
    assert secret["secretStatus"] in {"creating", "active"}
    assert secret["kmsKeyId"] == world.key.outputs["arn"]
    value = world.api("secretsmanager").get_secret_value(SecretId=secret["secretArn"])["SecretString"]
    assert value not in str(made)
    assert "password" not in made.outputs


# -- regions, functions, errors ----------------------------------------------------------------------------------


def test_a_resource_names_another_region_than_its_provider(world: World) -> None:
    made = world.client.create(KEY, "it", {"description": "far away", "region": "eu-west-1"})
    assert made.outputs["arn"].startswith(f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/")
    assert made.outputs["region"] == "eu-west-1"
    assert world.client.refresh(made) is not None
    world.client.delete(made)
    assert world.client.refresh(made) is None


def test_functions(provider: ProviderClient) -> None:
    answers = {function.token.rsplit(":", 1)[-1]: provider.invoke for function in FUNCTIONS}
    assert set(answers) == {
        *("getCallerIdentity", "getRegion", "getPartition", "getAvailabilityZones", "getPolicyDocument")
    }
    assert provider.invoke("aws:index/getCallerIdentity:getCallerIdentity")["accountId"] == ACCOUNT
    assert provider.invoke("aws:index/getRegion:getRegion")["region"] == REGION
    assert provider.invoke("aws:index/getPartition:getPartition")["partition"] == "aws"
    chosen = {"state": "available", "excludeNames": [f"{REGION}b"]}
    zones = provider.invoke("aws:index/getAvailabilityZones:getAvailabilityZones", chosen)
    assert zones["names"][:2] == [f"{REGION}a", f"{REGION}c"]
    assert len(zones["zoneIds"]) == len(zones["names"])


def test_a_policy_document_is_built_as_the_aws_provider_does(provider: ProviderClient) -> None:
    statement = {
        "sid": "Own",
        "actions": ["s3:PutObject", "s3:GetObject"],
        "resources": ["arn:aws:s3:::b/&{aws:PrincipalTag/tenant_id}/*"],
        "principals": [{"type": "AWS", "identifiers": ["*"]}],
        "conditions": [{"test": "Bool", "variable": "aws:SecureTransport", "values": ["true"]}],
    }
    document = provider.invoke("aws:iam/getPolicyDocument:getPolicyDocument", {"statements": [statement]})
    assert document["minifiedJson"] == (
        '{"Version":"2012-10-17","Statement":[{"Sid":"Own","Effect":"Allow","Action":["s3:PutObject","s3:GetObject"],'
        '"Resource":"arn:aws:s3:::b/${aws:PrincipalTag/tenant_id}/*","Principal":{"AWS":"*"},'
        '"Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}'
    )


def test_what_is_not_implemented_is_named_and_nothing_is_guessed(provider: ProviderClient) -> None:
    with pytest.raises(RpcFailed) as refused:
        provider.create("aws:dynamodb/table:Table", "it", {"hashKey": "id"})
    assert refused.value.code.name == "UNIMPLEMENTED"
    assert "does not implement the resource type aws:dynamodb/table:Table" in refused.value.message
    assert "deploy this resource to AWS, or add a handler in localcloud/aws" in refused.value.message
    with pytest.raises(RpcFailed, match="does not implement the function aws:ec2/getAmi:getAmi"):
        provider.invoke("aws:ec2/getAmi:getAmi", {})
    with pytest.raises(CheckFailed, match="replicateSourceDb: is not supported for aws:rds/instance:Instance"):
        provider.check(INSTANCE, "it", {"instanceClass": "db.t4g.small", "replicateSourceDb": "other"})


def test_configuration_that_means_nothing_here_is_refused(moto_server: str) -> None:
    for config, says in (
        ({"region": "moon-1"}, "no AWS region"),
        ({"region": REGION, "assumeRoleWithWebIdentity": {}}, "not supported"),
    ):
        with pytest.raises(CheckFailed, match=says), serving(aws_provider(moto_server), config):
            pass


def test_the_sdk_is_the_one_the_provider_says_it_is() -> None:
    assert aws_provider().version == version("pulumi-aws")
