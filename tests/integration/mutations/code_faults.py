"""Faults of code in the pool's database: views, functions, triggers, and the check of tokens itself."""

from __future__ import annotations

from collections.abc import Iterator

from tests.integration.mutations.database_schema import Schema
from tests.integration.mutations.fault import Fault

_PEEK = "CREATE FUNCTION {where}.peek() RETURNS SETOF text LANGUAGE sql"
_READS = "AS 'SELECT tenant_id FROM pool.{table}'"


def of_views(schema: Schema) -> Iterator[Fault]:
    safe = "ALTER VIEW {schema}.{view} SET (security_invoker = true)"
    for view in schema.views:
        for name, weakened, option in (
            ("no-security-invoker", "has no `security_invoker`", "RESET (security_invoker)"),
            ("security-invoker-off", "has `security_invoker = false`", "SET (security_invoker = false)"),
        ):
            yield schema.fault(
                f"view/{view}/{name}",
                f"view `{view}` {weakened}: it reads with its owner's rights",
                [f"ALTER VIEW {{schema}}.{{view}} {option}"],
                [safe],
                exploit=schema.steals(view),
                view=view,
            )
        yield schema.fault(
            f"view/{view}/of-a-superuser",
            f"view `{view}` reads with a superuser's rights",
            ["ALTER VIEW {schema}.{view} RESET (security_invoker)", "ALTER VIEW {schema}.{view} OWNER TO CURRENT_USER"],
            ["ALTER VIEW {schema}.{view} OWNER TO {owner}", safe],
            exploit=schema.steals(view),
            view=view,
        )
    for table in schema.tables:
        yield schema.fault(
            f"materialised-view/{table}",
            f"a materialised view of `{table}`, filled by somebody above row-level security",
            [
                "CREATE MATERIALIZED VIEW {schema}.copied AS SELECT tenant_id FROM {schema}.{table}",
                "GRANT SELECT ON {schema}.copied TO {login}",
            ],
            ["DROP MATERIALIZED VIEW {schema}.copied"],
            exploit=schema.steals("copied"),
            table=table,
        )


def of_functions(schema: Schema) -> Iterator[Fault]:
    for table in schema.tables:
        for name, weakened, owner in (
            ("of-a-superuser", "a superuser", "CURRENT_USER"),
            ("of-the-owner", "the tables' owner", "{owner}"),
        ):
            yield schema.fault(
                f"function/{table}/{name}",
                f"a SECURITY DEFINER function of {weakened} reads `{table}`",
                [
                    f"{_PEEK} SECURITY DEFINER {_READS.replace('{table}', table)}",
                    f"ALTER FUNCTION {{where}}.peek() OWNER TO {owner}",
                    "GRANT EXECUTE ON FUNCTION {where}.peek() TO {login}",
                ],
                ["DROP FUNCTION {where}.peek()"],
                exploit=schema.steals_by("SELECT * FROM {schema}.peek()"),
                where=schema.name,
            )
    table = schema.tables[0]
    yield schema.fault(
        "function/beside-the-schema",
        "a SECURITY DEFINER function of a superuser in a schema beside the application's",
        [
            "CREATE SCHEMA {where}",
            "GRANT USAGE ON SCHEMA {where} TO {login}",
            f"{_PEEK} SECURITY DEFINER {_READS.replace('{table}', table)}",
        ],
        ["DROP SCHEMA {where} CASCADE"],
        exploit=schema.steals_by("SELECT * FROM helpers.peek()"),
        where="helpers",
    )
    yield schema.fault(
        "function/leakproof",
        "a LEAKPROOF function, which sees rows before the policy hides them",
        [
            (
                "CREATE FUNCTION {schema}.own(text) RETURNS boolean LANGUAGE plpgsql LEAKPROOF COST 0.0001"
                " AS 'BEGIN IF $1 <> ''of acme'' THEN PERFORM set_config(''app.seen'', $1, true); END IF; RETURN true;"
                " END'"
            ),
            "GRANT EXECUTE ON FUNCTION {schema}.own(text) TO {login}",
        ],
        ["DROP FUNCTION {schema}.own(text)"],
        exploit=schema.steals_by(
            "SELECT 'acme' FROM (SELECT count(*) FROM {schema}.project WHERE {schema}.own(name)) c UNION ALL"
            " SELECT nullif(substr(current_setting('app.seen', true), 4), '')"
        ),
    )
    yield schema.fault(
        "trigger/of-a-superuser",
        f"a trigger of `{table}` whose function runs as a superuser and copies rows",
        [
            "CREATE TABLE {schema}.trail (tenant_id text)",
            "GRANT SELECT ON {schema}.trail TO {login}",
            (
                "CREATE FUNCTION {schema}.trail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
                " AS 'BEGIN INSERT INTO pool.trail SELECT tenant_id FROM pool.project; RETURN new; END'"
            ),
            (
                "CREATE TRIGGER trail AFTER INSERT ON {schema}.project FOR EACH STATEMENT"
                " EXECUTE FUNCTION {schema}.trail()"
            ),
            "INSERT INTO {schema}.project (tenant_id, name) VALUES ('acme', 'trailed')",
        ],
        [
            "DROP TRIGGER trail ON {schema}.project",
            "DROP FUNCTION {schema}.trail()",
            "DROP TABLE {schema}.trail",
            "DELETE FROM {schema}.project WHERE name = 'trailed'",
        ],
        exploit=schema.steals("trail"),
    )


