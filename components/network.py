"""A cell's network: private subnets only, no way to the internet, endpoints for the AWS services in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
from pulumi_aws.ec2.default_security_group import DefaultSecurityGroup
from pulumi_aws.ec2.route_table import RouteTable
from pulumi_aws.ec2.route_table_association import RouteTableAssociation
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.ec2.vpc_endpoint import VpcEndpoint
from pulumi_aws.vpc.security_group_egress_rule import SecurityGroupEgressRule

from components.account import Account
from components.documents import Document, document, to_json
from components.firewall import POSTGRES_PORT, SecurityGroup, SecurityGroupArgs
from components.tags import named

INTERFACE_SERVICES = ("kms", "secretsmanager", "logs", "sts")
HTTPS = 443
ENDPOINT_POLICY_LIMIT = 20480


def subnet_cidrs(cidr: str, count: int) -> list[str]:
    """The first ``count`` quarters of the VPC's range. Raises ``ValueError`` if AWS would refuse the range."""
    try:
        network = IPv4Network(cidr)
    except ValueError as error:
        raise ValueError(f"cidr {cidr!r}: {error}") from None
    if not 16 <= network.prefixlen <= 26 or not network.is_private:
        raise ValueError(f"cidr {cidr!r}: want a private range from /16 to /26")
    if not 1 <= count <= 4:
        raise ValueError(f"{count} subnets: want 1 to 4")
    return [str(subnet) for subnet in list(network.subnets(prefixlen_diff=2))[:count]]


def endpoint_policy(account: Account, service: str) -> Document:
    """Credentials of this account only: foreign ones can't carry data out through our endpoint.

    S3's lets container images through as well, whose layers ECR keeps in a bucket of AWS's.
    """
    own = {
        "Sid": "OwnCredentials",
        "Effect": "Allow",
        "Principal": "*",
        "Action": f"{service}:*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalAccount": account.id}},
    }
    if service != "s3":
        return document(own)
    layers = account.bucket_arn(f"prod-{account.region}-starport-layer-bucket/*")
    images = {
        "Sid": "ContainerImages",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": layers,
    }
    return document(own, images)


@dataclass(frozen=True)
class NetworkArgs:
    """``availability_zones``: names, as many as there shall be subnets."""

    prefix: str  #: what physical names start with
    account: pulumi.Input[Account]
    region: str
    cidr: str
    availability_zones: pulumi.Input[list[str]]
    zone_count: int
    tags: Mapping[str, str]
    protect: bool = True

    def __post_init__(self) -> None:
        subnet_cidrs(self.cidr, self.zone_count)


