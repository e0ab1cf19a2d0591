"""Finds what an interrupted Create made in AWS: by deterministic name, by tags, or by what it relates.

Ids are those that the pulumi-aws provider returns. Only what is ours is ever adopted: it bears the tags that the
resource's inputs say whose it is; anything else that bears our name stops the operation and is named to the operator.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from components.account import Account
from provisioner.errors import OperatorNeeded, RetryLater

if TYPE_CHECKING:
    import boto3

Inputs = Mapping[str, Any]
Tags = dict[str, str]

#: Tags that say whose a resource is.
OWNERSHIP = ("tenant_id", "generation", "installation")
_TRANSIENT = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "Unavailable", "Internal", "Timeout")


class UnderWay(RetryLater):
    """The cloud is still creating it, for minutes: it is found when it is done."""

    code = "under_way"
    longest_wait_s = 15.0


class Clients:
    """boto3 clients, one a service and region: making one takes 40 ms. Safe to use from several threads."""

    def __init__(self, session: boto3.session.Session | None = None) -> None:
        self._session = session
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def get(self, service: str, region: str) -> Any:
        import boto3
        from botocore.config import Config

        with self._lock:
            if self._session is None:
                self._session = boto3.session.Session()
            key = (service, region)
            if key not in self._clients:
                config = Config(
                    connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 4, "mode": "standard"}
                )
                self._clients[key] = self._session.client(service, region_name=region, config=config)  # type: ignore[call-overload]
            return self._clients[key]


@dataclass(frozen=True)
class Search:
    """One resource that may exist: where to look, and what its inputs say of it."""

    type: str
    name: str  #: logical
    inputs: Inputs
    region: str
    clients: Clients

    def client(self, service: str) -> Any:
        return self.clients.get(service, self.region)

    def text(self, key: str) -> str:
        """An input that names the thing; ``OperatorNeeded`` if it is none in plain text."""
        value = self.inputs.get(key)
        if not isinstance(value, str) or not value:
            raise OperatorNeeded(
                f"{self.type} {self.name}: an interrupted update may have created it, and its {key} is not known",
                hint="`pulumi refresh` asks about each pending operation",
            )
        return value

    @property
    def tags(self) -> Tags:
        """As the provider puts them on the resource, its default tags included."""
        tags = self.inputs.get("tagsAll") or self.inputs.get("tags") or {}
        return {str(key): str(value) for key, value in tags.items()}

    def account(self) -> Account:
        return Account(str(self.client("sts").get_caller_identity()["Account"]), self.region)

    def blocked(self, what: str, hint: str) -> OperatorNeeded:
        return OperatorNeeded(f"{self.type} {self.name}: {what}", hint=hint)


@dataclass(frozen=True)
class Candidate:
    """Something in AWS that has the name or place of the resource searched."""

    id: str
    tags: Tags = field(default_factory=dict)
    #: What an operator calls it.
    shown: str = ""


def _pairs(tags: Any, key: str = "Key", value: str = "Value") -> Tags:
    return {tag[key]: tag[value] for tag in tags or ()}


# What has a name of its own: at most one candidate, an error with one of the codes for none


def _role(search: Search) -> Candidate:
    role = search.client("iam").get_role(RoleName=search.text("name"))["Role"]
    return Candidate(role["RoleName"], _pairs(role.get("Tags")))


def _policy(search: Search) -> Candidate:
    account, path = search.account(), search.inputs.get("path", "/")
    arn = f"arn:{account.partition}:iam::{account.id}:policy{path}{search.text('name')}"
    return Candidate(arn, _pairs(search.client("iam").get_policy(PolicyArn=arn)["Policy"].get("Tags")))


def _bucket(search: Search) -> Candidate | None:
    s3, name = search.client("s3"), search.text("bucket")
    owner = {"Bucket": name, "ExpectedBucketOwner": search.account().id}
    try:
        s3.head_bucket(**owner)
    except ClientError as error:
        if _code(error) not in {"403", "AccessDenied", "Forbidden"}:
            raise
        raise search.blocked(
            f"the bucket {name} exists and is not this account's, or may not be read",
            "find out whose it is: bucket names are unique in the whole world",
        ) from error
    try:
        tags = _pairs(s3.get_bucket_tagging(**owner)["TagSet"])
    except ClientError as error:
        if _code(error) != "NoSuchTagSet":
            raise
        # S3 takes the tags by a second call, before which the Create may have ended.
        tags = search.tags
    return Candidate(name, tags)


def _instance(search: Search) -> Candidate | None:
    identifier = search.text("identifier")
    found = search.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
    if not found:
        return None
    instance = found[0]
    status = instance["DBInstanceStatus"]
    candidate = Candidate(instance["DbiResourceId"], _pairs(instance.get("TagList")), identifier)
    if status in _UNDER_WAY and _is_ours(search, candidate):
        # Adopted now it would have neither address nor master secret, on which the rest of the stack depends.
        raise UnderWay(f"{search.type} {search.name}: RDS instance {identifier} is {status}", hint="it is tried again")
    return candidate


_UNDER_WAY = frozenset(
    {"creating", "deleting", "backing-up", "configuring-enhanced-monitoring", "configuring-log-exports", "modifying"}
    | {"rebooting", "resetting-master-credentials", "starting", "upgrading", "maintenance"}
)


def _rds_group(kind: str, plural: str) -> Callable[[Search], Candidate | None]:
    def look_up(search: Search) -> Candidate | None:
        rds, name = search.client("rds"), search.text("name")
        describe = getattr(rds, f"describe_{kind}s")
        found = describe(**{f"{plural[:-1]}Name": name})[plural]
        if not found:
            return None
        group = found[0]
        tags = rds.list_tags_for_resource(ResourceName=group[f"{plural[:-1]}Arn"])["TagList"]
        return Candidate(group[f"{plural[:-1]}Name"], _pairs(tags))

    return look_up


def _secret(search: Search) -> Candidate | None:
    secret = search.client("secretsmanager").describe_secret(SecretId=search.text("name"))
    if secret.get("DeletedDate"):
        return None  # the Create can't have made it; it answers that the name is taken until then
    return Candidate(secret["ARN"], _pairs(secret.get("Tags")), secret["Name"])


def _log_group(search: Search) -> Candidate | None:
    logs, name = search.client("logs"), search.text("name")
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name):
        for group in page["logGroups"]:
            if group["logGroupName"] == name:
                tags = logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*")).get("tags") or {}
                return Candidate(name, dict(tags))
    return None


def _topic(search: Search) -> Candidate:
    sns, arn = search.client("sns"), search.account().arn("sns", search.text("name"))
    sns.get_topic_attributes(TopicArn=arn)
    return Candidate(arn, _pairs(sns.list_tags_for_resource(ResourceArn=arn)["Tags"]))


def _alarm(search: Search) -> Candidate | None:
    cloudwatch, name = search.client("cloudwatch"), search.text("name")
    alarms = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm"])["MetricAlarms"]
    if not alarms:
        return None
    return Candidate(name, _pairs(cloudwatch.list_tags_for_resource(ResourceARN=alarms[0]["AlarmArn"])["Tags"]))


def _security_group(search: Search) -> Candidate | None:
    chosen = _filters({"vpc-id": search.text("vpcId"), "group-name": search.text("name")})
    groups = search.client("ec2").describe_security_groups(Filters=chosen)["SecurityGroups"]
    return Candidate(groups[0]["GroupId"], _pairs(groups[0].get("Tags"))) if groups else None


_Named = Callable[[Search], Candidate | None]
#: Type to how it is found and the error codes that mean that there is none.
_NAMED: dict[str, tuple[_Named, tuple[str, ...]]] = {
    "aws:iam/role:Role": (_role, ("NoSuchEntity",)),
    "aws:iam/policy:Policy": (_policy, ("NoSuchEntity",)),
    "aws:s3/bucket:Bucket": (_bucket, ("NoSuchBucket", "NotFound", "404")),
    "aws:rds/instance:Instance": (_instance, ("DBInstanceNotFound", "DBInstanceNotFoundFault")),
    "aws:rds/subnetGroup:SubnetGroup": (
        _rds_group("db_subnet_group", "DBSubnetGroups"),
        ("DBSubnetGroupNotFoundFault",),
    ),
    "aws:rds/parameterGroup:ParameterGroup": (
        _rds_group("db_parameter_group", "DBParameterGroups"),
        ("DBParameterGroupNotFound", "DBParameterGroupNotFoundFault"),
    ),
    "aws:secretsmanager/secret:Secret": (_secret, ("ResourceNotFoundException",)),
    "aws:cloudwatch/logGroup:LogGroup": (_log_group, ("ResourceNotFoundException",)),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (_alarm, ()),
    "aws:sns/topic:Topic": (_topic, ("NotFound", "NotFoundException")),
    "aws:ec2/securityGroup:SecurityGroup": (_security_group, ()),
}


# What has no name: everything that bears all the tags, and agrees in what can't be changed later


def _keys(search: Search) -> Iterator[Candidate]:
    """Keys that can be used, the youngest first: an older one with the same tags is the one being replaced."""
    kms = search.client("kms")
    found = []
    for page in kms.get_paginator("list_keys").paginate():
        for key in page["Keys"]:
            try:
                tags = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
                candidate = Candidate(key["KeyId"], _pairs(tags, "TagKey", "TagValue"))
                if _has_all_tags(search, candidate):
                    metadata = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
                    found.append((metadata["CreationDate"], metadata["KeyState"], candidate))
            except ClientError as error:
                # AWS's own keys, and those whose policy leaves us out, are none of ours.
                if _code(error) not in {"AccessDeniedException", "NotFoundException"}:
                    raise
    usable = [each for each in found if not each[1].startswith("Pending")]
    yield from (candidate for _, _, candidate in sorted(usable, key=lambda each: each[0], reverse=True)[:1])


def _ec2(operation: str, answer: str, id_: str, **same: str) -> Callable[[Search], Iterator[Candidate]]:
    """``same``: input to the name of the filter by which it is asked for."""

    def look_up(search: Search) -> Iterator[Candidate]:
        chosen = {filter_: search.text(key) for key, filter_ in same.items() if key in search.inputs}
        chosen |= {f"tag:{key}": search.tags[key] for key in OWNERSHIP}
        pages = search.client("ec2").get_paginator(operation).paginate(Filters=_filters(chosen))
        for page in pages:
            for each in page[answer]:
                if str(each.get("State", "")).lower() not in {"deleted", "deleting"}:
                    yield Candidate(each[id_], _pairs(each.get("Tags")))

    return look_up


_TAGGED: dict[str, Callable[[Search], Iterator[Candidate]]] = {
    "aws:kms/key:Key": _keys,
    "aws:ec2/vpc:Vpc": _ec2("describe_vpcs", "Vpcs", "VpcId", cidrBlock="cidr"),
    "aws:ec2/subnet:Subnet": _ec2("describe_subnets", "Subnets", "SubnetId", vpcId="vpc-id", cidrBlock="cidr-block"),
    "aws:ec2/routeTable:RouteTable": _ec2("describe_route_tables", "RouteTables", "RouteTableId", vpcId="vpc-id"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _ec2(
        "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", vpcId="vpc-id", serviceName="service-name"
    ),
}


# What relates two things that are in the stack already


def _alias(search: Search) -> str | None:
    name, target = search.text("name"), search.text("targetKeyId")
    try:
        key = search.client("kms").describe_key(KeyId=name)["KeyMetadata"]
    except ClientError as error:
        if _code(error) == "NotFoundException":
            return None
        raise
    if target not in {key["KeyId"], key["Arn"]}:
        raise search.blocked(
            f"{name} exists and points to the key {key['KeyId']}, not to {target.rsplit('/', 1)[-1]}",
            "delete the alias if nothing uses it: `aws kms delete-alias`",
        )
    return name


def _route_table_association(search: Search) -> str | None:
    subnet, wanted = search.text("subnetId"), search.text("routeTableId")
    chosen = _filters({"association.subnet-id": subnet})
    for table in search.client("ec2").describe_route_tables(Filters=chosen)["RouteTables"]:
        for association in table["Associations"]:
            if association.get("SubnetId") != subnet:
                continue
            if table["RouteTableId"] != wanted:
                raise search.blocked(
                    f"the subnet {subnet} is associated with {table['RouteTableId']}, not with {wanted}",
                    "take that association away: `aws ec2 disassociate-route-table`",
                )
            return str(association["RouteTableAssociationId"])
    return None


#: Input to the field of a rule, as its API names it.
_PEERS = {
    "cidrIpv4": "CidrIpv4",
    "cidrIpv6": "CidrIpv6",
    "prefixListId": "PrefixListId",
    "referencedSecurityGroupId": "ReferencedGroupInfo",
}


def _security_group_rule(*, egress: bool) -> Callable[[Search], str | None]:
    """AWS has no second rule of the same protocol, ports and peer in a group."""

    def look_up(search: Search) -> str | None:
        inputs = search.inputs
        wanted = {field: str(inputs[key]) for key, field in _PEERS.items() if inputs.get(key)}
        wanted["IpProtocol"] = search.text("ipProtocol")
        if wanted["IpProtocol"] != "-1":
            wanted |= {"FromPort": _number(inputs.get("fromPort")), "ToPort": _number(inputs.get("toPort"))}
        chosen = _filters({"group-id": search.text("securityGroupId")})
        for page in search.client("ec2").get_paginator("describe_security_group_rules").paginate(Filters=chosen):
            for rule in page["SecurityGroupRules"]:
                live = {**rule, "ReferencedGroupInfo": (rule.get("ReferencedGroupInfo") or {}).get("GroupId")}
                if rule["IsEgress"] is egress and all(str(live.get(name)) == value for name, value in wanted.items()):
                    candidate = Candidate(rule["SecurityGroupRuleId"], _pairs(rule.get("Tags")))
                    return _owned(search, candidate)
        return None

    return look_up


def _number(value: Any) -> str:
    """The engine's numbers are floating."""
    return str(int(value)) if isinstance(value, int | float) else str(value)