def of_token_check(schema: Schema) -> Iterator[Fault]:
    genuine = genuine_of(schema, "current_tenant")
    function = "ALTER FUNCTION tenantry.current_tenant()"
    granted = "GRANT EXECUTE ON FUNCTION tenantry.current_tenant() TO {login}, {owner}"
    restored = f"{function} SET search_path = pg_catalog, pg_temp"
    table = schema.tables[0]
    claim = schema.steals_by(
        f"SELECT t.tenant_id FROM (SELECT set_config('app.current_tenant', 'globex', true)) c,"
        f" LATERAL (SELECT * FROM {{schema}}.{table} OFFSET 0) t"
    )
    trusting = (
        "CREATE OR REPLACE FUNCTION tenantry.current_tenant() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER"
        " SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN current_setting(''app.current_tenant'', true); END'"
    )
    for name, weakened, broken, mended, exploit in (
        ("trusts-the-setting", "trusts the setting alone", trusting, genuine, claim),
        ("search-path-open", "has no pinned search_path", f"{function} RESET search_path", restored, claim),
        (
            "security-invoker",
            "is SECURITY INVOKER",
            f"{function} SECURITY INVOKER",
            f"{function} SECURITY DEFINER",
            claim,
        ),
        ("volatile", "is VOLATILE", f"{function} VOLATILE", f"{function} STABLE", claim),
        ("leakproof", "is LEAKPROOF", f"{function} LEAKPROOF", f"{function} NOT LEAKPROOF", claim),
        (
            "owned-by-login",
            "belongs to the application's login",
            f"{function} OWNER TO {{login}}",
            f"{function} OWNER TO {{definer}}; {granted}",
            schema.tries(f"{function} SECURITY INVOKER", "changes the check of tokens"),
        ),
        (
            "of-a-superuser",
            "belongs to a superuser",
            f"{function} OWNER TO CURRENT_USER",
            f"{function} OWNER TO {{definer}}",
            claim,
        ),
        (
            "granted-to-public",
            "may be executed by PUBLIC",
            "GRANT EXECUTE ON FUNCTION tenantry.current_tenant() TO PUBLIC",
            "REVOKE EXECUTE ON FUNCTION tenantry.current_tenant() FROM PUBLIC",
            claim,
        ),
        (
            "definer-logs-in",
            "has an owner that may log in",
            "ALTER ROLE {definer} LOGIN",
            "ALTER ROLE {definer} NOLOGIN",
            schema.tries("SET LOCAL ROLE {definer}", "acts as the owner of the check"),
        ),
        (
            "definer-is-the-login",
            "has an owner that the login may act as",
            "GRANT {definer} TO {login}",
            "REVOKE {definer} FROM {login}",
            schema.steals_by("SELECT 'another' FROM tenantry.pool_key"),
        ),
    ):
        yield schema.fault(
            f"token-check/{name}", f"`tenantry.current_tenant()` {weakened}", [broken], [mended], exploit=exploit
        )
    yield from _of_writers_check(schema, genuine_of(schema, "writing_tenant"))
    for relation, what in (("pool_key", "the key of tokens"), ("pool_tenant", "the register of tenants")):
        for grantee, who in (("{login}", "the application's login"), ("PUBLIC", "PUBLIC")):
            for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                target = f"ON tenantry.{relation}"
                yield schema.fault(
                    f"token-check/{relation}-{privilege.lower()}-{'login' if grantee != 'PUBLIC' else 'public'}",
                    f"{who} has {privilege} on {what}",
                    [f"GRANT {privilege} {target} TO {grantee}"],
                    [f"REVOKE {privilege} {target} FROM {grantee}"],
                    exploit=schema.tries(_TRIES[privilege].format(relation, _COLUMN[relation]), f"may use {what}"),
                )
    yield schema.fault(
        "token-check/schema-create",
        "the application's login may create in schema `tenantry`",
        ["GRANT CREATE ON SCHEMA tenantry TO {login}"],
        ["REVOKE CREATE ON SCHEMA tenantry FROM {login}"],
        exploit=schema.tries("CREATE TABLE tenantry.mine (x int)", "creates beside the check of tokens"),
    )


