"""What an operation is going to take of each quota, by its preview. Pure."""

from __future__ import annotations

from collections import Counter as Multiset
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from provisioner.quotas.table import (
    BUCKETS,
    GATEWAY_ENDPOINTS,
    INSTANCES,
    KEYS,
    LOG_GROUPS,
    NOT_COUNTED,
    PARAMETER_GROUPS,
    POLICIES,
    QUOTAS,
    ROLES,
    SECRETS,
    SECURITY_GROUPS,
    SNAPSHOTS,
    STORAGE,
    SUBNET_GROUPS,
    TOPICS,
    VPCS,
    Quota,
)

#: What RDS gives at least: used where the size comes from the snapshot that an instance is restored from.
SMALLEST_INSTANCE_GIB = 20

Properties = Mapping[str, Any]


class Planned(NamedTuple):
    """One step of a preview. ``inputs`` are the resource's new ones, ``before`` its old ones; {} for none."""

    type: str  #: type token, ``aws:kms/key:Key``
    op: str  #: Pulumi's: ``create``, ``update``, ``replace``, ``delete``, ...
    inputs: Properties
    before: Properties = MappingProxyType({})


@dataclass(frozen=True)
class Needs:
    """``amounts``: quota key to what is taken, in the quota's unit; ``unchecked``: types whose quotas are not known."""

    amounts: Mapping[str, int] = field(default_factory=dict)
    unchecked: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.amounts)


def _one(inputs: Properties) -> int:
    return 1


def _gib(inputs: Properties) -> int:
    size = inputs.get("allocatedStorage")
    if isinstance(size, bool) or not isinstance(size, int | float) or size <= 0:
        return SMALLEST_INSTANCE_GIB
    return int(size)


def _managed_secret(inputs: Properties) -> int:
    return 1 if inputs.get("manageMasterUserPassword") is True else 0


def _gateway(inputs: Properties) -> int:
    return 1 if inputs.get("vpcEndpointType", "Gateway") == "Gateway" else 0


Amount = Callable[[Properties], int]

#: What one resource of a type consumes while it exists.
CONSUMPTION: Mapping[str, tuple[tuple[Quota, Amount], ...]] = MappingProxyType(
    {
        "aws:iam/role:Role": ((ROLES, _one),),
        "aws:iam/policy:Policy": ((POLICIES, _one),),
        "aws:rds/instance:Instance": ((INSTANCES, _one), (STORAGE, _gib), (SECRETS, _managed_secret)),
        "aws:rds/parameterGroup:ParameterGroup": ((PARAMETER_GROUPS, _one),),
        "aws:rds/subnetGroup:SubnetGroup": ((SUBNET_GROUPS, _one),),
        "aws:rds/snapshot:Snapshot": ((SNAPSHOTS, _one),),
        "aws:kms/key:Key": ((KEYS, _one),),
        "aws:s3/bucket:Bucket": ((BUCKETS, _one),),
        "aws:s3/bucketV2:BucketV2": ((BUCKETS, _one),),
        "aws:secretsmanager/secret:Secret": ((SECRETS, _one),),
        "aws:ec2/securityGroup:SecurityGroup": ((SECURITY_GROUPS, _one),),
        # A VPC comes with its default security group.
        "aws:ec2/vpc:Vpc": ((VPCS, _one), (SECURITY_GROUPS, _one)),
        "aws:ec2/vpcEndpoint:VpcEndpoint": ((GATEWAY_ENDPOINTS, _gateway),),
        "aws:sns/topic:Topic": ((TOPICS, _one),),
        "aws:cloudwatch/logGroup:LogGroup": ((LOG_GROUPS, _one),),
    }
)

#: ``replace`` stands for all steps of a replacement, in either order: as if the new one were created first.
_CREATES = frozenset({"create", "create-replacement", "replace"})
_DELETES = frozenset({"delete", "delete-replaced", "replace"})


def needs_of(planned: Iterable[Planned]) -> Needs:
    """What must be free for the steps to succeed, in the order the engine takes them.

    Deletions come last, so they make no room for what is created; except the deletion of a resource that is replaced
    afterwards: the engine waits for that. A deleted DB instance leaves its final snapshot.
    """
    taken: Multiset[str] = Multiset()
    freed: Multiset[str] = Multiset()
    unchecked: set[str] = set()
    for step in planned:
        type_, op, inputs, before = step
        if type_.startswith("aws:") and type_ not in CONSUMPTION and type_ not in NOT_COUNTED and op in _CREATES:
            unchecked.add(type_)
        if type_ == "aws:rds/instance:Instance" and op in _DELETES and _leaves_snapshot(before):
            taken[SNAPSHOTS.key] += 1
        for quota, amount in CONSUMPTION.get(type_, ()):
            if op in _CREATES:
                wanted = amount(inputs)
                room = min(wanted, freed[quota.key]) if op == "create-replacement" else 0
                freed[quota.key] -= room
                taken[quota.key] += wanted - room
            elif op == "update":
                taken[quota.key] += max(0, amount(inputs) - amount(before))
            elif op == "delete-replaced" and not quota.lingers:
                freed[quota.key] += amount(before)
    return Needs({key: taken[key] for key in QUOTAS if taken[key] > 0}, tuple(sorted(unchecked)))


def _leaves_snapshot(inputs: Properties) -> bool:
    return inputs.get("skipFinalSnapshot") is not True and inputs.get("replicateSourceDb") is None
