"""A master like RDS's, its secret in Secrets Manager, and resources driven through the provider's own lifecycle."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from psycopg import sql

from localcloud.postgres import Cluster, create_master
from providers.base import Context, Properties, lifecycle
from providers.postgres.connection import Server
from providers.postgres.provider import provider
from providers.postgres.sessions import IDLE
from tests.integration.conftest import Login

REGION = "us-east-1"
EXAMPLE: Path = Path(__file__).parents[4] / "example" / "app_schema"
PROVIDER = provider()


@dataclass
class Resource:
    """A resource of a stack: what the engine's state would hold."""

    token: str
    name: str
    id: str
    inputs: Properties
    outputs: Properties


@dataclass
class Stack:
    """Plays the engine: check, diff, create, read, update, delete, for one stack on one server."""

    server: Server
    master: Login
    stack: str = "acme"
    resources: dict[str, Resource] = field(default_factory=dict)

    def other(self, stack: str) -> Stack:
        return Stack(self.server, self.master, stack)

    def context(self, kind: str, name: str) -> Context[Server]:
        token = f"tenantry-postgres:index:{kind}"
        return Context(self.server, f"urn:pulumi:{self.stack}::tenantry::{token}::{name}", name, token)

    def create(self, kind: str, name: str, /, **inputs: Any) -> Resource:
        ctx = self.context(kind, name)
        handler = lifecycle.find_handler(PROVIDER, ctx.type)
        checked = lifecycle.check(handler, ctx, inputs, {})
        id, outputs = lifecycle.create(handler, ctx, checked)
        resource = Resource(ctx.type, name, id, checked, outputs)
        self.resources[name] = resource
        return resource

    def update(self, resource: Resource, /, **changes: Any) -> bool:
        """Whether there was anything to do."""
        ctx = self.context(resource.token.rsplit(":", 1)[-1], resource.name)
        handler = lifecycle.find_handler(PROVIDER, ctx.type)
        wanted = {k: v for k, v in {**resource.inputs, **changes}.items() if k in handler.inputs and v is not None}
        checked = lifecycle.check(handler, ctx, wanted, resource.inputs)
        verdict = lifecycle.verdict(handler, resource.inputs, checked)
        assert not verdict.replaces, verdict
        if not verdict.differences:
            return False
        resource.outputs = lifecycle.update(handler, ctx, resource.id, resource.outputs, resource.inputs, checked)
        resource.inputs = checked
        return True

    def refresh(self, resource: Resource) -> list[str] | None:
        """Drift as the state records it; None if the resource is gone."""
        ctx = self.context(resource.token.rsplit(":", 1)[-1], resource.name)
        handler = lifecycle.find_handler(PROVIDER, ctx.type)
        found = lifecycle.read(handler, ctx, resource.id, resource.inputs, resource.outputs)
        if found is None:
            return None
        _, resource.inputs, resource.outputs = found
        return list(resource.inputs.get("drift", []))

    def delete(self, resource: Resource) -> None:
        ctx = self.context(resource.token.rsplit(":", 1)[-1], resource.name)
        handler = lifecycle.find_handler(PROVIDER, ctx.type)
        handler.delete(ctx, resource.id, {**resource.inputs, **resource.outputs})

    def destroy(self) -> None:
        for resource in reversed(list(self.resources.values())):
            self.delete(resource)
        self.resources.clear()

    def secret(self, purpose: str) -> str:
        client = boto3.client("secretsmanager", region_name=REGION)
        return str(client.create_secret(Name=f"{purpose}-{secrets.token_hex(8)}")["ARN"])

    def value(self, arn: str) -> dict[str, Any]:
        client = boto3.client("secretsmanager", region_name=REGION)
        found: dict[str, Any] = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
        return found

    @contextmanager
    def connect(self, secret: str, **options: Any) -> Iterator[psycopg.Connection[Any]]:
        """A session of the login whose secret is ``secret``."""
        login = self.value(secret)
        connection = psycopg.connect(
            host=login["host"],
            port=login["port"],
            dbname=login["dbname"],
            user=login["username"],
            password=login["password"],
            sslmode="verify-full",
            sslrootcert=str(self.master.cluster.authority.bundle),
            **options,
        )
        try:
            yield connection
        finally:
            connection.close()


