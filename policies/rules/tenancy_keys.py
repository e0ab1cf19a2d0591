"""Whose key encrypts what a stack holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.tiers import TIERS
from policies.model import Facts, Resource, Rule, Severity, Stack, Violation, each_resource
from policies.references import saas_lens, soc2
from policies.values import CannotTell, is_unknown, listed

KEYS = ("aws:kms/key:Key", "aws:kms/replicaKey:ReplicaKey", "aws:kms/externalKey:ExternalKey")
ALIAS = "aws:kms/alias:Alias"

#: type -> where it names a key; ``*`` stands for every member of a list
ENCRYPTED: dict[str, tuple[str, ...]] = {
    "aws:rds/instance:Instance": ("kmsKeyId", "masterUserSecretKmsKeyId", "performanceInsightsKmsKeyId"),
    "aws:rds/cluster:Cluster": ("kmsKeyId", "masterUserSecretKmsKeyId", "performanceInsightsKmsKeyId"),
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": ("kmsKeyId",),
    "aws:rds/snapshotCopy:SnapshotCopy": ("kmsKeyId",),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        "rules.*.applyServerSideEncryptionByDefault.kmsMasterKeyId",
    ),
    "aws:s3/bucketObject:BucketObject": ("kmsKeyId",),
    "aws:s3/bucketObjectv2:BucketObjectv2": ("kmsKeyId",),
    "aws:secretsmanager/secret:Secret": ("kmsKeyId", "replicas.*.kmsKeyId"),
    "aws:cloudwatch/logGroup:LogGroup": ("kmsKeyId",),
    "aws:sns/topic:Topic": ("kmsMasterKeyId",),
    "aws:sqs/queue:Queue": ("kmsMasterKeyId",),
    "aws:ssm/parameter:Parameter": ("keyId",),
    "aws:dynamodb/table:Table": ("serverSideEncryption.kmsKeyArn", "replicas.*.kmsKeyArn"),
    "aws:ebs/volume:Volume": ("kmsKeyId",),
    "aws:efs/fileSystem:FileSystem": ("kmsKeyId",),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("kmsKeyId",),
    "aws:opensearch/domain:Domain": ("encryptAtRest.kmsKeyId",),
    "aws:backup/vault:Vault": ("kmsKeyArn",),
}


def _judge(resource: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    if facts.spec is None:
        return
    for path in ENCRYPTED[resource.type]:
        if path.split(".")[0] not in resource.depends_on and is_unknown(resource.get(path.split(".")[0])):
            continue  # nothing of the program's: the cloud fills it in, and it is judged when it has
        for value in values_at(resource.properties, path.split(".")):
            if not is_unknown(value) and not value:
                continue  # that there is a key at all is another rule's
            if _owns_key(facts):
                yield from _own(resource, path, value, stack)
            else:
                yield from _platforms(resource, path, value, facts)


def _owns_key(facts: Facts) -> bool:
    return facts.tenant is None or TIERS[facts.tenant.tier].own_key


def _own(resource: Resource, path: str, value: Any, stack: Stack) -> Iterator[str]:
    keys = [each.urn for each in stack.of_type(*KEYS)]
    known = set(keys) | {each.urn for each in stack.of_type(ALIAS) if _targets(each, stack) <= set(keys)}
    if is_unknown(value):
        sources = resource.depends_on.get(path.split(".")[0], frozenset())
        if not sources & known:
            yield f"{path} comes from no key of this stack: it must be the owner's own"
        return
    if value not in set(_names(stack, known)):
        yield f"{path} names a key that is not this stack's own"


def _targets(alias: Resource, stack: Stack) -> set[str]:
    """URNs of what an alias points at; what is no key of the stack is a name that no key has."""
    target = alias.get("targetKeyId")
    if is_unknown(target):
        return set(alias.depends_on.get("targetKeyId", frozenset())) or {"?"}
    return {
        each.urn
        for each in stack.of_type(*KEYS)
        if target in [name for name in (each.get("arn"), each.get("keyId"), each.get("id")) if not is_unknown(name)]
    } or {"?"}


def _names(stack: Stack, urns: set[str]) -> Iterator[str]:
    for resource in stack.resources:
        if resource.urn in urns:
            for name in ("arn", "keyId", "id", "name") if resource.type == ALIAS else ("arn", "keyId", "id"):
                value = resource.get(name)
                if isinstance(value, str) and value:
                    yield value


def _platforms(resource: Resource, path: str, value: Any, facts: Facts) -> Iterator[str]:
    if facts.platform is None:
        raise CannotTell("the platform's key")
    if is_unknown(value):
        yield f"{path} comes from a resource of the stack: a tenant without a key of its own uses the platform's"
    elif value != facts.platform.platform_key_arn:
        yield f"{path} is not the platform's key, which a tenant without a key of its own uses"


def values_at(value: Any, path: list[str]) -> Iterator[Any]:
    """What stands at a path: an unknown value on the way stands for all that is below it."""
    if not path or is_unknown(value):
        yield value
    elif path[0] == "*":
        for each in listed(value):
            yield from values_at(each, path[1:])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from values_at(each, path)
    elif value is not None:
        yield from values_at(value.get(path[0]), path[1:])


def _granted(stack: Stack, facts: Facts) -> Iterator[Violation]:
    """A key that is shared by a grant is not the tenant's alone."""
    if facts.tenant is None:
        return
    for grant in stack.of_type("aws:kms/grant:Grant"):
        yield Violation(grant.urn, "a grant lets a principal use the key past its key policy")


RULES: tuple[Rule, ...] = (
    Rule(
        id="tenancy-encryption-key",
        title="What a silo owns is encrypted with its own key and no other; everybody else uses the platform's",
        severity=Severity.CRITICAL,
        remediation="Use the key of this stack, or tenantry:platform's platform_key_arn in a tier without its own",
        stack=each_resource(ENCRYPTED, _judge),
        references=(*soc2("CC6.1"), *saas_lens("SaaS SEC 2")),
    ),
    Rule(
        id="tenancy-key-grants",
        title="A tenant's stack hands out no grants on keys",
        severity=Severity.HIGH,
        remediation="Say in the key's policy who may use it; RDS and other services make their grants themselves",
        stack=_granted,
        references=soc2("CC6.1", "CC6.3"),
    ),
)
