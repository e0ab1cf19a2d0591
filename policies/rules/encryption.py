"""Data at rest is encrypted with a customer-managed key that rotates."""

from __future__ import annotations

from policies.model import Properties, Rule, Severity


def _instance(properties: Properties) -> list[str]:
    found = []
    if not properties.get("storageEncrypted"):
        found.append("the database instance is not encrypted")
    if not properties.get("kmsKeyId"):
        found.append("the database instance names no customer-managed key (kmsKeyId)")
    if properties.get("password"):
        found.append("the master password is part of the stack instead of being managed by RDS")
    return found


def _bucket_encryption(properties: Properties) -> list[str]:
    found = []
    for rule in properties.get("rules") or [{}]:
        default = rule.get("applyServerSideEncryptionByDefault") or {}
        if default.get("sseAlgorithm") not in ("aws:kms", "aws:kms:dsse") or not default.get("kmsMasterKeyId"):
            found.append("the bucket's default encryption is not SSE-KMS with a named key")
    return found


def _key(properties: Properties) -> list[str]:
    spec = properties.get("customerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    if spec == "SYMMETRIC_DEFAULT" and not properties.get("enableKeyRotation"):
        return ["the KMS key does not rotate"]
    return []


def _key_named(property_name: str, what: str) -> Rule:
    def check(properties: Properties) -> list[str]:
        return [] if properties.get(property_name) else [f"{what} names no customer-managed key ({property_name})"]

    tokens = {
        "a secret": "aws:secretsmanager/secret:Secret",
        "a log group": "aws:cloudwatch/logGroup:LogGroup",
        "a topic": "aws:sns/topic:Topic",
        "a queue": "aws:sqs/queue:Queue",
    }
    return Rule(
        id=f"encryption-{what.removeprefix('a ').replace(' ', '-')}",
        title=f"{what.capitalize()} is encrypted with a customer-managed key",
        severity=Severity.MANDATORY,
        remediation=f"Set {property_name} to the tenant's key, or the platform's",
        types=frozenset({tokens[what]}),
        check=check,
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="encryption-database",
        title="A database instance is encrypted with a customer-managed key; RDS manages its master password",
        severity=Severity.MANDATORY,
        remediation="Set storageEncrypted, kmsKeyId and manageMasterUserPassword",
        types=frozenset({"aws:rds/instance:Instance"}),
        check=_instance,
    ),
    Rule(
        id="encryption-bucket",
        title="A bucket's default encryption is SSE-KMS with a customer-managed key",
        severity=Severity.MANDATORY,
        remediation="Set sseAlgorithm 'aws:kms' and kmsMasterKeyId",
        types=frozenset({"aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"}),
        check=_bucket_encryption,
    ),
    Rule(
        id="encryption-key-rotation",
        title="A symmetric KMS key rotates",
        severity=Severity.MANDATORY,
        remediation="Set enableKeyRotation",
        types=frozenset({"aws:kms/key:Key"}),
        check=_key,
    ),
    _key_named("kmsKeyId", "a secret"),
    _key_named("kmsKeyId", "a log group"),
    _key_named("kmsMasterKeyId", "a topic"),
    _key_named("kmsMasterKeyId", "a queue"),
)
