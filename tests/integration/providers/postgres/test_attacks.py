"""Attacks on a pool by whoever can run any SQL as the application's login. Each denial has its permitted twin."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors, sql

from tests.integration.providers.postgres.conftest import Pool, enter

Session = psycopg.Connection[Any]

TABLES = ("project", "task", "comment")
DENIED = errors.InsufficientPrivilege


def test_without_a_tenant_nothing_is_read_or_written(shared_pool: Pool) -> None:
    for table in TABLES:
        with shared_pool.session() as session:
            with pytest.raises(DENIED, match="no tenant entered"):
                session.execute(f"SELECT * FROM {table}".encode())
            with pytest.raises(DENIED, match="no tenant entered"):
                session.execute(f"DELETE FROM {table}".encode())
        with shared_pool.entered("acme") as session:
            assert session.execute(f"SELECT DISTINCT tenant_id FROM {table}".encode()).fetchall() == [("acme",)]


def test_a_forged_tenant_is_refused_beside_a_valid_token_of_another(shared_pool: Pool) -> None:
    with shared_pool.entered("acme") as session:
        assert session.execute("SELECT count(*) FROM project").fetchone() == (1,)
        with session.transaction(force_rollback=True):
            session.execute("SET LOCAL app.current_tenant = 'globex'")
            with pytest.raises(DENIED, match="invalid"), session.transaction():
                session.execute("SELECT * FROM project")
        assert session.execute("SELECT tenant_id FROM project").fetchone() == ("acme",)


def test_rows_of_another_tenant_are_neither_written_nor_moved(shared_pool: Pool) -> None:
    with shared_pool.entered("acme") as session:
        merge = (
            "MERGE INTO project p USING (VALUES ('globex', 'evil')) s (t, n) ON false"
            " WHEN NOT MATCHED THEN INSERT (tenant_id, name) VALUES (s.t, s.n)"
        )
        insert = "INSERT INTO project (tenant_id, name) VALUES ('globex', 'evil')"
        statements = (insert, "UPDATE project SET tenant_id = 'globex'", merge)
        for statement in statements:
            with pytest.raises(DENIED, match="row-level security"), session.transaction():
                session.execute(statement.encode())
        for statement in ("UPDATE project SET name = 'evil' WHERE tenant_id = 'globex'", "DELETE FROM project"):
            with session.transaction(force_rollback=True):
                touched = session.execute(statement.encode()).rowcount
                assert touched == (1 if statement.startswith("DELETE") else 0)
        with session.transaction(force_rollback=True):
            session.execute("INSERT INTO project (tenant_id, name) VALUES ('acme', 'fine')")
    with shared_pool.entered("globex") as session:
        assert session.execute("SELECT name FROM project").fetchall() == [("project of globex",)]


def forgeries(pool: Pool) -> dict[str, str]:
    good = pool.token("acme")
    expiry, epoch, mac = good.split(".")
    key = secrets.token_hex(64)
    return {
        "of another tenant": pool.token("globex"),
        "of another epoch": pool.token("acme", 2),
        "expired": pool.token("acme", lives=-1),
        "signed with another key": pool.token("acme", key=key),
        "prolonged": f"{int(expiry) + 1}.{epoch}.{mac}",
        "with another epoch written in": f"{expiry}.2.{mac}",
        "cut": good[:-1],
        "without its code": f"{expiry}.{epoch}.",
        "in upper case": f"{expiry}.{epoch}.{mac.upper()}",
        "with more": good + "0",
        "with a line end": good + "\n",
        "with spaces": f" {good}",
        "with a sign": f"+{good}",
        "of zero": f"0.0.{'0' * 64}",
        "too large a number": f"{'9' * 40}.1.{mac}",
        "with an epoch beyond bigint": f"{expiry}.{'9' * 30}.{mac}",
        "a negative epoch": f"{expiry}.-1.{mac}",
        "not hex": f"{expiry}.{epoch}.{'z' * 64}",
        "odd hex": f"{expiry}.{epoch}.{mac[:63]}",
        "huge": "1" * 1_000_000,
        "not ASCII": "١٢٣.1." + mac,
        "empty": "",
        "a dot": ".",
        "dots": "..",
        "NaN": f"NaN.1.{mac}",
        "a number with an exponent": f"1e30.1.{mac}",
        "an injection": "' OR 1=1 --",
    }


def test_every_forged_token_is_refused_with_the_same_sqlstate(shared_pool: Pool) -> None:
    for name, token in forgeries(shared_pool).items():
        with shared_pool.session() as session, session.transaction():
            enter(session, "acme", token)
            with pytest.raises(psycopg.Error) as denied, session.transaction():
                session.execute("SELECT * FROM project")
            assert denied.value.sqlstate == "42501", name
            enter(session, "acme", shared_pool.token("acme"))
            assert session.execute("SELECT count(*) FROM project").fetchone() == (1,)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tenant=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80),
    token=st.one_of(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200),
        st.from_regex(r"[0-9]{0,30}\.[0-9]{0,30}\.[0-9a-f]{0,70}", fullmatch=True),
    ),
)
def test_no_settings_at_all_lead_to_another_error(shared_pool: Pool, tenant: str, token: str) -> None:
    with shared_pool.session() as session, session.transaction():
        enter(session, tenant, token)
        with pytest.raises(psycopg.Error) as denied, session.transaction():
            session.execute("SELECT * FROM project")
        assert denied.value.sqlstate == "42501"


@pytest.mark.parametrize(
    "tenant",
    [
        "acme' OR '1'='1",
        "acme'; DROP TABLE project; --",
        "acme|1|9999999999",
        "acme\nglobex",
        "%",
        "ACME",
        "acme ",
        "á",
    ],
)
def test_a_tenant_id_is_data_even_when_it_looks_like_sql(shared_pool: Pool, tenant: str) -> None:
    with shared_pool.session() as session, session.transaction():
        enter(session, tenant, shared_pool.token(tenant))
        with pytest.raises(DENIED), session.transaction():
            session.execute("SELECT * FROM project")
    with shared_pool.entered("acme") as session:
        assert session.execute("SELECT count(*) FROM project").fetchone() == (1,)


def test_a_tenant_that_was_never_admitted_stays_out(shared_pool: Pool) -> None:
    with shared_pool.entered("initech") as session, pytest.raises(DENIED, match="no access"), session.transaction():
        session.execute("SELECT * FROM project")


def test_suspension_shuts_out_the_very_next_statement(shared_pool: Pool) -> None:
    tenant = shared_pool.admit("umbrella")
    with shared_pool.entered("umbrella") as session:
        session.execute("INSERT INTO project (name) VALUES ('x')")
        shared_pool.stack.update(tenant, access="suspended")
        with pytest.raises(DENIED, match="no access"), session.transaction():
            session.execute("SELECT * FROM project")
    shared_pool.stack.update(tenant, access="full", epoch=2)
    with shared_pool.entered("umbrella", shared_pool.token("umbrella", 1)) as session, pytest.raises(DENIED):
        session.execute("SELECT * FROM project")
    with shared_pool.entered("umbrella", shared_pool.token("umbrella", 2)) as session:
        session.execute("SELECT * FROM project")


def test_a_long_transaction_does_not_outlive_its_token(shared_pool: Pool) -> None:
    with shared_pool.entered("acme", shared_pool.token("acme", lives=2)) as session:
        assert session.execute("SELECT count(*) FROM project").fetchone() == (1,)
        deadline = time.monotonic() + 10
        with pytest.raises(DENIED, match="expired"):  # noqa: PT012 - polls for the moment of expiry
            while time.monotonic() < deadline:
                session.execute("SELECT count(*), pg_sleep(0.1) FROM project")


@pytest.mark.parametrize(
    ("statement", "sqlstates"),
    [
        ("SET ROLE {owner}", {"42501"}),
        ("SET ROLE {definer}", {"42501"}),
        ("SET ROLE {master}", {"42501"}),
        ("SET SESSION AUTHORIZATION {owner}", {"42501"}),
        ("SET row_security = off; SELECT * FROM project", {"42501"}),
        ("SET session_replication_role = replica", {"42501"}),
        ("ALTER TABLE project DISABLE ROW LEVEL SECURITY", {"42501"}),
        ("ALTER TABLE project NO FORCE ROW LEVEL SECURITY", {"42501"}),
        ("DROP POLICY tenantry_tenant ON project", {"42501"}),
        ("CREATE POLICY mine ON project USING (true)", {"42501"}),
        ("ALTER TABLE project OWNER TO CURRENT_USER", {"42501"}),
        ("TRUNCATE project CASCADE", {"42501"}),
        ("CREATE TABLE mine (tenant_id text REFERENCES project)", {"42501"}),
        ("CREATE TABLE tenantry.mine (x int)", {"42501"}),
        ("CREATE TABLE public.mine (x int)", {"42501"}),
        ("CREATE TEMP TABLE mine AS SELECT * FROM project", {"42501"}),
        ("CREATE TEMP VIEW mine AS SELECT * FROM project", {"42501"}),
        ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", {"42501"}),
        ("CREATE VIEW mine AS SELECT * FROM project", {"42501"}),
        ("CREATE MATERIALIZED VIEW mine AS SELECT * FROM project", {"42501"}),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", {"42501"}),
        ("CREATE SCHEMA mine", {"42501"}),
        ("CREATE TRIGGER t BEFORE INSERT ON project EXECUTE FUNCTION suppress_redundant_updates_trigger()", {"42501"}),
        ("CREATE RULE r AS ON INSERT TO project DO NOTHING", {"42501"}),
        ("CREATE PUBLICATION mine FOR ALL TABLES", {"42501"}),
        ("CREATE ROLE mine", {"42501"}),
        ("CREATE EXTENSION file_fdw", {"42501", "0A000"}),
        ("ALTER FUNCTION tenantry.current_tenant() RESET ALL", {"42501"}),
        (
            "CREATE OR REPLACE FUNCTION tenantry.current_tenant() RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
            {"42501"},
        ),
        ("DROP FUNCTION tenantry.current_tenant()", {"42501"}),
        ("SELECT * FROM tenantry.pool_key", {"42501"}),
        ("SELECT * FROM tenantry.pool_tenant", {"42501"}),
        ("UPDATE tenantry.pool_tenant SET epoch = 2", {"42501"}),
        ("INSERT INTO tenantry.pool_key VALUES ('mine', '', '')", {"42501"}),
        ("UPDATE tenantry.migration SET sha256 = ''", {"42501"}),
        ("DELETE FROM tenantry.app_schema", {"42501"}),
        ("SELECT * FROM pg_authid", {"42501"}),
        ("SELECT * FROM pg_statistic", {"42501"}),
        ("SELECT pg_read_file('/etc/passwd')", {"42501"}),
        ("SELECT lo_import('/etc/passwd')", {"42501"}),
        ("COPY project TO '/tmp/x'", {"42501"}),
        ("COPY project TO PROGRAM 'cat'", {"42501"}),
        ("INSERT INTO task_status VALUES ('mine', 9)", {"42501"}),
        ("UPDATE task_status SET position = 9", {"42501"}),
        ("LOCK TABLE tenantry.pool_tenant", {"42501"}),
        ("GRANT SELECT ON tenantry.pool_key TO PUBLIC", {"42501"}),
        ("GRANT {owner} TO CURRENT_USER", {"42501"}),
        ("ALTER ROLE CURRENT_USER BYPASSRLS", {"42501"}),
        ("ALTER ROLE CURRENT_USER CONNECTION LIMIT -1", {"42501"}),
        ("ALTER DATABASE {database} SET row_security = off", {"42501"}),
        ("SELECT dblink_connect('')", {"42883"}),
        ("COMMENT ON ROLE {owner} IS 'mine'", {"42501"}),
        ("COMMENT ON SCHEMA pool IS 'mine'", {"42501"}),
        ("ALTER TABLE project DROP CONSTRAINT project_pkey CASCADE", {"42501"}),
        ("ALTER POLICY tenantry_tenant ON project USING (true)", {"42501"}),
        ("ALTER VIEW open_task SET (security_invoker = false)", {"42501"}),
        ("CREATE OR REPLACE VIEW open_task AS SELECT * FROM task", {"42501"}),
        ("ANALYZE project; REINDEX TABLE project", {"42501"}),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO PUBLIC", {"42501"}),
        ("ALTER ROLE CURRENT_USER SET app.current_tenant = 'globex'", {"42501"}),
        ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{master}'", {"42501"}),
        ("COPY (SELECT * FROM tenantry.pool_key) TO STDOUT", {"42501"}),
        ("COPY tenantry.pool_tenant FROM STDIN", {"42501"}),
        ("DECLARE c CURSOR FOR SELECT * FROM tenantry.pool_key", {"42501"}),
        ("SELECT query_to_xml('SELECT * FROM tenantry.pool_key', true, true, '')", {"42501"}),
        ("SELECT * FROM pg_file_settings", {"42501"}),
        ("SELECT * FROM pg_hba_file_rules", {"42501"}),
        ("SELECT pg_current_logfile(), pg_ls_waldir()", {"42501"}),
    ],
)
def test_a_login_can_not_do_what_is_not_its_business(shared_pool: Pool, statement: str, sqlstates: set[str]) -> None:
    text = statement.format(
        owner=shared_pool.parts["owner"].id,
        definer=f"{shared_pool.database}_tenantry",
        master=shared_pool.stack.master.username,
        database=shared_pool.database,
    )
    with shared_pool.entered("acme") as session:
        with pytest.raises(psycopg.Error) as denied, session.transaction():
            session.execute(text.encode())
        assert denied.value.sqlstate in sqlstates, denied.value
        assert session.execute("SELECT tenant_id FROM project").fetchall() == [("acme",)]


def test_a_login_passes_no_privilege_on(shared_pool: Pool) -> None:
    acl = "SELECT relacl::text FROM pg_class WHERE relname = 'project' AND relnamespace = 'pool'::regnamespace"
    with shared_pool.session() as session:
        before = session.execute(acl.encode()).fetchone()
        session.execute("GRANT SELECT ON project TO PUBLIC")  # a warning: nothing was granted
        assert session.execute(acl.encode()).fetchone() == before
        with pytest.raises(DENIED):
            session.execute("CREATE DATABASE mine")


def test_reset_and_discard_leave_the_session_without_a_tenant(shared_pool: Pool) -> None:
    for statement in ("RESET ALL", "RESET app.tenant_token"):
        with shared_pool.entered("acme") as session:
            session.execute("SELECT * FROM project")
            session.execute(statement.encode())
            with pytest.raises(DENIED), session.transaction():
                session.execute("SELECT * FROM project")


def _committed(session: Session, pool: Pool) -> None:
    with session.transaction():
        enter(session, "acme", pool.token("acme"))
        session.execute("SELECT * FROM project")


def _rolled_back(session: Session, pool: Pool) -> None:
    with session.transaction(force_rollback=True):
        enter(session, "acme", pool.token("acme"))
        session.execute("SELECT * FROM project")


def _failed(session: Session, pool: Pool) -> None:
    with session.transaction(force_rollback=True):
        enter(session, "acme", pool.token("acme"))
        with pytest.raises(errors.DivisionByZero):
            session.execute("SELECT 1 / 0 FROM project")


def _half_entered(session: Session, pool: Pool) -> None:
    with session.transaction():
        session.execute("SELECT set_config('app.current_tenant', 'acme', true)")


@pytest.mark.parametrize("before", [_committed, _rolled_back, _failed, _half_entered])
def test_a_pooled_connection_forgets_its_tenant(shared_pool: Pool, before: Callable[[Session, Pool], None]) -> None:
    with shared_pool.session() as session:
        before(session, shared_pool)
        with pytest.raises(DENIED, match="no tenant entered"):
            session.execute("SELECT * FROM project")
        with session.transaction():
            enter(session, "globex", shared_pool.token("globex"))
            assert session.execute("SELECT DISTINCT tenant_id FROM project").fetchall() == [("globex",)]


def test_cursors_and_prepared_statements_do_not_carry_a_tenant_over(shared_pool: Pool) -> None:
    with shared_pool.session() as session:
        with session.transaction():
            enter(session, "acme", shared_pool.token("acme"))
            session.execute("PREPARE mine AS SELECT tenant_id FROM project")
            assert session.execute("EXECUTE mine").fetchall() == [("acme",)]
        with pytest.raises(DENIED):
            session.execute("EXECUTE mine")
        with session.transaction():
            enter(session, "globex", shared_pool.token("globex"))
            assert session.execute("EXECUTE mine").fetchall() == [("globex",)]


def test_search_path_and_temporary_objects_do_not_divert_the_definer(shared_pool: Pool) -> None:
    with shared_pool.entered("acme") as session:
        session.execute("SET LOCAL search_path = pg_temp, public, pool, pg_catalog")
        assert session.execute("SELECT tenantry.current_tenant()").fetchone() == ("acme",)
        enter(session, "globex", shared_pool.token("acme"))
        with pytest.raises(DENIED), session.transaction():
            session.execute("SELECT tenantry.current_tenant()")


def test_a_leaky_condition_sees_no_row_of_another_tenant(shared_pool: Pool) -> None:
    leak = "SELECT * FROM project WHERE 1 / (CASE tenant_id WHEN 'globex' THEN 0 ELSE 1 END) = 1"
    with shared_pool.entered("acme") as session:
        assert len(session.execute(leak.encode()).fetchall()) == 1
        cast = "SELECT * FROM project WHERE (CASE WHEN name LIKE '%globex%' THEN name ELSE '1' END)::int = 1"
        assert len(session.execute(cast.encode()).fetchall()) == 1
    with shared_pool.entered("globex") as session, pytest.raises(errors.DivisionByZero):
        session.execute(leak.encode())


def test_plans_and_statistics_show_no_value_of_another_tenant(shared_pool: Pool) -> None:
    with shared_pool.stack.server.connect(shared_pool.database) as master:
        master.execute("ANALYZE pool.project")
    with shared_pool.entered("acme") as session:
        plan = session.execute("EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM project").fetchall()
        assert "acme" not in str(plan), "the tenant is a parameter of the plan"
        assert "globex" not in str(plan)
        assert session.execute("SELECT * FROM pg_stats WHERE tablename = 'project'").fetchall() == []
        assert session.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'task_status'").fetchone() is not None


def test_keys_tell_nothing_of_another_tenants_rows(shared_pool: Pool) -> None:
    with shared_pool.entered("globex") as session:
        theirs = session.execute("SELECT project_id, name FROM project").fetchone()
    assert theirs is not None
    with shared_pool.entered("acme") as session:
        with session.transaction(force_rollback=True):
            session.execute("INSERT INTO project (name) VALUES (%s)", (theirs[1],))  # no collision with globex's name
        with pytest.raises(errors.UniqueViolation), session.transaction():
            session.execute("INSERT INTO project (name) VALUES ('project of acme')")
        for project in (theirs[0], 10**9):  # an existing one of globex and one of nobody: the same answer
            with pytest.raises(errors.ForeignKeyViolation), session.transaction():
                session.execute("INSERT INTO task (project_id, title) VALUES (%s, 'x')", (project,))
        with session.transaction(force_rollback=True):
            session.execute("INSERT INTO task (project_id, title) SELECT project_id, 'x' FROM project")
        with session.transaction(force_rollback=True):
            upsert = (
                "INSERT INTO project (tenant_id, project_id, name) OVERRIDING SYSTEM VALUE VALUES ('acme', %s, 'y')"
                " ON CONFLICT (tenant_id, project_id) DO UPDATE SET name = 'y' RETURNING tenant_id"
            )
            assert session.execute(upsert, (theirs[0],)).fetchone() == ("acme",)


def test_cascades_stay_within_the_tenant(shared_pool: Pool) -> None:
    with shared_pool.entered("acme") as session, session.transaction(force_rollback=True):
        session.execute("DELETE FROM project")
        assert session.execute("SELECT count(*) FROM comment").fetchone() == (0,)
    with shared_pool.entered("globex") as session:
        assert session.execute("SELECT count(*) FROM comment").fetchone() == (1,)


def test_views_show_the_own_rows(shared_pool: Pool) -> None:
    with shared_pool.entered("acme") as session:
        assert session.execute("SELECT DISTINCT tenant_id FROM open_task").fetchall() == [("acme",)]
    with shared_pool.session() as session, pytest.raises(DENIED):
        session.execute("SELECT * FROM open_task")


def test_copy_moves_the_own_rows_only(shared_pool: Pool) -> None:
    with shared_pool.entered("acme") as session:
        with session.cursor() as cursor, cursor.copy("COPY project TO STDOUT") as copy:
            text = b"".join(bytes(block) for block in copy)
        assert b"project of acme" in text
        assert b"globex" not in text
        into = "COPY project (tenant_id, name) FROM STDIN"
        with pytest.raises(errors.FeatureNotSupported), session.cursor() as cursor, cursor.copy(into) as copy:
            copy.write_row(("globex", "evil"))


def test_reference_tables_are_read_by_everyone(shared_pool: Pool) -> None:
    with shared_pool.session() as session:
        assert session.execute("SELECT count(*) FROM task_status").fetchone() == (3,)


def test_a_forgotten_table_is_out_of_reach(shared_pool: Pool) -> None:
    stack, owner = shared_pool.stack, shared_pool.parts["owner"].id
    with stack.server.connect(shared_pool.database) as master:
        with master.transaction():
            master.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
            master.execute("CREATE TABLE pool.forgotten (tenant_id text NOT NULL, secret text)")
            master.execute("INSERT INTO pool.forgotten VALUES ('globex', 'x')")
        try:
            with shared_pool.entered("acme") as session, pytest.raises(DENIED), session.transaction():
                session.execute("SELECT * FROM forgotten")
            drift = stack.refresh(shared_pool.parts["tables"])
            assert drift is not None
            assert "table forgotten: row-level security is not enabled" in drift
            assert any("forgotten has no primary key" in line for line in drift)
        finally:
            master.execute("DROP TABLE pool.forgotten")
    assert stack.refresh(shared_pool.parts["tables"]) == []


def test_tokens_do_not_show_to_other_sessions(shared_pool: Pool) -> None:
    token = shared_pool.token("acme")
    with shared_pool.entered("acme", token) as session:
        session.execute("SELECT * FROM project")
        with shared_pool.session() as spy:
            seen = spy.execute("SELECT query FROM pg_stat_activity WHERE usename = current_user").fetchall()
            assert len(seen) >= 2
            assert token not in str(seen)
            assert spy.execute("SELECT current_setting('app.tenant_token', true)").fetchone() in ((None,), ("",))


def test_the_secrets_reach_neither_log_nor_messages(shared_pool: Pool) -> None:
    token = shared_pool.token("acme")[:-1] + "0"
    with shared_pool.session() as session, session.transaction():
        enter(session, "acme", token)
        with pytest.raises(DENIED) as denied, session.transaction():
            session.execute("SELECT * FROM project")
        assert token not in str(denied.value)
        assert token not in str(denied.value.diag.context)
    log = shared_pool.stack.master.cluster.log.read_text(errors="replace")
    value = shared_pool.stack.value
    assert "tenant token invalid" in log
    for secret in (token, value(shared_pool.login_secret)["password"], value(shared_pool.token_secret)["key"]):
        assert secret not in log


def test_the_login_can_not_reach_other_databases(shared_pool: Pool) -> None:
    stack = shared_pool.stack
    other = stack.create("Database", "other", name=f"other_{secrets.token_hex(4)}")
    login = stack.value(shared_pool.login_secret)
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(
                host=login["host"], port=login["port"], dbname=other.id, user=login["username"],
                password=login["password"], sslmode="verify-full",
                sslrootcert=str(stack.master.cluster.authority.bundle),
            )  # fmt: skip
        with shared_pool.session() as session:
            assert session.execute("SELECT current_database()").fetchone() == (shared_pool.database,)
    finally:
        stack.delete(stack.resources.pop("other"))


def test_a_cursor_reads_for_the_tenant_that_is_entered_when_it_starts(shared_pool: Pool) -> None:
    with shared_pool.session() as session, session.transaction():
        enter(session, "acme", shared_pool.token("acme"))
        session.execute("DECLARE early CURSOR FOR SELECT tenant_id FROM project")
        session.execute("DECLARE late CURSOR FOR SELECT tenant_id FROM project")
        assert session.execute("FETCH ALL FROM early").fetchall() == [("acme",)]
        enter(session, "globex", shared_pool.token("globex"))
        assert session.execute("FETCH ALL FROM late").fetchall() == [("globex",)]


def test_a_held_cursor_keeps_what_it_read_until_the_session_is_discarded(shared_pool: Pool) -> None:
    """It is a result like any that the application keeps: no token opens it, and no later tenant adds to it."""
    with shared_pool.session() as session:
        with session.transaction():
            enter(session, "acme", shared_pool.token("acme"))
            session.execute("DECLARE mine SCROLL CURSOR WITH HOLD FOR SELECT tenant_id FROM project")
        with session.transaction():
            enter(session, "globex", shared_pool.token("globex"))
            assert session.execute("FETCH ALL FROM mine").fetchall() == [("acme",)]
            assert session.execute("SELECT DISTINCT tenant_id FROM project").fetchall() == [("globex",)]
        session.execute("DISCARD ALL")  # what a pool does between two borrowers
        with pytest.raises(errors.InvalidCursorName):
            session.execute("FETCH ALL FROM mine")


def test_a_cursor_that_is_held_can_not_be_made_without_a_tenant(shared_pool: Pool) -> None:
    with shared_pool.session() as session, pytest.raises(DENIED), session.transaction():
        session.execute("DECLARE mine CURSOR WITH HOLD FOR SELECT tenant_id FROM project")


def test_a_generic_plan_serves_each_tenant_its_own_rows(shared_pool: Pool) -> None:
    with shared_pool.session() as session:
        session.execute("SET plan_cache_mode = force_generic_plan")
        session.execute("PREPARE mine (text) AS SELECT tenant_id FROM project WHERE name LIKE $1")
        for tenant in ("acme", "globex", "acme"):
            with session.transaction():
                enter(session, tenant, shared_pool.token(tenant))
                assert session.execute("EXECUTE mine ('%')").fetchall() == [(tenant,)]
                other = sql.Literal("%of " + ("globex" if tenant == "acme" else "acme"))
                assert session.execute(sql.SQL("EXECUTE mine ({})").format(other)).fetchall() == []


@pytest.mark.parametrize("path", ["pg_temp, pool, pg_catalog", "pool, pg_catalog", "public, pool"])
def test_no_search_path_diverts_the_policy(shared_pool: Pool, path: str) -> None:
    with shared_pool.entered("acme") as session:
        for shadow in (
            "CREATE TEMP TABLE pool_tenant (tenant_id text, epoch bigint, access text)",
            "CREATE TEMP TABLE pool_key (version text)",
            "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
            "CREATE FUNCTION pool.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
            "CREATE OPERATOR pool.= (LEFTARG = text, RIGHTARG = text, FUNCTION = textne)",
        ):
            with pytest.raises(DENIED), session.transaction():
                session.execute(shadow.encode())
        session.execute(f"SET LOCAL search_path = {path}".encode())
        assert session.execute("SELECT DISTINCT tenant_id FROM pool.project").fetchall() == [("acme",)]
        session.execute("SELECT set_config('app.current_tenant', 'globex', true)")
        with pytest.raises(DENIED), session.transaction():
            session.execute("SELECT * FROM pool.project")


def test_notifications_carry_no_token_and_no_row_of_their_own(shared_pool: Pool) -> None:
    """Channels are the database's, not a tenant's: whoever notifies says it to all, and nothing else is heard."""
    with shared_pool.session() as listener, shared_pool.entered("globex") as speaker:
        listener.execute("LISTEN everything")
        speaker.execute("INSERT INTO project (name) VALUES ('secret plan')")
        speaker.execute("NOTIFY everything, 'said aloud'")
        assert [note.payload for note in listener.notifies(timeout=0.05)] == [], "nothing before the commit"
    with shared_pool.session() as listener:
        assert listener.execute("SELECT * FROM pg_listening_channels()").fetchall() == []


def test_large_objects_are_no_way_to_another_tenant(shared_pool: Pool) -> None:
    """They have no tenant: what one session writes the same login may read, so nothing of Tenantry keeps rows there."""
    with shared_pool.entered("acme") as session:
        assert session.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (0,)
        with pytest.raises(DENIED), session.transaction():
            session.execute("SELECT lo_export(1, '/tmp/x')")
        with pytest.raises(DENIED), session.transaction():
            session.execute("SELECT * FROM pg_largeobject")
