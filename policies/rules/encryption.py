"""Data at rest is encrypted with a customer-managed key that rotates."""

from __future__ import annotations

from policies.model import Facts, Resource, Rule, Severity
from policies.values import is_present


def _instance(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    found = []
    if not properties.get("storageEncrypted"):
        found.append("the database instance is not encrypted")
    if not is_present(properties, "kmsKeyId"):
        found.append("the database instance names no customer-managed key (kmsKeyId)")
    if is_present(properties, "password"):
        found.append("the master password is part of the stack instead of being managed by RDS")
    return found


def _bucket_encryption(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    found = []
    for rule in properties.get("rules") or [{}]:
        default = rule.get("applyServerSideEncryptionByDefault") or {}
        if default.get("sseAlgorithm") not in ("aws:kms", "aws:kms:dsse") or not is_present(default, "kmsMasterKeyId"):
            found.append("the bucket's default encryption is not SSE-KMS with a named key")
    return found


def _key(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    spec = properties.get("customerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    if spec == "SYMMETRIC_DEFAULT" and not properties.get("enableKeyRotation"):
        return ["the KMS key does not rotate"]
    return []


def _key_named(property_name: str, what: str) -> Rule:
    def check(resource: Resource, facts: Facts) -> list[str]:
        return (
            []
            if is_present(resource.properties, property_name)
            else [f"{what} names no customer-managed key ({property_name})"]
        )

    tokens = {
        "a secret": "aws:secretsmanager/secret:Secret",
        "a log group": "aws:cloudwatch/logGroup:LogGroup",
        "a topic": "aws:sns/topic:Topic",
        "a queue": "aws:sqs/queue:Queue",
    }
    return Rule(
        id=f"encryption-{what.removeprefix('a ').replace(' ', '-')}",
        title=f"{what.capitalize()} is encrypted with a customer-managed key",
        severity=Severity.HIGH,
        remediation=f"Set {property_name} to the tenant's key, or the platform's",
        types=frozenset({tokens[what]}),
        resource=check,
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="encryption-database",
        title="A database instance is encrypted with a customer-managed key; RDS manages its master password",
        severity=Severity.HIGH,
        remediation="Set storageEncrypted, kmsKeyId and manageMasterUserPassword",
        types=frozenset({"aws:rds/instance:Instance"}),
        resource=_instance,
    ),
    Rule(
        id="encryption-bucket",
        title="A bucket's default encryption is SSE-KMS with a customer-managed key",
        severity=Severity.HIGH,
        remediation="Set sseAlgorithm 'aws:kms' and kmsMasterKeyId",
        types=frozenset({"aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"}),
        resource=_bucket_encryption,
    ),
    Rule(
        id="encryption-key-rotation",
        title="A symmetric KMS key rotates",
        severity=Severity.HIGH,
        remediation="Set enableKeyRotation",
        types=frozenset({"aws:kms/key:Key"}),
        resource=_key,
    ),
    _key_named("kmsKeyId", "a secret"),
    _key_named("kmsKeyId", "a log group"),
    _key_named("kmsMasterKeyId", "a topic"),
    _key_named("kmsMasterKeyId", "a queue"),
)