def _stack(master: Login, moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("TENANTRY_DATABASE_CA", str(master.cluster.authority.bundle))
    client = boto3.client("secretsmanager", region_name=REGION)
    secret = client.create_secret(
        Name=f"master-{secrets.token_hex(8)}",
        SecretString=json.dumps({"username": master.username, "password": master.password}),
    )
    return Stack(Server("127.0.0.1", master.cluster.port, secret["ARN"], REGION), master)


@pytest.fixture
def stack(rds_master: Login, moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    yield _stack(rds_master, moto_server, monkeypatch)
    IDLE.close()


def digests(directory: Path) -> list[dict[str, Any]]:
    files = sorted(directory.glob("*.sql"))
    return [
        {
            "version": number,
            "name": path.stem[5:],
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for number, path in enumerate(files, start=1)
    ]


@dataclass
class Pool:
    """A pool with the application's tables, its login, and tenants admitted to it."""

    stack: Stack
    database: str
    login_secret: str
    token_secret: str
    parts: Mapping[str, Resource]
    schema: str = "pool"

    def token(self, tenant: str, epoch: int = 1, *, lives: int = 900, key: str | None = None) -> str:
        key = key or self.stack.value(self.token_secret)["key"]
        expiry = int(time.time()) + lives
        mac = hmac.new(bytes.fromhex(key), f"{tenant}|{epoch}|{expiry}".encode(), hashlib.sha256).hexdigest()
        return f"{expiry}.{epoch}.{mac}"

    def admit(self, tenant: str, epoch: int = 1) -> Resource:
        return self.stack.create(
            "PoolTenant",
            f"tenant-{tenant}",
            database=self.database,
            schema=self.schema,
            tenantId=tenant,
            epoch=epoch,
            access="full",
        )

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        with self.stack.connect(self.login_secret, autocommit=True) as connection:
            yield connection

    @contextmanager
    def entered(self, tenant: str, token: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        """A transaction that entered ``tenant``; rolled back at the end unless it is committed."""
        with self.session() as connection, connection.transaction():
            enter(connection, tenant, token if token is not None else self.token(tenant))
            yield connection


def enter(connection: psycopg.Connection[Any], tenant: str, token: str) -> None:
    connection.execute(
        "SELECT set_config('app.current_tenant', %s, true), set_config('app.tenant_token', %s, true)", (tenant, token)
    )


def build_pool(stack: Stack, directory: Path = EXAMPLE) -> Pool:
    suffix = secrets.token_hex(4)
    database, owner, login = f"cell_{suffix}", f"pool_owner_{suffix}", f"pool_app_{suffix}"
    login_secret, token_secret = stack.secret("login"), stack.secret("token")
    where = {"database": database, "schema": "pool", "owner": owner}
    parts = {
        "database": stack.create("Database", "database", name=database),
        "owner": stack.create("Role", "owner", name=owner, login=False, access="full"),
        "schema": stack.create("Schema", "schema", database=database, name="pool", owner=owner),
        "login": stack.create(
            "Role",
            "login",
            name=login,
            login=True,
            secretArn=login_secret,
            connectionLimit=20,
            access="full",
            database=database,
            searchPath="pool",
        ),
    }
    parts["security"] = stack.create("PoolSecurity", "security", **where, login=login, tokenSecretArn=token_secret)
    parts["privileges"] = stack.create("Privileges", "privileges", **where, role=login)
    parts["tables"] = stack.create(
        "AppSchema", "tables", **where, mode="pool", directory=str(directory), migrations=digests(directory)
    )
    return Pool(stack, database, login_secret, token_secret, parts)


@pytest.fixture
def pool(stack: Stack) -> Pool:
    return build_pool(stack)


@pytest.fixture(scope="module")
def shared_pool(postgres_server: Cluster, moto_server: str) -> Iterator[Pool]:
    """A pool for the tests of one module: `acme` and `globex` have a project, a task and a comment each."""
    name, password = f"master_{secrets.token_hex(6)}", secrets.token_hex(16)
    with postgres_server.admin() as admin:
        create_master(admin, name, password)
    with pytest.MonkeyPatch.context() as monkeypatch:
        stack = _stack(Login(postgres_server, name, password, "postgres"), moto_server, monkeypatch)
        pool = build_pool(stack)
        for tenant in ("acme", "globex"):
            pool.admit(tenant)
            with pool.session() as session, session.transaction():
                enter(session, tenant, pool.token(tenant))
                session.execute("INSERT INTO project (name) VALUES (%s)", (f"project of {tenant}",))
                session.execute("INSERT INTO task (project_id, title) SELECT project_id, 'task' FROM project")
                session.execute("INSERT INTO comment (task_id, author, body) SELECT task_id, 'a', 'b' FROM task")
        yield pool
        stack.destroy()
        IDLE.close()
    with postgres_server.admin() as admin:
        admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


@pytest.fixture(scope="module")
def module_stack(postgres_server: Cluster, moto_server: str) -> Iterator[Stack]:
    """A master of this module's own; what its tests leave on the server goes with it."""
    name, password = f"master_{secrets.token_hex(6)}", secrets.token_hex(16)
    with postgres_server.admin() as admin:
        databases = {row[0] for row in admin.execute("SELECT datname FROM pg_database")}
        create_master(admin, name, password)
        roles = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}
        with pytest.MonkeyPatch.context() as monkeypatch:
            yield _stack(Login(postgres_server, name, password, "postgres"), moto_server, monkeypatch)
            IDLE.close()
        for (database,) in admin.execute("SELECT datname FROM pg_database").fetchall():
            if database not in databases:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        left = [row[0] for row in admin.execute("SELECT rolname FROM pg_roles") if row[0] not in roles]
        for role in (*left, name):
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture(scope="module")
def platform(module_stack: Stack) -> Iterator[Engine]:
    """The engine of the stack `platform`, connected to a provider served on a port."""
    with engine_of(module_stack, "platform") as found:
        yield found


@pytest.fixture(scope="module")
def cell(platform: Engine) -> Cell:
    """A database with a pool that the module's tests share: tenants and schemas have names of their own."""
    return build_cell(platform)


# At the end: the engine's module builds on this one.
from tests.integration.providers.postgres.engine import Cell, Engine, build_cell, engine_of  # noqa: E402
