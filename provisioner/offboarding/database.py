"""A tenant's tables, out of one snapshot, as CSV that ``COPY ... FROM`` takes back unchanged.

In the pool the transaction is entered as the tenant, with a token that the database itself checks, and as a role that
row-level security applies to; where the tenant has a schema of its own, as the owner of that schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from providers.postgres import pool_tenants
from providers.postgres.connection import Connection, Server, become, ensure_member
from providers.postgres.errors import PostgresProviderError
from provisioner.offboarding import ddl
from provisioner.offboarding.errors import ExportInterrupted, ExportRefused
from provisioner.offboarding.layout import Column, Database, ExportWriter, LeftOut, TableEntry

#: One form for every value, whatever the server's settings: what is read back is what was there.
_SETTINGS = (
    ("timezone", "UTC"),
    ("datestyle", "ISO, YMD"),
    ("intervalstyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("xmloption", "content"),
    ("statement_timeout", "0"),  # a large table takes its time
    ("idle_in_transaction_session_timeout", "0"),
    ("search_path", "pg_catalog"),
    ("default_transaction_read_only", "off"),
)

_RELATIONS = """
SELECT c.oid, c.relname, c.relkind,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped),
       c.relispartition AND (SELECT p.relnamespace FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
                              WHERE i.inhrelid = c.oid) = c.relnamespace
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'm', 'f', 'v') ORDER BY c.relname
"""
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.attgenerated <> ''
  FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_LARGE_OBJECTS = """