_RELATIONS: dict[str, Callable[[Search], str | None]] = {
    "aws:kms/alias:Alias": _alias,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _route_table_association,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _security_group_rule(egress=False),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _security_group_rule(egress=True),
}

#: Creating these again overwrites or adopts what is there, with the same content.
_REPEATABLE = frozenset(
    {
        "aws:cloudwatch/eventRule:EventRule",
        "aws:cloudwatch/eventTarget:EventTarget",
        "aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:rds/instanceDesiredState:InstanceDesiredState",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "aws:s3/bucketVersioning:BucketVersioning",
        "aws:secretsmanager/secretVersion:SecretVersion",
        "aws:sns/topicPolicy:TopicPolicy",
    }
)
#: Their Create adopts what bears its own stack's mark, and refuses what bears another's.
_ADOPTING_PROVIDER = "tenantry-postgres:"

#: Every type of AWS's that can be found again.
KNOWN_TYPES = frozenset({*_NAMED, *_TAGGED, *_RELATIONS, *_REPEATABLE})


class AwsFinder:
    """``provisioner.engine.recovery.Finder`` on AWS. ``region``: of resources whose inputs name none.

    Clients come from boto3's default credential chain, or from ``session``, and honour ``AWS_ENDPOINT_URL``.
    """

    def __init__(self, region: str, session: boto3.session.Session | None = None) -> None:
        self._region = region
        self._clients = Clients(session)

    def find(self, type_: str, name: str, inputs: Mapping[str, Any]) -> str | None:
        """The id of what the Create made; None if it made nothing, or a repetition adopts it.

        ``RetryLater`` while AWS does not answer or the thing is still being made; ``OperatorNeeded`` for a type that
        is not known here, for something with our name that is not ours, and for what may not be read.
        """
        if type_.startswith(_ADOPTING_PROVIDER) or type_ in _REPEATABLE:
            return None
        region = inputs.get("region")
        search = Search(type_, name, inputs, region if isinstance(region, str) else self._region, self._clients)
        if type_ not in KNOWN_TYPES:
            raise search.blocked(
                "an interrupted update may have created it, and this type can't be looked up",
                "`pulumi refresh` asks about each pending operation; a lookup belongs into provisioner/finder.py",
            )
        try:
            return _find(search)
        except ClientError as error:
            raise _translated(search, error) from error
        except BotoCoreError as error:
            raise RetryLater(f"{type_} {name}: AWS can't be asked for it: {error}", hint="it is tried again") from error


