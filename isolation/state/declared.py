"""Policy documents as the stacks asked for them, beside those that stand: what somebody changed past the stacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from isolation.attempts import INSPECTOR, Answer, Layer, Probe, Severity, is_ok, is_one_of
from isolation.iam import PolicyDocument
from isolation.iam.collect import Aws
from isolation.iam.documents import Statement


class Holds(StrEnum):
    """Where a document is attached."""

    KEY = "key"  #: named by its ARN
    BUCKET = "bucket"
    TRUST = "trust policy of role"
    ROLE = "policy of role"  #: named ROLE/POLICY
    MANAGED = "policy"  #: named by its ARN
    TOPIC = "topic"  #: named by its ARN
    LOGS = "log resource policy"
    ENDPOINT = "VPC endpoint"


@dataclass(frozen=True)
class Declared:
    holds: Holds
    name: str
    document: str  #: JSON
    region: str

    def __str__(self) -> str:
        return f"{self.holds} {self.name.rsplit(':', 1)[-1]}"


def probe(aws: Aws, documents: Sequence[Declared]) -> Probe:
    """Whether every one of ``documents``, at least one, stands as it was asked for."""

    def ask() -> Answer:
        found = list(_differing(aws, documents))
        return Answer("fault" if found else "none", "; ".join(found[:5]))

    def read() -> Answer:
        _standing(aws, documents[0])
        return Answer("ok", f"{len(documents)} documents are read back")

    return Probe(
        "policy-documents",
        Layer.IAM,
        f"compares {len(documents)} policy documents with those that the stack asked for",
        "none",
        ask,
        is_one_of("none"),
        "reads them back from the cloud",
        read,
        is_ok,
        Severity.WALL,
        by=INSPECTOR,
        fast=True,
    )


def _differing(aws: Aws, documents: Sequence[Declared]) -> Iterator[str]:
    for each in documents:
        standing = _standing(aws, each)
        if standing is None:
            yield f"{each}: there is no document"
        elif _meaning(standing) != _meaning(each.document):
            yield f"{each}: another document than the stack asked for"


def _meaning(document: Any) -> list[tuple[object, ...]]:
    """Of each statement its elements, without the order of their values: AWS does not keep it."""
    return [
        (
            each.sid,
            each.allow,
            *(None if values is None else frozenset(values) for values in _elements(each)),
            frozenset((one.operator, one.key, frozenset(one.values)) for one in each.conditions),
        )
        for each in PolicyDocument.parse(document, "").statements
    ]


def _elements(statement: Statement) -> tuple[tuple[object, ...] | None, ...]:
    return (
        statement.actions,
        statement.not_actions,
        statement.resources,
        statement.not_resources,
        statement.principals,
        statement.not_principals,
    )


def _standing(aws: Aws, declared: Declared) -> Any:
    return _READ[declared.holds](lambda service: aws.client(service, region_name=declared.region), declared.name)


Client = Callable[[str], Any]


def _managed(client: Client, arn: str) -> Any:
    iam = client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def _role(client: Client, name: str) -> Any:
    role, _, policy = name.partition("/")
    return client("iam").get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]


def _logs(client: Client, name: str) -> Any:
    pages = client("logs").describe_resource_policies()["resourcePolicies"]
    return next((each["policyDocument"] for each in pages if each["policyName"] == name), None)


def _endpoint(client: Client, id: str) -> Any:
    found = client("ec2").describe_vpc_endpoints(VpcEndpointIds=[id])["VpcEndpoints"]
    return next((json.loads(each["PolicyDocument"]) for each in found if each.get("PolicyDocument")), None)


_READ: dict[Holds, Callable[[Client, str], Any]] = {
    Holds.KEY: lambda client, arn: client("kms").get_key_policy(KeyId=arn.rsplit("/", 1)[1], PolicyName="default")[
        "Policy"
    ],
    Holds.BUCKET: lambda client, name: client("s3").get_bucket_policy(Bucket=name)["Policy"],
    Holds.TRUST: lambda client, name: client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"],
    Holds.ROLE: _role,
    Holds.MANAGED: _managed,
    Holds.TOPIC: lambda client, arn: client("sns").get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy"),
    Holds.LOGS: _logs,
    Holds.ENDPOINT: _endpoint,
}
