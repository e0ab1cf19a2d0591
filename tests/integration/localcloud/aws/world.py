"""What a resource stands on, created through the provider under names that no other test has."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import boto3

from providers.base.testing import ProviderClient, Resource

REGION = "us-east-1"
ACCOUNT = "123456789012"


def document(*actions: str, resource: str | None = "*", principal: Any = None, version: str = "2012-10-17") -> str:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(actions)}
    if resource is not None:
        statement["Resource"] = resource
    if principal is not None:
        statement["Principal"] = principal
    return json.dumps({"Version": version, "Statement": [statement]})


ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
TRUST = document("sts:AssumeRole", resource=None, principal=ROOT)
READ = document("s3:GetObject")
WRITE = document("s3:PutObject", "s3:GetObject")


@dataclass
class World:
    """``name`` is unique and legal for every service used here."""

    client: ProviderClient
    endpoint: str
    name: str = field(default_factory=lambda: f"t-{secrets.token_hex(5)}")
    _made: dict[str, Resource] = field(default_factory=dict)

    def make(self, token: str, inputs: dict[str, Any], name: str = "base") -> Resource:
        return self.client.create(token, name, inputs)

    def api(self, service: str, region: str = REGION) -> Any:
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def _once(self, key: str, token: str, inputs: dict[str, Any]) -> Resource:
        if key not in self._made:
            self._made[key] = self.make(token, inputs, key)
        return self._made[key]

    @property
    def key(self) -> Resource:
        return self._once("key", "aws:kms/key:Key", {"description": "base"})

    @property
    def other_key(self) -> Resource:
        return self._once("other-key", "aws:kms/key:Key", {"description": "other"})

    @property
    def bucket(self) -> Resource:
        return self._once("bucket", "aws:s3/bucket:Bucket", {"bucket": f"{self.name}-base"})

    @property
    def role(self) -> Resource:
        return self._once("role", "aws:iam/role:Role", {"name": f"{self.name}-base", "assumeRolePolicy": TRUST})

    @property
    def policy(self) -> Resource:
        return self._once("policy", "aws:iam/policy:Policy", {"name": f"{self.name}-base", "policy": READ})

    @property
    def vpc(self) -> Resource:
        return self._once("vpc", "aws:ec2/vpc:Vpc", {"cidrBlock": "10.20.0.0/16"})

    def subnet(self, index: int) -> Resource:
        place = {"cidrBlock": f"10.20.{index * 32}.0/19", "availabilityZone": f"{REGION}{'abc'[index]}"}
        return self._once(f"subnet-{index}", "aws:ec2/subnet:Subnet", {"vpcId": self.vpc.id, **place})

    def group(self, name: str = "base") -> Resource:
        inputs = {"name": f"{self.name}-{name}", "vpcId": self.vpc.id}
        return self._once(f"group-{name}", "aws:ec2/securityGroup:SecurityGroup", inputs)

    def table(self, name: str = "base") -> Resource:
        return self._once(f"table-{name}", "aws:ec2/routeTable:RouteTable", {"vpcId": self.vpc.id})

    @property
    def event_rule(self) -> Resource:
        pattern = json.dumps({"source": ["aws.kms"]})
        token = "aws:cloudwatch/eventRule:EventRule"
        return self._once("event-rule", token, {"name": f"{self.name}-base", "eventPattern": pattern})

    @property
    def topic(self) -> Resource:
        return self._once("topic", "aws:sns/topic:Topic", {"name": f"{self.name}-base"})

    @property
    def queue(self) -> Resource:
        return self._once("queue", "aws:sqs/queue:Queue", {"name": f"{self.name}-base"})

    @property
    def secret(self) -> Resource:
        return self._once("secret", "aws:secretsmanager/secret:Secret", {"name": f"{self.name}/base"})

    @property
    def parameter_group(self) -> Resource:
        inputs = {"name": f"{self.name}-base", "family": "postgres17"}
        return self._once("parameters", "aws:rds/parameterGroup:ParameterGroup", inputs)

    @property
    def database_instance(self) -> Resource:
        inputs = {
            "identifier": f"{self.name}-base",
            "engine": "postgres",
            "instanceClass": "db.t4g.micro",
            "allocatedStorage": 20,
            "username": "master",
            "manageMasterUserPassword": True,
            "skipFinalSnapshot": True,
        }
        return self._once("database-instance", "aws:rds/instance:Instance", inputs)

    @property
    def subnet_group(self) -> Resource:
        subnets = [self.subnet(0).id, self.subnet(1).id]
        inputs = {"name": f"{self.name}-base", "subnetIds": subnets}
        return self._once("subnet-group", "aws:rds/subnetGroup:SubnetGroup", inputs)
