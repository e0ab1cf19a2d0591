"""The provider through its gRPC interface, for one stack, as the engine drives it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from providers.base.serve import start
from providers.base.testing import ProviderClient, Resource
from providers.postgres.provider import provider
from provisioner.broker import entry_token
from tests.integration.providers.postgres.conftest import EXAMPLE, REGION, Stack, digests, enter

T = "tenantry-postgres:index:"


@dataclass
class Engine:
    """``stack`` knows the server, its master and the secrets; ``name`` is the Pulumi stack's."""

    stack: Stack
    client: ProviderClient
    port: int
    name: str
    closing: ExitStack = field(repr=False)

    def other(self, name: str) -> Engine:
        """Another stack's engine at the same provider."""
        return _connected(self.stack, self.port, name, self.closing)

    def create(self, kind: str, label: str, /, **inputs: Any) -> Resource:
        return self.client.create(T + kind, label, inputs)

    def update(self, resource: Resource, /, **changes: Any) -> Resource:
        """What `pulumi up` does after a change of the program, or after a refresh that found drift."""
        wanted = {k: v for k, v in {**resource.inputs, **changes}.items() if k != "drift" and v is not None}
        plan = self.client.plan(resource, wanted)
        assert plan.changes, "there is nothing to do"
        assert not plan.replaces
        return self.client.update(resource, wanted)

    def refresh(self, resource: Resource) -> Resource:
        found = self.client.refresh(resource)
        assert found is not None, "the resource is gone"
        return found

    def drift(self, resource: Resource) -> list[str]:
        return list(self.refresh(resource).inputs.get("drift", []))

    def admin(self, database: str, statement: str) -> None:
        """Run something as the server's superuser: somebody with a console."""
        with self.stack.master.cluster.admin(database) as connection:
            connection.execute(statement.encode())

    def owned(self, database: str, owner: str, statement: str) -> None:
        """Run something in ``database`` as the master acting as ``owner``."""
        with self.stack.server.connect(database) as connection, connection.transaction():
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
            connection.execute(statement.encode())


def _connected(stack: Stack, port: int, name: str, closing: ExitStack) -> Engine:
    client = ProviderClient(port, stack=name)
    closing.callback(client.close)
    server = stack.server
    config = {"host": server.host, "port": str(server.port), "masterSecretArn": server.master_secret_arn}
    client.configure({**config, "region": REGION})
    return Engine(stack, client, port, name, closing)


@contextmanager
def engine_of(stack: Stack, name: str = "acme") -> Iterator[Engine]:
    server, port = start(provider())
    with ExitStack() as closing:
        closing.callback(lambda: server.stop(0).wait())
        yield _connected(stack, port, name, closing)


@dataclass
class Bridge:
    """A tenant's own schema on a shared database: the five resources of its stack."""

    engine: Engine
    database: str
    name: str
    secret: str
    parts: dict[str, Resource]

    @property
    def owner(self) -> str:
        return self.name + "_owner"

    @property
    def login(self) -> str:
        return self.name + "_app"

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        with self.engine.stack.connect(self.secret, autocommit=True) as connection:
            yield connection

    def destroy(self) -> None:
        for part in reversed(list(self.parts.values())):
            self.engine.client.delete(part)


def bridge(
    engine: Engine, database: str, tenant: str = "acme", directory: Path = EXAMPLE, version: int | None = None
) -> Bridge:
    name = f"t_{secrets.token_hex(5)}"
    secret = engine.stack.secret("login")
    owner, login = f"{name}_owner", f"{name}_app"
    where = {"database": database, "schema": name, "owner": owner}
    parts = {
        "owner": engine.create("Role", "owner", name=owner, login=False, access="full"),
        "schema": engine.create("Schema", "schema", database=database, name=name, owner=owner),
        "login": engine.create(
            *("Role", "login"),
            **{"name": login, "login": True, "secretArn": secret, "connectionLimit": 5, "access": "full"},
            **{"database": database, "searchPath": name},
        ),
        "privileges": engine.create("Privileges", "privileges", **where, role=login),
        "tables": engine.create(
            *("AppSchema", "tables"),
            **where,
            **{"mode": "dedicated", "tenantId": tenant, "directory": str(directory)},
            migrations=digests(directory)[:version],
        ),
    }
    return Bridge(engine, database, name, secret, parts)


@dataclass
class Cell:
    """A shared database with a pool in it, made by the stack `platform`."""

    engine: Engine
    database: str
    login: str
    login_secret: str
    token_secret: str
    parts: dict[str, Resource]

    @property
    def owner(self) -> str:
        return self.parts["owner"].id

    @property
    def definer(self) -> str:
        return f"{self.database}_tenantry"

    @property
    def key(self) -> bytes:
        return bytes.fromhex(self.engine.stack.value(self.token_secret)["key"])

    def admit(self, tenant: str, engine: Engine | None = None, **changes: Any) -> Resource:
        inputs = {"database": self.database, "schema": "pool", "tenantId": tenant, "epoch": 1, "access": "full"}
        return (engine or self.engine.other(tenant)).create("PoolTenant", tenant, **{**inputs, **changes})

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        with self.engine.stack.connect(self.login_secret, autocommit=True) as connection:
            yield connection

    @contextmanager
    def entered(self, tenant: str, key: bytes | None = None, epoch: int = 1) -> Iterator[psycopg.Connection[Any]]:
        """A transaction of the login that entered ``tenant``."""
        token = entry_token(key or self.key, tenant, epoch, int(time.time()) + 600)
        with self.session() as connection, connection.transaction():
            enter(connection, tenant, token)
            yield connection


def build_cell(engine: Engine, directory: Path = EXAMPLE, version: int | None = None) -> Cell:
    suffix = secrets.token_hex(4)
    database, owner, login = f"cell_{suffix}", f"pool_owner_{suffix}", f"pool_app_{suffix}"
    login_secret, token_secret = engine.stack.secret("login"), engine.stack.secret("token")
    where = {"database": database, "schema": "pool", "owner": owner}
    parts = {
        "database": engine.create("Database", "database", name=database),
        "owner": engine.create("Role", "owner", name=owner, login=False),
        "schema": engine.create("Schema", "schema", database=database, name="pool", owner=owner),
        "login": engine.create(
            *("Role", "login"),
            **{"name": login, "login": True, "secretArn": login_secret, "connectionLimit": 20},
            **{"database": database, "searchPath": "pool"},
        ),
        "security": engine.create("PoolSecurity", "security", **where, login=login, tokenSecretArn=token_secret),
        "privileges": engine.create("Privileges", "privileges", **where, role=login),
        "tables": engine.create(
            *("AppSchema", "tables"),
            **where,
            **{"mode": "pool", "directory": str(directory)},
            migrations=digests(directory)[:version],
        ),
    }
    return Cell(engine, database, login, login_secret, token_secret, parts)