SELECT count(*) FROM pg_largeobject_metadata WHERE pg_get_userbyid(lomowner) = ANY (%s)
"""


@dataclass(frozen=True)
class Source:
    """Where a tenant's tables are. ``server``: reached by its master, who is no superuser. ``login``: the tenant's own;
    "" in the pool."""

    server: Server
    database: str
    schema: str
    tenant_id: str
    pooled: bool
    epoch: int
    login: str = ""


@dataclass(frozen=True)
class _Relation:
    oid: int
    name: str
    kind: str
    by_tenant: bool
    inside: bool  #: a partition whose parent is in the schema too


def export(source: Source, writer: ExportWriter) -> tuple[Database, list[LeftOut]]:
    """Write every table of the tenant. Raises ExportRefused and ExportInterrupted."""
    try:
        with source.server.connect(source.database) as connection:
            return _export(source, connection, writer)
    except psycopg.errors.SerializationFailure:
        raise ExportInterrupted(
            f"tenant {source.tenant_id} was changed while its tables were exported", hint="it is begun again"
        ) from None
    except psycopg.Error as error:
        raise ExportInterrupted(
            f"the tables of tenant {source.tenant_id} could not be exported: {type(error).__name__}"
            f" ({error.sqlstate or 'no answer'})",
            hint="check that the database runs; it is tried again",
        ) from error
    except PostgresProviderError as error:
        raise ExportInterrupted(f"the tables of tenant {source.tenant_id} could not be exported: {error}") from error


def _export(source: Source, connection: Connection, writer: ExportWriter) -> tuple[Database, list[LeftOut]]:
    owner = _owner(source, connection)
    ensure_member(connection, owner)  # before: what is granted must outlive the export's transaction
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for name, value in _SETTINGS:
            connection.execute(sql.SQL("SELECT set_config(%s, %s, true)"), (name, value))
        told = connection.execute("SELECT transaction_timestamp(), current_setting('server_version')").fetchone()
        assert told is not None
        at, version = told
        assert isinstance(at, datetime)
        relations = [
            _Relation(int(str(row[0])), str(row[1]), str(row[2]), bool(row[3]), bool(row[4]))
            for row in connection.execute(_RELATIONS, (source.schema,)).fetchall()
        ]
        left_out = _left_out(source, connection, relations, owner)
        tables = [
            _table(source, connection, owner, writer, number, relation)
            for number, relation in enumerate(
                (each for each in relations if each.kind in "rp" and not each.inside and _wanted(source, each)), 1
            )
        ]
        if not source.pooled:
            with writer.member("schema/schema.sql") as file, connection.transaction(force_rollback=True):
                become(connection, owner)
                for statement in ddl.statements(connection, source.schema):
                    file.write(statement.encode() + b"\n")
    return Database(server_version=str(version), snapshot_at=at, tables=tuple(tables)), left_out


def _wanted(source: Source, relation: _Relation) -> bool:
    return relation.by_tenant or not source.pooled


def _owner(source: Source, connection: Connection) -> str:
    row = connection.execute(
        "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", (source.schema,)
    ).fetchone()
    if row is None:
        raise ExportRefused(
            f"tenant {source.tenant_id} has no schema {source.schema} in database {source.database}",
            hint=f"reconcile it: tenantry tenants reconcile {source.tenant_id}",
        )
    return str(row[0])


def _left_out(source: Source, connection: Connection, relations: list[_Relation], owner: str) -> list[LeftOut]:
    found = []
    for each in relations:
        what = f"{source.schema}.{each.name}"
        match each.kind:
            case "r" | "p" if not _wanted(source, each):
                found.append(LeftOut(what=what, why="has no tenant_id: what all tenants read, and nobody's own"))
            case "v" | "m" if not source.pooled:
                found.append(
                    LeftOut(what=what, why="a view: what it shows is in the tables; its definition in the schema")
                )
            case "f":
                found.append(LeftOut(what=what, why="a foreign table: its rows are on another server"))
    row = connection.execute(_LARGE_OBJECTS, ([owner, source.login],)).fetchone()
    assert row is not None
    if not source.pooled and int(str(row[0])):
        found.append(LeftOut(what=f"{row[0]} large objects", why="large objects are in no table; use bytea or files"))
    return found


@contextmanager
def _as_tenant(source: Source, connection: Connection, owner: str) -> Iterator[None]:
    """A part of the transaction in which it reads what the tenant may; everything that it sets is undone."""
    if source.pooled:
        tenant = pool_tenants.PoolTenant(
            source.database, source.schema, source.tenant_id, source.epoch, access="suspended"
        )
        with pool_tenants.entered(connection, tenant):
            yield
        return
    with connection.transaction(force_rollback=True):
        become(connection, owner)
        yield


def _table(
    source: Source, connection: Connection, owner: str, writer: ExportWriter, number: int, relation: _Relation
) -> TableEntry:
    columns = tuple(
        Column(name=str(name), type=str(kind), nullable=bool(nullable), generated=bool(generated))
        for name, kind, nullable, generated in connection.execute(_COLUMNS, (relation.oid,)).fetchall()
    )
    table = sql.Identifier(source.schema, relation.name)
    member = f"tables/{number:04}-{re.sub(r'[^a-z0-9_]', '_', relation.name.lower())[:50]}.csv"
    with _as_tenant(source, connection, owner):
        if source.pooled:
            _require_row_security(source, connection, relation)
        elif relation.by_tenant:
            _require_own(source, connection, relation, table)
        query = sql.SQL("SELECT {} FROM {}{}{}").format(
            sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
            # Rows of tables that inherit are theirs; those of partitions are their parent's.
            sql.SQL("" if relation.kind == "p" else "ONLY "),
            table,
            sql.SQL(" WHERE tenant_id = {}").format(sql.Literal(source.tenant_id)) if source.pooled else sql.SQL(""),
        )
        rows = _copy(connection, query, writer, member)
    return TableEntry(schema_name=source.schema, name=relation.name, member=member, rows=rows, columns=columns)


def _require_row_security(source: Source, connection: Connection, relation: _Relation) -> None:
    row = connection.execute("SELECT row_security_active(%s::oid)", (relation.oid,)).fetchone()
    if row is None or row[0] is not True:
        raise ExportRefused(
            f"table {source.schema}.{relation.name} of the pool is not under row-level security: "
            "nothing of it is exported",
            hint="bring the platform stack back to what it should be: tenantry platform up",
        )


def _require_own(source: Source, connection: Connection, relation: _Relation, table: sql.Identifier) -> None:
    others = connection.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE tenant_id::text IS DISTINCT FROM %s)").format(table),
        (source.tenant_id,),
    ).fetchone()
    if others is None or others[0] is not False:
        raise ExportRefused(
            f"table {source.schema}.{relation.name} holds rows that are not of tenant {source.tenant_id}",
            hint="find out how they got there and remove them; nothing was exported",
        )


def _copy(connection: Connection, query: sql.Composed, writer: ExportWriter, member: str) -> int:
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER true, FORCE_QUOTE *, ENCODING 'UTF8')").format(query)
    with connection.cursor() as cursor, writer.member(member) as file:
        with cursor.copy(statement) as copy:
            for block in copy:
                file.write(block)
        return cursor.rowcount
