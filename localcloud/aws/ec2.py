"""VPCs and subnets, and what the types of EC2 share."""

from __future__ import annotations

from ipaddress import IPv4Network
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    changed,
    code_of,
    is_true,
    live_tags,
    tag_changes,
    tag_dict,
    tag_list,
)
from providers.base import Context, InitializationFailed, Properties

_GONE_SUFFIX = ".NotFound"


def is_gone(error: ClientError) -> bool:
    """EC2 names each kind of absence: InvalidVpcID.NotFound, InvalidSubnetID.NotFound, ..."""
    return code_of(error).endswith(_GONE_SUFFIX)


def tag_specification(kind: str, inputs: Properties) -> dict[str, Any]:
    tags = all_tags(inputs)
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tag_list(tags)}]} if tags else {}


def update_tags(ec2: Any, id: str, state: Properties, inputs: Properties) -> None:
    added, removed = tag_changes(state, inputs)
    if removed:
        ec2.delete_tags(Resources=[id], Tags=[{"Key": key} for key in removed])
    if added:
        ec2.create_tags(Resources=[id], Tags=tag_list(added))


def filters(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [value]} for name, value in values.items()]


def check_cidr(checks: Checks, name: str, *, longest: int = 28, shortest: int = 16) -> None:
    value = checks.known(name)
    if value is None:
        return
    try:
        network = IPv4Network(value)
    except ValueError as error:
        checks.fail(name, f"{value!r} is no IPv4 range: {error}")
        return
    if not shortest <= network.prefixlen <= longest:
        checks.fail(name, f"{value}: the range must be between /{shortest} and /{longest}")