def _find(search: Search) -> str | None:
    if search.type in _RELATIONS:
        return _RELATIONS[search.type](search)
    if not all(search.tags.get(key) for key in OWNERSHIP):
        raise search.blocked(
            f"an interrupted update may have created it, and its inputs lack one of the tags {', '.join(OWNERSHIP)}",
            "`pulumi refresh` asks about each pending operation; give the resource the stack's tags",
        )
    if search.type in _TAGGED:
        found = [each.id for each in _TAGGED[search.type](search) if _has_all_tags(search, each)]
        if len(found) > 1:
            raise search.blocked(
                f"{len(found)} bear its tags: {', '.join(found)}", "delete those that no stack knows, then try again"
            )
        return found[0] if found else None
    look_up, none_codes = _NAMED[search.type]
    try:
        candidate = look_up(search)
    except ClientError as error:
        if _code(error) in none_codes:
            return None
        raise
    return None if candidate is None else _owned(search, candidate)


def _owned(search: Search, candidate: Candidate) -> str:
    if _is_ours(search, candidate):
        return candidate.id
    bears = ", ".join(f"{key}={candidate.tags[key]}" for key in OWNERSHIP if key in candidate.tags) or "none of ours"
    raise search.blocked(
        f"{candidate.shown or candidate.id} exists and is not this stack's: its tags are {bears}",
        "find out whose it is; delete or rename it, or tag it as this stack's if it is",
    )


def _is_ours(search: Search, candidate: Candidate) -> bool:
    return all(key in search.tags and candidate.tags.get(key) == search.tags[key] for key in OWNERSHIP)


def _has_all_tags(search: Search, candidate: Candidate) -> bool:
    return search.tags.items() <= candidate.tags.items()


def _filters(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [value]} for name, value in values.items()]


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _translated(search: Search, error: ClientError) -> RetryLater | OperatorNeeded:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= 500 or any(part in _code(error) for part in _TRANSIENT):
        return RetryLater(f"{search.type} {search.name}: AWS can't tell at present: {error}", hint="it is tried again")
    return search.blocked(
        f"an interrupted update may have created it, and AWS refuses to tell: {error}",
        "allow the provisioner's role to read what it creates",
    )
