"""Faults of logins and of where they lead: attributes, memberships, settings, databases, passwords."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from localcloud.postgres.master import set_password
from tests.integration.mutations.database_schema import Schema
from tests.integration.mutations.database_world import BRIDGE, OTHER_BRIDGE, VICTIM
from tests.integration.mutations.fault import Fault

ATTRIBUTES = ("SUPERUSER", "BYPASSRLS", "CREATEROLE", "CREATEDB", "REPLICATION")
#: roles of PostgreSQL that reach further than a table's privileges
POWERS = (
    "pg_read_all_data",
    "pg_write_all_data",
    "pg_maintain",
    "pg_monitor",
    "pg_read_all_settings",
    "pg_read_all_stats",
    "pg_signal_backend",
    "pg_checkpoint",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_execute_server_program",
    "pg_create_subscription",
)
EXTENSIONS = ("dblink", "postgres_fdw", "file_fdw", "pageinspect", "pg_buffercache", "pgrowlocks", "pg_stat_statements")


def of_roles(schema: Schema) -> Iterator[Fault]:
    for role, who in (("login", "the application's login"), ("owner", "the tables' owner")):
        for attribute in ATTRIBUTES:
            above = role == "login" and schema.kind == "pool" and attribute in ("SUPERUSER", "BYPASSRLS")
            yield schema.fault(
                f"role/{role}-{attribute.lower()}",
                f"{who} has {attribute}",
                [f"ALTER ROLE {{{role}}} {attribute}"],
                [f"ALTER ROLE {{{role}}} NO{attribute}"],
                exploit=schema.steals("project") if above else None,
                closest=schema.closest,
                logins=True,
            )
    yield schema.fault(
        "role/owner-logs-in",
        "the tables' owner may log in",
        ["ALTER ROLE {owner} LOGIN"],
        ["ALTER ROLE {owner} NOLOGIN"],
        closest=schema.closest,
        logins=True,
    )
    yield schema.fault(
        "role/login-is-owner",
        "the login is a member of the tables' owner",
        ["GRANT {owner} TO {login}"],
        ["REVOKE {owner} FROM {login}"],
        exploit=schema.tries(
            "ALTER TABLE {schema}.project DISABLE ROW LEVEL SECURITY", "switches row-level security off"
        ),
        by=schema.home,
    )
    if schema.kind != "silo":
        yield schema.fault(
            "role/stranger-is-login",
            "another tenant's login is a member of this one's",
            ["GRANT {login} TO {stranger}"],
            ["REVOKE {login} FROM {stranger}"],
            exploit=schema.tries("SELECT FROM {schema}.project", "acts as the other login"),
            by=schema.stranger,
        )
    for power in POWERS if schema.kind == "pool" else POWERS[:1]:
        yield schema.fault(
            f"role/{power.replace('_', '-')}",
            f"the login is a member of `{power}`",
            [f"GRANT {power} TO {{login}}"],
            [f"REVOKE {power} FROM {{login}}"],
            closest=schema.closest,
            logins=True,
        )


def of_settings(schema: Schema) -> Iterator[Fault]:
    for setting, value in (("row_security", "off"), ("search_path", "public"), ("app.current_tenant", VICTIM)):
        own = "ALTER ROLE {login} IN DATABASE {database}"
        mended = f"{own} SET search_path = {{schema}}" if setting == "search_path" else f"{own} RESET {setting}"
        yield schema.fault(
            f"setting/{setting.replace('_', '-').replace('.', '-')}",
            f"sessions of the login begin with `{setting} = {value}`",
            [f"{own} SET {setting} = '{value}'"],
            [mended],
            exploit=schema.steals("project") if schema.kind == "pool" else None,
            closest=schema.closest,
            new_sessions=True,
        )


def of_databases(schema: Schema) -> Iterator[Fault]:
    if schema.kind == "bridge":
        return  # it shares the pool's
    for name, weakened, what, on in (
        ("connect-public", "PUBLIC may connect to", "CONNECT", "PUBLIC"),
        ("create-login", "the login may create schemas in", "CREATE", "{login}"),
        ("temporary-login", "the login may make temporary tables in", "TEMPORARY", "{login}"),
    ):
        yield schema.fault(
            f"database/{name}",
            f"{weakened} the database",
            [f"GRANT {what} ON DATABASE {{database}} TO {on}"],
            [f"REVOKE {what} ON DATABASE {{database}} FROM {on}"],
            closest=schema.closest,
            logins=True,
        )
    for what in ("USAGE", "CREATE"):
        yield schema.fault(
            f"database/public-{what.lower()}",
            f"PUBLIC has {what} on schema `public`",
            [f"GRANT {what} ON SCHEMA public TO PUBLIC"],
            [f"REVOKE {what} ON SCHEMA public FROM PUBLIC"],
            closest=schema.closest,
            logins=True,
        )
    for extension in EXTENSIONS if schema.kind == "pool" else ():
        yield schema.fault(
            f"database/extension-{extension.replace('_', '-')}",
            f"extension `{extension}` is installed",
            ["CREATE EXTENSION {extension}"],
            ["DROP EXTENSION {extension} CASCADE"],
            closest=schema.closest,
            extension=extension,
        )
    yield schema.fault(
        "database/large-object",
        "there is a large object, which row-level security knows nothing of",
        ["SELECT lo_create(4711)"],
        ["SELECT lo_unlink(4711)"],
        closest=schema.closest,
    )


def of_passwords(schema: Schema) -> Iterator[Fault]:
    """A credential that more than one tenant knows."""
    if schema.kind != "bridge":
        return
    estate = schema.world.estate
    one, other = estate.tenants[BRIDGE], estate.tenants[OTHER_BRIDGE]

    @contextmanager
    def shared() -> Iterator[None]:
        secrets = estate.aws.client("secretsmanager")
        before = secrets.get_secret_value(SecretId=one.login_secret_arn)["SecretString"]
        password = estate.shared.value(other.login_secret_arn)["password"]

        def known_as(text: str) -> None:
            set_password(admin, one.login, json.loads(text)["password"])
            secrets.put_secret_value(SecretId=one.login_secret_arn, SecretString=text)
            schema.world.reopen()

        with estate.server.admin() as admin:
            known_as(json.dumps({**json.loads(before), "password": password}))
            try:
                yield
            finally:
                known_as(before)

    yield Fault(
        "bridge/password/shared",
        "database of a bridge",
        "two tenants' logins have one password",
        shared,
        closest="connect-as-another",
        logins=True,
    )
