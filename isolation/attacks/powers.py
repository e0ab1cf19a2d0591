"""A tenant's login tries to become more than it is: other roles, the tables' owner, the server's files and programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from psycopg import sql

from isolation.attacks.common import DENIED, Own, in_session, probe, refused, run
from isolation.attempts import Answer, Probe, Severity, is_one_of
from isolation.subject import Subject
from isolation.tables import Relation
from isolation.witness import Holdings
from tenantry.session import TenantSession

_ROLES = """
SELECT r.rolname FROM pg_roles r WHERE r.rolname NOT IN (session_user, 'rds_ad') AND r.rolname NOT LIKE 'pg\\_%%'
 ORDER BY NOT (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole), NOT r.rolname = %s, md5(r.rolname) LIMIT 24
"""
_SUPERUSER = "SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY oid LIMIT 1"
_EXTENSION = """
SELECT name FROM pg_available_extensions WHERE installed_version IS NULL
 ORDER BY name NOT IN ('postgres_fdw', 'dblink', 'file_fdw'), name LIMIT 1
"""

#: name, what is tried, the statement; {table}: one of its own tables, {login}: its login, {owner}: the table's owner
_STATEMENTS: tuple[tuple[str, str, str], ...] = (
    ("bypass-row-security", "gives its login BYPASSRLS", "ALTER ROLE {login} BYPASSRLS"),
    ("create-role", "creates a role", "CREATE ROLE tenantry_proof"),
    ("comment-on-role", "says that the tables' owner is another stack's", "COMMENT ON ROLE {owner} IS 'taken'"),
    ("grant-owner", "grants itself the tables' owner", "GRANT {owner} TO {login}"),
    ("disable-row-security", "takes row-level security off {table}", "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
    ("unforce-row-security", "unforces it on {table}", "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"),
    ("create-policy", "adds a policy of its own to {table}", "CREATE POLICY tenantry_proof ON {table} USING (true)"),
    ("take-table", "makes {table} its own", "ALTER TABLE {table} OWNER TO {login}"),
    ("truncate", "truncates {table}, which no policy is asked about", "TRUNCATE {table}"),
    ("disable-triggers", "switches triggers and foreign keys off", "SET LOCAL session_replication_role = replica"),
    (
        "create-trigger",
        "puts a trigger on {table}",
        "CREATE TRIGGER x BEFORE INSERT ON {table} EXECUTE FUNCTION f()",
    ),
    ("create-rule", "puts a rule on {table}", "CREATE RULE proof AS ON INSERT TO {table} DO INSTEAD NOTHING"),
    ("create-view", "creates a view in its schema", "CREATE VIEW {schema}.tenantry_proof AS SELECT 1"),
    (
        "create-function",
        "creates a function of no cost that a policy might be asked after",
        "CREATE FUNCTION {schema}.tenantry_proof(text) RETURNS boolean COST 0.0000001 LANGUAGE sql AS 'SELECT true'",
    ),
    ("create-schema", "creates a schema", "CREATE SCHEMA tenantry_proof"),
    ("create-in-public", "creates a table in schema public", "CREATE TABLE public.tenantry_proof (x int)"),
    ("copy-program", "has the server run a program", "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'"),
    ("copy-to-file", "has the server write a file", "COPY (SELECT 1) TO '/dev/null'"),
    ("copy-from-file", "has the server read a file into {table}", "COPY {table} FROM '/dev/null'"),
    ("read-file", "reads a file of the server", "SELECT pg_read_file('PG_VERSION')"),
    ("list-files", "lists the server's directory", "SELECT pg_ls_dir('.')"),
    ("import-large-object", "reads a file of the server into a large object", "SELECT lo_import('/etc/hostname')"),
    ("read-large-objects", "reads every large object's pages", "SELECT FROM pg_largeobject LIMIT 1"),
    ("read-passwords", "reads the logins' passwords", "SELECT FROM pg_authid LIMIT 1"),
    ("read-raw-statistics", "reads samples of everybody's values", "SELECT FROM pg_statistic LIMIT 1"),
    ("read-settings-of-access", "reads who may log in from where", "SELECT FROM pg_hba_file_rules LIMIT 1"),
    ("alter-system", "changes the server's settings", "ALTER SYSTEM SET log_statement = 'all'"),
    ("log-statements", "has others' statements logged", "SET LOCAL log_statement = 'all'"),
    ("reload-server", "has the server read its settings again", "SELECT pg_reload_conf()"),
)
# ALTER SYSTEM is refused inside of a transaction before anybody asks who calls: 25001 says no more than that.
_ALSO: dict[str, tuple[str, ...]] = {"alter-system": ("25001",)}


def probes(attacker: Subject, own: Holdings) -> Iterator[Probe]:
    """In its own database; tenants with one login need not all try."""
    tables = [each for each in own.relations if each.is_table]
    allowed = Own.reading(attacker, own.with_rows)
    owner = next((each.owner for each in own.relations), "")

    def roles(session: TenantSession) -> Answer:
        others = [str(name) for (name,) in session.execute(_ROLES, (owner,)).fetchall()]
        for role in others:
            if not refused(session, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)), DENIED):
                return Answer("ok", f"acts as {role}")
        return Answer(DENIED if others else "no role", f"of {len(others)} roles, superusers and owners first")

    def authorization(session: TenantSession) -> Answer:
        row = session.execute(_SUPERUSER).fetchone()
        assert row is not None
        run(session, sql.SQL("SET LOCAL SESSION AUTHORIZATION {}").format(sql.Identifier(str(row[0]))))
        return Answer("ok", f"is {row[0]}")

    def extension(session: TenantSession) -> Answer:
        row = session.execute(_EXTENSION).fetchone()
        if row is None:
            return Answer(DENIED, "the server has none that is not there already")
        run(session, sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(str(row[0]))))
        return Answer("ok", f"installs {row[0]}")

    for name, tried, work in (
        ("set-any-role", "runs SET ROLE with every other role", roles),
        ("session-authorization", "runs SET SESSION AUTHORIZATION with a superuser", authorization),
        ("create-extension", "installs an extension", extension),
    ):
        yield probe(name, tried, partial(in_session, attacker, work), allowed, fast=name != "create-extension")
    if tables:
        yield from _of_table(attacker, tables, allowed)


def _of_table(attacker: Subject, tables: Sequence[Relation], allowed: Own) -> Iterator[Probe]:
    table = next((each for each in tables if each.by_tenant), tables[0])
    named = {
        "table": table.identifier,
        "schema": sql.Identifier(table.schema),
        "login": sql.Identifier(attacker.outputs.login),
        "owner": sql.Identifier(table.owner),
    }
    for name, tried, text in _STATEMENTS:
        statement = sql.SQL(text).format(**named)

        def attack(session: TenantSession, statement: sql.Composed = statement) -> Answer:
            run(session, statement)
            return Answer("ok", "it was done, and rolled back")

        expected = (DENIED, *_ALSO.get(name, ()))
        yield probe(
            name,
            tried.format(table=table.name),
            partial(in_session, attacker, attack),
            allowed,
            expected=" or ".join(expected),
            judged=is_one_of(*expected),
            severity=Severity.BREACH,
        )
