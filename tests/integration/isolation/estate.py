"""A whole installation without its engine: tenants of every tier as their stacks would make them.

Databases, roles, schemas and tables are made by the resource provider itself, policies are the components' own and
stand in the local AWS, routing is the registry's schema, and the broker is the real one over HTTP.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from psycopg import sql

from components.account import Account
from components.documents import to_json
from components.identity import boundary_policy, data_policy, trust_policy
from components.keys import KeyUse, key_policy
from components.naming import IAM_PATH, Names
from components.spec import Access, DatabaseEndpoint, TenantOutputs
from components.storage import bucket_policy
from components.tiers import TIERS, Tier
from localcloud.postgres import Cluster, create_master, reachable_directory
from providers.postgres.connection import Server
from provisioner.broker import Boto3Clients, Broker, BrokerPlacement
from tenantry import Config
from tests.integration.conftest import Login
from tests.integration.providers.postgres.conftest import REGION, Stack, build_pool, digests
from tests.integration.tenantry.world import APPLICATION_TOKEN, serve_broker

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "example" / "app_schema"
REGISTRY = ROOT / "provisioner" / "registry" / "schema.sql"
ACCOUNT = Account("123456789012", REGION)
READER_PASSWORD = "reader"


@dataclass
class Estate:
    """``server``: of the control plane (database ``control``), the pool and the bridges; ``database_url``: the SDK's
    reader of ``control``; ``api_url``: where the broker listens."""

    server: Cluster
    installation: str
    control: str
    database_url: str
    authority: str
    shared: Stack
    shared_database: str
    api_url: str = ""
    aws: Any = None
    tenants: dict[str, TenantOutputs] = field(default_factory=dict)
    pool_login: str = ""
    pool_login_secret: str = ""
    pool_token_secret: str = ""
    shared_files: Files | None = None
    stacks: dict[str, Stack] = field(default_factory=dict)

    def config(self, **overrides: Any) -> Config:
        settings: dict[str, Any] = {
            "database_url": self.database_url,
            "api_url": self.api_url,
            "application_token": APPLICATION_TOKEN,
            "database_ca": self.authority,
        }
        return Config(**(settings | overrides))

    def names(self, owner_id: str) -> Names:
        return Names(self.installation, owner_id)

    def outputs(self, *tenant_ids: str) -> list[TenantOutputs]:
        return [self.tenants[each] for each in tenant_ids]

    @contextmanager
    def owner(self, tenant_id: str) -> Iterator[psycopg.Connection[Any]]:
        """A session of the master of the tenant's server, in the tenant's database, as the superuser of a test."""
        outputs = self.tenants[tenant_id]
        cluster = self.stacks[tenant_id].master.cluster
        with cluster.admin(outputs.database.name) as connection:
            yield connection

    def broker_placement(self, tenant_id: str) -> BrokerPlacement | None:
        with self.server.admin(self.control) as connection:
            row = connection.execute(
                "SELECT generation, epoch, access, region, login_secret_arn, token_secret_arn, role_arn"
                " FROM registry.placement WHERE tenant_id = %s",
                (tenant_id,),
            ).fetchone()
        return None if row is None else BrokerPlacement(tenant_id, *row)


@dataclass(frozen=True)
class Files:
    """A bucket, its key and the role whose sessions use both."""

    bucket: str
    key_arn: str
    role_arn: str


@contextmanager
def make_estate(server: Cluster, moto_server: str, directory: Path, tenants: Mapping[str, str]) -> Iterator[Estate]:
    """``tenants``: tier by id. The first silo gets a server of its own, others a database and master on ``server``."""
    suffix = secrets.token_hex(4)
    with ExitStack() as stack:
        stack.enter_context(_aws_environment(moto_server, server))
        estate = stack.enter_context(_control_plane(server, f"i{suffix}"))
        estate.aws = boto3.session.Session(region_name=REGION)
        estate.shared_files = _files(estate, "platform", None)
        pool = build_pool(estate.shared, EXAMPLE)
        estate.shared_database = pool.database
        estate.pool_login = str(pool.parts["login"].id)
        estate.pool_login_secret, estate.pool_token_secret = pool.login_secret, pool.token_secret
        for tenant_id, tier in tenants.items():
            if tier == Tier.POOL:
                pool.admit(tenant_id)
                outputs = _outputs(
                    estate, tenant_id, Tier.POOL, estate.shared, pool.database, pool.schema, pool.login_secret
                )
            else:
                outputs = stack.enter_context(_own(estate, tenant_id, Tier(tier), directory))
            estate.tenants[tenant_id] = outputs
            _register(estate, outputs)
        estate.api_url = stack.enter_context(serve_broker(Broker(estate.broker_placement, Boto3Clients())))
        yield estate


@contextmanager
def _aws_environment(moto_server: str, server: Cluster) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in (
            ("AWS_ENDPOINT_URL", moto_server),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", REGION),
            ("TENANTRY_DATABASE_CA", str(server.authority.bundle)),
        ):
            monkeypatch.setenv(name, value)
        yield


@contextmanager
def _control_plane(server: Cluster, installation: str) -> Iterator[Estate]:
    control, reader, master = f"control_{installation}", f"reader_{installation}", f"master_{installation}"
    password = secrets.token_hex(16)
    with server.admin() as admin:
        databases, roles = _names(admin)
        admin.execute(f"CREATE DATABASE {control}".encode())
        admin.execute(f"CREATE ROLE {reader} LOGIN PASSWORD '{READER_PASSWORD}'".encode())
        create_master(admin, master, password)
    with server.admin(control) as admin:
        admin.execute(REGISTRY.read_bytes())
        admin.execute(f"GRANT USAGE ON SCHEMA tenantry_v1 TO {reader}".encode())
        admin.execute(f"GRANT SELECT ON tenantry_v1.placement TO {reader}".encode())
    stack = _stack(Login(server, master, password, "postgres"))
    try:
        yield Estate(
            server,
            installation,
            control,
            server.url(reader, READER_PASSWORD, control),
            str(server.authority.bundle),
            stack,
            "",
        )
    finally:
        with server.admin() as admin:
            later_databases, later_roles = _names(admin)
            for name in later_databases - databases:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            for name in sorted(later_roles - roles, key=lambda role: role == master):  # who granted what goes last
                admin.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


def _names(admin: psycopg.Connection[Any]) -> tuple[set[str], set[str]]:
    databases = {row[0] for row in admin.execute("SELECT datname FROM pg_database")}
    return databases, {row[0] for row in admin.execute("SELECT rolname FROM pg_roles WHERE rolname <> 'rds_superuser'")}


def _stack(master: Login, stack: str = "platform") -> Stack:
    secret = boto3.client("secretsmanager", region_name=REGION).create_secret(
        Name=f"master-{secrets.token_hex(8)}",
        SecretString=json.dumps({"username": master.username, "password": master.password}),
    )
    return Stack(Server("127.0.0.1", master.cluster.port, secret["ARN"], REGION), master, stack)


@contextmanager
def _own(estate: Estate, tenant_id: str, tier: Tier, directory: Path) -> Iterator[TenantOutputs]:
    names = estate.names(tenant_id)
    with ExitStack() as cleanup:
        stack = estate.shared.other(tenant_id)
        database = estate.shared_database
        if tier is Tier.SILO:
            stack, database = cleanup.enter_context(_instance(estate, tenant_id, directory)), names.postgres
            stack.create("Database", "database", name=database)
        secret = stack.secret(f"{names.aws}/database-login")
        schema, owner, login = names.postgres, names.postgres_owner, names.postgres_login
        where = {"database": database, "schema": schema, "owner": owner}
        stack.create("Role", "owner", name=owner, login=False, access="full")
        stack.create("Schema", "schema", database=database, name=schema, owner=owner)
        stack.create(
            "Role",
            "login",
            name=login,
            login=True,
            secretArn=secret,
            connectionLimit=20,
            access="full",
            database=database,
            searchPath=schema,
        )
        stack.create("Privileges", "privileges", **where, role=login)
        stack.create(
            "AppSchema",
            "tables",
            **where,
            mode="dedicated",
            directory=str(EXAMPLE),
            migrations=digests(EXAMPLE),
            tenantId=tenant_id,
        )
        yield _outputs(estate, tenant_id, tier, stack, database, schema, secret)


@contextmanager
def _instance(estate: Estate, tenant_id: str, directory: Path) -> Iterator[Stack]:
    """A server of the tenant's own with its master; of the first silo only, since servers are slow to make."""
    master, password = f"master_{tenant_id}_{estate.installation}", secrets.token_hex(16)
    shared = estate.shared.master.cluster
    own = not any(outputs.tier is Tier.SILO for outputs in estate.tenants.values())
    server = shared
    if own:
        home = reachable_directory(
            directory / f"{estate.installation}-{tenant_id}", f"{estate.installation}-{tenant_id}"
        )
        server = Cluster.create(home / "server", authority=shared.authority)
    try:
        if own:
            server.start()
        with server.admin() as admin:
            create_master(admin, master, password)
        yield _stack(Login(server, master, password, "postgres"), tenant_id)
    finally:
        if own:
            server.destroy()


