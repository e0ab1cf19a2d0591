"""Subnet groups and parameter groups of RDS."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.rds_rules import check_group_name
from localcloud.aws.rds_servers import servers
from localcloud.aws.rds_settings import server_settings
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    changed,
    is_true,
    live_tags,
    missing,
    refusal,
    tag_changes,
    tag_dict,
    tag_list,
)
from providers.base import AutoName, Context, InitializationFailed, Properties

_ALLOWED = "abcdefghijklmnopqrstuvwxyz0123456789-."
_DESCRIPTION = "Managed by Pulumi"
#: parameters in one call of ModifyDBParameterGroup
_BATCH = 20


class SubnetGroup(AwsHandler):
    token = "aws:rds/subnetGroup:SubnetGroup"
    inputs = frozenset({"description", "subnetIds"})
    outputs = frozenset({"arn", "supportedNetworkTypes", "vpcId"})
    required = frozenset({"subnetIds"})
    replace_on = frozenset({"name", "namePrefix"})
    changed_by_update = frozenset({"supportedNetworkTypes", "vpcId"})
    set_properties = frozenset({"subnetIds"})
    defaults = MappingProxyType({"description": _DESCRIPTION})
    auto_name = AutoName("name", 255, allowed=_ALLOWED, lower=True, prefix_property="namePrefix")

    def validate(self, checks: Checks, inputs: Properties) -> None:
        check_group_name(checks)
        checks.string("description", r"(?s).+", "must not be empty", min=1, max=255)
        if checks.known("subnetIds") == []:
            checks.fail("subnetIds", "at least two subnets in two Availability Zones are needed")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws, name = self.aws(ctx, inputs), inputs["name"]
        if _subnet_group(aws, name) is not None:
            message = f"The DB subnet group '{name}' already exists."
            raise refusal("CreateDBSubnetGroup", "DBSubnetGroupAlreadyExists", message)
        return name, self._put(aws, inputs, "CreateDBSubnetGroup")

    @staticmethod
    def _put(aws: Aws, inputs: Properties, operation: str) -> Properties:
        """Create the group, or replace it: moto's ModifyDBSubnetGroup deletes it."""
        _require_zones(aws, list(inputs["subnetIds"]), operation)
        group = aws.client("rds").create_db_subnet_group(
            DBSubnetGroupName=inputs["name"],
            DBSubnetGroupDescription=inputs.get("description", _DESCRIPTION),
            SubnetIds=list(inputs["subnetIds"]),
            Tags=tag_list(all_tags(inputs)),
        )["DBSubnetGroup"]
        return {**_subnet_outputs(group), "region": aws.region, "tagsAll": all_tags(inputs)}

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        group = _subnet_group(aws, id)
        if group is None:
            return None
        tags = _tags(aws, group["DBSubnetGroupArn"])
        live = {
            "name": id,
            "description": group["DBSubnetGroupDescription"],
            "subnetIds": [subnet["SubnetIdentifier"] for subnet in group["Subnets"]],
            **live_tags(aws, tags, inputs),
        }
        return id, live, {**_subnet_outputs(group), "region": aws.region, "tagsAll": tags}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        if _subnet_group(aws, id) is None:
            message = f"DB subnet group '{id}' not found."
            raise refusal("ModifyDBSubnetGroup", "DBSubnetGroupNotFoundFault", message)
        return self._put(aws, {**inputs, "name": id}, "ModifyDBSubnetGroup")

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        aws = self.aws(ctx, state)
        users = [
            instance["DBInstanceIdentifier"]
            for instance in _instances(aws)
            if (instance.get("DBSubnetGroup") or {}).get("DBSubnetGroupName") == id
        ]
        if users:
            message = f"Cannot delete the subnet group '{id}' because at least one database instance uses it: {users}."
            raise refusal("DeleteDBSubnetGroup", "InvalidDBSubnetGroupStateFault", message)
        try:
            aws.client("rds").delete_db_subnet_group(DBSubnetGroupName=id)
        except ClientError as error:
            if not missing(error, "DBSubnetGroupNotFoundFault"):
                raise


