"""Who reaches a silo's database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from components.tiers import TIERS
from policies.model import Facts, Resource, Rule, Severity, Stack, Violation
from policies.references import saas_lens, soc2
from policies.values import CannotTell, is_unknown, listed

GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
CLASSIC = "aws:ec2/securityGroupRule:SecurityGroupRule"
DATABASES = ("aws:rds/instance:Instance", "aws:rds/cluster:Cluster")
_RANGES = ("cidrIpv4", "cidrIpv6", "prefixListId", "cidrBlocks", "ipv6CidrBlocks", "prefixListIds", "self")


def _judge(stack: Stack, facts: Facts) -> Iterator[Violation]:
    if facts.tenant is None or not TIERS[facts.tenant.tier].own_instance:
        return
    groups = list(stack.of_type(GROUP))
    if len(groups) > 1:
        idle = [each for each in groups if not any(_is_in(one, each) for one in stack.of_type(*DATABASES))]
        for extra in idle or groups[1:]:
            yield Violation(extra.urn, "a silo has one security group, its database's, and this is another")
    for database in stack.of_type(*DATABASES):
        yield from _attached(database, groups)
    if facts.platform is None:
        raise CannotTell("the app tier's security group")
    app = facts.platform.app_security_group_id
    for rule in stack.of_type(INGRESS, CLASSIC):
        if rule.type == CLASSIC and rule.get("type") != "ingress":
            continue
        yield from _from_app(rule, rule.properties, ("referencedSecurityGroupId", "sourceSecurityGroupId"), app)
    for group in groups:
        if is_unknown(group.get("ingress")):
            continue  # what the cloud reports of rules that are resources of their own
        for inline in listed(group.get("ingress")):
            if _is_reported(inline, stack):
                continue
            yield from _from_app(group, inline, ("securityGroups",), app)


def _attached(database: Resource, groups: list[Resource]) -> Iterator[Violation]:
    value = database.get("vpcSecurityGroupIds")
    urns = {each.urn for each in groups}
    sources = database.depends_on.get("vpcSecurityGroupIds", frozenset())
    for each in [value] if is_unknown(value) else listed(value):
        if is_unknown(each):
            if not sources & urns:
                yield Violation(database.urn, "the database is in a security group of somebody else's")
        elif each not in {_id_of(group) for group in groups}:
            yield Violation(database.urn, f"the database is in the security group {each}, which is not this stack's")
    if not is_unknown(value) and not value:
        yield Violation(database.urn, "the database is in the VPC's default security group")


def _is_in(database: Resource, group: Resource) -> bool:
    value = database.get("vpcSecurityGroupIds")
    known = set() if is_unknown(value) else {each for each in listed(value) if not is_unknown(each)}
    return _id_of(group) in known or group.urn in database.depends_on.get("vpcSecurityGroupIds", frozenset())


def _id_of(group: Resource) -> str | None:
    """By its ARN, since ids are no properties everywhere."""
    arn = group.get("arn")
    return str(arn).rsplit("/", 1)[-1] if arn is not None and not is_unknown(arn) else None


def _from_app(resource: Resource, rule: Mapping[str, Any], names: tuple[str, ...], app: str) -> Iterator[Violation]:
    if any(not is_unknown(rule.get(name)) and rule.get(name) for name in _RANGES):
        yield Violation(resource.urn, "lets in a range of addresses instead of the app tier's security group")
        return
    if any(is_unknown(rule.get(name)) for name in _RANGES if name != "self"):
        raise CannotTell("who is let in")
    found = [each for name in names for each in listed(rule.get(name))]
    if any(is_unknown(each) for each in found):
        yield Violation(resource.urn, "lets in a security group of this stack instead of the app tier's")
    elif not found or any(each != app for each in found):
        yield Violation(
            resource.urn, f"lets in {', '.join(map(str, found)) or 'nobody that it names'}, not the app tier ({app})"
        )


def _is_reported(inline: Mapping[str, Any], stack: Stack) -> bool:
    """Whether an entry of a group's ``ingress`` is what the cloud says of a rule that is a resource of the stack."""
    return any(
        (rule.get("fromPort"), rule.get("toPort")) == (inline.get("fromPort"), inline.get("toPort"))
        and rule.get("referencedSecurityGroupId") in listed(inline.get("securityGroups"))
        for rule in stack.of_type(INGRESS)
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="tenancy-silo-network",
        title="A silo has one security group, in which its database is, and only the app tier is let in",
        severity=Severity.CRITICAL,
        remediation="Put the database in the stack's own group, and let in the platform's app_security_group_id alone",
        stack=_judge,
        references=(*soc2("CC6.6"), *saas_lens("SaaS SEC 2")),
    ),
)