class Network(pulumi.ComponentResource):
    """``app_security_group_id`` is the app tier's: databases let in nothing else."""

    vpc_id: pulumi.Output[str]
    private_subnet_ids: pulumi.Output[list[str]]
    app_security_group_id: pulumi.Output[str]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:Network", name, None, opts)
        self._args = args
        child = pulumi.ResourceOptions(parent=self)
        self.vpc = Vpc(
            name,
            cidr_block=args.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=named(dict(args.tags), args.prefix),
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        DefaultSecurityGroup(name, vpc_id=self.vpc.id, tags=named(dict(args.tags), f"{args.prefix}-unused"), opts=child)
        route_table = RouteTable(name, vpc_id=self.vpc.id, tags=named(dict(args.tags), args.prefix), opts=child)
        self.subnets = self._private_subnets(name, route_table)
        self.app = SecurityGroup(
            f"{name}-app",
            SecurityGroupArgs(
                group_name=f"{args.prefix}-app",
                description="App tier, the only one let into databases",
                vpc_id=self.vpc.id,
                tags=args.tags,
            ),
            opts=child,
        )
        endpoints = SecurityGroup(
            f"{name}-endpoints",
            SecurityGroupArgs(
                group_name=f"{args.prefix}-endpoints",
                description="VPC endpoints, for the app tier",
                vpc_id=self.vpc.id,
                tags=args.tags,
                ingress_port=HTTPS,
                ingress_from=self.app.id,
            ),
            opts=child,
        )
        s3 = self._endpoint(name, "s3", vpc_endpoint_type="Gateway", route_table_ids=[route_table.id])
        for service in INTERFACE_SERVICES:
            self._endpoint(
                name,
                service,
                vpc_endpoint_type="Interface",
                subnet_ids=[subnet.id for subnet in self.subnets],
                security_group_ids=[endpoints.id],
                private_dns_enabled=True,
            )
        self._app_egress(name, s3)
        self.vpc_id = self.vpc.id
        self.private_subnet_ids = pulumi.Output.all(*(subnet.id for subnet in self.subnets)).apply(
            lambda ids: [str(each) for each in ids]
        )
        self.app_security_group_id = self.app.id
        self.register_outputs(
            {
                "vpcId": self.vpc_id,
                "privateSubnetIds": self.private_subnet_ids,
                "appSecurityGroupId": self.app_security_group_id,
            }
        )

    def _private_subnets(self, name: str, route_table: RouteTable) -> list[Subnet]:
        args = self._args
        zones = pulumi.Output.from_input(args.availability_zones)
        subnets = []
        for index, cidr in enumerate(subnet_cidrs(args.cidr, args.zone_count)):
            subnet = Subnet(
                f"{name}-private-{index}",
                vpc_id=self.vpc.id,
                cidr_block=cidr,
                availability_zone=zones[index],
                map_public_ip_on_launch=False,
                tags=named(dict(args.tags), f"{args.prefix}-private-{index}"),
                # AWS may add zones to an account's list at any place in it; a subnet can't move.
                opts=pulumi.ResourceOptions(parent=self, protect=args.protect, ignore_changes=["availabilityZone"]),
            )
            RouteTableAssociation(
                f"{name}-private-{index}",
                subnet_id=subnet.id,
                route_table_id=route_table.id,
                opts=pulumi.ResourceOptions(parent=self),
            )
            subnets.append(subnet)
        return subnets

    def _endpoint(
        self,
        name: str,
        service: str,
        *,
        vpc_endpoint_type: str,
        subnet_ids: list[pulumi.Output[str]] | None = None,
        security_group_ids: list[pulumi.Output[str]] | None = None,
        route_table_ids: list[pulumi.Output[str]] | None = None,
        private_dns_enabled: bool | None = None,
    ) -> VpcEndpoint:
        args = self._args
        policy = pulumi.Output.from_input(args.account).apply(
            lambda account: to_json(
                endpoint_policy(account, service), limit=ENDPOINT_POLICY_LIMIT, what="the endpoint policy"
            )
        )
        # STS answers callers that have no credentials yet, so its policy can't ask for an account.
        return VpcEndpoint(
            f"{name}-{service}",
            vpc_id=self.vpc.id,
            service_name=f"com.amazonaws.{args.region}.{service}",
            vpc_endpoint_type=vpc_endpoint_type,
            policy=None if service == "sts" else policy,
            subnet_ids=subnet_ids,
            security_group_ids=security_group_ids,
            route_table_ids=route_table_ids,
            private_dns_enabled=private_dns_enabled,
            tags=named(dict(args.tags), f"{args.prefix}-{service}"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _app_egress(self, name: str, s3: VpcEndpoint) -> None:
        """To databases and endpoints inside the VPC, and to S3; anything beyond is the application owner's to open."""
        args = self._args
        for purpose, port in (("databases", POSTGRES_PORT), ("endpoints", HTTPS)):
            SecurityGroupEgressRule(
                f"{name}-app-{purpose}",
                security_group_id=self.app.id,
                description=f"to {purpose}",
                cidr_ipv4=args.cidr,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                tags=dict(args.tags),
                opts=pulumi.ResourceOptions(parent=self),
            )
        SecurityGroupEgressRule(
            f"{name}-app-s3",
            security_group_id=self.app.id,
            description="to S3 through its endpoint",
            prefix_list_id=s3.prefix_list_id,
            ip_protocol="tcp",
            from_port=HTTPS,
            to_port=HTTPS,
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions(parent=self),
        )
