"""Suspension and deletion: sessions end at once, what is the tenant's goes, what is others' stays."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import psycopg
import pytest

from providers.base.testing import RpcFailed
from tests.integration.providers.postgres.engine import Bridge, Cell, bridge, build_cell

ENDED = r"terminat|closed the connection"


def backends(cell: Cell, login: str) -> int:
    with cell.engine.stack.server.connect() as master:
        row = master.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (login,)).fetchone()
    assert row is not None
    return int(str(row[0]))


@pytest.fixture
def acme(cell: Cell) -> Bridge:
    return bridge(cell.engine.other("acme"), cell.database)


def test_a_suspended_login_is_closed_and_its_sessions_end_at_once(cell: Cell, acme: Bridge) -> None:
    with acme.session() as idle, acme.session() as busy, busy.transaction(force_rollback=True):
        busy.execute("INSERT INTO project (name) VALUES ('x')")
        started = time.monotonic()
        suspended = acme.engine.update(acme.parts["login"], access="suspended")
        assert time.monotonic() - started < 5
        for session in (idle, busy):
            with pytest.raises(psycopg.OperationalError, match=ENDED):
                session.execute("SELECT 1")
        assert backends(cell, acme.login) == 0
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"), acme.session():
            pass
    assert acme.engine.drift(suspended) == []
    resumed = acme.engine.update(suspended, access="full")
    assert resumed.outputs["secretVersionId"] == acme.parts["login"].outputs["secretVersionId"]
    with acme.session() as session:
        assert session.execute("SELECT count(*) FROM project").fetchone() == (0,)


def test_a_suspended_tenant_of_the_pool_is_shut_out_and_its_neighbour_is_not(cell: Cell) -> None:
    engine = cell.engine.other("umbrella")
    made = cell.admit("umbrella", engine)
    cell.admit("neighbour")
    with cell.entered("umbrella") as session, cell.entered("neighbour") as beside:
        session.execute("SELECT * FROM project")
        suspended = engine.update(made, access="suspended")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no access"), session.transaction():
            session.execute("SELECT * FROM project")
        beside.execute("SELECT * FROM project")
    engine.update(suspended, access="full", epoch=2)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no access"), cell.entered("umbrella") as session:
        session.execute("SELECT * FROM project")
    with cell.entered("umbrella", epoch=2) as session:
        session.execute("SELECT * FROM project")


def test_a_login_is_created_closed_if_it_is_to_be(cell: Cell) -> None:
    name, secret = f"closed_{secrets.token_hex(4)}", cell.engine.stack.secret("closed")
    made = cell.engine.create("Role", "closed", name=name, login=True, secretArn=secret, access="suspended")
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"), cell.engine.stack.connect(secret):
        pass
    assert cell.engine.drift(made) == []
    cell.engine.client.delete(made)


def test_a_login_with_open_sessions_is_dropped_at_once_with_what_it_owns(cell: Cell, acme: Bridge) -> None:
    cell.engine.admin(cell.database, f"ALTER TABLE {acme.name}.comment OWNER TO {acme.login}")
    assert acme.engine.drift(acme.parts["login"]) == [f"login owns 2 objects in {cell.database}"]
    with acme.session() as session, session.transaction(force_rollback=True):
        session.execute("INSERT INTO project (name) VALUES ('x')")
        acme.engine.client.delete(acme.parts["login"])
        with pytest.raises(psycopg.OperationalError, match=ENDED):
            session.execute("SELECT 1")
    assert acme.engine.client.refresh(acme.parts["login"]) is None
    cell.engine.owned(cell.database, acme.owner, f"SELECT FROM {acme.name}.project")
    acme.engine.client.delete(acme.parts["login"])


def test_a_schema_goes_with_its_rows_though_somebody_holds_a_lock(
    cell: Cell, acme: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    with acme.session() as session, session.transaction(force_rollback=True):
        session.execute("INSERT INTO project (name) VALUES ('x')")
        acme.engine.client.delete(acme.parts["schema"])
        with pytest.raises(psycopg.OperationalError, match=ENDED):
            session.execute("SELECT 1")
    assert acme.engine.client.refresh(acme.parts["schema"]) is None
    assert acme.engine.client.refresh(acme.parts["tables"]) is None
    acme.destroy()
    assert acme.engine.client.refresh(acme.parts["owner"]) is None


def test_deleting_the_tables_leaves_the_schema_and_the_others_tables(cell: Cell, acme: Bridge) -> None:
    other = bridge(cell.engine.other("globex"), cell.database, "globex")
    cell.engine.owned(
        cell.database,
        acme.owner,
        f"CREATE TYPE {acme.name}.mood AS ENUM ('x'); CREATE DOMAIN {acme.name}.d AS text;"
        f"CREATE FUNCTION {acme.name}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE {acme.name}.s",
    )
    acme.engine.client.delete(acme.parts["tables"])
    acme.engine.client.delete(acme.parts["tables"])
    with cell.engine.stack.server.connect(cell.database) as master:
        left = master.execute(
            "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = n.oid),"
            " (SELECT count(*) FROM pg_proc WHERE pronamespace = n.oid),"
            " (SELECT count(*) FROM pg_type WHERE typnamespace = n.oid) FROM pg_namespace n WHERE nspname = %s",
            (acme.name,),
        )
        assert left.fetchall() == [(0, 0, 0)]
    assert cell.engine.drift(cell.parts["tables"]) == other.engine.drift(other.parts["tables"]) == []
    again = acme.engine.create("AppSchema", "tables", **acme.parts["tables"].inputs)
    assert acme.engine.drift(again) == []
    with acme.session() as session:
        session.execute("INSERT INTO project (name) VALUES ('again')")


CIRCLE = """
CREATE TABLE a (tenant_id text NOT NULL, id int, b int, PRIMARY KEY (tenant_id, id));
CREATE TABLE b (tenant_id text NOT NULL, id int, a int, PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, a) REFERENCES a);
ALTER TABLE a ADD FOREIGN KEY (tenant_id, b) REFERENCES b;
CREATE TABLE "Odd ""name" (tenant_id text NOT NULL, id int, PRIMARY KEY (tenant_id, id)) PARTITION BY LIST (id);
CREATE TABLE odd_1 PARTITION OF "Odd ""name" FOR VALUES IN (1);
CREATE TABLE odd_2 PARTITION OF "Odd ""name" DEFAULT;
"""
FILL = """
INSERT INTO a (id) VALUES (1); INSERT INTO b (id, a) VALUES (1, 1); UPDATE a SET b = 1;
INSERT INTO "Odd ""name" (id) VALUES (1), (2), (3);
"""
TABLES = ("a", "b", '"Odd ""name"')


def test_a_tenants_rows_go_from_every_table_and_others_stay(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "0001_circle.sql").write_text(CIRCLE)
    circle = build_cell(cell.engine, tmp_path)
    engines = {name: cell.engine.other(name) for name in ("leaving", "staying")}
    made = {name: circle.admit(name, engine) for name, engine in engines.items()}
    for name in made:
        with circle.entered(name) as session:
            session.execute(FILL.encode())
    engines["leaving"].client.delete(made["leaving"])
    engines["leaving"].client.delete(made["leaving"])
    assert engines["leaving"].client.refresh(made["leaving"]) is None
    with circle.engine.stack.master.cluster.admin(circle.database) as admin:
        for table in TABLES:
            left = admin.execute(f"SELECT DISTINCT tenant_id FROM pool.{table}".encode()).fetchall()
            assert left == [("staying",)], table
    with pytest.raises(psycopg.errors.InsufficientPrivilege), circle.entered("leaving") as session:
        session.execute("SELECT * FROM a")
    with circle.entered("staying") as session:
        assert session.execute('SELECT count(*) FROM "Odd ""name"').fetchone() == (3,)
    with pytest.raises(RpcFailed, match=r"still use tenantry.current_tenant\(\): delete the AppSchema first"):
        circle.engine.client.delete(circle.parts["security"])
    for part in reversed(list(circle.parts.values())):
        circle.engine.client.delete(part)
    for part in circle.parts.values():
        assert circle.engine.client.refresh(part) is None
