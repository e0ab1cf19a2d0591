"""The master user of a server, with what RDS gives one: it administers roles and databases and is no superuser."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql

#: RDS's group of master users, and the predefined roles it is a member of.
GROUP = "rds_superuser"
_GRANTS = (
    "pg_monitor",
    "pg_signal_backend",
    "pg_checkpoint",
    "pg_use_reserved_connections",
    "pg_create_subscription",
    "pg_maintain",
)
_VERIFIER = re.compile(r"SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")


def create_master(connection: psycopg.Connection[Any], username: str, password: str) -> None:
    """Create ``username`` as LOGIN CREATEROLE CREATEDB and a member of ``rds_superuser``, or reset its password.

    ``password`` may be a SCRAM verifier of it (:mod:`localcloud.postgres.scram`).

    ``connection`` is the superuser's. The role can't become superuser, read files, bypass row-level security, or
    create roles that do: PostgreSQL only lets a role pass on attributes it has.
    """
    with connection.transaction():
        if not _exists(connection, GROUP):
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(GROUP)))
            connection.execute(
                sql.SQL("GRANT {} TO {}").format(
                    sql.SQL(", ").join(sql.Identifier(role) for role in _GRANTS), sql.Identifier(GROUP)
                )
            )
        if not _exists(connection, username):
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB NOSUPERUSER NOBYPASSRLS NOREPLICATION").format(
                    sql.Identifier(username)
                )
            )
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(GROUP), sql.Identifier(username)))
        set_password(connection, username, password)


def set_password(connection: psycopg.Connection[Any], username: str, password: str) -> None:
    """Change a login's password, given plainly or as its SCRAM verifier.

    The server is sent the verifier, so no password can reach its log.
    """
    if not _VERIFIER.fullmatch(password):
        encrypted = connection.pgconn.encrypt_password(password.encode(), username.encode(), b"scram-sha-256")
        password = encrypted.decode()
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(username), sql.Literal(password)))


def create_database(connection: psycopg.Connection[Any], name: str, owner: str) -> None:
    """Create database ``name`` owned by ``owner`` unless it exists. ``connection`` must be in autocommit mode."""
    if (
        connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None
    ):  # a row of no columns
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner)))


def _exists(connection: psycopg.Connection[Any], role: str) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None
