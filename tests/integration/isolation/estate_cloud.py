"""What the stacks would make in the local AWS: network, instances with their firewalls, buckets, keys, roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.account import Account
from components.documents import to_json
from components.identity import boundary_policy, data_policy, trust_policy
from components.keys import KeyUse, key_policy
from components.naming import IAM_PATH, Names
from components.network import endpoint_policy
from components.storage import bucket_policy
from tests.integration.providers.postgres.conftest import REGION

ACCOUNT = Account("123456789012", REGION)
PORT = 5432


@dataclass(frozen=True)
class Files:
    """A bucket, its key and the role whose sessions use both."""

    bucket: str
    key_arn: str
    role_arn: str


@dataclass(frozen=True)
class Network:
    """What the instances of the cell share."""

    vpc_id: str
    subnet_ids: tuple[str, ...]
    app_group: str
    subnet_group: str
    parameter_group: str


def make_network(aws: Any, names: Names) -> Network:
    ec2, rds = aws.client("ec2"), aws.client("rds")
    vpc = str(ec2.create_vpc(CidrBlock="10.64.0.0/16")["Vpc"]["VpcId"])
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.64.{64 * number}.0/18", AvailabilityZone=f"{REGION}{zone}")
        for number, zone in enumerate("ab")
    ]
    ids = tuple(str(each["Subnet"]["SubnetId"]) for each in subnets)
    app = make_group(aws, vpc, names.security_group("app"))
    rds.create_db_subnet_group(
        DBSubnetGroupName=names.subnet_group, DBSubnetGroupDescription="private", SubnetIds=list(ids)
    )
    for service, kind in (("s3", "Gateway"), ("kms", "Interface"), ("secretsmanager", "Interface")):
        policy = to_json(endpoint_policy(ACCOUNT, service), limit=20480, what="endpoint")
        ec2.create_vpc_endpoint(
            VpcId=vpc, ServiceName=f"com.amazonaws.{REGION}.{service}", VpcEndpointType=kind, PolicyDocument=policy
        )
    family = "postgres18"
    group = names.parameter_group(family)
    rds.create_db_parameter_group(DBParameterGroupName=group, DBParameterGroupFamily=family, Description="TLS only")
    forced = {"rds.force_ssl": "1", "log_parameter_max_length": "0"}
    rds.modify_db_parameter_group(
        DBParameterGroupName=group,
        Parameters=[
            {"ParameterName": name, "ParameterValue": value, "ApplyMethod": "immediate"}
            for name, value in forced.items()
        ],
    )
    return Network(vpc, ids, app, names.subnet_group, group)


def make_group(aws: Any, vpc: str, name: str, *, lets_in: str | None = None) -> str:
    """A security group that lets in the group ``lets_in`` on PostgreSQL's port, and nothing out."""
    ec2 = aws.client("ec2")
    group = str(ec2.create_security_group(VpcId=vpc, GroupName=name, Description="proof")["GroupId"])
    ec2.revoke_security_group_egress(
        GroupId=group, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    )
    if lets_in is not None:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[from_group(lets_in)])
    return group


def from_group(group: str) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, "UserIdGroupPairs": [{"GroupId": group}]}


def make_instance(aws: Any, names: Names, network: Network, key_arn: str) -> str:
    """Its security group's id. The server that tenants really use is another one."""
    group = make_group(aws, network.vpc_id, names.security_group("database"), lets_in=network.app_group)
    aws.client("rds").create_db_instance(
        DBInstanceIdentifier=names.instance,
        Engine="postgres",
        EngineVersion="18",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="tenantry_master",
        ManageMasterUserPassword=True,
        MasterUserSecretKmsKeyId=key_arn,
        DBSubnetGroupName=network.subnet_group,
        DBParameterGroupName=network.parameter_group,
        VpcSecurityGroupIds=[group],
        StorageEncrypted=True,
        KmsKeyId=key_arn,
        PubliclyAccessible=False,
    )
    return group


def make_files(aws: Any, names: Names, platform: Names, owner_id: str, tenant_id: str | None) -> Files:
    """Bucket, key, boundary and role of a tenant, or of the platform: the documents that its stack would write."""
    bucket, role_arn = names.bucket(ACCOUNT), names.role_arn(ACCOUNT)
    use = KeyUse(
        data_role=role_arn,
        tenant_tag=tenant_id or "?*",
        bucket=bucket,
        secret_prefix=names.secret("") if tenant_id else "tenantry-",
        database=True,
        log_group_prefix=names.rds_log_group(""),
        topic="" if tenant_id else names.topic,
    )
    key_arn = _key(aws, names, to_json(key_policy(ACCOUNT, use), limit=32768, what="key"), owner_id)
    _bucket(aws, bucket, key_arn)
    policy = bucket_policy(ACCOUNT, bucket, role_arn, shared=tenant_id is None, tenant_id=tenant_id)
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=to_json(policy, limit=20480, what="bucket"))
    iam = aws.client("iam")
    if tenant_id is None:
        document = to_json(boundary_policy(ACCOUNT, bucket, names.key), limit=6144, what="boundary")
        iam.create_policy(PolicyName=names.boundary, Path=IAM_PATH, PolicyDocument=document)
    iam.create_role(
        RoleName=names.role,
        Path=IAM_PATH,
        AssumeRolePolicyDocument=to_json(trust_policy(ACCOUNT, (), tenant_id=tenant_id), limit=2048, what="trust"),
        PermissionsBoundary=boundary_arn(platform),
        Tags=[{"Key": "tenant_id", "Value": owner_id}],
    )
    iam.put_role_policy(
        RoleName=names.role,
        PolicyName="tenant-data",
        PolicyDocument=to_json(data_policy(ACCOUNT, bucket, names.key, tenant_id=tenant_id), limit=10240, what="role"),
    )
    return Files(bucket, key_arn, role_arn)


def boundary_arn(platform: Names) -> str:
    return f"arn:aws:iam::{ACCOUNT.id}:policy{IAM_PATH}{platform.boundary}"


def _key(aws: Any, names: Names, policy: str, owner_id: str) -> str:
    kms = aws.client("kms")
    tags = {"tenant_id": owner_id, "managed-by": "tenantry", "installation": names.installation}
    made = kms.create_key(Policy=policy, Tags=[{"TagKey": key, "TagValue": value} for key, value in tags.items()])
    kms.enable_key_rotation(KeyId=made["KeyMetadata"]["KeyId"])
    kms.create_alias(AliasName=names.key_alias, TargetKeyId=made["KeyMetadata"]["KeyId"])
    return str(made["KeyMetadata"]["Arn"])


def _bucket(aws: Any, bucket: str, key_arn: str) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=BLOCKED)
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key_arn}
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


BLOCKED = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
