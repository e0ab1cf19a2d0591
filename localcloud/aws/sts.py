"""Who and where the caller is."""

from __future__ import annotations

from typing import Any

from localcloud.aws.client import Aws, partition
from providers.base import Context, Function, Properties

_DESCRIPTIONS = {
    "us-east-1": "US East (N. Virginia)",
    "us-east-2": "US East (Ohio)",
    "us-west-1": "US West (N. California)",
    "us-west-2": "US West (Oregon)",
    "eu-west-1": "Europe (Ireland)",
    "eu-west-2": "Europe (London)",
    "eu-central-1": "Europe (Frankfurt)",
    "eu-north-1": "Europe (Stockholm)",
}


class GetCallerIdentity(Function[Aws]):
    token = "aws:index/getCallerIdentity:getCallerIdentity"

    def invoke(self, ctx: Context[Aws], args: Properties) -> Properties:
        identity = ctx.client.client("sts").get_caller_identity()
        account = identity["Account"]
        return {"accountId": account, "arn": identity["Arn"], "id": account, "userId": identity["UserId"]}


class GetRegion(Function[Aws]):
    token = "aws:index/getRegion:getRegion"

    def invoke(self, ctx: Context[Aws], args: Properties) -> Properties:
        region = args.get("region") or args.get("name") or ctx.client.region
        return {
            "description": _DESCRIPTIONS.get(region, region),
            "endpoint": f"ec2.{region}.amazonaws.com",
            "id": region,
            "name": region,
            "region": region,
        }


class GetPartition(Function[Aws]):
    token = "aws:index/getPartition:getPartition"

    def invoke(self, ctx: Context[Aws], args: Properties) -> Properties:
        name = partition(ctx.client.region)
        suffix = "amazonaws.com.cn" if name == "aws-cn" else "amazonaws.com"
        reverse = ".".join(reversed(suffix.split(".")))
        return {"dnsSuffix": suffix, "id": name, "partition": name, "reverseDnsPrefix": reverse}


class GetAvailabilityZones(Function[Aws]):
    token = "aws:index/getAvailabilityZones:getAvailabilityZones"

    def invoke(self, ctx: Context[Aws], args: Properties) -> Properties:
        aws = ctx.client.at(args.get("region"))
        filters = [{"Name": f["name"], "Values": f["values"]} for f in args.get("filters", [])]
        if args.get("state"):
            filters.append({"Name": "state", "Values": [args["state"]]})
        found: list[dict[str, Any]] = aws.client("ec2").describe_availability_zones(
            Filters=filters, AllAvailabilityZones=args.get("allAvailabilityZones") is True
        )["AvailabilityZones"]
        zones = [
            zone
            for zone in sorted(found, key=lambda zone: str(zone["ZoneName"]))
            if zone["ZoneName"] not in args.get("excludeNames", [])
            and zone.get("ZoneId") not in args.get("excludeZoneIds", [])
        ]
        given = ("allAvailabilityZones", "excludeNames", "excludeZoneIds", "filters", "state")
        return {
            **{key: value for key, value in args.items() if key in given},
            "groupNames": sorted({zone.get("GroupName", aws.region) for zone in zones}),
            "id": aws.region,
            "names": [zone["ZoneName"] for zone in zones],
            "region": aws.region,
            "zoneIds": [zone.get("ZoneId", "") for zone in zones],
        }


FUNCTIONS = (GetCallerIdentity(), GetRegion(), GetPartition(), GetAvailabilityZones())