class ParameterGroup(AwsHandler):
    token = "aws:rds/parameterGroup:ParameterGroup"
    inputs = frozenset({"description", "family", "parameters", "skipDestroy"})
    outputs = frozenset({"arn"})
    required = frozenset({"family"})
    replace_on = frozenset({"name", "namePrefix", "family", "description"})
    set_properties = frozenset({"parameters"})
    local_inputs = frozenset({"skipDestroy"})
    defaults = MappingProxyType({"description": _DESCRIPTION, "skipDestroy": False})
    auto_name = AutoName("name", 255, allowed=_ALLOWED, lower=True, prefix_property="namePrefix")

    def normalise(self, inputs: Properties) -> Properties:
        parameters = inputs.get("parameters")
        if not isinstance(parameters, list):
            return inputs
        # Parameters are applied at once unless the program says otherwise.
        full = [{"applyMethod": "immediate", **p} if isinstance(p, dict) else p for p in parameters]
        return {**inputs, "parameters": full}

    def validate(self, checks: Checks, inputs: Properties) -> None:
        check_group_name(checks)
        checks.string("family", r"postgres\d+", "the local cloud has PostgreSQL only: postgres17, postgres18")
        checks.string("description", r"(?s).+", "must not be empty", min=1, max=255)
        names: set[str] = set()
        for parameter in checks.known("parameters") or ():
            name, value = parameter.get("name"), parameter.get("value")
            if not name or value is None:
                checks.fail("parameters", f"{name or 'a parameter'}: both name and value are required")
            if parameter.get("applyMethod", "immediate") not in ("immediate", "pending-reboot"):
                checks.fail("parameters", f"{name}: applyMethod must be immediate or pending-reboot")
            if name in names:
                checks.fail("parameters", f"{name} is set twice")
            names.add(str(name))

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws, name = self.aws(ctx, inputs), inputs["name"]
        group = aws.client("rds").create_db_parameter_group(
            DBParameterGroupName=name,
            DBParameterGroupFamily=inputs["family"],
            Description=inputs.get("description", _DESCRIPTION),
            Tags=tag_list(all_tags(inputs)),
        )["DBParameterGroup"]
        outputs = {"arn": group["DBParameterGroupArn"], "region": aws.region, "tagsAll": all_tags(inputs)}
        try:
            _set_parameters(aws, name, inputs.get("parameters") or [])
        except ClientError as error:
            raise InitializationFailed(name, outputs, [str(error)]) from error
        return name, outputs

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        group = _parameter_group(aws, id)
        if group is None:
            return None
        tags = _tags(aws, group["DBParameterGroupArn"])
        live = {
            "name": id,
            "family": group["DBParameterGroupFamily"],
            "description": group["Description"],
            "parameters": _parameters(aws, id) or None,
            **live_tags(aws, tags, inputs),
        }
        return id, live, {"arn": group["DBParameterGroupArn"], "region": aws.region, "tagsAll": tags}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        rds = aws.client("rds")
        if changed(old_inputs, inputs, "parameters"):
            wanted = {p["name"]: p for p in inputs.get("parameters") or []}
            present = {p["name"]: p for p in _parameters(aws, id)}
            # moto has no ResetDBParameterGroup: a parameter without a value is one that has its default again.
            dropped = [{**p, "value": ""} for name, p in present.items() if name not in wanted]
            _set_parameters(aws, id, dropped + [p for name, p in wanted.items() if present.get(name) != p])
            _apply(aws, id)
        added, removed = tag_changes(state, inputs)
        if removed:
            rds.remove_tags_from_resource(ResourceName=state["arn"], TagKeys=removed)
        if added:
            rds.add_tags_to_resource(ResourceName=state["arn"], Tags=tag_list(added))
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        if is_true(state.get("skipDestroy")):
            return
        aws = self.aws(ctx, state)
        users = [i["DBInstanceIdentifier"] for i in _instances(aws) if id in _group_names(i)]
        if users:
            message = f"One or more database instances are still members of this parameter group {id}: {users}"
            raise refusal("DeleteDBParameterGroup", "InvalidDBParameterGroupState", message)
        try:
            aws.client("rds").delete_db_parameter_group(DBParameterGroupName=id)
        except ClientError as error:
            if not missing(error, "DBParameterGroupNotFound", "DBParameterGroupNotFoundFault"):
                raise


