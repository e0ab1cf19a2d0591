"""An engine killed while it created things in AWS: the next update adopts them, by the real finder and engine."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from typing import Any

import boto3
import pulumi
import pytest
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key
from pulumi_aws.provider import Provider
from pulumi_aws.sns.topic import Topic

from localcloud.aws.registry import aws_provider
from providers.base.serve import start
from provisioner.deployer import Deployer, StackRequest
from provisioner.errors import OperatorNeeded
from provisioner.finder import AwsFinder

REGION = "eu-central-1"


@pytest.fixture
def provider_port(moto_server: str) -> Iterator[int]:
    server, port = start(aws_provider(moto_server))
    yield port
    server.stop(0).wait()


@pytest.fixture
def session(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> boto3.session.Session:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    return boto3.session.Session("test", "test", region_name=REGION)


class Stack:
    """A key, its alias and a topic, in a stack of one tenant's."""

    def __init__(self, workbench: Any, port: int, session: boto3.session.Session) -> None:
        self.workbench, self.session = workbench, session
        self.name = f"tenantry-acme-{secrets.token_hex(4)}"
        self.tags = {"tenant_id": self.name, "generation": "1", "installation": "demo"}
        self.deployer = Deployer(
            pulumi=workbench.pulumi,
            environment={
                **workbench.environment,
                "PULUMI_DEBUG_PROVIDERS": f"aws:{port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            },
            project={"name": "tenantry", "runtime": "python"},
            root=workbench.directory,
            store=workbench.state,
            finder=AwsFinder(REGION, session),
        )
        self.request = StackRequest("acme", self.program)

    def program(self) -> None:
        opts = pulumi.ResourceOptions(provider=Provider("aws", region=REGION))
        key = Key("key", description="all data", tags=self.tags, opts=opts)
        Alias("key", name=f"alias/{self.name}", target_key_id=key.key_id, opts=opts)
        topic = Topic("alarms", name=self.name, kms_master_key_id=key.arn, tags=self.tags, opts=opts)
        pulumi.export("key", key.key_id)
        pulumi.export("topic", topic.arn)

    def forget(self, *types: str) -> None:
        """The state as an engine leaves it that was killed before these creates were recorded as done."""
        with self.workbench.connect() as connection:
            where = "key LIKE '%/.pulumi/stacks/tenantry/acme.json'"
            (row,) = connection.execute(f"SELECT data FROM pulumi_state WHERE {where}").fetchone()
            document = json.loads(base64.b64decode(row["data"]))
            deployment = document["checkpoint"]["latest"]
            lost = [each for each in deployment["resources"] if each["type"] in types]
            assert len(lost) == len(types)
            deployment["resources"] = [each for each in deployment["resources"] if each not in lost]
            deployment["pending_operations"] = [
                {"type": "creating", "resource": {k: v for k, v in each.items() if k not in ("id", "outputs")}}
                for each in lost
            ]
            data = json.dumps({"data": base64.b64encode(json.dumps(document).encode()).decode()})
            connection.execute(f"UPDATE pulumi_state SET data = %s WHERE {where}".replace("'%/", "'%%/"), [data])

    def keys(self) -> list[str]:
        kms = self.session.client("kms")
        found = []
        for page in kms.get_paginator("list_keys").paginate():
            for key in page["Keys"]:
                tags = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
                if {"TagKey": "tenant_id", "TagValue": self.name} in tags:
                    found.append(key["KeyId"])
        return found


@pytest.fixture
def stack(workbench: Any, provider_port: int, session: boto3.session.Session) -> Stack:
    return Stack(workbench, provider_port, session)


KEY, ALIAS, TOPIC = "aws:kms/key:Key", "aws:kms/alias:Alias", "aws:sns/topic:Topic"


def test_what_the_killed_engine_had_made_is_adopted_with_all_its_outputs(stack: Stack) -> None:
    before = stack.deployer.up(stack.request)
    stack.forget(KEY, ALIAS, TOPIC)
    after = stack.deployer.up(stack.request)
    assert sorted(urn.rsplit("$")[-1].split("::")[-2] for urn in after.adopted) == sorted([KEY, ALIAS, TOPIC])
    assert after.outputs == before.outputs
    assert stack.keys() == [before.outputs["key"]]
    assert "create" not in after.changes
    assert not stack.deployer.up(stack.request).changed
    stack.deployer.destroy(stack.request, remove=True)


def test_what_it_had_not_made_is_made_now(stack: Stack) -> None:
    before = stack.deployer.up(stack.request)
    stack.forget(ALIAS, TOPIC)
    stack.session.client("sns").delete_topic(TopicArn=before.outputs["topic"])
    after = stack.deployer.up(stack.request)
    assert [urn.split("::")[-2] for urn in after.adopted] == [ALIAS]
    assert after.changes["create"] == 1
    assert after.outputs == before.outputs
    stack.deployer.destroy(stack.request, remove=True)


def test_somebody_elses_thing_with_our_name_is_left_alone(stack: Stack) -> None:
    before = stack.deployer.up(stack.request)
    stack.forget(TOPIC)
    sns = stack.session.client("sns")
    sns.tag_resource(ResourceArn=before.outputs["topic"], Tags=[{"Key": "tenant_id", "Value": "globex"}])
    with pytest.raises(OperatorNeeded, match="tenant_id=globex"):
        stack.deployer.up(stack.request)
    # Nothing was changed, and the operator's repair lets the next update through.
    sns.tag_resource(ResourceArn=before.outputs["topic"], Tags=[{"Key": "tenant_id", "Value": stack.name}])
    assert stack.deployer.up(stack.request).outputs == before.outputs
    stack.deployer.destroy(stack.request, remove=True)