def _outputs(
    estate: Estate, tenant_id: str, tier: Tier, stack: Stack, database: str, schema: str, secret: str
) -> TenantOutputs:
    own = TIERS[tier]
    estate.stacks[tenant_id] = stack
    files = _files(estate, tenant_id, tenant_id) if own.own_bucket else estate.shared_files
    assert files is not None
    return TenantOutputs(
        tenant_id=tenant_id,
        generation=1,
        cell="default",
        tier=tier,
        epoch=1,
        access=Access.FULL,
        database=DatabaseEndpoint(address="127.0.0.1", port=stack.master.cluster.port, name=database),
        db_schema=schema,
        login=estate.names(tenant_id).postgres_login if own.own_login else estate.pool_login,
        login_secret_arn=secret,
        bucket=files.bucket,
        prefix="" if own.own_bucket else f"{tenant_id}/",
        kms_key_arn=files.key_arn,
        role_arn=files.role_arn,
        app_schema_version=2,
    )


def _files(estate: Estate, owner_id: str, tenant_id: str | None) -> Files:
    """Bucket, key, boundary and role of a tenant, or of the platform: the documents that its stack would write."""
    names = estate.names(owner_id)
    bucket, role_arn = names.bucket(ACCOUNT), names.role_arn(ACCOUNT)
    use = KeyUse(
        data_role=role_arn, tenant_tag=tenant_id or "?*", bucket=bucket, secret_prefix=names.secret(""), database=True
    )
    key_arn = str(
        estate.aws.client("kms").create_key(
            Policy=to_json(key_policy(ACCOUNT, use), limit=32768, what="key"),
            Tags=[
                {"TagKey": "tenant_id", "TagValue": owner_id},
                {"TagKey": "managed-by", "TagValue": "tenantry"},
                {"TagKey": "installation", "TagValue": names.installation},
            ],
        )["KeyMetadata"]["Arn"]
    )
    estate.aws.client("kms").create_alias(AliasName=names.key_alias, TargetKeyId=key_arn)
    s3 = estate.aws.client("s3")
    s3.create_bucket(Bucket=bucket)
    policy = bucket_policy(ACCOUNT, bucket, role_arn, shared=tenant_id is None, tenant_id=tenant_id)
    s3.put_bucket_policy(Bucket=bucket, Policy=to_json(policy, limit=20480, what="bucket"))
    iam = estate.aws.client("iam")
    if tenant_id is None:
        document = to_json(boundary_policy(ACCOUNT, bucket, names.key), limit=6144, what="boundary")
        iam.create_policy(PolicyName=names.boundary, Path=IAM_PATH, PolicyDocument=document)
    boundary = f"arn:aws:iam::{ACCOUNT.id}:policy{IAM_PATH}{estate.names('platform').boundary}"
    iam.create_role(
        RoleName=names.role,
        Path=IAM_PATH,
        AssumeRolePolicyDocument=to_json(trust_policy(ACCOUNT, (), tenant_id=tenant_id), limit=2048, what="trust"),
        PermissionsBoundary=boundary,
        Tags=[{"Key": "tenant_id", "Value": owner_id}],
    )
    iam.put_role_policy(
        RoleName=names.role,
        PolicyName="tenant-data",
        PolicyDocument=to_json(data_policy(ACCOUNT, bucket, names.key, tenant_id=tenant_id), limit=10240, what="role"),
    )
    return Files(bucket, key_arn, role_arn)


