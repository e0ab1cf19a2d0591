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

from components.naming import Names
from components.spec import Access, DatabaseEndpoint, PlatformOutputs, TenantOutputs
from components.tiers import TIERS, Tier
from isolation.installation import Installation
from localcloud.postgres import Cluster, create_master, reachable_directory
from localcloud.postgres.binaries import bin_directory
from providers.postgres.connection import Server
from provisioner.broker import Boto3Clients, Broker, BrokerPlacement
from provisioner.registry.migrate import schema_text
from tenantry import Config
from tests.integration.conftest import Login
from tests.integration.isolation.estate_cloud import (
    ACCOUNT,
    Files,
    Network,
    boundary_arn,
    make_files,
    make_instance,
    make_network,
)
from tests.integration.providers.postgres.conftest import REGION, Stack, build_pool, digests
from tests.integration.tenantry.world import APPLICATION_TOKEN, serve_broker

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "example" / "app_schema"

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
    network: Network | None = None
    stacks: dict[str, Stack] = field(default_factory=dict)

    def config(self, **overrides: Any) -> Config:
        settings: dict[str, Any] = {
            "database_url": self.database_url,
            "api_url": self.api_url,
            "application_token": APPLICATION_TOKEN,
            "database_ca": self.authority,
        }
        return Config(**(settings | overrides))

    def installation_known(self) -> Installation:
        """What a prover beside the platform stack knows."""

        def token_key(_: TenantOutputs) -> bytes:
            return bytes.fromhex(self.shared.value(self.pool_token_secret)["key"])

        return Installation((_platform(self),), frozenset({"task_status"}), token_key, bin_directory() / "pg_dump")

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


@contextmanager
def make_estate(server: Cluster, moto_server: str, directory: Path, tenants: Mapping[str, str]) -> Iterator[Estate]:
    """``tenants``: tier by id. The first silo gets a server of its own, others a database and master on ``server``."""
    suffix = secrets.token_hex(4)
    with ExitStack() as stack:
        stack.enter_context(_aws_environment(moto_server, server))
        estate = stack.enter_context(_control_plane(server, f"i{suffix}"))
        estate.aws = boto3.session.Session(region_name=REGION)
        estate.network = make_network(estate.aws, estate.names("platform"))
        estate.shared_files = _files(estate, "platform", None)
        make_instance(estate.aws, estate.names("platform"), estate.network, estate.shared_files.key_arn)
        pool = build_pool(estate.shared, EXAMPLE)
        estate.shared_database = pool.database
        estate.pool_login = str(pool.parts["login"].id)
        estate.pool_login_secret, estate.pool_token_secret = pool.login_secret, pool.token_secret
        for secret in (pool.login_secret, pool.token_secret):
            _encrypted(estate, secret, estate.shared_files.key_arn)
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
        admin.execute(schema_text().encode())
        admin.execute(f"GRANT USAGE ON SCHEMA tenantry_v1 TO {reader}".encode())
        admin.execute(f"GRANT SELECT ON tenantry_v1.placement, tenantry_v1.entitlement TO {reader}".encode())
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
    assert estate.network is not None
    if own.own_instance:
        make_instance(estate.aws, estate.names(tenant_id), estate.network, files.key_arn)
    _encrypted(estate, secret, files.key_arn)
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


def _encrypted(estate: Estate, secret: str, key_arn: str) -> None:
    estate.aws.client("secretsmanager").update_secret(SecretId=secret, KmsKeyId=key_arn)


def _files(estate: Estate, owner_id: str, tenant_id: str | None) -> Files:
    return make_files(estate.aws, estate.names(owner_id), estate.names("platform"), owner_id, tenant_id)


def _platform(estate: Estate) -> PlatformOutputs:
    """As the platform stack would put it out."""
    names, network, files = estate.names("platform"), estate.network, estate.shared_files
    assert network is not None
    assert files is not None
    return PlatformOutputs(
        cell="default",
        account_id=ACCOUNT.id,
        region=REGION,
        vpc_id=network.vpc_id,
        private_subnet_ids=network.subnet_ids,
        db_subnet_group=network.subnet_group,
        db_parameter_group=network.parameter_group,
        app_security_group_id=network.app_group,
        shared_instance_identifier=names.instance,
        shared_database=DatabaseEndpoint(
            address="127.0.0.1", port=estate.shared.master.cluster.port, name=estate.shared_database
        ),
        shared_master_secret_arn="",
        pool_login=estate.pool_login,
        pool_login_secret_arn=estate.pool_login_secret,
        pool_token_secret_arn=estate.pool_token_secret,
        shared_bucket=files.bucket,
        platform_key_arn=files.key_arn,
        shared_role_arn=files.role_arn,
        permissions_boundary_arn=boundary_arn(names),
        alarm_topic_arn="",
        app_schema_version=2,
    )


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
