"""Migrations on a real server: what they may do, that they do it wholly or not at all, and which line is to blame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.base.testing import Resource, RpcFailed
from providers.postgres import app_schema, patience, patient_locks
from tests.integration.providers.postgres.conftest import EXAMPLE, digests
from tests.integration.providers.postgres.engine import Bridge, Cell, Engine, bridge, build_cell

FIRST = """-- tenantry: reference-table
CREATE TABLE kind (kind text PRIMARY KEY);

CREATE TABLE item (
    tenant_id text NOT NULL,
    item_id   int,
    kind      text REFERENCES kind,
    name      text,
    PRIMARY KEY (tenant_id, item_id)
);
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text(FIRST)
    return tmp_path


@pytest.fixture(scope="module")
def pool(platform: Engine, tmp_path_factory: pytest.TempPathFactory) -> Cell:
    directory = tmp_path_factory.mktemp("pool")
    (directory / "0001_first.sql").write_text(FIRST)
    made = build_cell(platform, directory)
    for tenant in ("acme", "globex"):
        made.admit(tenant)
        with made.entered(tenant) as session:
            session.execute("INSERT INTO item (item_id, name) VALUES (1, current_setting('app.current_tenant'))")
    return made


def migrate(cell: Cell, files: Path, sql: str) -> Resource:
    """Version 2 of the pool's tables."""
    (files / "0002_second.sql").write_text(sql)
    tables = cell.parts["tables"]
    return cell.engine.update(tables, directory=str(files), migrations=digests(files))


def refusal(cell: Cell, files: Path, sql: str) -> str:
    before = cell.engine.refresh(cell.parts["tables"])
    with pytest.raises(RpcFailed) as refused:
        migrate(cell, files, sql)
    after = cell.engine.refresh(cell.parts["tables"])
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs), "nothing is half done"
    assert refused.value.code.name == "FAILED_PRECONDITION"
    return refused.value.message


