"""Roles: owners that can't log in, logins that own nothing. A suspended login is closed and its sessions are ended."""

from __future__ import annotations

import secrets as randomness
import time
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from providers.postgres import markers
from providers.postgres.connection import MAINTENANCE_DATABASE, Connection, Server, ensure_member
from providers.postgres.errors import DatabaseGone, PostgresProviderError
from providers.postgres.patience import pause

SESSIONS_DEADLINE = 10.0  #: seconds in which terminated sessions have to be gone


@dataclass(frozen=True)
class Role:
    """Desired state. ``connection_limit`` -1 is unlimited; ``search_path``, a schema, is set in ``database`` only."""

    name: str
    login: bool
    access: Literal["full", "suspended"] = "full"
    secret_arn: str | None = None
    connection_limit: int = -1
    database: str | None = None
    search_path: str | None = None

    @property
    def may_log_in(self) -> bool:
        return self.login and self.access == "full"


@dataclass(frozen=True)
class RoleState:
    """What the server has. ``drift`` lists what no input of the resource expresses."""

    login: bool
    connection_limit: int
    drift: tuple[str, ...]


def create(server: Server, role: Role, marker: str) -> str | None:
    """Create or adopt the role; returns the id of the secret version that holds its new password, if it has one.

    The secret is written first: a crash in between leaves a secret nobody uses, and the next attempt replaces both.
    """
    with server.connect() as connection:
        if markers.exists(connection, "ROLE", role.name):
            markers.require_ours(connection, "ROLE", role.name, marker)
        else:
            with connection.transaction():
                connection.execute(
                    sql.SQL("CREATE ROLE {} NOLOGIN NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT").format(
                        sql.Identifier(role.name)
                    )
                )
                markers.write(connection, "ROLE", role.name, marker)
        version = _new_password(connection, server, role) if role.secret_arn else None
        _converge(connection, role)
    return version


def update(server: Server, role: Role, marker: str, *, new_password: bool) -> str | None:
    """Bring the role to ``role``; a new password only on request, or if its secret is of no use."""
    version = None
    with server.connect() as connection:
        _converge(connection, role)
        if role.secret_arn and (new_password or _secret_problem(server, role) is not None):
            version = _new_password(connection, server, role)
        markers.write(connection, "ROLE", role.name, marker)
    return version


def _address(server: Server, role: Role) -> dict[str, object]:
    """What the login's secret says beside the password."""
    return {
        "engine": "postgres",
        "host": server.host,
        "port": server.port,
        "dbname": role.database or MAINTENANCE_DATABASE,
        "username": role.name,
    }


def _secret_problem(server: Server, role: Role) -> str | None:
    """Why the login's secret lets nobody in; None if it does, as far as a closed login can tell."""
    assert role.secret_arn is not None
    secret = server.secrets.get(role.secret_arn)
    if secret is None or not isinstance(secret.value.get("password"), str):
        return "the secret has no password"
    address = _address(server, role)
    wrong = [key for key, value in address.items() if secret.value.get(key) != value]
    if wrong:
        return f"the secret has another {', '.join(wrong)}"
    if role.may_log_in and not server.accepts(role.name, secret.value["password"], str(address["dbname"])):
        return "the server refuses the secret's password"
    return None


def _new_password(connection: Connection, server: Server, role: Role) -> str:
    assert role.secret_arn is not None
    password = randomness.token_urlsafe(32)
    version = server.secrets.put(role.secret_arn, {**_address(server, role), "password": password})
    # The verifier is computed here: a password in a statement would reach the server's log.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.name.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role.name), sql.Literal(verifier)))
    return version


