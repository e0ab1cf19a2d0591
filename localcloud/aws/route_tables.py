"""Route tables and what is associated with them."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.ec2 import filters, is_gone, tag_specification, update_tags
from localcloud.aws.resource import AwsHandler, Checks, all_tags, live_tags, missing, tag_dict
from providers.base import Context, InitializationFailed, Properties

_DESTINATIONS = {
    "cidrBlock": "DestinationCidrBlock",
    "ipv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}
_TARGETS = {
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "transitGatewayId": "TransitGatewayId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
    "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
}


class RouteTable(AwsHandler):
    token = "aws:ec2/routeTable:RouteTable"
    inputs = frozenset({"routes", "vpcId"})
    outputs = frozenset({"arn", "ownerId", "routes"})
    required = frozenset({"vpcId"})
    replace_on = frozenset({"vpcId"})
    computed_inputs = frozenset({"routes"})
    set_properties = frozenset({"routes"})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("vpcId", r"vpc-[0-9a-f]+", "is no VPC id")
        for index, route in enumerate(checks.known("routes") or []):
            given = {key for key, value in route.items() if value}
            if len(given & _DESTINATIONS.keys()) != 1 or len(given & _TARGETS.keys()) != 1:
                checks.fail(f"routes[{index}]", "must have one destination and one target")
            for key in given - _DESTINATIONS.keys() - _TARGETS.keys():
                checks.fail(f"routes[{index}].{key}", "is not supported by the local cloud")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        ec2 = aws.client("ec2")
        table = ec2.create_route_table(VpcId=inputs["vpcId"], **tag_specification("route-table", inputs))["RouteTable"]
        id = table["RouteTableId"]
        outputs = {
            "arn": aws.arn("ec2", f"route-table/{id}"),
            "ownerId": table.get("OwnerId") or aws.account_id,
            "routes": inputs.get("routes", []),
            "region": aws.region,
            "tagsAll": all_tags(inputs),
        }
        try:
            for route in inputs.get("routes", []):
                ec2.create_route(RouteTableId=id, **_route(route))
        except ClientError as error:
            raise InitializationFailed(id, outputs, [str(error)]) from error
        return id, outputs

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        try:
            table = aws.client("ec2").describe_route_tables(RouteTableIds=[id])["RouteTables"][0]
        except ClientError as error:
            if is_gone(error):
                return None
            raise
        tags = tag_dict(table.get("Tags"))
        routes = [_live_route(route) for route in table["Routes"] if _is_own(route)]
        live = {"vpcId": table["VpcId"], "routes": routes, **live_tags(aws, tags, inputs)}
        outputs = {
            "arn": aws.arn("ec2", f"route-table/{id}"),
            "ownerId": table.get("OwnerId") or aws.account_id,
            "routes": routes,
            "region": aws.region,
            "tagsAll": tags,
        }
        return id, live, outputs

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        ec2 = self.aws(ctx, state).client("ec2")
        old = {tuple(_destination(r).items()): _route(r) for r in old_inputs.get("routes", [])}
        new = {tuple(_destination(r).items()): _route(r) for r in inputs.get("routes", [])}
        if "routes" in inputs:
            for destination in old.keys() - new.keys():
                ec2.delete_route(RouteTableId=id, **dict(destination))
            for destination, route in new.items():
                if destination not in old:
                    ec2.create_route(RouteTableId=id, **route)
                elif old[destination] != route:
                    ec2.replace_route(RouteTableId=id, **route)
        update_tags(ec2, id, state, inputs)
        return {"routes": inputs.get("routes", state.get("routes", [])), "tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.aws(ctx, state).client("ec2").delete_route_table(RouteTableId=id)
        except ClientError as error:
            if not is_gone(error):
                raise


def _destination(route: Properties) -> dict[str, str]:
    return {api: route[name] for name, api in _DESTINATIONS.items() if route.get(name)}


def _route(route: Properties) -> dict[str, str]:
    return {**_destination(route), **{api: route[name] for name, api in _TARGETS.items() if route.get(name)}}


def _live_route(route: dict[str, Any]) -> Properties:
    names = {**_DESTINATIONS, **_TARGETS}
    return {name: route[api] for name, api in names.items() if route.get(api)}


def _is_own(route: dict[str, Any]) -> bool:
    """Not the VPC's local route, not one that a gateway endpoint or a propagating gateway put there."""
    gateway = str(route.get("GatewayId", ""))
    return gateway != "local" and not gateway.startswith("vpce-") and route.get("Origin") != "EnableVgwRoutePropagation"


class RouteTableAssociation(AwsHandler):
    """The id is the association's; an import is by ``<subnet or gateway id>/<route table id>``."""

    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    tagged = False
    inputs = frozenset({"gatewayId", "routeTableId", "subnetId"})
    required = frozenset({"routeTableId"})
    replace_on = frozenset({"gatewayId", "subnetId"})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.exactly_one("subnetId", "gatewayId")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        who = {"SubnetId": inputs["subnetId"]} if "subnetId" in inputs else {"GatewayId": inputs["gatewayId"]}
        id = aws.client("ec2").associate_route_table(RouteTableId=inputs["routeTableId"], **who)["AssociationId"]
        return id, {"region": aws.region}

    @staticmethod
    def _find(aws: Aws, id: str, state: Properties) -> dict[str, Any] | None:
        """By what is associated: the association has another id after its route table was exchanged."""
        who, _, table = id.partition("/")
        who = who if table else state.get("subnetId") or state.get("gatewayId") or ""
        key = "SubnetId" if who.startswith("subnet-") else "GatewayId"
        name = "association.subnet-id" if key == "SubnetId" else "association.gateway-id"
        chosen = [{"Name": name, "Values": [who]}] if who else filters({"association.route-table-association-id": id})
        for found in aws.client("ec2").describe_route_tables(Filters=chosen)["RouteTables"]:
            for association in found["Associations"]:
                mine = association.get(key) == who if who else association["RouteTableAssociationId"] == id
                if mine and (not table or table == association["RouteTableId"]):
                    return dict(association)
        return None

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        association = self._find(aws, id, state)
        if association is None:
            return None
        live = {
            "routeTableId": association["RouteTableId"],
            "subnetId": association.get("SubnetId"),
            "gatewayId": association.get("GatewayId"),
        }
        return association["RouteTableAssociationId"], live, {"region": aws.region}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        association = self._find(aws, id, state)
        present = association["RouteTableAssociationId"] if association else id
        aws.client("ec2").replace_route_table_association(AssociationId=present, RouteTableId=inputs["routeTableId"])
        return {}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        aws = self.aws(ctx, state)
        association = self._find(aws, id, state)
        if association is None:
            return
        try:
            aws.client("ec2").disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
        except ClientError as error:
            if not missing(error, "InvalidAssociationID.NotFound"):
                raise


HANDLERS = (RouteTable(), RouteTableAssociation())