TENANT_TABLE = "CREATE TABLE t (tenant_id text NOT NULL, id int, {}PRIMARY KEY (tenant_id, id))"
BROKEN = [
    ("CREATE TABLE t (id int PRIMARY KEY)", "table t has no column tenant_id; add"),
    ("CREATE TABLE t (tenant_id text, id int)", 'table t has a tenant_id that is not "text NOT NULL"'),
    ("CREATE TABLE t (tenant_id int NOT NULL, id int, PRIMARY KEY (tenant_id, id))", 'that is not "text NOT NULL"'),
    ("CREATE TABLE t (tenant_id text NOT NULL, id int)", "table t has no primary key"),
    ("CREATE TABLE t (tenant_id text NOT NULL, id int PRIMARY KEY)", "has the unique index t_pkey without tenant_id"),
    (TENANT_TABLE.format("name text UNIQUE, "), "unique index t_name_key without tenant_id"),
    (TENANT_TABLE.format("") + "; CREATE UNIQUE INDEX u ON t (id) INCLUDE (tenant_id)", "unique index u without"),
    (TENANT_TABLE.format("EXCLUDE USING btree (id WITH =), "), "exclusion constraint t_id_excl without"),
    (("CREATE TABLE u (tenant_id text NOT NULL, id int UNIQUE, PRIMARY KEY (tenant_id, id));\n"
     "CREATE TABLE t (tenant_id text NOT NULL, id int REFERENCES u (id),"
     " PRIMARY KEY (tenant_id, id))"), "to pool.u that does not carry tenant_id: FOREIGN KEY (tenant_id, ...)"),
    ("-- tenantry: reference-table\nCREATE TABLE t (a text, b int, FOREIGN KEY (a, b) REFERENCES item)",
     "is a reference table and refers to the tenant table pool.item"),
    ("-- tenantry: reference-table\nCREATE TABLE t (tenant_id text NOT NULL PRIMARY KEY)", "remove the comment or the"),
    ("CREATE VIEW v AS SELECT * FROM item", "view v reads with the rights of its owner; create it WITH (security_inv"),
    ("CREATE VIEW v WITH (security_invoker = false) AS SELECT * FROM item", "WITH (security_invoker = true)"),
    ("CREATE POLICY p ON item USING (true)", "permissive policy p, which lets more rows through; write it AS RESTRIC"),
    ("DROP POLICY tenantry_tenant ON item", "table item is not guarded any more"),
    ("ALTER POLICY tenantry_tenant ON item USING (true)", "table item is not guarded any more"),
    ("DO $$ BEGIN EXECUTE 'DROP ' || 'POLICY tenantry_tenant ON item'; END $$", "table item is not guarded any more"),
    ("DO $$ BEGIN EXECUTE 'ALTER TABLE item DISABLE ROW ' || 'LEVEL SECURITY'; END $$", "is not guarded any more"),
    ("ALTER TABLE item RENAME TO thing; DROP POLICY tenantry_tenant ON thing", "table thing is not guarded any more"),
    ("DO $$ BEGIN EXECUTE 'GR' || 'ANT SELECT ON item TO PUBLIC'; END $$", "grants SELECT to PUBLIC; privileges are"),
    ("DO $$ BEGIN EXECUTE 'GR' || 'ANT SELECT (name) ON item TO {stranger}'; END $$", "grants SELECT (name) to"),
    ("DO $$ BEGIN EXECUTE 'GR' || 'ANT USAGE ON SCHEMA pool TO {stranger}'; END $$", "grants USAGE to"),
    ("DO $$ BEGIN EXECUTE 'CREATE MATERIALIZED ' || 'VIEW m AS SELECT 1 AS a'; END $$", "can't carry row-level secur"),
    (("DO $$ BEGIN EXECUTE 'CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY '"
     " || 'DEFINER AS ''SELECT 1'''; END $$"),
     "function pool.f() is SECURITY DEFINER"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql SET row_security = off AS 'SELECT 1'", "sets row_security"),
    ("CREATE RULE r AS ON DELETE TO item DO INSTEAD NOTHING", "has the rule r"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "problem"), BROKEN)
def test_what_breaks_isolation_is_refused_with_file_line_and_fix(
    pool: Cell, files: Path, sql: str, problem: str
) -> None:
    stranger = pool.parts["owner"].id.replace("owner", "nobody")
    if "{stranger}" in sql:
        with pool.engine.stack.server.connect() as master:
            master.execute(f"DROP ROLE IF EXISTS {stranger}".encode())
            master.execute(f"CREATE ROLE {stranger}".encode())
    sql = sql.replace("{stranger}", stranger)
    message = refusal(pool, files, "SELECT 1;\n\nCREATE INDEX ON item (tenant_id, name);\n" + sql)
    assert problem in message
    first = message.splitlines()[0]
    assert first.startswith(("0002_second.sql:4: ", "0002_second.sql:5: ")), message


FAILING = [
    ("SELECT 1;\nSELECT 1 +\n  nothing", "0002_second.sql:3: column \"nothing\" does not exist (SQLSTATE 42703)"),
    ("CREATE TABLE item (a int)", "0002_second.sql:1: relation \"item\" already exists"),
    ("SELECT 1;\nSELEC 2", "0002_second.sql:2: syntax error at or near \"SELEC\""),
    ("SELECT 1;\n\nDO $$\nBEGIN\n  RAISE EXCEPTION 'no';\nEND $$", "0002_second.sql:3: no (SQLSTATE P0001)"),
    ("UPDATE item SET name = 'x'", "says so by the comment '-- tenantry: all-tenants'"),
    ("CREATE TABLE public.t (a int)", "permission denied for schema public (SQLSTATE 42501). A migration acts as the"),
    ("INSERT INTO tenantry.pool_tenant VALUES ('x', 1, 'full', 'x')", "permission denied for table pool_tenant"),
    ("SELECT * FROM tenantry.pool_key", "permission denied for table pool_key"),
    ("DELETE FROM tenantry.migration", "permission denied for table migration"),
    ("DO $$ BEGIN EXECUTE 'CREATE ' || 'ROLE mine'; END $$", "permission denied to create role"),
    ("DO $$ BEGIN EXECUTE 'CREATE ' || 'SCHEMA mine'; END $$", "permission denied for database"),
    ("DO $$ BEGIN EXECUTE 'RE' || 'SET ROLE'; END $$", "within security-definer function"),
    ("SELECT set_config('role', 'none', true)", "within security-definer function"),
    ("SELECT set_config('session_authorization', 'postgres', true)", "within security-definer function"),
    ("DO $$ BEGIN PERFORM set_config('role', 'none', true); EXECUTE 'CREATE ROLE mine'; END $$", "security-definer"),
    (("CREATE TABLE d (tenant_id text NOT NULL, id int, up int, PRIMARY KEY (tenant_id, id),\n"
     "  FOREIGN KEY (tenant_id, up)"
     " REFERENCES d DEFERRABLE INITIALLY DEFERRED);\n-- tenantry: all-tenants\nINSERT INTO d VALUES ('acme', 1, 7)"),
     "0002_second.sql:4: at its end: insert or update on table \"d\" violates foreign key"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "problem"), FAILING)
def test_a_failing_migration_leaves_nothing_half_done_and_names_its_line(
    pool: Cell, files: Path, sql: str, problem: str
) -> None:
    message = refusal(pool, files, sql)
    assert problem in message
    assert "0002_second.sql:" in message


def test_deferred_triggers_act_as_the_owner_not_as_the_master(pool: Cell, files: Path) -> None:
    sql = """
CREATE TABLE log (tenant_id text NOT NULL, id int, who text, PRIMARY KEY (tenant_id, id));
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'acts as %', current_user; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO log VALUES ('acme', 1, 'x');
"""
    assert f"at its end: acts as {pool.owner}" in refusal(pool, files, sql)


def test_the_next_version_is_applied_on_rows_that_are_there(platform: Engine, files: Path) -> None:
    made = build_cell(platform, files)
    for tenant in ("acme", "globex"):
        made.admit(tenant)
        with made.entered(tenant) as session:
            session.execute("INSERT INTO item (item_id, name) VALUES (1, 'old'), (2, 'old')")
    second = """-- tenantry: all-tenants
ALTER TABLE item ADD COLUMN size int NOT NULL DEFAULT 0;
UPDATE item SET size = length(name), name = upper(name);
CREATE TABLE part (tenant_id text NOT NULL, item_id int, part_id int, PRIMARY KEY (tenant_id, item_id, part_id),
    FOREIGN KEY (tenant_id, item_id) REFERENCES item ON DELETE CASCADE);
INSERT INTO part SELECT tenant_id, item_id, 1 FROM item;
CREATE VIEW big WITH (security_invoker = true) AS SELECT * FROM item WHERE size > 0;
CREATE POLICY small ON item AS RESTRICTIVE USING (size < 100);
"""
    updated = migrate(made, files, second)
    assert updated.outputs["version"] == 2
    assert made.engine.drift(updated) == []
    assert made.engine.drift(made.parts["privileges"]) == []
    for tenant in ("acme", "globex"):
        with made.entered(tenant) as session:
            assert session.execute("SELECT DISTINCT tenant_id, name, size FROM big").fetchall() == [(tenant, "OLD", 3)]
            assert session.execute("SELECT count(*) FROM part").fetchone() == (2,)
    (files / "0002_second.sql").write_text(second + "-- changed")
    with pytest.raises(RpcFailed, match=r"0002_second.sql: was changed after it was applied"):
        made.engine.update(updated, migrations=digests(files))
    (files / "0002_second.sql").write_text(second)
    with pytest.raises(RpcFailed, match=r"is at 0002_second.sql, the stack asks for 0001: migrations only go forward"):
        made.engine.update(updated, migrations=digests(files)[:1])


def test_a_schema_of_one_tenant_goes_the_same_way(cell: Cell) -> None:
    acme = bridge(cell.engine.other("acme"), cell.database, version=1)
    with acme.session() as session:
        session.execute("INSERT INTO project (name) VALUES ('mine')")
        with pytest.raises(Exception, match="tenantry_tenant_id"):
            session.execute("INSERT INTO project (tenant_id, name) VALUES ('globex', 'theirs')")
    updated = acme.engine.update(acme.parts["tables"], migrations=digests(EXAMPLE))
    assert updated.outputs["version"] == 2
    assert acme.engine.drift(updated) == []
    with acme.session() as session:
        assert session.execute("SELECT tenant_id, name FROM project").fetchall() == [("acme", "mine")]
        session.execute("SELECT * FROM open_task")
        for statement in ("TRUNCATE project", "INSERT INTO task_status VALUES ('x', 9)", "CREATE TABLE t (a int)"):
            with pytest.raises(Exception, match="permission denied"):
                session.execute(statement.encode())


@pytest.mark.parametrize("directory", ["gone", "changed"])
def test_files_that_are_not_what_was_announced_change_nothing(pool: Cell, files: Path, directory: str) -> None:
    announced = [*digests(files), {"version": 2, "name": "second", "sha256": "0" * 64}]
    if directory == "changed":
        (files / "0002_second.sql").write_text("SELECT 1")
    with pytest.raises(RpcFailed, match=r"has no migration 0002_second.sql|the file changed during the update"):
        pool.engine.update(pool.parts["tables"], directory=str(files), migrations=announced)


def test_of_two_updates_at_once_one_waits(platform: Engine, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build_cell(platform, files)
    (files / "0002_second.sql").write_text("CREATE TABLE t (tenant_id text NOT NULL PRIMARY KEY)")
    inside, go = threading.Event(), threading.Event()
    entered: list[int] = []
    real: Callable[..., Any] = app_schema._apply

    def apply(*arguments: Any) -> None:
        entered.append(1)
        inside.set()
        assert go.wait(20)
        real(*arguments)

    monkeypatch.setattr(app_schema, "_apply", apply)
    results: list[Resource] = []

    def update() -> None:
        inputs = {**made.parts["tables"].inputs, "migrations": digests(files)}
        results.append(platform.client.update(made.parts["tables"], inputs))

    threads = [threading.Thread(target=update) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert inside.wait(20)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with platform.stack.master.cluster.admin(made.database) as admin:
        while admin.execute(waiting.encode()).fetchone() != (1,):
            threads[0].join(0.02)
    go.set()
    for thread in threads:
        thread.join(20)
    assert [result.outputs["version"] for result in results] == [2, 2]
    assert entered == [1], "the second found nothing to apply"


def test_a_migration_gives_way_to_a_long_transaction_and_comes_again(
    platform: Engine, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build_cell(platform, files)
    made.admit("acme")
    gave_way = threading.Event()
    real = patience.pause

    def pause(seconds: float) -> None:
        gave_way.set()
        real(seconds)

    monkeypatch.setattr(patient_locks, "pause", pause)
    (files / "0002_second.sql").write_text("ALTER TABLE item ADD COLUMN size int")
    done: list[Resource] = []
    thread = threading.Thread(target=lambda: done.append(migrate(made, files, "ALTER TABLE item ADD COLUMN size int")))
    with made.entered("acme") as session:
        session.execute("INSERT INTO item (item_id) VALUES (1)")
        thread.start()
        assert gave_way.wait(20)
        with made.entered("acme") as other:
            other.execute("SELECT * FROM item")  # nobody queues up behind a migration
    thread.join(30)
    assert [each.outputs["version"] for each in done] == [2]


def test_no_runner_is_left_behind(cell: Cell) -> None:
    acme: Bridge = bridge(cell.engine.other("acme"), cell.database)
    with cell.engine.stack.server.connect(cell.database) as master:
        left = master.execute("SELECT count(*) FROM pg_proc WHERE proname = 'tenantry_statement'").fetchone()
    assert left == (0,)
    acme.destroy()
