"""Whose a resource is, and what it costs whom, stands on the resource."""

from __future__ import annotations

from policies.model import Facts, Resource, Rule, Severity

REQUIRED_TAGS = ("tenant_id", "tier", "plan", "managed-by", "installation", "environment", "cost-center")
TAGGED_TYPES = frozenset(
    {
        "aws:kms/key:Key",
        "aws:rds/instance:Instance",
        "aws:s3/bucket:Bucket",
        "aws:secretsmanager/secret:Secret",
        "aws:iam/role:Role",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:cloudwatch/logGroup:LogGroup",
    }
)


def _tags(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    tags = {**(properties.get("tags") or {}), **(properties.get("tagsAll") or {})}
    missing = [name for name in REQUIRED_TAGS if not tags.get(name)]
    return [f"the tags {', '.join(missing)} are missing"] if missing else []


RULES: tuple[Rule, ...] = (
    Rule(
        id="ownership-tags",
        title="Every tenant resource says whose it is",
        severity=Severity.HIGH,
        remediation=f"Set the tags {', '.join(REQUIRED_TAGS)}",
        types=TAGGED_TYPES,
        resource=_tags,
    ),
)
