"""Databases: closed to PUBLIC; connecting is granted role by role."""

from __future__ import annotations

from contextlib import suppress

from psycopg import errors, sql

from providers.postgres import markers
from providers.postgres.connection import Connection, Server
from providers.postgres.errors import NotOurs


def create(server: Server, name: str, marker: str) -> None:
    """Create the database, or adopt one this stack made, or an empty unmarked one of the master's (RDS's initial)."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", name):
            with suppress(errors.DuplicateDatabase):
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
                )
        if markers.read(connection, "DATABASE", name) is None:
            _require_adoptable(server, name)
            markers.write(connection, "DATABASE", name, marker)
        markers.require_ours(connection, "DATABASE", name, marker)
    close_to_public(server, name)


def _require_adoptable(server: Server, name: str) -> None:
    with server.connect(name) as connection:
        row = connection.execute(
            """
            SELECT pg_has_role(d.datdba, 'USAGE'),
                   EXISTS (SELECT FROM pg_namespace WHERE nspname NOT IN ('public', 'information_schema', 'tenantry')
                                                     AND nspname NOT LIKE 'pg\\_%%')
                   OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                               WHERE n.nspname = 'public')
              FROM pg_database d WHERE d.datname = current_database()
            """
        ).fetchone()
    assert row is not None
    if not row[0] or row[1]:
        raise NotOurs(
            f"database {name} exists, holds objects or belongs to another role, and no stack's comment is on it. "
            "Choose another name, or import it"
        )


def close_to_public(server: Server, name: str) -> None:
    with server.connect(name) as connection, connection.transaction():
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
        if markers.exists(connection, "SCHEMA", "public"):
            connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")


def read(server: Server, name: str, marker: str) -> list[str] | None:
    """What differs from a database as ``create`` leaves it; None if there is no such database."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", name):
            return None
        drift = markers.drift(connection, "DATABASE", name, marker)
    with server.connect(name) as connection:
        granted = connection.execute(
            """
            SELECT privilege_type || ' on database ' || current_database() FROM pg_database d,
                   aclexplode(coalesce(d.datacl, acldefault('d', d.datdba)))
             WHERE grantee = 0 AND datname = current_database()
             UNION ALL
            SELECT privilege_type || ' on schema public' FROM pg_namespace n,
                   aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner)))
             WHERE grantee = 0 AND nspname = 'public'
             ORDER BY 1
            """
        ).fetchall()
    return drift + [f"PUBLIC has {privilege}" for (privilege,) in granted]


def update(server: Server, name: str, marker: str) -> None:
    with server.connect() as connection:
        markers.write(connection, "DATABASE", name, marker)
    close_to_public(server, name)


def delete(server: Server, name: str, marker: str) -> None:
    """Drop the database and end its sessions; nothing happens if it is gone."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", name):
            return
        markers.require_ours(connection, "DATABASE", name, marker)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def existing(connection: Connection) -> list[str]:
    """Databases that accept connections."""
    rows = connection.execute("SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate").fetchall()
    return [str(name) for (name,) in rows]