def _converge(connection: Connection, role: Role) -> None:
    name = sql.Identifier(role.name)
    attributes = _attributes(connection, role.name)
    if attributes is None:
        raise PostgresProviderError(f"role {role.name} is gone; refresh the stack, then update it again")
    with connection.transaction():
        ensure_member(connection, role.name)
        flags = [sql.SQL("NO" + flag) for flag in ("CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS", "SUPERUSER")]
        excess = [flag for flag, on in zip(flags, attributes.excess, strict=True) if on]
        connection.execute(
            sql.SQL("ALTER ROLE {} {} INHERIT CONNECTION LIMIT {} VALID UNTIL 'infinity' {}").format(
                name,
                sql.SQL("LOGIN" if role.may_log_in else "NOLOGIN"),
                sql.Literal(role.connection_limit),
                sql.SQL(" ").join(excess),
            )
        )
        for granted in _memberships(connection, role.name):
            connection.execute(sql.SQL("REVOKE {} FROM {} CASCADE").format(sql.Identifier(granted), name))
        for member in _members(connection, role.name):
            connection.execute(sql.SQL("REVOKE {} FROM {} CASCADE").format(name, sql.Identifier(member)))
        _require_alone(connection, role.name)
        _converge_settings(connection, role)
    if role.login and not role.may_log_in:
        end_sessions(connection, role.name)


def _require_alone(connection: Connection, name: str) -> None:
    """PostgreSQL only warns where a REVOKE leaves what another role granted."""
    left = [f"a member of {granted}" for granted in _memberships(connection, name)]
    left += [f"granted to {member}" for member in _members(connection, name)]
    if left:
        raise PostgresProviderError(
            f"role {name} is {' and '.join(left)} by another role's grant, which the master can't revoke: "
            "revoke it as that role"
        )


def _converge_settings(connection: Connection, role: Role) -> None:
    name = sql.Identifier(role.name)
    wanted = _wanted_settings(role)
    for database, settings in _settings(connection, role.name).items():
        if settings != wanted.get(database):
            where = sql.SQL("") if not database else sql.SQL(" IN DATABASE {}").format(sql.Identifier(database))
            connection.execute(sql.SQL("ALTER ROLE {}{} RESET ALL").format(name, where))
    if role.search_path and role.database and markers.exists(connection, "DATABASE", role.database):
        connection.execute(
            sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}").format(
                name,
                sql.Identifier(role.database),
                sql.Identifier(role.search_path),
            )
        )


def _wanted_settings(role: Role) -> dict[str, list[str]]:
    if not role.search_path or not role.database:
        return {}
    return {role.database: [f"search_path={role.search_path}"]}


@dataclass(frozen=True)
class _Attributes:
    login: bool
    connection_limit: int
    excess: tuple[bool, bool, bool, bool, bool]
    expires: bool


def _attributes(connection: Connection, name: str) -> _Attributes | None:
    row = connection.execute(
        """
        SELECT rolcanlogin, rolconnlimit, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolsuper,
               coalesce(rolvaliduntil < 'infinity', false)
          FROM pg_roles WHERE rolname = %s
        """,
        (name,),
    ).fetchone()
    if row is None:
        return None
    login, limit, *flags = row
    assert isinstance(limit, int)
    a, b, c, d, e, expires = (bool(flag) for flag in flags)
    return _Attributes(bool(login), limit, (a, b, c, d, e), expires)


def _memberships(connection: Connection, name: str) -> list[str]:
    rows = connection.execute(
        """
        SELECT DISTINCT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
          JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = %s ORDER BY 1
        """,
        (name,),
    ).fetchall()
    return [str(granted) for (granted,) in rows]


def _members(connection: Connection, name: str) -> list[str]:
    """Roles beside the master that may act with the role's rights."""
    rows = connection.execute(
        """
        SELECT DISTINCT m.rolname FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid
          JOIN pg_roles m ON m.oid = a.member WHERE r.rolname = %s AND m.rolname <> current_user ORDER BY 1
        """,
        (name,),
    ).fetchall()
    return [str(member) for (member,) in rows]


def _settings(connection: Connection, name: str) -> dict[str, list[str]]:
    rows = connection.execute(
        """
        SELECT coalesce(d.datname, ''), s.setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
          LEFT JOIN pg_database d ON d.oid = s.setdatabase WHERE r.rolname = %s
        """,
        (name,),
    ).fetchall()
    return {str(database): [str(setting) for setting in settings] for database, settings in rows}  # type: ignore[attr-defined]


