"""Nothing of a tenant is reachable from outside, or without TLS."""

from __future__ import annotations

from policies.model import Facts, Resource, Rule, Severity

BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
WORLD = frozenset({"0.0.0.0/0", "::/0"})


def _instance(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    return ["the database instance has a public address"] if properties.get("publiclyAccessible") else []


def _public_access_block(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    missing = [name for name in BLOCKS if not properties.get(name)]
    return [f"the bucket's public access block lacks {', '.join(missing)}"] if missing else []


def _ingress_rule(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    open_to = [properties[name] for name in ("cidrIpv4", "cidrIpv6") if properties.get(name) in WORLD]
    return [f"the security group lets in {', '.join(open_to)}"] if open_to else []


def _security_group(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    found = []
    for rule in properties.get("ingress") or []:
        blocks = [*(rule.get("cidrBlocks") or []), *(rule.get("ipv6CidrBlocks") or [])]
        found += [f"the security group lets in {block}" for block in blocks if block in WORLD]
    return found


def _subnet(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    return ["the subnet gives instances public addresses"] if properties.get("mapPublicIpOnLaunch") else []


def _parameter_group(resource: Resource, facts: Facts) -> list[str]:
    properties = resource.properties
    if not str(properties.get("family") or "").startswith("postgres"):
        return []
    parameters = {item.get("name"): str(item.get("value")) for item in properties.get("parameters") or []}
    return [] if parameters.get("rds.force_ssl") == "1" else ["the parameter group lets clients in without TLS"]


def _rule(id: str, title: str, remediation: str, token: str, check: object) -> Rule:
    assert callable(check)
    return Rule(
        id=id,
        title=title,
        severity=Severity.HIGH,
        remediation=remediation,
        types=frozenset({token}),
        resource=check,
    )


RULES: tuple[Rule, ...] = (
    _rule(
        "exposure-database",
        "A database instance has no public address",
        "Set publiclyAccessible to false",
        "aws:rds/instance:Instance",
        _instance,
    ),
    _rule(
        "exposure-bucket",
        "A bucket blocks public access in all four ways",
        "Set all four properties to true",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        _public_access_block,
    ),
    _rule(
        "exposure-ingress-rule",
        "A security group rule lets in no whole internet",
        "Name a security group or a private range",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        _ingress_rule,
    ),
    _rule(
        "exposure-security-group",
        "A security group's inline rules let in no whole internet",
        "Name a security group or a private range",
        "aws:ec2/securityGroup:SecurityGroup",
        _security_group,
    ),
    _rule(
        "exposure-subnet",
        "A subnet maps no public addresses",
        "Set mapPublicIpOnLaunch to false",
        "aws:ec2/subnet:Subnet",
        _subnet,
    ),
    _rule(
        "exposure-database-tls",
        "PostgreSQL refuses clients without TLS",
        "Set the parameter rds.force_ssl to 1",
        "aws:rds/parameterGroup:ParameterGroup",
        _parameter_group,
    ),
)
