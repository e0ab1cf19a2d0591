"""A tenant that may only read: attacks by whoever can run any SQL as its login, or as the pool's with its token."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from providers.postgres import pool_security, row_security
from provisioner.broker import entry_token
from tests.integration.providers.postgres.conftest import EXAMPLE, digests, enter
from tests.integration.providers.postgres.engine import Bridge, Cell, Engine, bridge, build_cell

Session = psycopg.Connection[Any]
READ_ONLY = errors.ReadOnlySqlTransaction
DENIED = errors.InsufficientPrivilege

#: by name, each once with a row there
WRITES = {
    "insert": "INSERT INTO project (name) VALUES ('evil')",
    "insert or update": "INSERT INTO project (tenant_id, project_id, name) OVERRIDING SYSTEM VALUE"
    " SELECT tenant_id, project_id, 'evil' FROM project"
    " ON CONFLICT (tenant_id, project_id) DO UPDATE SET name = 'evil'",
    "update": "UPDATE project SET name = 'evil'",
    "delete": "DELETE FROM project",
    "merge that inserts": "MERGE INTO project p USING (VALUES ('evil')) s (n) ON false"
    " WHEN NOT MATCHED THEN INSERT (name) VALUES (n)",
    "merge that updates": "MERGE INTO project p USING (VALUES (1)) s (n) ON true"
    " WHEN MATCHED THEN UPDATE SET name = 'evil'",
    "merge that deletes": "MERGE INTO project p USING (VALUES (1)) s (n) ON true WHEN MATCHED THEN DELETE",
    "a writing CTE": "WITH w AS (DELETE FROM project RETURNING 1) SELECT count(*) FROM w",
    "an anonymous block": "DO $$ BEGIN DELETE FROM project; END $$",
    "a data-modifying plan": "EXPLAIN (ANALYZE) DELETE FROM project",
}
#: what needs no row of the tenant's, and that nobody's login may do
POWERS = (
    "COPY project (name) FROM STDIN",
    "TRUNCATE project CASCADE",
    "CREATE TABLE evil (a int)",
    "CREATE TEMP TABLE evil (a int)",
    "ALTER TABLE project DISABLE ROW LEVEL SECURITY",
    "DROP POLICY tenantry_delete ON project",
    "ALTER POLICY tenantry_tenant ON project WITH CHECK (true)",
    "ALTER TABLE project ADD COLUMN evil int",
    "CREATE SEQUENCE evil",
    "SELECT setval(pg_get_serial_sequence('project', 'project_id'), 1)",
)
RESETS = (
    "RESET ALL",
    "RESET SESSION AUTHORIZATION",
    "SET ROLE NONE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "SET transaction_read_only = off",
)


def rows(session: Session) -> list[Any]:
    return session.execute("SELECT name FROM project ORDER BY 1").fetchall()


def attacked(session: Session, refusals: tuple[type[psycopg.Error], ...], statements: dict[str, str]) -> None:
    for name, statement in statements.items():
        with pytest.raises(refusals) as refused, session.transaction():
            session.execute(statement.encode())
        assert refused.value.sqlstate in ("42501", "25006"), name


@pytest.fixture(scope="module")
def acme(platform: Engine, cell: Cell) -> Iterator[Bridge]:
    made = bridge(platform.other(f"ro-{secrets.token_hex(3)}"), cell.database)
    with made.session() as session:
        session.execute("INSERT INTO project (name) VALUES ('alpha')")
    yield made
    made.destroy()


@contextlib.contextmanager
def read_only(tenant: Bridge) -> Iterator[None]:
    """The tenant's login reads only within the block."""
    engine = tenant.engine
    tenant.parts["privileges"] = engine.update(tenant.parts["privileges"], access="read_only")
    try:
        yield
    finally:
        tenant.parts["privileges"] = engine.update(tenant.parts["privileges"], access="full")


# -- a schema of its own


def test_a_login_that_may_only_read_reads_and_writes_nothing(acme: Bridge) -> None:
    with acme.session() as before:
        before.execute("PREPARE old AS UPDATE project SET name = 'evil'")
        before.execute("BEGIN")
        before.execute("SELECT * FROM project")
        with read_only(acme):
            with pytest.raises(DENIED):
                before.execute("UPDATE project SET name = 'evil'")
            before.execute("ROLLBACK")
            with pytest.raises(DENIED):
                before.execute("EXECUTE old")
            with acme.session() as session:
                for session_of in (before, session):
                    attacked(session_of, (DENIED,), WRITES)
                    for statement in POWERS:
                        with pytest.raises(psycopg.Error) as refused:
                            session_of.execute(statement.encode())
                        assert refused.value.sqlstate in ("42501", "42704"), statement  # no pool: no such policy
                    with pytest.raises(DENIED):
                        session_of.execute("SELECT nextval(pg_get_serial_sequence('project', 'project_id'))")
                for reset in RESETS:
                    with contextlib.suppress(psycopg.Error):
                        session.execute(reset.encode())
                    attacked(session, (DENIED,), WRITES)
                with pytest.raises(DENIED):
                    session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(acme.owner)))
                assert rows(session) == [("alpha",)]
        before.execute("EXECUTE old")
        before.execute("UPDATE project SET name = 'alpha'")
        assert before.execute("INSERT INTO project (name) VALUES ('beta') RETURNING 1").fetchone() == (1,)
        before.execute("DELETE FROM project WHERE name = 'beta'")


