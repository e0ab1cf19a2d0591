"""Tables out of a real server: nothing is lost, nothing changes its value, and nothing of anybody else comes along."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from provisioner.offboarding import database, ddl
from provisioner.offboarding.errors import ExportInterrupted, ExportRefused
from provisioner.offboarding.layout import ExportWriter
from tests.integration.providers.postgres.conftest import Pool, enter
from tests.integration.provisioner.offboarding.conftest import Own, as_superuser, pool_source, write

#: What breaks careless exports: empty and missing, quotes and line ends, bytes, ends of ranges, time zones.
TYPES = """
CREATE TYPE mood AS ENUM ('fine', 'so, so');
CREATE DOMAIN cents AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE SEQUENCE counter START 41;
CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper($1) $$;
CREATE TABLE "every ""type" (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id text NOT NULL DEFAULT 'acme',
    t text, b bytea, n numeric, c cents, d double precision, r real, j json, jb jsonb, a text[], aa int[][],
    z timestamptz,
    i interval, dt date, tm timetz, u uuid, bo boolean, m mood, rng int4range, inet inet, x xml, bits bit varying,
    number bigint DEFAULT nextval('counter'), loud text GENERATED ALWAYS AS (shout(t)) STORED, "select" text,
    CHECK (number > 0)
);
CREATE TABLE child (id int PRIMARY KEY, parent bigint NOT NULL REFERENCES "every ""type" ON DELETE CASCADE);
CREATE INDEX loudly ON "every ""type" (loud) WHERE bo;
CREATE TABLE part (day date NOT NULL, tenant_id text NOT NULL, PRIMARY KEY (day)) PARTITION BY RANGE (day);
CREATE TABLE part_26 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW louder WITH (security_invoker = true) AS SELECT loud FROM "every ""type";
CREATE TABLE empty ();
CREATE TABLE base (id int); CREATE TABLE derived (more text) INHERITS (base);
"""
ROWS = r"""
INSERT INTO "every ""type" (t, b, n, c, d, r, j, jb, a, aa, z, i, dt, tm, u, bo, m, rng, inet, x, bits, "select")
VALUES
 ('', '\x00ff5c', 'NaN', 0.10, 'Infinity', 0.1, '{"a" : 1, "a":2}', '{"k": [null, ""]}', '{}', '{{1,2},{3,4}}',
  '-infinity',
  '1 year -2 days 03:04:05.000006', 'infinity', '23:59:59.999999-11:30', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', true,
  'so, so', '[1,)', '::1/64', '<a>&amp;</a>', B'101', E'\\N'),
 (E'a,"b"\r\nc\t\\ \u00e9 \U0001F600', '', 123456789012345678901234567890.000001, NULL, 1e-323, '-0', 'null', 'null',
  '{NULL,"NULL","",",","\"","\\"}', NULL, '2026-03-29 01:30:00.123456+00', '-00:00:00.000001', '0044-03-15 BC',
  NULL, NULL,
  false, 'fine', 'empty', '10.0.0.0/8', NULL, NULL, 'NULL');
