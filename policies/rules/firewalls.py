"""Networks let in neither the internet nor every port, and give nothing a public address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from policies.model import Facts, Parameter, Resource, Rule, Severity
from policies.networks import is_wide, network
from policies.references import cis, soc2
from policies.values import is_on, listed

_ALL_PORTS = 65535


def _ingress(facts: Facts, blocks: Iterable[Any], protocol: Any, from_port: Any, to_port: Any) -> Iterator[str]:
    parameters = facts.parameters
    every_protocol = str(protocol).lower() in ("-1", "all")
    ports = None if every_protocol or from_port is None or to_port is None else range(int(from_port), int(to_port) + 1)
    for block in blocks:
        try:
            parsed = network(str(block))
        except ValueError:
            yield f"it lets in {str(block)[:50]!r}, which is no CIDR block"
            continue
        open_ports = ports is not None and len(ports) > 0 and all(each in parameters["public_ports"] for each in ports)
        if is_wide(parsed, ipv4=parameters["ipv4_prefix"], ipv6=parameters["ipv6_prefix"]) and not open_ports:
            yield f"it lets in {block}"
        elif every_protocol or (ports is not None and len(ports) >= _ALL_PORTS):
            yield f"it lets {block} in on every port"


def _ingress_rule(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if resource.type.startswith("aws:vpc/"):
        blocks = [properties[name] for name in ("cidrIpv4", "cidrIpv6") if properties.get(name)]
        protocol = properties.get("ipProtocol")
    elif properties.get("type") == "ingress":
        blocks = [*(properties.get("cidrBlocks") or []), *(properties.get("ipv6CidrBlocks") or [])]
        protocol = properties.get("protocol")
    else:
        return
    yield from _ingress(facts, blocks, protocol, properties.get("fromPort"), properties.get("toPort"))


def _security_group(resource: Resource, facts: Facts) -> Iterator[str]:
    for rule in resource.properties.get("ingress") or []:
        blocks = [*(rule.get("cidrBlocks") or []), *(rule.get("ipv6CidrBlocks") or [])]
        yield from _ingress(facts, blocks, rule.get("protocol"), rule.get("fromPort"), rule.get("toPort"))


def _default_security_group(resource: Resource, facts: Facts) -> Iterator[str]:
    for direction in ("ingress", "egress"):
        if resource.properties.get(direction):
            yield f"the VPC's default security group has {direction} rules"


def _subnet(resource: Resource, facts: Facts) -> Iterator[str]:
    if is_on(resource.properties.get("mapPublicIpOnLaunch")):
        yield "the subnet gives instances public addresses"


def _instance(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    interfaces = listed(properties.get("networkInterfaces"))
    if is_on(properties.get("associatePublicIpAddress")) or any(
        is_on(each.get("associatePublicIpAddress")) for each in interfaces
    ):
        yield "the instance gets a public address"


_WORLD = (
    Parameter(
        "ipv4_prefix",
        16,
        {
            "type": "integer", "minimum": 1, "maximum": 32,
            "description": "a public IPv4 range with a shorter prefix counts as the whole internet",
        },
    ),
    Parameter(
        "ipv6_prefix",
        32,
        {
            "type": "integer", "minimum": 1, "maximum": 128,
            "description": "a public IPv6 range with a shorter prefix counts as the whole internet",
        },
    ),
    Parameter(
        "public_ports",
        [],
        {
            "type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535},
            "description": "ports that may be open to the internet, such as 443 of a public load balancer",
        },
    ),
)  # fmt: skip
_INGRESS = (*cis("5.2, 5.3", "5.3, 5.4"), *soc2("CC6.6"))

RULES: tuple[Rule, ...] = (
    Rule(
        id="exposure-ingress-rule",
        title="A security group rule lets in neither the internet nor every port",
        severity=Severity.HIGH,
        remediation="Name a security group or a small range, and one port",
        types=frozenset(
            {
                "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
                "aws:ec2/securityGroupRule:SecurityGroupRule",
            }
        ),
        resource=_ingress_rule,
        references=_INGRESS,
        parameters=_WORLD,
    ),
    Rule(
        id="exposure-security-group",
        title="A security group's inline rules let in neither the internet nor every port",
        severity=Severity.HIGH,
        remediation="Name a security group or a small range, and one port",
        types=frozenset({"aws:ec2/securityGroup:SecurityGroup"}),
        resource=_security_group,
        references=_INGRESS,
        parameters=_WORLD,
    ),
    Rule(
        id="exposure-default-security-group",
        title="A VPC's default security group lets nothing in or out",
        severity=Severity.MEDIUM,
        remediation="Manage it as DefaultSecurityGroup without rules, and use groups of your own",
        types=frozenset({"aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"}),
        resource=_default_security_group,
        references=(*cis("5.4", "5.5"), *soc2("CC6.6")),
    ),
    Rule(
        id="exposure-subnet",
        title="A subnet maps no public addresses",
        severity=Severity.MEDIUM,
        remediation="Set mapPublicIpOnLaunch to false",
        types=frozenset({"aws:ec2/subnet:Subnet", "aws:ec2/defaultSubnet:DefaultSubnet"}),
        resource=_subnet,
        references=soc2("CC6.6"),
    ),
    Rule(
        id="exposure-instance",
        title="An EC2 instance gets no public address",
        severity=Severity.HIGH,
        remediation="Set associatePublicIpAddress to false",
        types=frozenset({"aws:ec2/instance:Instance", "aws:ec2/launchTemplate:LaunchTemplate"}),
        resource=_instance,
        references=soc2("CC6.6"),
    ),
)
