"""What stands in AWS beside policies, read by boto3: settings of buckets, keys, secrets, roles, instances, networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from isolation.iam.collect import Aws

T = TypeVar("T")


@dataclass(frozen=True)
class BucketState:
    """``public_access_blocked``: all four blocks. ``key``: of the default encryption, None if that is not KMS's."""

    public_access_blocked: bool
    key: str | None
    versioned: bool
    owner_enforced: bool
    granted_to: tuple[str, ...]  #: grantees of the access control list beyond the owner
    replicated_to: tuple[str, ...]
    website: bool
    has_policy: bool


@dataclass(frozen=True)
class KeyState:
    enabled: bool
    managed_by_customer: bool
    rotated: bool
    multi_region: bool
    tags: dict[str, str]
    grantees: tuple[str, ...]


@dataclass(frozen=True)
class SecretState:
    key: str | None
    has_policy: bool
    replicated: bool


@dataclass(frozen=True)
class RoleState:
    inline: tuple[str, ...]
    attached: tuple[str, ...]
    boundary: str | None
    tags: dict[str, str]
    max_session: int  #: seconds


@dataclass(frozen=True)
class InstanceState:
    public: bool
    encrypted: bool
    key: str | None
    master_secret: str | None
    groups: tuple[str, ...]
    vpc: str
    subnets: tuple[str, ...]
    parameter_group: str
    address: tuple[str, int]


@dataclass(frozen=True)
class Rule:
    """One source, or destination, of a security group. ``peer``: a CIDR, a group's id or a prefix list's."""

    protocol: str
    first: int
    last: int
    peer: str

    def __str__(self) -> str:
        ports = "all ports" if self.protocol == "-1" else f"{self.first}-{self.last}"
        return f"{'all' if self.protocol == '-1' else self.protocol} {ports} {self.peer}"


@dataclass(frozen=True)
class GroupState:
    id: str
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...]