def genuine_of(schema: Schema, function: str) -> str:
    """The statement that makes the function as it stands."""
    with schema.world.estate.owner(schema.home) as admin:
        row = admin.execute("SELECT pg_get_functiondef(%s::regprocedure)", (f"tenantry.{function}()",)).fetchone()
    assert row is not None
    return str(row[0]).replace("{", "{{").replace("}", "}}")


def _of_writers_check(schema: Schema, genuine: str) -> Iterator[Fault]:
    function = "ALTER FUNCTION tenantry.writing_tenant()"
    writes = schema.writes_read_only(f"UPDATE {{schema}}.{schema.tables[0]} SET tenant_id = tenant_id")
    trusting = (
        "CREATE OR REPLACE FUNCTION tenantry.writing_tenant() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER"
        " SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN tenantry.current_tenant(); END'"
    )
    for name, weakened, broken, mended in (
        ("lets-readers-write", "lets everybody write who reads", trusting, genuine),
        (
            "writers-search-path-open",
            "has no pinned search_path",
            f"{function} RESET search_path",
            f"{function} SET search_path = pg_catalog, pg_temp",
        ),
        (
            "writers-granted-to-public",
            "may be executed by PUBLIC",
            "GRANT EXECUTE ON FUNCTION tenantry.writing_tenant() TO PUBLIC",
            "REVOKE EXECUTE ON FUNCTION tenantry.writing_tenant() FROM PUBLIC",
        ),
    ):
        yield schema.fault(
            f"token-check/{name}", f"`tenantry.writing_tenant()` {weakened}", [broken], [mended], exploit=writes
        )


#: of each relation a column that its privilege is tried on; no row is touched
_COLUMN = {"pool_key": "version", "pool_tenant": "access"}
_TRIES = {
    "SELECT": "SELECT count(*) FROM tenantry.{}",
    "INSERT": "INSERT INTO tenantry.{} ({}) SELECT 'x' WHERE false",
    "UPDATE": "UPDATE tenantry.{} SET {} = 'x' WHERE false",
    "DELETE": "DELETE FROM tenantry.{} WHERE false",
}
