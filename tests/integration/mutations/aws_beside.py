"""Faults that no resource of a stack says: what somebody adds past the stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.integration.mutations.aws_faults import CLOSEST, NETWORK, Placed
from tests.integration.mutations.aws_world import ACME, PLATFORM, RESIDENT, SILO, Installation
from tests.integration.mutations.fault import Fault
from tests.integration.mutations.policy_documents import resource_policy


def beside(world: Installation, stack: str) -> Iterator[Placed]:
    """``stack``: of the platform, or of a tenant with everything of its own."""
    outputs = world.tenants[RESIDENT[stack]]
    bucket, secret, role = outputs.bucket, outputs.login_secret_arn, outputs.role_arn.rsplit("/", 1)[-1]
    key = outputs.kms_key_arn.rsplit("/", 1)[-1]
    stranger = world.tenants[ACME if stack == SILO else SILO]
    s3, kms, iam = (world.aws.client(each) for each in ("s3", "kms", "iam"))
    manager = world.aws.client("secretsmanager")
    ec2, rds = world.aws.client("ec2"), world.aws.client("rds")
    instance = world.platform.shared_instance_identifier if stack == PLATFORM else role
    vpc, subnet = world.platform.vpc_id, world.platform.private_subnet_ids[0]
    everything = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
    steps: tuple[tuple[str, str, str, Callable[[], Any], Callable[[Any], Any]], ...] = (
        ("s3", "acl-public", "the bucket's access control list lets everybody read",
         lambda: s3.put_bucket_acl(Bucket=bucket, ACL="public-read"),
         lambda _: s3.put_bucket_acl(Bucket=bucket, ACL="private")),
        ("s3", "public", "the bucket is public: nothing is blocked, and its policy lets in everybody",
         lambda: _public(s3, bucket), lambda before: _private(s3, bucket, before)),
        ("s3", "website", "the bucket is a website",
         lambda: s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}),
         lambda _: s3.delete_bucket_website(Bucket=bucket)),
        ("kms", "grant-to-another-tenant", "another tenant's role has a grant on the key",
         lambda: kms.create_grant(KeyId=key, GranteePrincipal=stranger.role_arn, Operations=["Decrypt"]),
         lambda made: kms.revoke_grant(KeyId=key, GrantId=made["GrantId"])),
        ("kms", "grant-to-another-account", "another account has a grant on the key",
         lambda: kms.create_grant(KeyId=key, GranteePrincipal="arn:aws:iam::999999999999:root", Operations=["Decrypt"]),
         lambda made: kms.revoke_grant(KeyId=key, GrantId=made["GrantId"])),
        ("iam", "policy-attached", "AdministratorAccess is attached to the tenant's role",
         lambda: iam.attach_role_policy(RoleName=role, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"),
         lambda _: iam.detach_role_policy(RoleName=role, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")),
        ("iam", "policy-added", "an inline policy more allows the tenant's role everything",
         lambda: iam.put_role_policy(RoleName=role, PolicyName="support", PolicyDocument=everything),
         lambda _: iam.delete_role_policy(RoleName=role, PolicyName="support")),
        (
            "rds",
            "other-parameters",
            "the instance has a parameter group that does not force TLS",
            lambda: _unforced(rds, instance),
            lambda before: _forced(rds, instance, before),
        ),
        *(
            [
                (
                    "ec2",
                    "route-to-the-internet",
                    "a database's subnet has a route to the internet",
                    lambda: _opened(ec2, vpc, subnet),
                    lambda gateway: _closed(ec2, vpc, subnet, gateway),
                )
            ]
            if stack == PLATFORM
            else []
        ),
        ("secretsmanager", "secret-replicated", "a login's secret is replicated to another region",
         lambda: manager.replicate_secret_to_regions(SecretId=secret, AddReplicaRegions=[{"Region": "eu-west-1"}]),
         lambda _: manager.remove_regions_from_replication(SecretId=secret, RemoveReplicaRegions=["eu-west-1"])),
    )  # fmt: skip
    for service, name, weakened, broken, mended in steps:
        exploit = partial(world.stolen, stack) if service in ("s3", "kms") else None
        fault = Fault(
            f"{stack}/beside/{name}", f"{stack}: beside the stack", weakened, partial(_done, broken, mended), exploit,
            CLOSEST.get(service, NETWORK),
        )  # fmt: skip
        yield Placed(fault, stack, (service,), dict)


def _opened(ec2: Any, vpc: str, subnet: str) -> str:
    gateway: str = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.create_route(RouteTableId=_table(ec2, subnet), DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    return gateway


def _closed(ec2: Any, vpc: str, subnet: str, gateway: str) -> None:
    ec2.delete_route(RouteTableId=_table(ec2, subnet), DestinationCidrBlock="0.0.0.0/0")
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)


def _table(ec2: Any, subnet: str) -> str:
    found = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["RouteTables"]
    return str(found[0]["RouteTableId"])


def _unforced(rds: Any, instance: str) -> str:
    found = rds.describe_db_instances(DBInstanceIdentifier=instance)["DBInstances"][0]["DBParameterGroups"][0]
    family = "postgres18"
    rds.create_db_parameter_group(DBParameterGroupName=_OTHER, DBParameterGroupFamily=family, Description="another")
    rds.modify_db_instance(DBInstanceIdentifier=instance, DBParameterGroupName=_OTHER, ApplyImmediately=True)
    return str(found["DBParameterGroupName"])


def _forced(rds: Any, instance: str, before: str) -> None:
    rds.modify_db_instance(DBInstanceIdentifier=instance, DBParameterGroupName=before, ApplyImmediately=True)
    rds.delete_db_parameter_group(DBParameterGroupName=_OTHER)


_OTHER = "of-somebody-else"


def _public(s3: Any, bucket: str) -> tuple[Any, str]:
    blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    before: str = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=resource_policy("*", "s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    return blocked, before


def _private(s3: Any, bucket: str, before: tuple[Any, str]) -> None:
    s3.put_bucket_policy(Bucket=bucket, Policy=before[1])
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=before[0])


@contextmanager
def _done(broken: Callable[[], Any], mended: Callable[[Any], Any]) -> Iterator[None]:
    made = broken()
    try:
        yield
    finally:
        mended(made)