def require_family(aws: Aws, group: str, version: str, operation: str) -> None:
    """Refuse a parameter group of another PostgreSQL major version."""
    found = _parameter_group(aws, group)
    if found is None:
        raise refusal(operation, "DBParameterGroupNotFound", f"DBParameterGroup not found: {group}")
    major = version.split(".")[0]
    if found["DBParameterGroupFamily"] != f"postgres{major}":
        message = (
            f"The parameter group {group} with DBParameterGroupFamily {found['DBParameterGroupFamily']} can't be used "
            f"for this instance. Please use a parameter group with DBParameterGroupFamily postgres{major}"
        )
        raise refusal(operation, "InvalidParameterCombination", message)


def _require_zones(aws: Aws, subnet_ids: list[str], operation: str) -> None:
    subnets = aws.client("ec2").describe_subnets(Filters=[{"Name": "subnet-id", "Values": subnet_ids}])["Subnets"]
    absent = set(subnet_ids) - {subnet["SubnetId"] for subnet in subnets}
    if absent:
        raise refusal(operation, "InvalidSubnet", f"Some input subnets are invalid: {', '.join(sorted(absent))}")
    if len({subnet["VpcId"] for subnet in subnets}) > 1:
        raise refusal(operation, "InvalidSubnet", "The subnets are in several VPCs")
    if len({subnet["AvailabilityZone"] for subnet in subnets}) < 2:
        message = "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement: 2 AZs are needed"
        raise refusal(operation, "DBSubnetGroupDoesNotCoverEnoughAZs", message)


def _subnet_group(aws: Aws, name: str) -> dict[str, Any] | None:
    try:
        found = aws.client("rds").describe_db_subnet_groups(DBSubnetGroupName=name)["DBSubnetGroups"]
    except ClientError as error:
        if missing(error, "DBSubnetGroupNotFoundFault"):
            return None
        raise
    return dict(found[0]) if found else None


def _parameter_group(aws: Aws, name: str) -> dict[str, Any] | None:
    try:
        found = aws.client("rds").describe_db_parameter_groups(DBParameterGroupName=name)["DBParameterGroups"]
    except ClientError as error:
        if missing(error, "DBParameterGroupNotFound", "DBParameterGroupNotFoundFault"):
            return None
        raise
    return dict(found[0]) if found else None


def _subnet_outputs(group: dict[str, Any]) -> Properties:
    return {"arn": group["DBSubnetGroupArn"], "vpcId": group["VpcId"], "supportedNetworkTypes": ["IPV4"]}


def _tags(aws: Aws, arn: str) -> dict[str, str]:
    return tag_dict(aws.client("rds").list_tags_for_resource(ResourceName=arn)["TagList"])


def _instances(aws: Aws) -> list[dict[str, Any]]:
    pages = aws.client("rds").get_paginator("describe_db_instances").paginate()
    return [instance for page in pages for instance in page["DBInstances"]]


def _group_names(instance: dict[str, Any]) -> list[str]:
    return [group["DBParameterGroupName"] for group in instance.get("DBParameterGroups") or []]


def _parameters(aws: Aws, name: str) -> list[dict[str, str]]:
    pages = aws.client("rds").get_paginator("describe_db_parameters").paginate(DBParameterGroupName=name)
    return [
        {
            "name": parameter["ParameterName"],
            "value": str(parameter["ParameterValue"]),
            "applyMethod": parameter.get("ApplyMethod", "immediate"),
        }
        for page in pages
        for parameter in page["Parameters"]
        if parameter.get("ParameterValue")
    ]


def _set_parameters(aws: Aws, name: str, parameters: list[dict[str, Any]]) -> None:
    entries = [
        {"ParameterName": p["name"], "ParameterValue": str(p["value"]), "ApplyMethod": p["applyMethod"]}
        for p in parameters
    ]
    for start in range(0, len(entries), _BATCH):
        aws.client("rds").modify_db_parameter_group(
            DBParameterGroupName=name, Parameters=entries[start : start + _BATCH]
        )


def _apply(aws: Aws, name: str) -> None:
    """Let the servers of the group's instances have its new values: reloadable ones at once, others when restarted."""
    local = servers(aws)
    if local is None:
        return
    settings = server_settings(aws, name)
    for instance in _instances(aws):
        record = local.records.find(resource_id=instance["DbiResourceId"]) if name in _group_names(instance) else None
        if record is not None:
            local.reconfigure(record, settings)


HANDLERS = (SubnetGroup(), ParameterGroup())
