"""Schemas: owned by a role that can't log in; dropped with what they hold, when their deletion is asked for."""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

from providers.postgres import markers
from providers.postgres.connection import Connection, Server, ensure_member
from providers.postgres.errors import PostgresProviderError

DROP_DEADLINE = 60.0  #: seconds; sessions that still hold locks in the schema are ended meanwhile


def create(server: Server, database: str, name: str, owner: str, marker: str) -> None:
    """Create the schema, or adopt the one this stack made."""
    with server.connect(database) as connection, connection.transaction():
        ensure_member(connection, owner)
        if markers.exists(connection, "SCHEMA", name):
            markers.require_ours(connection, "SCHEMA", name, marker)
        else:
            connection.execute(
                sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(name), sql.Identifier(owner))
            )
            markers.write(connection, "SCHEMA", name, marker)
        _converge(connection, name, owner, marker)


def update(server: Server, database: str, name: str, owner: str, marker: str) -> None:
    with server.connect(database) as connection, connection.transaction():
        ensure_member(connection, owner)
        present = _owner(connection, name)
        if present is not None and present != owner:
            ensure_member(connection, present)
        markers.write(connection, "SCHEMA", name, marker)
        _converge(connection, name, owner, marker)


def _converge(connection: Connection, name: str, owner: str, marker: str) -> None:
    schema = sql.Identifier(name)
    if _owner(connection, name) != owner:
        connection.execute(sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(schema, sql.Identifier(owner)))
    for grantee, privilege in _excess(connection, name, marker):
        # Privilege and grantee are PostgreSQL's own text, quoted by it.
        connection.execute(
            sql.SQL("REVOKE {} ON SCHEMA {} FROM {} CASCADE").format(sql.SQL(privilege), schema, sql.SQL(grantee))
        )


def _excess(connection: Connection, name: str, marker: str) -> list[tuple[str, str]]:
    """(grantee, privilege) of PUBLIC and of roles of other stacks; and CREATE, which is the owner's alone."""
    rows = connection.execute(
        """
        SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END, privilege_type
          FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner)))
         WHERE nspname = %s AND grantee <> nspowner
           AND (privilege_type = 'CREATE' OR shobj_description(grantee, 'pg_authid') IS DISTINCT FROM %s) ORDER BY 1, 2
        """,
        (name, marker),
    ).fetchall()
    return [(str(grantee), str(privilege)) for grantee, privilege in rows]


def _owner(connection: Connection, name: str) -> str | None:
    row = connection.execute(
        "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", (name,)
    ).fetchone()
    return None if row is None else str(row[0])


def read(server: Server, database: str, name: str, marker: str) -> tuple[str, list[str]] | None:
    """Owner and what differs from a schema as ``create`` leaves it; None if schema or database is gone."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", database):
            return None
    with server.connect(database) as connection:
        owner = _owner(connection, name)
        if owner is None:
            return None
        drift = markers.drift(connection, "SCHEMA", name, marker)
        excess = _excess(connection, name, marker)
    return owner, drift + [f"{grantee} has {privilege} on schema {name}" for grantee, privilege in excess]


def delete(server: Server, database: str, name: str, marker: str) -> None:
    """Drop the schema and all it holds; nothing happens if it, or its database, is gone."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", database):
            return
    with server.connect(database) as connection:
        if not markers.exists(connection, "SCHEMA", name):
            return
        markers.require_ours(connection, "SCHEMA", name, marker)
        owner = _owner(connection, name)
        assert owner is not None
        ensure_member(connection, owner)
        connection.execute("SET lock_timeout = '1s'")
        deadline = time.monotonic() + DROP_DEADLINE
        while True:
            try:
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
                return
            except psycopg.errors.LockNotAvailable:
                if time.monotonic() > deadline:
                    raise PostgresProviderError(
                        f"schema {name} in {database} stays locked by other sessions; end them and try again"
                    ) from None
                end_lock_holders(connection, name)


def end_lock_holders(connection: Connection, schema: str) -> None:
    """Terminate the sessions that hold locks on the schema's relations."""
    connection.execute(
        """
        SELECT pg_terminate_backend(pid) FROM (
            SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
              JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = %s AND l.granted AND l.pid <> pg_backend_pid()
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) holders
        """,
        (schema,),
    )
