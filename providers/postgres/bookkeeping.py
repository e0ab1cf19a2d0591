"""The schema `tenantry` of a database: what the provider keeps there for itself. The master owns it."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from providers.postgres.connection import Connection

SCHEMA = "tenantry"

_TABLES = """
CREATE TABLE IF NOT EXISTS tenantry.app_schema (
    schema_name text PRIMARY KEY,
    mode        text NOT NULL CHECK (mode IN ('pool', 'dedicated')),
    marker      text NOT NULL,
    reference_tables text[] NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS tenantry.migration (
    schema_name text NOT NULL,
    version     integer NOT NULL CHECK (version >= 1),
    name        text NOT NULL,
    sha256      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (schema_name, version)
);
REVOKE ALL ON tenantry.app_schema, tenantry.migration FROM PUBLIC;
"""
_LOCK = 0x74656E616E747279  #: advisory lock: "tenantry"


def lock(connection: Connection) -> None:
    """Serialise changes of the schema `tenantry` until the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def ensure_schema(connection: Connection) -> None:
    lock(connection)
    if connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone() is None:
        connection.execute("CREATE SCHEMA tenantry")
    connection.execute("REVOKE ALL ON SCHEMA tenantry FROM PUBLIC")


def ensure_tables(connection: Connection) -> None:
    ensure_schema(connection)
    connection.execute(_TABLES)


def table_exists(connection: Connection, name: str) -> bool:
    row = connection.execute(
        "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = %s AND relname = %s",
        (SCHEMA, name),
    ).fetchone()
    return row is not None


def drop_if_unused(connection: Connection) -> None:
    """Remove the tables without rows, and the schema if nothing is left in it."""
    lock(connection)
    for name in ("migration", "app_schema"):
        table = sql.Identifier(SCHEMA, name)
        if not table_exists(connection, name):
            continue
        # A row of no columns is an empty tuple, which is false: other schemas' bookkeeping hangs on `is None`.
        if connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(table)).fetchone() is None:
            connection.execute(sql.SQL("DROP TABLE {}").format(table))
    left = connection.execute(
        """
        SELECT FROM pg_namespace n WHERE n.nspname = %s
           AND (EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid)
                OR EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid))
        """,
        (SCHEMA,),
    ).fetchone()
    if left is None:
        connection.execute("DROP SCHEMA IF EXISTS tenantry")


@dataclass(frozen=True)
class Registered:
    """A schema whose tables the application's migrations made; ``reference_tables`` are those without tenant."""

    mode: str
    marker: str
    reference_tables: frozenset[str]


def registered(connection: Connection, schema: str) -> Registered | None:
    """None if no AppSchema is responsible for the schema's tables."""
    if not table_exists(connection, "app_schema"):
        return None
    row = connection.execute(
        "SELECT mode, marker, reference_tables FROM tenantry.app_schema WHERE schema_name = %s", (schema,)
    ).fetchone()
    if row is None:
        return None
    assert isinstance(row[2], list)
    return Registered(str(row[0]), str(row[1]), frozenset(map(str, row[2])))
