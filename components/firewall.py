"""A security group that lets in one other group on one port, and lets nothing out by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws.ec2.security_group import SecurityGroup as Ec2SecurityGroup
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from components.tags import named

POSTGRES_PORT = 5432


@dataclass(frozen=True)
class SecurityGroupArgs:
    """``ingress_from``: id of the security group let in on ``ingress_port``; both or neither."""

    group_name: str
    description: str
    vpc_id: pulumi.Input[str]
    tags: Mapping[str, str]
    ingress_port: int | None = None
    ingress_from: pulumi.Input[str] | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.group_name) <= 255 or self.group_name.startswith("sg-"):
            raise ValueError(f"security group name {self.group_name!r}: want up to 255 characters, not sg-...")
        if (self.ingress_port is None) != (self.ingress_from is None):
            raise ValueError(f"security group {self.group_name!r}: ingress_port and ingress_from go together")


class SecurityGroup(pulumi.ComponentResource):
    """``id`` of the group."""

    id: pulumi.Output[str]

    def __init__(self, name: str, args: SecurityGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:SecurityGroup", name, None, opts)
        self.group = Ec2SecurityGroup(
            name,
            name=args.group_name,
            description=args.description,
            vpc_id=args.vpc_id,
            tags=named(dict(args.tags), args.group_name),
            opts=pulumi.ResourceOptions(parent=self),
        )
        if args.ingress_port is not None:
            SecurityGroupIngressRule(
                name,
                security_group_id=self.group.id,
                description="from the app tier",
                referenced_security_group_id=args.ingress_from,
                ip_protocol="tcp",
                from_port=args.ingress_port,
                to_port=args.ingress_port,
                tags=dict(args.tags),
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.id = self.group.id
        self.register_outputs({"id": self.id})