INSERT INTO "every ""type" DEFAULT VALUES;
INSERT INTO child VALUES (1, 1);
INSERT INTO part VALUES ('2026-06-01', 'acme');
INSERT INTO empty DEFAULT VALUES;
INSERT INTO base VALUES (1); INSERT INTO derived VALUES (2, 'two');
"""


def test_what_was_exported_is_what_was_there(own: Own, tmp_path: Path) -> None:
    own.admin.execute(TYPES.encode())
    own.admin.execute(ROWS.encode())
    written = write(own.source, tmp_path / "export.zip")
    counts = {table.name: table.rows for table in written.database.tables}
    assert counts == {
        'every "type': 3, "child": 1, "part": 1, "empty": 1, "base": 1, "derived": 1,
    }  # fmt: skip

    # Made again from the export alone, under another name.
    before = {table.name: own.admin.execute(_all(own, table.name)).fetchall() for table in written.database.tables}
    own.admin.execute("RESET ROLE")
    own.admin.execute(sql.SQL("ALTER SCHEMA {} RENAME TO former").format(sql.Identifier(own.source.schema)))
    make, finish = written.members["schema/schema.sql"].decode().split(ddl.ROWS_GO_HERE)
    own.admin.execute(make.encode())
    for table in written.database.tables:
        columns = [column for column in table.columns if not column.generated]
        staged = sql.Identifier("pg_temp", f"staged {table.name}")
        target = sql.Identifier(table.schema_name, table.name)
        own.admin.execute(sql.SQL("CREATE TABLE {} AS SELECT * FROM {} LIMIT 0").format(staged, target))
        with own.admin.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER true)").format(staged)) as copy:
            copy.write(written.members[table.member])
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        if columns:
            own.admin.execute(
                sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                    target, names, names, staged
                )
            )
        else:
            own.admin.execute(sql.SQL("INSERT INTO {} SELECT FROM {}").format(target, staged))
    own.admin.execute(finish.encode())
    for table in written.database.tables:
        assert own.admin.execute(_all(own, table.name)).fetchall() == before[table.name], table.name
    restored = own.admin.execute(
        sql.SQL("INSERT INTO {} (t) VALUES ('next') RETURNING id, number").format(
            sql.Identifier(own.source.schema, 'every "type')
        )
    ).fetchone()
    assert restored == (4, 44), "sequences go on where they were"
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        own.admin.execute(sql.SQL("INSERT INTO {} VALUES (2, 99)").format(sql.Identifier(own.source.schema, "child")))
    assert own.admin.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(own.source.schema, "louder"))
    ).fetchone() == (4,)


def _all(own: Own, table: str) -> sql.Composed:
    # As text: PostgreSQL says itself whether two values are one.
    return sql.SQL("SELECT x::text FROM ONLY {} AS x ORDER BY 1").format(sql.Identifier(own.source.schema, table))


def test_all_tables_are_of_one_moment(own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.admin.execute("CREATE TABLE a (id int); CREATE TABLE b (id int); INSERT INTO a VALUES (1)")
    copied = database._copy

    def writing(connection: object, query: object, writer: object, member: str) -> int:
        found = copied(connection, query, writer, member)  # type: ignore[arg-type]
        own.admin.execute("INSERT INTO a VALUES (2); INSERT INTO b VALUES (2)")
        return found

    monkeypatch.setattr(database, "_copy", writing)
    written = write(own.source, tmp_path / "export.zip")
    assert {table.name: table.rows for table in written.database.tables} == {"a": 1, "b": 0}


def test_another_tenants_rows_in_a_schema_of_its_own_stop_the_export(own: Own, tmp_path: Path) -> None:
    own.admin.execute("CREATE TABLE note (tenant_id text, body text)")
    own.admin.execute("INSERT INTO note VALUES ('acme', 'mine'), (NULL, 'whose?')")
    with pytest.raises(ExportRefused, match="not of tenant acme"):
        write(own.source, tmp_path / "export.zip")
    own.admin.execute("UPDATE note SET tenant_id = 'globex' WHERE tenant_id IS NULL")
    with pytest.raises(ExportRefused, match="not of tenant acme"):
        write(own.source, tmp_path / "export.zip")


def test_nothing_is_read_through_views_functions_or_foreign_tables(own: Own, tmp_path: Path) -> None:
    """Somebody who got as far as the schema's owner plants what leads elsewhere; the export does not go there."""
    own.admin.execute("CREATE TABLE note (id int, tenant_id text); INSERT INTO note VALUES (1, 'acme')")
    as_superuser(
        own.stack,
        own.source.database,
        "CREATE TABLE public.secret (word text); INSERT INTO public.secret VALUES ('hunter2')",
        "CREATE FUNCTION public.tell() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT word FROM public.secret'",
        f"CREATE VIEW {own.source.schema}.leak AS SELECT word FROM public.secret",
        f"CREATE MATERIALIZED VIEW {own.source.schema}.kept AS SELECT word FROM public.secret",
        f"CREATE TABLE {own.source.schema}.child_elsewhere () INHERITS (public.secret)",
        f"ALTER TABLE {own.source.schema}.child_elsewhere OWNER TO {own.owner}",
    )
    written = write(own.source, tmp_path / "export.zip")
    assert b"hunter2" not in written.everything
    assert {each.what.split(".")[1] for each in written.left_out} == {"leak", "kept"}


