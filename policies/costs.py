"""What a resource costs a month, by a table that is part of the pack: ``prices.toml``. No network."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from policies.model import Resource
from policies.relations import is_copy
from policies.values import CannotTell, is_unknown, listed

PRICES = Path(__file__).with_name("prices.toml")
INSTANCE = "aws:rds/instance:Instance"
SECRET = "aws:secretsmanager/secret:Secret"  # noqa: S105 - a type
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"

FREE = frozenset(
    {
        "aws:cloudwatch/eventRule:EventRule",
        "aws:cloudwatch/eventTarget:EventTarget",
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/vpc:Vpc",
        "aws:iam/policy:Policy",
        "aws:iam/role:Role",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:kms/alias:Alias",
        "aws:rds/instanceDesiredState:InstanceDesiredState",
        "aws:rds/parameterGroup:ParameterGroup",
        "aws:rds/subnetGroup:SubnetGroup",
        "aws:s3/bucket:Bucket",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketLogging:BucketLogging",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "aws:s3/bucketVersioning:BucketVersioning",
        "aws:secretsmanager/secretPolicy:SecretPolicy",
        "aws:secretsmanager/secretVersion:SecretVersion",
        "aws:sns/topic:Topic",
        "aws:sns/topicPolicy:TopicPolicy",
        "aws:sqs/queue:Queue",
        "aws:sqs/queuePolicy:QueuePolicy",
        "aws:ssm/parameter:Parameter",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    }
)
"""Types that cost nothing themselves, or are metered by use alone."""

_OURS = ("pulumi:", "tenantry:index:", "tenantry-postgres:")  #: no bill of AWS's


class NoPrice(CannotTell):
    """The table has no price. ``what`` names what to give one to."""


@dataclass(frozen=True)
class Prices:
    """``extra``: USD an hour by instance class, or USD a month by type; over the table's. ``factor``: of the region."""

    table: Mapping[str, Any]
    extra: Mapping[str, float]
    factor: float = 1.0

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Prices:
        return cls(_table(), parameters.get("prices") or {}, float(parameters.get("region_factor") or 1.0))

    @property
    def hours(self) -> float:
        return float(self.table["hours_a_month"])

    def monthly(self, resource: Resource) -> float:
        """USD a month. Raises CannotTell if a property that decides it is unknown, NoPrice without a price."""
        return self._listed(resource) * self.factor

    def _listed(self, resource: Resource) -> float:
        type_ = resource.type
        if type_ in self.extra:
            return float(self.extra[type_])
        if type_ == INSTANCE:
            return self._instance(resource)
        if type_ == SECRET:
            replicas = resource.get("replicas")
            copies = 0 if is_unknown(replicas) and "replicas" not in resource.depends_on else len(listed(replicas))
            return float(self.table["monthly"][SECRET]) * (1 + copies)
        if type_ == ENDPOINT:
            return self._endpoint(resource)
        if type_ in self.table["monthly"]:
            return float(self.table["monthly"][type_])
        if type_ in FREE or type_.startswith(_OURS):
            return 0.0
        raise NoPrice(f"the price of {type_}")

    def _instance(self, resource: Resource) -> float:
        class_ = _known(resource, "instanceClass")
        hour = self.extra.get(class_, self.table["instance_hour"].get(class_))
        if hour is None:
            raise NoPrice(f"the price of the instance class {class_}")
        kind = str(_known(resource, "storageType") or "gp2")
        gib = self.table["storage_gib_month"].get(kind)
        if gib is None or resource.get("iops"):
            raise NoPrice(f"the price of {kind} storage with provisioned IOPS")
        storage = 0.0 if is_copy(resource.properties) else float(_known(resource, "allocatedStorage") or 0)
        copies = 2 if _known(resource, "multiAz") else 1
        secret = self.table["monthly"][SECRET] if _known(resource, "manageMasterUserPassword") else 0.0
        return copies * (float(hour) * self.hours + float(gib) * storage) + float(secret)

    def _endpoint(self, resource: Resource) -> float:
        if resource.get("vpcEndpointType") != "Interface":
            return 0.0
        interfaces = len(listed(resource.get("subnetIds"))) or 1
        return float(self.table["hourly"][ENDPOINT]) * self.hours * interfaces


def _known(resource: Resource, name: str) -> Any:
    value = resource.get(name)
    if is_unknown(value):
        raise CannotTell(value.path or name)
    return value


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(PRICES.read_text())
