"""Faults of privileges: on tables, views, columns and schemas, and the default ones of what comes later."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from isolation.attempts import Answer
from tenantry.session import TenantSession
from tests.integration.mutations.database_schema import Ask, Schema
from tests.integration.mutations.fault import Fault

#: granted to no login, since no policy is asked about them; what shows that one has them
BEYOND_POLICIES = {
    "TRUNCATE": "TRUNCATE {schema}.{table} CASCADE",
    "REFERENCES": "",
    "TRIGGER": "",
    "MAINTAIN": "REINDEX TABLE {schema}.{table}",
}
WRITES = {
    "INSERT": "INSERT INTO {schema}.{table} VALUES ('proof', 99)",
    "UPDATE": "UPDATE {schema}.{table} SET position = 0 WHERE position = 1",
    "DELETE": "DELETE FROM {schema}.{table} WHERE false",
    "TRUNCATE": "TRUNCATE {schema}.{table}",
}


def of_relations(schema: Schema) -> Iterator[Fault]:
    """In a schema of a tenant's own one table stands for all: nothing but its schema's privileges differs there."""
    shared = schema.kind == "pool"
    tables = schema.tables if shared else schema.tables[:1]
    for table in (*tables, *(schema.views if shared else ())):
        yield schema.fault(
            f"grant/{table}/public",
            f"SELECT on `{table}` is granted to PUBLIC",
            ["GRANT SELECT ON {schema}.{table} TO PUBLIC"],
            ["REVOKE SELECT ON {schema}.{table} FROM PUBLIC"],
            exploit=_reads(schema, table),
            by=schema.stranger,
            closest=schema.closest,
            table=table,
        )
        yield schema.fault(
            f"grant/{table}/grant-option",
            f"the login may pass on SELECT on `{table}`",
            ["GRANT SELECT ON {schema}.{table} TO {login} WITH GRANT OPTION"],
            ["REVOKE GRANT OPTION FOR SELECT ON {schema}.{table} FROM {login}"],
            exploit=schema.passes_on(table),
            by=schema.home,
            table=table,
        )
    for table in tables:
        yield schema.fault(
            f"grant/{table}/column",
            f"a column of `{table}` is granted to PUBLIC",
            ["GRANT SELECT (tenant_id) ON {schema}.{table} TO PUBLIC"],
            ["REVOKE SELECT (tenant_id) ON {schema}.{table} FROM PUBLIC"],
            exploit=_reads(schema, table),
            by=schema.stranger,
            closest=schema.closest,
            table=table,
        )
        if schema.kind != "silo":  # on its server there is no other tenant's login
            yield schema.fault(
                f"grant/{table}/to-a-stranger",
                f"everything on `{table}`, and its schema, is granted to another tenant's login",
                ["GRANT USAGE ON SCHEMA {schema} TO {stranger}", "GRANT ALL ON {schema}.{table} TO {stranger}"],
                ["REVOKE ALL ON {schema}.{table} FROM {stranger}", "REVOKE ALL ON SCHEMA {schema} FROM {stranger}"],
                exploit=_reads(schema, table),
                by=schema.stranger,
                table=table,
            )
        for privilege, use in BEYOND_POLICIES.items():
            yield schema.fault(
                f"grant/{table}/{privilege.lower()}",
                f"the login has {privilege} on `{table}`, which no policy is asked about",
                [f"GRANT {privilege} ON {{schema}}.{{table}} TO {{login}}"],
                [f"REVOKE {privilege} ON {{schema}}.{{table}} FROM {{login}}"],
                exploit=schema.tries(use, f"{privilege} reaches all tenants", table=table) if use and shared else None,
                closest=schema.closest,
                table=table,
            )
    for table in schema.reference if shared else ():
        for privilege, use in WRITES.items():
            yield schema.fault(
                f"grant/{table}/{privilege.lower()}",
                f"the login has {privilege} on the reference table `{table}`, which all tenants read",
                [f"GRANT {privilege} ON {{schema}}.{{table}} TO {{login}}"],
                [f"REVOKE {privilege} ON {{schema}}.{{table}} FROM {{login}}"],
                exploit=schema.tries(use, "changes what all tenants read", table=table),
                table=table,
            )


def of_schemas(schema: Schema) -> Iterator[Fault]:
    # a tenant whose login is on no other server has no part in a silo's
    stranger = {"by": schema.stranger} if schema.kind != "silo" else {}
    create = "CREATE TABLE {schema}.mine (x int)"
    for name, weakened, grant, on, exploit in (
        ("usage-public", "PUBLIC may use", "USAGE", "PUBLIC", "SELECT {schema}.mine()"),
        ("create-login", "the login may create in", "CREATE", "{login}", create),
        ("create-public", "PUBLIC may create in", "CREATE", "PUBLIC", create),
    ):
        tries = name != "usage-public" and (name == "create-login" or bool(stranger))
        yield schema.fault(
            f"schema/{name}",
            f"{weakened} the schema",
            [f"GRANT {grant} ON SCHEMA {{schema}} TO {on}"],
            [f"REVOKE {grant} ON SCHEMA {{schema}} FROM {on}"],
            exploit=schema.tries(exploit, "creates what others' names may mean") if tries else None,
            by=schema.home if name == "create-login" else schema.stranger,
            closest=schema.closest,
            logins=True,
        )
    yield schema.fault(
        "schema/owned-by-login",
        "the schema belongs to the application's login",
        ["ALTER SCHEMA {schema} OWNER TO {login}"],
        ["ALTER SCHEMA {schema} OWNER TO {owner}", "GRANT USAGE ON SCHEMA {schema} TO {login}"],
        exploit=schema.tries("DROP TABLE {schema}.comment CASCADE", "drops tables in it"),
        by=schema.home,
    )
    for kind, privilege, grantee in (
        ("TABLES", "SELECT", "PUBLIC"),
        ("TABLES", "TRUNCATE", "{login}"),
        ("FUNCTIONS", "EXECUTE", "{stranger}"),
        ("SEQUENCES", "USAGE", "PUBLIC"),
    ):
        if schema.kind == "silo" and grantee == "{stranger}":
            continue
        text = f"ALTER DEFAULT PRIVILEGES FOR ROLE {{owner}} IN SCHEMA {{schema}} {{verb}} {privilege} ON {kind}"
        grant, revoke = text.replace("{verb}", "GRANT"), text.replace("{verb}", "REVOKE")
        who = {"PUBLIC": "PUBLIC", "{login}": "the login"}.get(grantee, "another tenant's login")
        yield schema.fault(
            f"default-privileges/{kind.lower()}-{privilege.lower()}",
            f"future {kind.lower()} give {privilege} to {who}",
            [f"{grant} TO {grantee}"],
            [f"{revoke} FROM {grantee}"],
            closest=schema.closest,
        )


def _reads(schema: Schema, table: str) -> Ask | None:
    """Of another server's tenant there is no session in this database."""
    if schema.kind == "silo":
        return None
    statement = sql.SQL("SELECT tenant_id FROM {} LIMIT 1").format(sql.Identifier(schema.name, table))

    def ask(session: TenantSession) -> Answer:
        row = session.execute(statement).fetchone()
        return Answer("no rows", "row-level security shows none") if row is None else Answer("ok", "reads rows")

    return ask
