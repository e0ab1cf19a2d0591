"""Data at rest is encrypted with a customer-managed key that rotates.

Which key it is, whose tenant's, is for the rules of ``tenancy`` to judge.
"""

from __future__ import annotations

from collections.abc import Iterator

from policies.model import Facts, Parameter, Resource, Rule, Severity, Stack, each_resource
from policies.references import cis, saas_lens, soc2
from policies.relations import BUCKETS, DATABASES, is_copy, names_managed_key, parts_of
from policies.values import Properties, is_on, is_present, listed

_SSE = (
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2",
)
_KMS = ("aws:kms", "aws:kms:dsse")


def _key_missing(properties: Properties, name: str, what: str) -> Iterator[str]:
    if not is_present(properties, name):
        yield f"{what} names no customer-managed key ({name})"
    elif names_managed_key(properties, name):
        yield f"{what} is encrypted with a key of AWS's ({name})"


def _database(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if is_copy(properties):
        return
    if not is_on(properties.get("storageEncrypted")):
        yield "the database is not encrypted"
    yield from _key_missing(properties, "kmsKeyId", "the database")
    if is_on(properties.get("manageMasterUserPassword")):
        yield from _key_missing(properties, "masterUserSecretKmsKeyId", "the master's secret")
    if is_on(properties.get("performanceInsightsEnabled")):
        yield from _key_missing(properties, "performanceInsightsKmsKeyId", "what Performance Insights keeps")


def _default_encryption(resource: Resource, facts: Facts) -> Iterator[str]:
    for rule in resource.properties.get("rules") or [{}]:
        yield from _sse_rule(rule)


def _sse_rule(rule: Properties) -> Iterator[str]:
    default = rule.get("applyServerSideEncryptionByDefault") or {}
    if default.get("sseAlgorithm") not in _KMS:
        yield "the bucket's default encryption is not SSE-KMS"
    else:
        yield from _key_missing(default, "kmsMasterKeyId", "the bucket's default encryption")


def _bucket_without(bucket: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    if any(parts_of(stack, bucket, "bucket", ("bucket", "arn"), *_SSE)):
        return
    inline = listed(
        bucket.properties.get("serverSideEncryptionConfiguration")
        or bucket.properties.get("serverSideEncryptionConfigurations")
    )
    rules = [rule for each in inline for rule in listed(each.get("rule") or each.get("rules"))]
    # S3 reports its own default, SSE-S3, where nothing was asked for.
    if not rules or any([*_sse_rule(_single(rule))] for rule in rules):
        yield "no default encryption with a customer-managed key is set for the bucket"


def _single(rule: Properties) -> Properties:
    default = listed(rule.get("applyServerSideEncryptionByDefault") or rule.get("applyServerSideEncryptionByDefaults"))
    return {"applyServerSideEncryptionByDefault": default[0] if default else {}}


def _rotation(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    symmetric = (properties.get("customerMasterKeySpec") or "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT"
    if not symmetric or is_present(properties, "customKeyStoreId"):
        return  # KMS can't rotate these
    if not is_on(properties.get("enableKeyRotation")):
        yield "the KMS key does not rotate"
    elif (properties.get("rotationPeriodInDays") or 365) > facts.parameters["days"]:
        yield f"the KMS key rotates every {properties['rotationPeriodInDays']} days only"


_NAMED = {
    "secret": ("aws:secretsmanager/secret:Secret", "kmsKeyId", "the secret", "A Secrets Manager secret"),
    "log-group": ("aws:cloudwatch/logGroup:LogGroup", "kmsKeyId", "the log group", "A CloudWatch log group"),
    "topic": ("aws:sns/topic:Topic", "kmsMasterKeyId", "the topic", "An SNS topic"),
    "queue": ("aws:sqs/queue:Queue", "kmsMasterKeyId", "the queue", "An SQS queue"),
}


def _key_named(slug: str) -> Rule:
    token, name, what, title = _NAMED[slug]
    return Rule(
        id=f"encryption-{slug}",
        title=f"{title} is encrypted with a customer-managed key",
        severity=Severity.HIGH,
        remediation=f"Set {name} to the tenant's key, or the platform's",
        types=frozenset({token}),
        resource=lambda resource, facts: _key_missing(resource.properties, name, what),
        references=(*soc2("CC6.1"), *saas_lens("SaaS SEC 2")),
    )


#: Type of another store of data: the property that switches encryption on ("" if it always is), the one of the key.
_STORES = {
    "aws:ebs/volume:Volume": ("encrypted", "kmsKeyId"),
    "aws:efs/fileSystem:FileSystem": ("encrypted", "kmsKeyId"),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("atRestEncryptionEnabled", "kmsKeyId"),
    "aws:elasticache/serverlessCache:ServerlessCache": ("", "kmsKeyId"),
    "aws:docdb/cluster:Cluster": ("storageEncrypted", "kmsKeyId"),
    "aws:neptune/cluster:Cluster": ("storageEncrypted", "kmsKeyArn"),
    "aws:redshift/cluster:Cluster": ("encrypted", "kmsKeyId"),
    "aws:backup/vault:Vault": ("", "kmsKeyArn"),
    "aws:kinesis/stream:Stream": ("", "kmsKeyId"),
    "aws:dynamodb/table:Table": ("", ""),
    "aws:ecr/repository:Repository": ("", ""),
}


def _store(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    switch, key = _STORES[resource.type]
    if resource.type == "aws:dynamodb/table:Table":
        properties, switch, key = properties.get("serverSideEncryption") or {}, "enabled", "kmsKeyArn"
    elif resource.type == "aws:ecr/repository:Repository":
        properties, key = next(iter(properties.get("encryptionConfigurations") or []), {}), "kmsKey"
    if switch and not is_on(properties.get(switch)):
        yield f"what it stores is not encrypted with a customer-managed key ({switch})"
    yield from _key_missing(properties, key, "what it stores")


RULES: tuple[Rule, ...] = (
    Rule(
        id="encryption-database",
        title="A database is encrypted with a customer-managed key",
        severity=Severity.HIGH,
        remediation="Set storageEncrypted and kmsKeyId, and the key of the master's secret and of Performance Insights",
        types=frozenset(DATABASES),
        resource=_database,
        references=(*cis("2.3.1", "2.2.1"), *soc2("CC6.1"), *saas_lens("SaaS SEC 2")),
    ),
    Rule(
        id="encryption-bucket",
        title="A bucket's default encryption is SSE-KMS with a customer-managed key",
        severity=Severity.HIGH,
        remediation="Set sseAlgorithm 'aws:kms' and kmsMasterKeyId",
        types=frozenset(_SSE),
        resource=_default_encryption,
        references=(*soc2("CC6.1"), *saas_lens("SaaS SEC 2")),
    ),
    Rule(
        id="encryption-bucket-configured",
        title="Every bucket has a default encryption",
        severity=Severity.HIGH,
        remediation="Add a BucketServerSideEncryptionConfiguration that names the bucket and a key",
        stack=each_resource(BUCKETS, _bucket_without),
        references=(*soc2("CC6.1"), *saas_lens("SaaS SEC 2")),
    ),
    Rule(
        id="encryption-key-rotation",
        title="A symmetric KMS key rotates",
        severity=Severity.HIGH,
        remediation="Set enableKeyRotation, and no rotation period that is longer than the rule's",
        types=frozenset({"aws:kms/key:Key"}),
        resource=_rotation,
        references=(*cis("3.6", "3.6"), *soc2("CC6.1")),
        parameters=(
            Parameter(
                "days",
                365,
                {"type": "integer", "minimum": 90, "maximum": 2560, "description": "longest rotation period, days"},
            ),
        ),
    ),
    *(_key_named(slug) for slug in _NAMED),
    Rule(
        id="encryption-storage",
        title="Other stores of data, from volumes to backups, are encrypted with a customer-managed key",
        severity=Severity.HIGH,
        remediation="Switch encryption at rest on and name a key",
        types=frozenset(_STORES),
        resource=_store,
        references=(*cis("2.2.1, 2.4.1", "5.1.1, 2.3.1"), *soc2("CC6.1")),
    ),
)