def read(server: Server, role: Role, marker: str) -> RoleState | None:
    """The role as it stands; None if there is no such role."""
    with server.connect() as connection:
        attributes = _attributes(connection, role.name)
        if attributes is None:
            return None
        names = ("CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS", "SUPERUSER")
        drift = [f"role has {flag}" for flag, on in zip(names, attributes.excess, strict=True) if on]
        drift += ["role expires"] if attributes.expires else []
        drift += [f"role is a member of {granted}" for granted in _memberships(connection, role.name)]
        drift += [f"role is granted to {member}" for member in _members(connection, role.name)]
        drift += markers.drift(connection, "ROLE", role.name, marker)
        settings = _settings(connection, role.name)
        if settings != _wanted_settings(role):
            shown = "; ".join(f"{db or 'all databases'}: {', '.join(s)}" for db, s in sorted(settings.items()))
            drift.append(f"settings of the role are: {shown or 'none'}")
        if role.login:
            drift += _owned(connection, role.name)
        if role.access == "suspended" and _sessions(connection, role.name):
            drift.append("suspended, but has sessions")
        if role.secret_arn and attributes.login == role.may_log_in:
            problem = _secret_problem(server, role)
            drift += [problem] if problem else []
    return RoleState(attributes.login, attributes.connection_limit, tuple(drift))


def _owned(connection: Connection, name: str) -> list[str]:
    rows = connection.execute(
        """
        SELECT coalesce(d.datname, 'the cluster'), count(*) FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
          LEFT JOIN pg_database d ON d.oid = s.dbid
         WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND r.rolname = %s GROUP BY 1 ORDER BY 1
        """,
        (name,),
    ).fetchall()
    return [f"login owns {count} objects in {database}" for database, count in rows]


def delete(server: Server, role: Role, marker: str) -> None:
    """Close the role, end its sessions, hand what it owns to the master, drop it; nothing happens if it is gone."""
    with server.connect() as connection:
        if not markers.exists(connection, "ROLE", role.name):
            return
        markers.require_ours(connection, "ROLE", role.name, marker)
        name = sql.Identifier(role.name)
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(name))
        end_sessions(connection, role.name)
        ensure_member(connection, role.name)
        databases = connection.execute(
            """
            SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
              JOIN pg_database d ON d.oid = s.dbid OR s.dbid = 0 AND d.datname = %s
             WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = %s AND d.datallowconn
            """,
            (MAINTENANCE_DATABASE, role.name),
        ).fetchall()
        for (database,) in databases:
            _disown(server, str(database), role.name)
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))


def _disown(server: Server, database: str, name: str) -> None:
    role = sql.Identifier(name)
    try:
        with server.connect(database) as connection, connection.transaction():
            connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(role))
            connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
    except (DatabaseGone, psycopg.errors.AdminShutdown):
        # The database is being dropped beside us, which removes what the role had there. A forced drop ends the
        # sessions first: the database is still listed until it commits.
        deadline = time.monotonic() + SESSIONS_DEADLINE
        with server.connect() as connection:
            while markers.exists(connection, "DATABASE", database):
                if time.monotonic() > deadline:
                    raise
                pause(0.05)


def end_sessions(connection: Connection, name: str) -> None:
    """Terminate every session of the role and wait until none is left.

    A session that was just authenticating shows up late, hence the repetition.

    :raises PostgresProviderError: sessions are left after ``SESSIONS_DEADLINE``.
    """
    deadline = time.monotonic() + SESSIONS_DEADLINE
    delay = 0.01
    while True:
        rows = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid()",
            (name,),
        ).fetchall()
        if not rows:
            return
        if time.monotonic() > deadline:
            raise PostgresProviderError(f"{len(rows)} sessions of {name} did not end within {SESSIONS_DEADLINE:.0f} s")
        pause(delay)
        delay = min(delay * 2, 0.5)


def _sessions(connection: Connection, name: str) -> int:
    rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE usename = %s", (name,)).fetchall()
    return len(rows)