def _register(estate: Estate, outputs: TenantOutputs) -> None:
    token_secret = None if TIERS[outputs.tier].own_login else estate.pool_token_secret
    with estate.server.admin(estate.control) as connection:
        connection.execute(
            "INSERT INTO registry.tenant (tenant_id, plan, tier, state) VALUES (%s, 'starter', %s, 'active')",
            (outputs.tenant_id, outputs.tier.value),
        )
        values = {
            "tenant_id": outputs.tenant_id,
            "generation": outputs.generation,
            "cell": outputs.cell,
            "region": REGION,
            "tier": outputs.tier.value,
            "epoch": outputs.epoch,
            "access": outputs.access.value,
            "db_host": outputs.database.address,
            "db_port": outputs.database.port,
            "db_name": outputs.database.name,
            "db_schema": outputs.db_schema,
            "db_login": outputs.login,
            "login_secret_arn": outputs.login_secret_arn,
            "token_secret_arn": token_secret,
            "bucket": outputs.bucket,
            "prefix": outputs.prefix,
            "kms_key_arn": outputs.kms_key_arn,
            "role_arn": outputs.role_arn,
            "app_schema_version": outputs.app_schema_version,
        }
        statement = sql.SQL("INSERT INTO registry.placement ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(sql.Placeholder, values))
        )
        connection.execute(statement, values)
