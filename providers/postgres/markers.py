"""Whose an object is: a comment on it names the stack, so that a crash between create and checkpoint converges
and nothing that others made is taken over."""

from __future__ import annotations

from typing import Literal

from psycopg import sql

from providers.postgres.connection import Connection
from providers.postgres.errors import NotOurs

Kind = Literal["DATABASE", "ROLE", "SCHEMA"]

_READ = {
    "DATABASE": "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
    "ROLE": "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s",
    "SCHEMA": "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s",
}


def for_urn(urn: str) -> str:
    """The marker of everything the stack of ``urn`` creates: ``tenantry:<project>/<stack>``."""
    head, project, _ = urn.split("::", 2)
    return f"tenantry:{project}/{head.rsplit(':', 1)[-1]}"


def exists(connection: Connection, kind: Kind, name: str) -> bool:
    return connection.execute(_READ[kind].encode(), (name,)).fetchone() is not None


def read(connection: Connection, kind: Kind, name: str) -> str | None:
    """The comment on the object; None if it has none or does not exist."""
    row = connection.execute(_READ[kind].encode(), (name,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def write(connection: Connection, kind: Kind, name: str, marker: str) -> None:
    connection.execute(
        sql.SQL("COMMENT ON {} {} IS {}").format(sql.SQL(kind), sql.Identifier(name), sql.Literal(marker))
    )


def drift(connection: Connection, kind: Kind, name: str, marker: str) -> list[str]:
    found = read(connection, kind, name)
    return [] if found == marker else [f"the comment on {kind.lower()} {name} is {found!r}, not this stack's"]


def require_ours(connection: Connection, kind: Kind, name: str, marker: str) -> None:
    """:raises NotOurs: the object exists, and not by this stack."""
    found = read(connection, kind, name)
    if found != marker:
        raise NotOurs(
            f"{kind.lower()} {name} exists and does not belong to this stack "
            f"(its comment is {found!r}, this stack's is {marker!r}). Choose another name, or, if it is this stack's, "
            f"import it and update the stack"
        )
