"""Pools and schemas of tenants on a real server, made by the resource provider itself."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from provisioner.offboarding import database
from provisioner.offboarding.database import Source
from provisioner.offboarding.layout import Database, ExportWriter, LeftOut
from tests.integration.providers.postgres.conftest import Pool, Stack, build_pool, stack

__all__ = ["stack"]


@dataclass
class Written:
    database: Database
    left_out: list[LeftOut]
    members: dict[str, bytes]

    def table(self, name: str) -> bytes:
        (entry,) = [each for each in self.database.tables if each.name == name]
        return self.members[entry.member]

    @property
    def everything(self) -> bytes:
        return b"\n".join(self.members.values())


def write(source: Source, path: Path) -> Written:
    """The database's part of an export, unpacked."""
    path.unlink(missing_ok=True)
    writer = ExportWriter(path)
    try:
        exported, left_out = database.export(source, writer)
    finally:
        writer.abandon()
    with zipfile.ZipFile(path) as archive:
        return Written(exported, left_out, {name: archive.read(name) for name in archive.namelist()})


@dataclass
class Own:
    """A schema of one tenant's own, as bridge and silo have it; ``admin`` is its owner's connection."""

    stack: Stack
    source: Source
    owner: str
    admin: psycopg.Connection[Any]


@pytest.fixture
def pool(stack: Stack, tmp_path: Path) -> Pool:
    schema = tmp_path / "schema"
    schema.mkdir()
    (schema / "0001_all.sql").write_text(
        "CREATE TABLE note (tenant_id text NOT NULL, id bigint NOT NULL, body text, PRIMARY KEY (tenant_id, id));\n"
        "CREATE TABLE reply (tenant_id text NOT NULL, id bigint NOT NULL, note_id bigint NOT NULL,\n"
        "    PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, note_id) REFERENCES note);\n"
        "-- tenantry: reference-table\n"
        "CREATE TABLE country (code text PRIMARY KEY, name text NOT NULL);\n"
        "CREATE VIEW everything WITH (security_invoker = true) AS SELECT tenant_id, body FROM note;\n"
    )
    return build_pool(stack, schema)


def pool_source(pool: Pool, tenant: str) -> Source:
    return Source(pool.stack.server, pool.database, pool.schema, tenant, pooled=True, epoch=1)


def as_superuser(pool_or_stack: Pool | Stack, database_name: str, *statements: str) -> None:
    """Past every policy: what an operator's slip, or an attacker who got far, could leave behind."""
    found = pool_or_stack.stack if isinstance(pool_or_stack, Pool) else pool_or_stack
    with found.master.cluster.admin(database_name) as admin:
        for statement in statements:
            admin.execute(statement.encode())


@pytest.fixture
def own(stack: Stack) -> Iterator[Own]:
    name = f"t_{stack.master.username[7:]}"
    owner = f"{name}_owner"
    with stack.master.cluster.admin(stack.master.database) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(owner)))
        admin.execute(
            sql.SQL("GRANT {} TO {} WITH ADMIN TRUE, INHERIT TRUE, SET TRUE").format(
                sql.Identifier(owner), sql.Identifier(stack.master.username)
            )
        )
        admin.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(name), sql.Identifier(owner)))
    source = Source(stack.server, stack.master.database, name, "acme", pooled=False, epoch=1, login=f"{name}_app")
    admin = psycopg.connect(stack.master.cluster.url(stack.master.username, stack.master.password, source.database))
    admin.autocommit = True
    admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
    admin.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(name)))
    yield Own(stack, source, owner, admin)
    admin.close()