def test_a_pool_tenants_export_holds_its_rows_alone(pool: Pool, tmp_path: Path) -> None:
    for tenant in ("acme", "globex"):
        pool.admit(tenant)
        with pool.session() as session, session.transaction():
            enter(session, tenant, pool.token(tenant))
            session.execute("INSERT INTO note VALUES (%s, 1, %s)", (tenant, f"of {tenant}"))
            session.execute("INSERT INTO reply VALUES (%s, 1, 1)", (tenant,))
    written = write(pool_source(pool, "acme"), tmp_path / "export.zip")
    assert {table.name: table.rows for table in written.database.tables} == {"note": 1, "reply": 1}
    assert b"of acme" in written.everything
    assert b"globex" not in written.everything
    assert [each.what for each in written.left_out] == ["pool.country"]
    assert written.table("note") == b'tenant_id,id,body\n"acme","1","of acme"\n'


def test_a_suspended_tenant_is_exported_and_stays_shut_out(pool: Pool, tmp_path: Path) -> None:
    registration = pool.admit("acme")
    with pool.session() as session, session.transaction():
        session.execute(
            "SELECT set_config('app.current_tenant', 'acme', true), set_config('app.tenant_token', %s, true)",
            (pool.token("acme"),),
        )
        session.execute("INSERT INTO note VALUES ('acme', 1, '')")
    pool.stack.update(registration, access="suspended")
    written = write(pool_source(pool, "acme"), tmp_path / "export.zip")
    assert written.table("note") == b'tenant_id,id,body\n"acme","1",""\n'
    with pytest.raises(psycopg.errors.InsufficientPrivilege), pool.entered("acme") as session:
        session.execute("SELECT FROM note")


def test_a_pool_table_without_row_level_security_stops_the_export(pool: Pool, tmp_path: Path) -> None:
    pool.admit("acme")
    as_superuser(pool, pool.database, "ALTER TABLE pool.note NO FORCE ROW LEVEL SECURITY")
    with pytest.raises(ExportRefused, match=r"pool\.note.*not under row-level security"):
        write(pool_source(pool, "acme"), tmp_path / "export.zip")


def test_a_policy_that_lets_everything_through_gives_no_other_tenants_row(pool: Pool, tmp_path: Path) -> None:
    pool.admit("acme")
    as_superuser(
        pool,
        pool.database,
        "INSERT INTO pool.note VALUES ('globex', 7, 'of globex'), ('acme', 7, 'of acme')",
        "CREATE POLICY wide ON pool.note USING (true)",
    )
    written = write(pool_source(pool, "acme"), tmp_path / "export.zip")
    assert b"of acme" in written.everything
    assert b"globex" not in written.everything


def test_a_tenant_that_is_not_registered_has_nothing_to_export(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(ExportInterrupted):
        write(pool_source(pool, "nobody"), tmp_path / "export.zip")


def test_memory_does_not_grow_with_what_is_exported(own: Own, tmp_path: Path) -> None:
    own.admin.execute(
        "CREATE TABLE large AS SELECT i, repeat(md5(i::text), 20) AS body FROM generate_series(1, 60000) i"
    )
    writer = ExportWriter(tmp_path / "export.zip")
    tracemalloc.start()
    try:
        exported, _ = database.export(own.source, writer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        writer.abandon()
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        size = archive.getinfo(exported.tables[0].member).file_size
    assert exported.tables[0].rows == 60000
    assert size > 38_000_000
    assert peak < 8_000_000, f"{peak} bytes for {size}"
