"""EC2 security groups and their rules, each rule a resource of its own."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.ec2 import filters, is_gone, tag_specification, update_tags
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    changed,
    is_true,
    live_tags,
    refusal,
    tag_dict,
)
from providers.base import AutoName, Context, InitializationFailed, Properties

_DESCRIPTION = "Managed by Pulumi"
_TEXT = r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]*"
_TEXT_SAYS = "has letters, digits, spaces and ._-:/()#,@[]+=&;{}!$* only"
_NAME_ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-:/()#,@[]+=&;{}!$*"


class SecurityGroup(AwsHandler):
    """Without inline rules: `aws.vpc.SecurityGroupIngressRule` and its like hold the rules."""

    token = "aws:ec2/securityGroup:SecurityGroup"
    inputs = frozenset({"description", "revokeRulesOnDelete", "vpcId"})
    outputs = frozenset({"arn", "ownerId", "vpcId"})
    replace_on = frozenset({"name", "namePrefix", "description", "vpcId"})
    computed_inputs = frozenset({"vpcId"})
    local_inputs = frozenset({"revokeRulesOnDelete"})
    defaults = MappingProxyType({"description": _DESCRIPTION, "revokeRulesOnDelete": False})
    auto_name = AutoName("name", 255, allowed=_NAME_ALLOWED, prefix_property="namePrefix")

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string("name", _TEXT, _TEXT_SAYS, min=1, max=255)
        if str(checks.known("name") or "").startswith("sg-"):
            checks.fail("name", "a security group's name does not begin with sg-")
        checks.string("description", _TEXT, _TEXT_SAYS, min=1, max=255)
        checks.string("vpcId", r"vpc-[0-9a-f]+", "is no VPC id")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        ec2 = aws.client("ec2")
        where = {"VpcId": inputs["vpcId"]} if "vpcId" in inputs else {}
        id = ec2.create_security_group(
            GroupName=inputs["name"],
            Description=inputs.get("description", _DESCRIPTION),
            **where,
            **tag_specification("security-group", inputs),
        )["GroupId"]
        outputs = {
            "arn": aws.arn("ec2", f"security-group/{id}"),
            "ownerId": aws.account_id,
            "description": inputs.get("description", _DESCRIPTION),
            "region": aws.region,
            "tagsAll": all_tags(inputs),
        }
        try:
            # As the AWS provider does: what may go out is said by rules, not by the default that allows everything.
            _revoke(ec2, id, [_ALLOW_ALL], egress=True)
        except ClientError as error:
            raise InitializationFailed(id, outputs, [str(error)]) from error
        return id, outputs

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        group = describe_group(aws, id)
        if group is None:
            return None
        tags = tag_dict(group.get("Tags"))
        live = {
            "name": group["GroupName"],
            "description": group["Description"],
            "vpcId": group.get("VpcId"),
            **live_tags(aws, tags, inputs),
        }
        return id, live, group_outputs(aws, group, tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        update_tags(self.aws(ctx, state).client("ec2"), id, state, inputs)
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        aws = self.aws(ctx, state)
        try:
            if is_true(state.get("revokeRulesOnDelete")):
                revoke_all(aws, id)
            aws.client("ec2").delete_security_group(GroupId=id)
        except ClientError as error:
            if not is_gone(error):
                raise


class DefaultSecurityGroup(AwsHandler):
    """Adopts a VPC's default group and takes every rule off it; deleting the resource leaves the group."""

    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    inputs = frozenset({"revokeRulesOnDelete", "vpcId"})
    outputs = frozenset({"arn", "description", "name", "ownerId"})
    required = frozenset({"vpcId"})
    replace_on = frozenset({"vpcId"})
    local_inputs = frozenset({"revokeRulesOnDelete"})

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        ec2 = aws.client("ec2")
        chosen = filters({"vpc-id": inputs["vpcId"], "group-name": "default"})
        groups = ec2.describe_security_groups(Filters=chosen)["SecurityGroups"]
        if not groups:
            raise refusal("DescribeSecurityGroups", "InvalidGroup.NotFound", f"{inputs['vpcId']} has no default group")
        group = groups[0]
        id = group["GroupId"]
        outputs = group_outputs(aws, group, all_tags(inputs))
        try:
            _revoke(ec2, id, group.get("IpPermissions", []), egress=False)
            _revoke(ec2, id, group.get("IpPermissionsEgress", []), egress=True)
            update_tags(ec2, id, {"tagsAll": tag_dict(group.get("Tags"))}, inputs)
        except ClientError as error:
            raise InitializationFailed(id, outputs, [str(error)]) from error
        return id, outputs

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        group = describe_group(aws, id)
        if group is None:
            return None
        tags = tag_dict(group.get("Tags"))
        return id, {"vpcId": group.get("VpcId"), **live_tags(aws, tags, inputs)}, group_outputs(aws, group, tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        update_tags(self.aws(ctx, state).client("ec2"), id, state, inputs)
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        """AWS lets nobody delete a default group: the resource is forgotten, the group stays without rules."""


_ALLOW_ALL: dict[str, Any] = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def describe_group(aws: Aws, id: str) -> dict[str, Any] | None:
    try:
        return dict(aws.client("ec2").describe_security_groups(GroupIds=[id])["SecurityGroups"][0])
    except ClientError as error:
        if is_gone(error):
            return None
        raise


def group_outputs(aws: Aws, group: dict[str, Any], tags: dict[str, str]) -> Properties:
    return {
        "arn": aws.arn("ec2", f"security-group/{group['GroupId']}"),
        "name": group["GroupName"],
        "description": group["Description"],
        "ownerId": group.get("OwnerId") or aws.account_id,
        "vpcId": group.get("VpcId"),
        "region": aws.region,
        "tagsAll": tags,
    }


def revoke_all(aws: Aws, id: str) -> None:
    group = describe_group(aws, id)
    if group is not None:
        _revoke(aws.client("ec2"), id, group.get("IpPermissions", []), egress=False)
        _revoke(aws.client("ec2"), id, group.get("IpPermissionsEgress", []), egress=True)


def _revoke(ec2: Any, id: str, permissions: list[dict[str, Any]], *, egress: bool) -> None:
    if permissions:
        revoke = ec2.revoke_security_group_egress if egress else ec2.revoke_security_group_ingress
        revoke(GroupId=id, IpPermissions=permissions)


#: property that says who is on the other side -> field of a security group rule
_PEERS = {
    "cidrIpv4": "CidrIpv4",
    "cidrIpv6": "CidrIpv6",
    "prefixListId": "PrefixListId",
    "referencedSecurityGroupId": "ReferencedGroupInfo",
}


class SecurityGroupRule(AwsHandler):
    """One rule; the id is the rule's."""

    egress: ClassVar[bool]
    inputs = frozenset({"description", "fromPort", "ipProtocol", "securityGroupId", "toPort", *_PEERS})
    outputs = frozenset({"arn", "securityGroupRuleId"})
    required = frozenset({"ipProtocol", "securityGroupId"})
    replace_on = frozenset({"securityGroupId"})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.exactly_one(*_PEERS)
        checks.string("securityGroupId", r"sg-[0-9a-f]+", "is no security group id")
        checks.string("description", _TEXT, _TEXT_SAYS, max=255)
        checks.integer("fromPort", -1, 65535)
        checks.integer("toPort", -1, 65535)
        protocol = str(checks.known("ipProtocol") or "")
        if protocol in ("tcp", "udp", "6", "17") and not {"fromPort", "toPort"} <= inputs.keys():
            checks.fail("fromPort", f"the protocol {protocol} needs fromPort and toPort")
        if protocol == "-1" and {"fromPort", "toPort"} & inputs.keys():
            checks.fail("fromPort", "all protocols (-1) have no ports")
        low, high = checks.known("fromPort"), checks.known("toPort")
        if isinstance(low, int) and isinstance(high, int) and low > high and protocol not in ("icmp", "icmpv6"):
            checks.fail("toPort", f"{high} is less than fromPort, {low}")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        ec2 = aws.client("ec2")
        group = inputs["securityGroupId"]
        self._require_new(ec2, group, inputs)
        authorize = ec2.authorize_security_group_egress if self.egress else ec2.authorize_security_group_ingress
        rules = authorize(
            GroupId=group,
            IpPermissions=[_permission(inputs)],
            **tag_specification("security-group-rule", inputs),
        )["SecurityGroupRules"]
        id = rules[0]["SecurityGroupRuleId"]
        return id, self._outputs(aws, id, all_tags(inputs))

    def _require_new(self, ec2: Any, group: str, inputs: Properties) -> None:
        """moto takes the same rule twice; AWS does not."""
        wanted = _identity(inputs)
        for rule in ec2.describe_security_group_rules(Filters=filters({"group-id": group}))["SecurityGroupRules"]:
            if rule["IsEgress"] == self.egress and _identity(_live_rule(rule)) == wanted:
                operation = "AuthorizeSecurityGroupEgress" if self.egress else "AuthorizeSecurityGroupIngress"
                message = f"the rule exists already in {group} as {rule['SecurityGroupRuleId']}"
                raise refusal(operation, "InvalidPermission.Duplicate", message)

    @staticmethod
    def _outputs(aws: Aws, id: str, tags: dict[str, str]) -> Properties:
        return {
            "arn": aws.arn("ec2", f"security-group-rule/{id}"),
            "securityGroupRuleId": id,
            "region": aws.region,
            "tagsAll": tags,
        }

    def _find(self, aws: Aws, id: str) -> dict[str, Any] | None:
        try:
            rules = aws.client("ec2").describe_security_group_rules(SecurityGroupRuleIds=[id])["SecurityGroupRules"]
        except ClientError as error:
            if is_gone(error):
                return None
            raise
        return next((dict(rule) for rule in rules if rule["SecurityGroupRuleId"] == id), None)

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        rule = self._find(aws, id)
        if rule is None:
            return None
        tags = tag_dict(rule.get("Tags"))
        live = _live_rule(rule)
        if "description" not in live and "description" in inputs:
            live["description"] = inputs["description"]  # moto loses it at create
        return id, {**live, **live_tags(aws, tags, inputs)}, self._outputs(aws, id, tags)

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        ec2 = aws.client("ec2")
        if changed(old_inputs, inputs, "description", "fromPort", "ipProtocol", "toPort", *_PEERS):
            request: dict[str, Any] = {"IpProtocol": inputs["ipProtocol"], "Description": inputs.get("description", "")}
            for name, api in _PEERS.items():
                if name in inputs:
                    request["ReferencedGroupId" if api == "ReferencedGroupInfo" else api] = inputs[name]
            request |= {
                api: int(inputs[n]) for n, api in (("fromPort", "FromPort"), ("toPort", "ToPort")) if n in inputs
            }
            ec2.modify_security_group_rules(
                GroupId=inputs["securityGroupId"],
                SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": request}],
            )
        update_tags(ec2, id, state, inputs)
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        ec2 = self.aws(ctx, state).client("ec2")
        revoke = ec2.revoke_security_group_egress if self.egress else ec2.revoke_security_group_ingress
        try:
            revoke(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[id])
        except ClientError as error:
            if not is_gone(error):
                raise


class SecurityGroupIngressRule(SecurityGroupRule):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    egress = False


class SecurityGroupEgressRule(SecurityGroupRule):
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    egress = True


def _permission(inputs: Properties) -> dict[str, Any]:
    words = {"Description": inputs["description"]} if inputs.get("description") else {}
    permission: dict[str, Any] = {"IpProtocol": inputs["ipProtocol"]}
    permission |= {api: int(inputs[n]) for n, api in (("fromPort", "FromPort"), ("toPort", "ToPort")) if n in inputs}
    if "cidrIpv4" in inputs:
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **words}]
    elif "cidrIpv6" in inputs:
        permission["Ipv6Ranges"] = [{"CidrIpv6": inputs["cidrIpv6"], **words}]
    elif "prefixListId" in inputs:
        permission["PrefixListIds"] = [{"PrefixListId": inputs["prefixListId"], **words}]
    else:
        permission["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"], **words}]
    return permission


def _live_rule(rule: dict[str, Any]) -> Properties:
    live: Properties = {"ipProtocol": rule["IpProtocol"], "securityGroupId": rule["GroupId"]}
    for name, api in _PEERS.items():
        value = rule.get(api)
        if value:
            live[name] = value["GroupId"] if isinstance(value, dict) else value
    if rule["IpProtocol"] != "-1":
        live |= {
            n: rule[api] for n, api in (("fromPort", "FromPort"), ("toPort", "ToPort")) if rule.get(api) is not None
        }
    if rule.get("Description"):
        live["description"] = rule["Description"]
    return live


def _identity(rule: Properties) -> tuple[str, ...]:
    """What makes two rules the same to AWS: everything but the description."""
    return tuple(str(rule.get(name)) for name in ("ipProtocol", "fromPort", "toPort", *_PEERS))


HANDLERS = (SecurityGroup(), DefaultSecurityGroup(), SecurityGroupIngressRule(), SecurityGroupEgressRule())
