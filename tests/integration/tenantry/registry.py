"""A real control plane's database, a role that may only read the SDK's contract, and tenants in it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from localcloud.postgres import Cluster
from localcloud.postgres.master import create_database
from provisioner.registry.migrate import migrate
from tenantry import Config
from tests.integration.conftest import Login

T = TypeVar("T")
READER_GRANTS = (
    "GRANT USAGE ON SCHEMA tenantry_v1 TO {reader}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA tenantry_v1 TO {reader}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tenantry_v1 TO {reader}",
)


@dataclass
class Registry:
    owner: Login
    reader: Login

    def config(self, **overrides: Any) -> Config:
        settings: dict[str, Any] = {
            "database_url": self.reader.url,
            "api_url": "http://127.0.0.1:1",
            "application_token": "none",
            "database_ca": str(self.owner.cluster.authority.bundle),
        }
        return Config(**(settings | overrides))

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def run(self, work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[T]]) -> T:
        async def run() -> T:
            async with await psycopg.AsyncConnection.connect(self.owner.url) as connection:
                return await work(connection)

        return asyncio.run(run())

    def add(self, tenant_id: str, **columns: Any) -> None:
        values = {"plan": "team", "features": ["reports"], "limits": {"projects": 10}, "rates": [], **columns}
        self.execute("INSERT INTO registry.tenant (tenant_id) VALUES (%s)", tenant_id)
        self.set(tenant_id, **values)

    def set(self, tenant_id: str, **columns: Any) -> None:
        for name, value in columns.items():
            given = json.dumps(value) if name in ("limits", "rates") else value
            with psycopg.connect(self.owner.url, autocommit=True) as connection:
                connection.execute(
                    sql.SQL("UPDATE registry.tenant SET {} = %s WHERE tenant_id = %s").format(sql.Identifier(name)),
                    (given, tenant_id),
                )

    def clear(self) -> None:
        """No tenant, and the reader may connect again."""
        self.execute("TRUNCATE registry.tenant CASCADE")
        self.execute("TRUNCATE registry.timeline, registry.rate_window")
        with self.owner.cluster.admin() as admin:
            admin.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(self.reader.username)))


@contextmanager
def make_registry(cluster: Cluster) -> Iterator[Registry]:
    suffix = secrets.token_hex(6)
    owner = Login(cluster, f"owner_{suffix}", secrets.token_hex(16), f"registry_{suffix}")
    reader = Login(cluster, f"reader_{suffix}", secrets.token_hex(16), owner.database)
    with cluster.admin() as admin:
        for role in (owner, reader):
            create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            admin.execute(create.format(sql.Identifier(role.username), sql.Literal(role.password)))
        create_database(admin, owner.database, owner.username)
        grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
        admin.execute(grant.format(sql.Identifier(owner.database), sql.Identifier(reader.username)))
    try:
        migrate(owner.url, owner.url)
        with psycopg.connect(owner.url, autocommit=True) as connection:
            for statement in READER_GRANTS:
                connection.execute(sql.SQL(statement).format(reader=sql.Identifier(reader.username)))
        yield Registry(owner, reader)
    finally:
        with cluster.admin() as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(owner.database)))
            for role in (owner, reader):
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role.username)))
