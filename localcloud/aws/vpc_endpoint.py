"""VPC endpoints, of gateways and interfaces."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.ec2 import is_gone, tag_specification, update_tags
from localcloud.aws.policy import Kind, check_policy
from localcloud.aws.resource import AwsHandler, Checks, all_tags, is_true, live_tags, missing, tag_dict
from providers.base import Context, Properties

_POLICY_BYTES = 20480
_LISTS = {"routeTableIds": "RouteTable", "securityGroupIds": "SecurityGroup", "subnetIds": "Subnet"}


class VpcEndpoint(AwsHandler):
    token = "aws:ec2/vpcEndpoint:VpcEndpoint"
    inputs = frozenset({"policy", "privateDnsEnabled", "serviceName", "vpcEndpointType", "vpcId", *_LISTS})
    outputs = frozenset(
        {
            "arn",
            "cidrBlocks",
            "dnsEntries",
            "networkInterfaceIds",
            "ownerId",
            "prefixListId",
            "requesterManaged",
            "state",
            "policy",
            *_LISTS,
        }
    )
    required = frozenset({"vpcId", "serviceName"})
    replace_on = frozenset({"serviceName", "vpcEndpointType", "vpcId"})
    json_properties = frozenset({"policy"})
    set_properties = frozenset(_LISTS)
    computed_inputs = frozenset({"policy", "privateDnsEnabled", *_LISTS})
    defaults = MappingProxyType({"vpcEndpointType": "Gateway"})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        kinds = ("Gateway", "Interface", "GatewayLoadBalancer")
        checks.one_of("vpcEndpointType", kinds)
        checks.string("vpcId", r"vpc-[0-9a-f]+", "is no VPC id")
        checks.string("serviceName", r"(com\.amazonaws|aws)\.\S+|\S+\.vpce\.\S+", "is no service name")
        check_policy(checks, "policy", Kind.RESOURCE, max_bytes=_POLICY_BYTES)
        kind = checks.known("vpcEndpointType") or "Gateway"
        wrong = ("routeTableIds",) if kind == "Interface" else ("securityGroupIds", "subnetIds", "privateDnsEnabled")
        for name in wrong if kind in ("Gateway", "Interface") else ():
            if checks.known(name):
                checks.fail(name, f"does not go with an endpoint of type {kind}")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        arguments: dict[str, Any] = {f"{api}Ids": inputs[name] for name, api in _LISTS.items() if inputs.get(name)}
        if "policy" in inputs:
            arguments["PolicyDocument"] = inputs["policy"]
        if "privateDnsEnabled" in inputs:
            arguments["PrivateDnsEnabled"] = is_true(inputs["privateDnsEnabled"])
        endpoint = aws.client("ec2").create_vpc_endpoint(
            VpcId=inputs["vpcId"],
            ServiceName=inputs["serviceName"],
            VpcEndpointType=inputs.get("vpcEndpointType", "Gateway"),
            **arguments,
            **tag_specification("vpc-endpoint", inputs),
        )["VpcEndpoint"]
        return endpoint["VpcEndpointId"], self._outputs(aws, endpoint, all_tags(inputs))

    def _outputs(self, aws: Aws, endpoint: dict[str, Any], tags: dict[str, str]) -> Properties:
        prefix_list, cidrs = None, []
        if endpoint.get("VpcEndpointType", "Gateway") == "Gateway":
            named = [{"Name": "prefix-list-name", "Values": [endpoint["ServiceName"]]}]
            lists = aws.client("ec2").describe_prefix_lists(Filters=named)["PrefixLists"]
            mine = next((each for each in lists if each["PrefixListName"] == endpoint["ServiceName"]), None)
            if mine:
                prefix_list, cidrs = mine["PrefixListId"], mine.get("Cidrs", [])
        return {
            "arn": aws.arn("ec2", f"vpc-endpoint/{endpoint['VpcEndpointId']}"),
            "cidrBlocks": cidrs,
            "prefixListId": prefix_list,
            "dnsEntries": [
                {"dnsName": entry.get("DnsName", ""), "hostedZoneId": entry.get("HostedZoneId", "")}
                for entry in endpoint.get("DnsEntries", [])
            ],
            "networkInterfaceIds": endpoint.get("NetworkInterfaceIds", []),
            "ownerId": endpoint.get("OwnerId") or aws.account_id,
            "requesterManaged": bool(endpoint.get("RequesterManaged", False)),
            "state": endpoint.get("State", "available"),
            "policy": endpoint.get("PolicyDocument"),
            "vpcEndpointType": endpoint.get("VpcEndpointType", "Gateway"),
            "routeTableIds": endpoint.get("RouteTableIds", []),
            "subnetIds": endpoint.get("SubnetIds", []),
            "securityGroupIds": [group["GroupId"] for group in endpoint.get("Groups", [])],
            "region": aws.region,
            "tagsAll": tags,
        }

    def _find(self, aws: Aws, id: str) -> dict[str, Any] | None:
        try:
            found = aws.client("ec2").describe_vpc_endpoints(VpcEndpointIds=[id])["VpcEndpoints"]
        except ClientError as error:
            if is_gone(error):
                return None
            raise
        # moto keeps listing a deleted endpoint.
        return next(
            (dict(each) for each in found if each.get("State", "").lower() not in ("deleted", "deleting")), None
        )

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        endpoint = self._find(aws, id)
        if endpoint is None:
            return None
        tags = tag_dict(endpoint.get("Tags"))
        outputs = self._outputs(aws, endpoint, tags)
        live: Properties = {
            "vpcId": endpoint["VpcId"],
            "serviceName": endpoint["ServiceName"],
            "vpcEndpointType": endpoint.get("VpcEndpointType", "Gateway"),
            "policy": endpoint.get("PolicyDocument"),
            **{name: outputs[name] for name in _LISTS if outputs[name]},
            **live_tags(aws, tags, inputs),
        }
        if live["vpcEndpointType"] == "Interface":
            live["privateDnsEnabled"] = bool(endpoint.get("PrivateDnsEnabled"))
        return id, live, outputs

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        ec2 = aws.client("ec2")
        arguments: dict[str, Any] = {}
        for name, api in _LISTS.items():
            old, new = set(old_inputs.get(name) or []), set(inputs.get(name) or [])
            if name in inputs and new - old:
                arguments[f"Add{api}Ids"] = sorted(new - old)
            if name in inputs and old - new:
                arguments[f"Remove{api}Ids"] = sorted(old - new)
        if "policy" in inputs and inputs["policy"] != old_inputs.get("policy"):
            arguments["PolicyDocument"] = inputs["policy"]
        if "privateDnsEnabled" in inputs and inputs["privateDnsEnabled"] != old_inputs.get("privateDnsEnabled"):
            arguments["PrivateDnsEnabled"] = is_true(inputs["privateDnsEnabled"])
        if arguments:
            ec2.modify_vpc_endpoint(VpcEndpointId=id, **arguments)
        update_tags(ec2, id, state, inputs)
        return {"tagsAll": all_tags(inputs), **{name: inputs[name] for name in _LISTS if name in inputs}}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        aws = self.aws(ctx, state)
        endpoint = self._find(aws, id)
        if endpoint is None:
            return
        ec2 = aws.client("ec2")
        try:
            ec2.delete_vpc_endpoints(VpcEndpointIds=[id])
        except ClientError as error:
            if not missing(error, "InvalidRoute.NotFound"):
                raise
            # moto makes no route when an update adds a route table, and misses it here.
            ec2.modify_vpc_endpoint(VpcEndpointId=id, RemoveRouteTableIds=endpoint.get("RouteTableIds", []))
            ec2.delete_vpc_endpoints(VpcEndpointIds=[id])


HANDLERS = (VpcEndpoint(),)