class State:
    """Reads each thing once and keeps it."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._kept: dict[tuple[str, str], Any] = {}

    def bucket(self, name: str) -> BucketState:
        return self._once("bucket", name, lambda: self._bucket(name))

    def key(self, arn: str) -> KeyState:
        return self._once("key", arn, lambda: self._key(arn))

    def secret(self, arn: str) -> SecretState:
        return self._once("secret", arn, lambda: self._secret(arn))

    def role(self, arn: str) -> RoleState:
        return self._once("role", arn, lambda: self._role(arn.rsplit("/", 1)[1]))

    def instance(self, identifier: str, region: str) -> InstanceState:
        return self._once("instance", f"{region}/{identifier}", lambda: self._instance(identifier, region))

    def group(self, group_id: str, region: str) -> GroupState:
        return self._once("group", f"{region}/{group_id}", lambda: self._group(group_id, region))

    def address_in(self, vpc: str, region: str) -> str:
        """The last usable address of the network's range, which is nobody's in particular."""
        return self._once("vpc", f"{region}/{vpc}", lambda: self._address(vpc, region))

    def endpoints(self, vpc: str, region: str) -> dict[str, str]:
        """The policy of each VPC endpoint that has one, by the service's name."""
        return self._once("endpoints", f"{region}/{vpc}", lambda: self._endpoints(vpc, region))

    def parameter(self, group: str, name: str, region: str) -> str | None:
        """The value of a parameter of an RDS parameter group that somebody set."""
        found = self._once("parameters", f"{region}/{group}", lambda: self._parameters(group, region))
        return found.get(name)

    def public_subnets(self, subnets: tuple[str, ...], region: str) -> tuple[str, ...]:
        """Those that give out public addresses or have a route to an internet gateway."""
        return self._once("subnets", "/".join((region, *subnets)), lambda: self._public(subnets, region))

    def _once(self, kind: str, name: str, read: Callable[[], T]) -> T:
        if (kind, name) not in self._kept:
            self._kept[kind, name] = read()
        found: T = self._kept[kind, name]
        return found

    def _bucket(self, name: str) -> BucketState:
        s3 = self._aws.client("s3")
        blocks = _absent(lambda: s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"], {})
        rules = _absent(lambda: s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"], [])
        default = [each.get("ApplyServerSideEncryptionByDefault", {}) for each in rules]
        controls = _absent(lambda: s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"], [])
        acl = s3.get_bucket_acl(Bucket=name)
        owner = acl["Owner"].get("ID")
        replication = _absent(
            lambda: s3.get_bucket_replication(Bucket=name)["ReplicationConfiguration"].get("Rules", []), []
        )
        return BucketState(
            public_access_blocked=all(blocks.get(each) for each in _BLOCKS),
            key=next((each.get("KMSMasterKeyID") for each in default if each.get("SSEAlgorithm") == "aws:kms"), None),
            versioned=s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled",
            owner_enforced=[each["ObjectOwnership"] for each in controls] == ["BucketOwnerEnforced"],
            granted_to=tuple(
                str(grantee.get("URI") or grantee.get("ID"))
                for grantee in (each["Grantee"] for each in acl["Grants"])
                if grantee.get("ID") != owner
            ),
            replicated_to=tuple(str(each.get("Destination", {}).get("Bucket")) for each in replication),
            website=_absent(lambda: bool(s3.get_bucket_website(Bucket=name)), False),
            has_policy=_absent(lambda: bool(s3.get_bucket_policy(Bucket=name)["Policy"]), False),
        )

    def _key(self, arn: str) -> KeyState:
        kms, key_id = self._aws.client("kms", region_name=arn.split(":")[3]), arn.rsplit("/", 1)[1]
        about = kms.describe_key(KeyId=key_id)["KeyMetadata"]
        tags = kms.get_paginator("list_resource_tags").paginate(KeyId=key_id)
        grants = kms.get_paginator("list_grants").paginate(KeyId=key_id)
        return KeyState(
            enabled=about["KeyState"] == "Enabled",
            managed_by_customer=about.get("KeyManager", "CUSTOMER") == "CUSTOMER",
            rotated=bool(kms.get_key_rotation_status(KeyId=key_id)["KeyRotationEnabled"]),
            multi_region=bool(about.get("MultiRegion")),
            tags={tag["TagKey"]: tag["TagValue"] for page in tags for tag in page["Tags"]},
            grantees=tuple(str(each["GranteePrincipal"]) for page in grants for each in page["Grants"]),
        )

    def _secret(self, arn: str) -> SecretState:
        client = self._aws.client("secretsmanager", region_name=arn.split(":")[3])
        about = client.describe_secret(SecretId=arn)
        return SecretState(
            key=about.get("KmsKeyId"),
            has_policy=bool(client.get_resource_policy(SecretId=arn).get("ResourcePolicy")),
            replicated=bool(about.get("ReplicationStatus")),
        )

    def _role(self, name: str) -> RoleState:
        iam = self._aws.client("iam")
        role = iam.get_role(RoleName=name)["Role"]
        inline = iam.get_paginator("list_role_policies").paginate(RoleName=name)
        attached = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
        return RoleState(
            inline=tuple(str(each) for page in inline for each in page["PolicyNames"]),
            attached=tuple(str(each["PolicyArn"]) for page in attached for each in page["AttachedPolicies"]),
            boundary=role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            tags={tag["Key"]: tag["Value"] for tag in role.get("Tags", ())},
            max_session=int(role.get("MaxSessionDuration", 3600)),
        )

    def _instance(self, identifier: str, region: str) -> InstanceState:
        rds = self._aws.client("rds", region_name=region)
        (about,) = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
        subnet_group = about.get("DBSubnetGroup") or {}
        endpoint = about.get("Endpoint") or {}
        return InstanceState(
            public=bool(about.get("PubliclyAccessible")),
            encrypted=bool(about.get("StorageEncrypted")),
            key=about.get("KmsKeyId"),
            master_secret=(about.get("MasterUserSecret") or {}).get("SecretArn"),
            groups=tuple(str(each["VpcSecurityGroupId"]) for each in about.get("VpcSecurityGroups", ())),
            vpc=str(subnet_group.get("VpcId", "")),
            subnets=tuple(sorted(str(each["SubnetIdentifier"]) for each in subnet_group.get("Subnets", ()))),
            parameter_group=next((str(g["DBParameterGroupName"]) for g in about.get("DBParameterGroups", ())), ""),
            address=(str(endpoint.get("Address")), int(endpoint.get("Port", 0))),
        )

    def _group(self, group_id: str, region: str) -> GroupState:
        ec2 = self._aws.client("ec2", region_name=region)
        (about,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
        return GroupState(group_id, _rules(about["IpPermissions"]), _rules(about["IpPermissionsEgress"]))

    def _address(self, vpc: str, region: str) -> str:
        (about,) = self._aws.client("ec2", region_name=region).describe_vpcs(VpcIds=[vpc])["Vpcs"]
        return str(ipaddress.ip_network(about["CidrBlock"])[-2])

    def _endpoints(self, vpc: str, region: str) -> dict[str, str]:
        pages = self._aws.client("ec2", region_name=region).get_paginator("describe_vpc_endpoints")
        return {
            str(each["ServiceName"]).rsplit(".", 1)[-1]: str(each["PolicyDocument"])
            for page in pages.paginate(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
            for each in page["VpcEndpoints"]
            if each.get("PolicyDocument") and each.get("State") != "deleted"
        }

    def _parameters(self, group: str, region: str) -> dict[str, str]:
        pages = self._aws.client("rds", region_name=region).get_paginator("describe_db_parameters")
        return {
            str(each["ParameterName"]): str(each.get("ParameterValue"))
            for page in pages.paginate(DBParameterGroupName=group, Source="user")
            for each in page["Parameters"]
        }

    def _public(self, subnets: tuple[str, ...], region: str) -> tuple[str, ...]:
        ec2 = self._aws.client("ec2", region_name=region)
        mapped = {
            str(each["SubnetId"])
            for each in ec2.describe_subnets(SubnetIds=list(subnets))["Subnets"]
            if each.get("MapPublicIpOnLaunch")
        }
        tables = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": list(subnets)}])
        for table in tables["RouteTables"]:
            if any(str(route.get("GatewayId", "")).startswith("igw-") for route in table["Routes"]):
                mapped |= {str(each["SubnetId"]) for each in table["Associations"] if each.get("SubnetId") in subnets}
        return tuple(sorted(mapped))


_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_ABSENT = (
    "NoSuchPublicAccessBlockConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
    "OwnershipControlsNotFoundError",
    "ReplicationConfigurationNotFoundError",
    "NoSuchWebsiteConfiguration",
    "NoSuchBucketPolicy",
)


def _absent(read: Callable[[], Any], default: Any) -> Any:
    """S3 answers with an error to the question for a setting that nobody made."""
    try:
        return read()
    except ClientError as error:
        if error.response["Error"]["Code"] in _ABSENT:
            return default
        raise


def _rules(permissions: list[dict[str, Any]]) -> tuple[Rule, ...]:
    found = []
    for each in permissions:
        peers = [
            *(str(peer["CidrIp"]) for peer in each.get("IpRanges", ())),
            *(str(peer["CidrIpv6"]) for peer in each.get("Ipv6Ranges", ())),
            *(str(peer["PrefixListId"]) for peer in each.get("PrefixListIds", ())),
            *(str(peer["GroupId"]) for peer in each.get("UserIdGroupPairs", ())),
        ]
        first, last = int(each.get("FromPort", 0)), int(each.get("ToPort", 65535))
        if first == -1:  # moto's way to say every port
            first, last = 0, 65535
        found += [Rule(str(each["IpProtocol"]), first, last, peer) for peer in peers]
    return tuple(sorted(found, key=str))
