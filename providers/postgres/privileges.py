"""Privileges of an application's login in a schema, and of its owner's future objects.

A login whose access is `read_only` loses what writes. PostgreSQL checks privileges when a statement begins: sessions
that are open lose them at their next one, and those in the middle of writing are ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from providers.postgres import bookkeeping, grants, markers
from providers.postgres.connection import Connection, Server, become, ensure_member


@dataclass(frozen=True)
class Privileges:
    database: str
    schema: str
    owner: str
    role: str
    access: Literal["full", "read_only"] = "full"

    @property
    def writes(self) -> bool:
        return self.access == "full"


def converge(server: Server, p: Privileges) -> None:
    """Grant what the role should have, revoke what it shouldn't."""
    with server.connect(p.database) as connection:
        try:
            _converge(connection, p)
        except psycopg.errors.LockNotAvailable:
            if p.writes:
                raise
            _end_sessions(connection, p, _HOLDING)
            _converge(connection, p)
        if not p.writes:
            _end_sessions(connection, p, _WRITING)


def _converge(connection: Connection, p: Privileges) -> None:
    with connection.transaction():
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(p.database), sql.Identifier(p.role))
        )
        for privilege in sorted(_on_database(connection, p) - {"CONNECT"}):
            connection.execute(
                sql.SQL("REVOKE {} ON DATABASE {} FROM {}").format(
                    sql.SQL(privilege),
                    sql.Identifier(p.database),
                    sql.Identifier(p.role),
                )
            )
        app = bookkeeping.registered(connection, p.schema)
        become(connection, p.owner)
        _converge_defaults(connection, p)
        grants.converge(connection, p.schema, p.role, app, writes=p.writes)


#: sessions of the role that hold locks on relations of the schema: what they hold may keep a REVOKE waiting
_HOLDING = """
SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
 WHERE a.usename = %(role)s AND a.pid <> pg_backend_pid() AND EXISTS (
       SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE l.pid = a.pid AND l.granted AND n.nspname = %(schema)s
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""

#: and those whose running statement, a COPY that is fed for hours, began with the privilege to write
_WRITING = """
SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
 WHERE a.usename = %(role)s AND a.pid <> pg_backend_pid() AND a.state = 'active' AND EXISTS (
       SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE l.pid = a.pid AND l.granted AND n.nspname = %(schema)s
          AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


def _end_sessions(connection: Connection, p: Privileges, which: str) -> None:
    ensure_member(connection, p.role)
    connection.execute(which.encode(), {"role": p.role, "schema": p.schema})


def _converge_defaults(connection: Connection, p: Privileges) -> None:
    # The right of PUBLIC to execute new functions is a global default: only a global revocation takes it away.
    connection.execute(
        sql.SQL(
            "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC;"
            " ALTER DEFAULT PRIVILEGES IN SCHEMA {0} REVOKE ALL ON TABLES FROM {1};"
            " ALTER DEFAULT PRIVILEGES IN SCHEMA {0} REVOKE ALL ON SEQUENCES FROM {1};"
            " ALTER DEFAULT PRIVILEGES IN SCHEMA {0} GRANT {2} ON SEQUENCES TO {1};"
            " ALTER DEFAULT PRIVILEGES IN SCHEMA {0} REVOKE ALL ON ROUTINES FROM {1}"
        ).format(
            sql.Identifier(p.schema),
            sql.Identifier(p.role),
            sql.SQL(", ").join(map(sql.SQL, (grants.WRITES if p.writes else grants.READS)["SEQUENCE"])),
        )
    )


def _on_database(connection: Connection, p: Privileges) -> set[str]:
    rows = connection.execute(
        """
        SELECT g.privilege_type FROM pg_database d, aclexplode(d.datacl) g
         WHERE d.datname = current_database() AND pg_get_userbyid(g.grantee) = %s
        """,
        (p.role,),
    ).fetchall()
    return {str(privilege) for (privilege,) in rows}


def _defaults(connection: Connection, p: Privileges) -> set[str]:
    rows = connection.execute(
        """
        SELECT CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'routines'
                    ELSE d.defaclobjtype::text END, g.privilege_type
          FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) g
         WHERE n.nspname = %s AND pg_get_userbyid(d.defaclrole) = %s AND pg_get_userbyid(g.grantee) = %s
        """,
        (p.schema, p.owner, p.role),
    ).fetchall()
    return {f"{privilege} on future {kind}" for kind, privilege in rows}


def read(server: Server, p: Privileges) -> list[str] | None:
    """Privileges that are missing or too many; None if database, schema or role is gone."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", p.database) or not markers.exists(connection, "ROLE", p.role):
            return None
    with server.connect(p.database) as connection:
        if not markers.exists(connection, "SCHEMA", p.schema):
            return None
        with connection.transaction():
            connection.execute("SET LOCAL search_path = pg_catalog")
            app = bookkeeping.registered(connection, p.schema)
            have = {f"{x} on {k.lower()} {n}" for k, n, x in grants.actual(connection, p.schema, p.role)}
            wanted = grants.wanted(connection, p.schema, app, writes=p.writes)
            want = {f"{x} on {k.lower()} {n}" for k, n, x in wanted}
        have |= {f"{privilege} on database {p.database}" for privilege in _on_database(connection, p)}
        have |= _defaults(connection, p)
    of = grants.WRITES if p.writes else grants.READS
    want |= {f"CONNECT on database {p.database}"} | {f"{x} on future sequences" for x in of["SEQUENCE"]}
    drift = [f"{p.role} lacks {text}" for text in sorted(want - have)]
    return drift + [f"{p.role} has {text}" for text in sorted(have - want)]


def delete(server: Server, p: Privileges) -> None:
    """Revoke everything; nothing happens where database, schema or role is gone."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", p.database) or not markers.exists(connection, "ROLE", p.role):
            return
    role = sql.Identifier(p.role)
    with server.connect(p.database) as connection, connection.transaction():
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(sql.Identifier(p.database), role))
        if not markers.exists(connection, "SCHEMA", p.schema) or not markers.exists(connection, "ROLE", p.owner):
            return
        become(connection, p.owner)
        schema = sql.Identifier(p.schema)
        scope = sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA {}").format(schema)
        for kind in ("TABLES", "SEQUENCES", "ROUTINES"):
            connection.execute(sql.SQL("REVOKE ALL ON ALL {} IN SCHEMA {} FROM {}").format(sql.SQL(kind), schema, role))
            connection.execute(sql.SQL("{} REVOKE ALL ON {} FROM {}").format(scope, sql.SQL(kind), role))
        connection.execute(sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(schema, role))