class Vpc(AwsHandler):
    token = "aws:ec2/vpc:Vpc"
    inputs = frozenset({"cidrBlock", "enableDnsHostnames", "enableDnsSupport", "instanceTenancy"})
    outputs = frozenset(
        {
            "arn",
            "defaultNetworkAclId",
            "defaultRouteTableId",
            "defaultSecurityGroupId",
            "dhcpOptionsId",
            "mainRouteTableId",
            "ownerId",
        }
    )
    required = frozenset({"cidrBlock"})
    replace_on = frozenset({"cidrBlock", "instanceTenancy"})
    defaults = MappingProxyType({"enableDnsHostnames": False, "enableDnsSupport": True, "instanceTenancy": "default"})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        check_cidr(checks, "cidrBlock")
        checks.one_of("instanceTenancy", ("default", "dedicated"))
        checks.boolean("enableDnsHostnames", "enableDnsSupport")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        ec2 = aws.client("ec2")
        vpc = ec2.create_vpc(
            CidrBlock=inputs["cidrBlock"],
            InstanceTenancy=inputs.get("instanceTenancy", "default"),
            **tag_specification("vpc", inputs),
        )["Vpc"]
        id = vpc["VpcId"]
        outputs: Properties = {"arn": aws.arn("ec2", f"vpc/{id}"), "region": aws.region, "tagsAll": all_tags(inputs)}
        try:
            self._set_dns(ec2, id, {}, inputs)
            outputs |= self._outputs(aws, vpc, all_tags(inputs))
        except ClientError as error:
            raise InitializationFailed(id, outputs, [str(error)]) from error
        return id, outputs

    def _set_dns(self, ec2: Any, id: str, old: Properties, inputs: Properties) -> None:
        for name, parameter in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
            before = is_true(old.get(name, self.defaults[name]))
            wanted = is_true(inputs.get(name, self.defaults[name]))
            if before != wanted:
                ec2.modify_vpc_attribute(VpcId=id, **{parameter: {"Value": wanted}})

    def _outputs(self, aws: Aws, vpc: dict[str, Any], tags: dict[str, str]) -> Properties:
        ec2 = aws.client("ec2")
        id = vpc["VpcId"]
        acl = ec2.describe_network_acls(Filters=filters({"vpc-id": id, "default": "true"}))["NetworkAcls"]
        tables = ec2.describe_route_tables(Filters=filters({"vpc-id": id, "association.main": "true"}))["RouteTables"]
        groups = ec2.describe_security_groups(Filters=filters({"vpc-id": id, "group-name": "default"}))[
            "SecurityGroups"
        ]
        main = tables[0]["RouteTableId"] if tables else None
        return {
            "arn": aws.arn("ec2", f"vpc/{id}"),
            "defaultNetworkAclId": acl[0]["NetworkAclId"] if acl else None,
            "defaultRouteTableId": main,
            "mainRouteTableId": main,
            "defaultSecurityGroupId": groups[0]["GroupId"] if groups else None,
            "dhcpOptionsId": vpc.get("DhcpOptionsId"),
            "ownerId": vpc.get("OwnerId") or aws.account_id,
            "instanceTenancy": vpc.get("InstanceTenancy", "default"),
            "region": aws.region,
            "tagsAll": tags,
        }

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        ec2 = aws.client("ec2")
        try:
            vpc = ec2.describe_vpcs(VpcIds=[id])["Vpcs"][0]
            support = ec2.describe_vpc_attribute(VpcId=id, Attribute="enableDnsSupport")["EnableDnsSupport"]
            names = ec2.describe_vpc_attribute(VpcId=id, Attribute="enableDnsHostnames")["EnableDnsHostnames"]
        except ClientError as error:
            if is_gone(error):
                return None
            raise
        tags = tag_dict(vpc.get("Tags"))
        live = {
            "cidrBlock": vpc["CidrBlock"],
            "enableDnsSupport": bool(support["Value"]),
            "enableDnsHostnames": bool(names["Value"]),
            "instanceTenancy": vpc.get("InstanceTenancy", "default"),
            **live_tags(aws, tags, inputs),
        }
        return id, live, self._outputs(aws, vpc, tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        ec2 = self.aws(ctx, state).client("ec2")
        self._set_dns(ec2, id, old_inputs, inputs)
        update_tags(ec2, id, state, inputs)
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("ec2").delete_vpc(VpcId=id)
        except ClientError as error:
            if not is_gone(error):
                raise


class Subnet(AwsHandler):
    token = "aws:ec2/subnet:Subnet"
    inputs = frozenset({"availabilityZone", "availabilityZoneId", "cidrBlock", "mapPublicIpOnLaunch", "vpcId"})
    outputs = frozenset({"arn", "ownerId", "availabilityZone", "availabilityZoneId"})
    required = frozenset({"vpcId", "cidrBlock"})
    replace_on = frozenset({"availabilityZone", "availabilityZoneId", "cidrBlock", "vpcId"})
    computed_inputs = frozenset({"availabilityZone", "availabilityZoneId"})
    defaults = MappingProxyType({"mapPublicIpOnLaunch": False})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        check_cidr(checks, "cidrBlock")
        checks.boolean("mapPublicIpOnLaunch")
        checks.excludes("availabilityZone", "availabilityZoneId")
        checks.string("vpcId", r"vpc-[0-9a-f]+", "is no VPC id")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        ec2 = aws.client("ec2")
        zone = {
            parameter: inputs[name]
            for name, parameter in (
                ("availabilityZone", "AvailabilityZone"),
                ("availabilityZoneId", "AvailabilityZoneId"),
            )
            if name in inputs
        }
        subnet = ec2.create_subnet(
            VpcId=inputs["vpcId"], CidrBlock=inputs["cidrBlock"], **zone, **tag_specification("subnet", inputs)
        )["Subnet"]
        id = subnet["SubnetId"]
        outputs = self._outputs(aws, subnet, all_tags(inputs))
        try:
            if is_true(inputs.get("mapPublicIpOnLaunch")):
                ec2.modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch={"Value": True})
        except ClientError as error:
            raise InitializationFailed(id, outputs, [str(error)]) from error
        return id, outputs

    @staticmethod
    def _outputs(aws: Aws, subnet: dict[str, Any], tags: dict[str, str]) -> Properties:
        return {
            "arn": subnet.get("SubnetArn") or aws.arn("ec2", f"subnet/{subnet['SubnetId']}"),
            "availabilityZone": subnet["AvailabilityZone"],
            "availabilityZoneId": subnet.get("AvailabilityZoneId"),
            "ownerId": subnet.get("OwnerId") or aws.account_id,
            "region": aws.region,
            "tagsAll": tags,
        }

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        try:
            subnet = aws.client("ec2").describe_subnets(SubnetIds=[id])["Subnets"][0]
        except ClientError as error:
            if is_gone(error):
                return None
            raise
        tags = tag_dict(subnet.get("Tags"))
        live = {
            "vpcId": subnet["VpcId"],
            "cidrBlock": subnet["CidrBlock"],
            "availabilityZone": subnet["AvailabilityZone"],
            "mapPublicIpOnLaunch": bool(subnet.get("MapPublicIpOnLaunch")),
            **live_tags(aws, tags, inputs),
        }
        if "availabilityZoneId" in inputs:
            live["availabilityZoneId"] = subnet.get("AvailabilityZoneId")
        return id, live, self._outputs(aws, subnet, tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        ec2 = self.aws(ctx, state).client("ec2")
        if changed(old_inputs, inputs, "mapPublicIpOnLaunch"):
            wanted = is_true(inputs.get("mapPublicIpOnLaunch"))
            ec2.modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch={"Value": wanted})
        update_tags(ec2, id, state, inputs)
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("ec2").delete_subnet(SubnetId=id)
        except ClientError as error:
            if not is_gone(error):
                raise


HANDLERS = (Vpc(), Subnet())