def test_a_statement_that_was_writing_already_is_ended(acme: Bridge) -> None:
    """A COPY checks privileges when it begins, and its client decides when it ends."""
    with acme.session() as session:
        refused: list[psycopg.Error] = []
        with contextlib.suppress(psycopg.Error), session.cursor().copy("COPY project (name) FROM STDIN") as copy:
            copy.write_row(("evil",))
            with read_only(acme):
                try:
                    for _ in range(100_000):
                        copy.write_row(("evil",))
                except psycopg.Error as error:
                    refused.append(error)
                with acme.session() as reader:
                    assert rows(reader) == [("alpha",)]
            raise psycopg.Error("not to be committed")
        assert refused, "the copy went on"


def test_a_lock_on_its_tables_does_not_keep_the_right_to_write(acme: Bridge) -> None:
    with acme.session() as session:
        session.execute("BEGIN")
        session.execute("LOCK TABLE project IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with read_only(acme):
            assert time.monotonic() - began < 20
            with pytest.raises(psycopg.Error):
                session.execute("INSERT INTO project (name) VALUES ('evil')")


def test_tables_of_later_migrations_are_read_only_too(platform: Engine, cell: Cell) -> None:
    made = bridge(platform.other(f"ro-{secrets.token_hex(3)}"), cell.database, version=1)
    try:
        made.parts["privileges"] = made.engine.update(made.parts["privileges"], access="read_only")
        made.parts["tables"] = made.engine.update(made.parts["tables"], migrations=digests(EXAMPLE))
        with made.session() as session:
            assert session.execute("SELECT * FROM comment").fetchall() == []
            with pytest.raises(DENIED):
                session.execute("INSERT INTO comment (task_id, author, body) VALUES (1, 'a', 'b')")
        for part in made.parts.values():
            assert made.engine.drift(part) == [], part.type
        made.parts["privileges"] = made.engine.update(made.parts["privileges"], access="full")
        with made.session() as session:
            session.execute("INSERT INTO project (name) VALUES ('alpha')")
        for part in made.parts.values():
            assert made.engine.drift(part) == [], part.type
    finally:
        made.destroy()


@pytest.mark.parametrize(
    ("privilege", "told"),
    [
        ("INSERT ON {}.project", "INSERT on table project"),
        ("USAGE ON SEQUENCE {}.project_project_id_seq", "USAGE on sequence project_project_id_seq"),
        ("UPDATE (name) ON {}.project", "UPDATE on column project.name"),
    ],
)
def test_a_privilege_that_somebody_gives_back_is_drift_and_is_taken_again(
    acme: Bridge, privilege: str, told: str
) -> None:
    with read_only(acme):
        acme.engine.owned(acme.database, acme.owner, f"GRANT {privilege.format(acme.name)} TO {acme.login}")
        found = acme.engine.refresh(acme.parts["privileges"])
        assert found.inputs["drift"] == [f"{acme.login} has {told}"]
        acme.parts["privileges"] = acme.engine.client.update(
            found, {k: v for k, v in found.inputs.items() if k != "drift"}
        )
        assert acme.engine.drift(acme.parts["privileges"]) == []


# -- a pool


def token(cell: Cell, tenant: str, *, writes: bool = True, key: bytes | None = None) -> str:
    return entry_token(key or cell.key, tenant, 1, int(time.time()) + 600, writes=writes)


@pytest.fixture
def tenant(cell: Cell) -> Iterator[str]:
    name = f"t-{secrets.token_hex(4)}"
    engine = cell.engine.other(name)
    made = cell.admit(name, engine)
    with cell.entered(name) as session:
        session.execute("INSERT INTO project (name) VALUES ('alpha')")
    yield name
    engine.client.delete(made)


def set_access(cell: Cell, tenant: str, access: str) -> None:
    """As another `up` of the tenant's stack does."""
    cell.admit(tenant, cell.engine.other(tenant), access=access)


@contextlib.contextmanager
def session_of(cell: Cell, tenant: str, entry: str) -> Iterator[Session]:
    with cell.session() as session, session.transaction(force_rollback=True):
        enter(session, tenant, entry)
        yield session


@pytest.mark.parametrize("writing_token", [True, False])
@pytest.mark.parametrize("register", ["full", "read_only"])
def test_a_pools_tenant_writes_only_if_token_and_register_let_it(
    cell: Cell, tenant: str, writing_token: bool, register: str
) -> None:
    set_access(cell, tenant, register)
    with session_of(cell, tenant, token(cell, tenant, writes=writing_token)) as session:
        assert rows(session) == [("alpha",)]
        if writing_token and register == "full":
            for statement in WRITES.values():
                with session.transaction(force_rollback=True):
                    session.execute(statement.encode())
            return
        attacked(session, (READ_ONLY,), WRITES)
        for statement in POWERS:
            with pytest.raises(psycopg.Error) as refused, session.transaction():
                session.execute(statement.encode())
            assert refused.value.sqlstate in ("42501", "0A000"), statement
        for reset in RESETS:
            with contextlib.suppress(psycopg.Error), session.transaction():
                session.execute(reset.encode())
            enter(session, tenant, token(cell, tenant, writes=writing_token))
            attacked(session, (READ_ONLY,), WRITES)
        assert rows(session) == [("alpha",)]


def test_the_register_counts_at_once_for_open_transactions_and_prepared_statements(cell: Cell, tenant: str) -> None:
    with session_of(cell, tenant, token(cell, tenant)) as session:
        session.execute("PREPARE write AS INSERT INTO project (name) VALUES ('beta')")
        session.execute("PREPARE remove AS DELETE FROM project")
        session.execute("EXECUTE write")
        set_access(cell, tenant, "read_only")
        attacked(session, (READ_ONLY,), {**WRITES, "prepared": "EXECUTE write", "prepared delete": "EXECUTE remove"})
        assert len(rows(session)) == 2
        set_access(cell, tenant, "full")
        session.execute("EXECUTE remove")
        set_access(cell, tenant, "suspended")
        with pytest.raises(DENIED, match="no access here"), session.transaction():
            rows(session)


def test_a_read_only_token_can_not_be_turned_into_a_writing_one(cell: Cell, tenant: str) -> None:
    given = token(cell, tenant, writes=False)
    expiry, marked, mac = given.split(".")
    epoch = marked.removesuffix("r")
    assert marked != epoch
    forged = {
        "without its mode": f"{expiry}.{epoch}.{mac}",
        "with another mode": f"{expiry}.{epoch}w.{mac}",
        "with the mode in the expiry": f"{expiry}r.{epoch}.{mac}",
        "with two modes": f"{expiry}.{epoch}rr.{mac}",
        "with the mode before the epoch": f"{expiry}.r{epoch}.{mac}",
        "with the mode in capitals": f"{expiry}.{epoch}R.{mac}",
        "with a field more": f"{expiry}.{epoch}.r.{mac}",
        "with a mode put into a full one": token(cell, tenant).replace(f".{epoch}.", f".{epoch}r."),
        "of another key": token(cell, tenant, writes=False, key=secrets.token_bytes(64)),
    }
    for name, entry in forged.items():
        with session_of(cell, tenant, entry) as session:
            with pytest.raises(DENIED), session.transaction():
                rows(session)
            with pytest.raises(DENIED) as refused, session.transaction():
                session.execute(WRITES["insert"].encode())
            assert refused.value.sqlstate == "42501", name
    # the name of a tenant must not run into the fields after it
    with session_of(cell, f"{tenant}|{epoch}", given) as session, pytest.raises(DENIED), session.transaction():
        rows(session)


def test_another_tenant_of_the_pool_writes_on(cell: Cell, tenant: str) -> None:
    set_access(cell, tenant, "read_only")
    other = f"o-{secrets.token_hex(4)}"
    engine = cell.engine.other(other)
    made = cell.admit(other, engine)
    with cell.entered(other) as session:
        session.execute("INSERT INTO project (name) VALUES ('theirs')")
        assert rows(session) == [("theirs",)]
    engine.client.delete(made)
    with session_of(cell, tenant, token(cell, tenant)) as session:
        assert rows(session) == [("alpha",)], "a tenant's removal reaches a read-only tenant's rows neither"


def test_a_read_only_tenant_can_be_removed(cell: Cell) -> None:
    name = f"r-{secrets.token_hex(4)}"
    engine = cell.engine.other(name)
    cell.admit(name, engine)
    with cell.entered(name) as session:
        session.execute("INSERT INTO project (name) VALUES ('alpha')")
    made = cell.admit(name, engine, access="read_only")
    engine.client.delete(made)
    with cell.engine.stack.master.cluster.admin(cell.database) as admin:
        count = admin.execute("SELECT count(*) FROM pool.project WHERE tenant_id = %s", (name,)).fetchone()
        assert count == (0,)


# -- a pool of the release before there was any reading without writing

OLD_REGISTER = (
    "ALTER TABLE tenantry.pool_tenant DROP CONSTRAINT pool_tenant_access_check,"
    " ADD CONSTRAINT pool_tenant_access_check CHECK (access IN ('full', 'suspended'))"
)
OLD_POLICY = (
    "CREATE POLICY tenantry_tenant ON pool.{0} AS PERMISSIVE FOR ALL TO PUBLIC"
    " USING (tenant_id = (SELECT tenantry.current_tenant()))"
    " WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()))"
)


def outdate(cell: Cell) -> None:
    """Put back what the release before made."""
    with cell.engine.stack.master.cluster.admin(cell.database) as admin:
        admin.execute(OLD_REGISTER)
        for table in ("project", "task", "comment"):
            admin.execute(
                f"DROP POLICY tenantry_tenant ON pool.{table}; DROP POLICY tenantry_delete ON pool.{table}".encode()
            )
            admin.execute(OLD_POLICY.format(table).encode())
        admin.execute("DROP FUNCTION tenantry.writing_tenant()")
    for name in ("security", "tables"):
        part = cell.parts[name]
        inputs = {k: v for k, v in part.inputs.items() if k not in ("definition", "policies")}
        cell.parts[name] = dataclasses.replace(part, inputs=inputs)


def renew(cell: Cell) -> None:
    for name in ("security", "tables"):
        part = cell.parts[name]
        cell.parts[name] = cell.engine.client.update(part, part.inputs)


def test_a_pool_of_the_earlier_release_is_upgraded_while_tenants_work(platform: Engine) -> None:
    made = build_cell(platform)
    made.admit("acme")
    with made.entered("acme") as session:
        session.execute("INSERT INTO project (name) VALUES ('alpha')")
    outdate(made)
    assert any("tenantry_delete" in text for text in made.engine.drift(made.parts["tables"]))
    old_token = token(made, "acme")
    stop, failures, slowest = threading.Event(), list[Exception](), [0.0]

    def work() -> None:
        with made.session() as session:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    with session.transaction():
                        enter(session, "acme", old_token)
                        session.execute("INSERT INTO task (project_id, title) SELECT project_id, 't' FROM project")
                        session.execute("DELETE FROM task")
                except Exception as error:
                    failures.append(error)
                    return
                slowest[0] = max(slowest[0], time.monotonic() - began)

    worker = threading.Thread(target=work)
    with made.session() as long, long.transaction():
        enter(long, "acme", old_token)
        long.execute("SELECT * FROM project")  # holds locks that an ALTER has to give way to
        worker.start()
        upgrade = threading.Thread(target=renew, args=(made,))
        upgrade.start()
        time.sleep(1.5)
        assert upgrade.is_alive(), "the upgrade gives way to the long transaction"
    upgrade.join(60)
    stop.set()
    worker.join(60)
    assert failures == []
    assert slowest[0] < 3.0, "nobody waits for the whole upgrade"
    for part in made.parts.values():
        assert made.engine.drift(part) == [], part.type
    set_access(made, "acme", "read_only")
    with session_of(made, "acme", old_token) as session:
        assert rows(session) == [("alpha",)]
        attacked(session, (READ_ONLY,), WRITES)
    renew(made)  # again: nothing to do, nothing broken
    assert made.engine.drift(made.parts["tables"]) == []


def test_a_table_without_the_check_is_drift_and_stays_readable(platform: Engine) -> None:
    made = build_cell(platform)
    made.admit("acme", access="read_only")
    for spoil in (
        "DROP POLICY tenantry_delete ON pool.project",
        "ALTER POLICY tenantry_delete ON pool.project USING (true)",
        "ALTER POLICY tenantry_tenant ON pool.project WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()))",
    ):
        made.engine.owned(made.database, made.owner, spoil)
        found = made.engine.refresh(made.parts["tables"])
        assert any("project" in text and "changed" in text for text in found.inputs["drift"]), spoil
        made.parts["tables"] = made.engine.client.update(found, {k: v for k, v in found.inputs.items() if k != "drift"})
        assert made.engine.drift(made.parts["tables"]) == [], spoil
        with session_of(made, "acme", token(made, "acme")) as session:
            attacked(session, (READ_ONLY,), {"insert": WRITES["insert"]})


def test_the_definitions_digest_covers_functions_and_policies() -> None:
    assert set(pool_security.bodies()) == set(pool_security.FUNCTIONS)
    assert len(pool_security.definition()) == len(row_security.DEFINITION) == 64
