"""Files of migrations: names, order, digests, instructions, and statements that no server gets to see."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from providers.postgres.errors import MigrationRefused
from providers.postgres.migrations import Migration, load, parse, select

PATH = Path("0001_x.sql")


def parsed(sql: str) -> Migration:
    return parse(PATH, 1, "x", sql.encode())


def refusal(sql: str) -> str:
    with pytest.raises(MigrationRefused) as refused:
        parsed(sql)
    return refused.value.message


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / f"{name.lstrip('_')}.sql").write_text(text)


def test_migrations_are_read_in_order_with_their_digests(tmp_path: Path) -> None:
    write(tmp_path, _0002_b="SELECT 2", _0001_a="SELECT 1; SELECT 3")
    (tmp_path / "README.md").write_text("no migration")
    first, second = load(tmp_path)
    assert [(m.version, m.name, len(m.statements)) for m in (first, second)] == [(1, "a", 2), (2, "b", 1)]
    assert second.sha256 == hashlib.sha256(b"SELECT 2").hexdigest()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"_0001_a": "", "_0003_c": ""}, "0003_c.sql: version 0003 leaves a gap; the next one is 0002"),
        ({"_0002_b": ""}, "0002_b.sql: version 0002 leaves a gap; the next one is 0001"),
        ({"_0001_a": "", "_0001_b": ""}, "0001_b.sql: version 0001 is used twice; the next one is 0002"),
        ({"_0000_a": ""}, "0000_a.sql: version 0000 leaves a gap"),
        ({"_1_a": ""}, "name it NNNN_name.sql"),
        ({"_0001_A": ""}, "name it NNNN_name.sql"),
        ({"_0001": ""}, "name it NNNN_name.sql"),
        ({"_00001_a": ""}, "name it NNNN_name.sql"),
    ],
)
def test_names_and_order_are_checked(tmp_path: Path, files: dict[str, str], message: str) -> None:
    write(tmp_path, **files)
    with pytest.raises(MigrationRefused) as refused:
        load(tmp_path)
    assert message in refused.value.message


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MigrationRefused, match=r"cannot read the migrations in .*/none: No such file"):
        load(tmp_path / "none")


def test_a_file_that_changed_or_went_since_its_digest_is_refused(tmp_path: Path) -> None:
    write(tmp_path, _0001_a="SELECT 1")
    found = load(tmp_path)
    good: dict[str, Any] = {"version": 1, "name": "a", "sha256": found[0].sha256}
    assert select(found, [good], tmp_path) == found
    assert select(found, [], tmp_path) == []
    with pytest.raises(MigrationRefused, match=r"0001_a.sql: its SHA-256 is .* the file changed during the update"):
        select(found, [{**good, "sha256": "0" * 64}], tmp_path)
    with pytest.raises(MigrationRefused, match=r"0001_a.sql: its SHA-256"):
        select(found, [{**good, "name": "b"}], tmp_path)
    with pytest.raises(MigrationRefused, match=r"has no migration 0002_b.sql"):
        select(found, [good, {"version": 2, "name": "b", "sha256": "0" * 64}], tmp_path)
    with pytest.raises(MigrationRefused, match="version 2 stands where 1 is expected"):
        select(found, [{**good, "version": 2}], tmp_path)


TRANSACTION = "the migration runs in one transaction of its own"
REFUSED = [
    ("BEGIN", TRANSACTION),
    ("START TRANSACTION", TRANSACTION),
    ("commit", TRANSACTION),
    ("END", TRANSACTION),
    ("ROLLBACK", TRANSACTION),
    ("ABORT", TRANSACTION),
    ("SAVEPOINT a", TRANSACTION),
    ("RELEASE a", TRANSACTION),
    ("PREPARE TRANSACTION 'a'", TRANSACTION),
    ("GRANT SELECT ON t TO PUBLIC", "privileges are the platform's"),
    ("REVOKE SELECT ON t FROM PUBLIC", "privileges are the platform's"),
    ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "privileges are the platform's"),
    ("CREATE ROLE r", "are resources of the stack"),
    ("ALTER USER u PASSWORD 'x'", "are resources of the stack"),
    ("DROP DATABASE d", "are resources of the stack"),
    ("CREATE SCHEMA s", "are resources of the stack"),
    ("ALTER SCHEMA s RENAME TO t", "are resources of the stack"),
    ("CREATE EXTENSION e", "are resources of the stack"),
    ("ALTER SYSTEM SET x = 1", "are resources of the stack"),
    ("REASSIGN OWNED BY a TO b", "are resources of the stack"),
    ("SET search_path = public", "runs as the schema's owner"),
    ("SET SESSION work_mem = '1GB'", "runs as the schema's owner"),
    ("SET LOCAL row_security = off", "runs as the schema's owner"),
    ("RESET ALL", "runs as the schema's owner"),
    ("SET ROLE postgres", "runs as the schema's owner"),
    ("DISCARD ALL", "runs as the schema's owner"),
    ("LISTEN x", "runs as the schema's owner"),
    ("VACUUM t", "leave it to autovacuum"),
    ("CLUSTER t", "locks the table"),
    ("COPY t FROM STDIN", "use INSERT"),
    ("COPY t FROM PROGRAM 'x'", "use INSERT"),
    ("CREATE INDEX CONCURRENTLY i ON t (a)", "leave it out"),
    ("ALTER TABLE t DISABLE ROW LEVEL SECURITY", "is set by Tenantry"),
    ("ALTER TABLE t NO FORCE ROW LEVEL SECURITY", "is set by Tenantry"),
    ("ALTER TABLE t OWNER TO r", "belongs to the schema's owner"),
    ("CREATE MATERIALIZED VIEW v AS SELECT 1", "use a table"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", "use SECURITY INVOKER"),
    ("DO $$ BEGIN SET ROLE postgres; END $$", "runs as the schema's owner"),
    ("DO $$ BEGIN EXECUTE 'ALTER TABLE t DISABLE ROW LEVEL SECURITY'; END $$", "is set by Tenantry"),
]


@pytest.mark.parametrize(("sql", "reason"), REFUSED)
def test_what_is_none_of_a_migrations_business_is_refused_with_file_and_line(sql: str, reason: str) -> None:
    message = refusal(f"SELECT 1;\n-- a comment\n{sql};")
    assert message.startswith("0001_x.sql:3: ")
    assert reason in message


def test_the_line_of_a_body_is_the_files() -> None:
    body = "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n  PERFORM 1;\n  SET ROLE x;\nEND $$;"
    assert refusal("\n" + body).startswith("0001_x.sql:5: SET ROLE: ")
    assert refusal("CREATE FUNCTION f() RETURNS int\nLANGUAGE sql\nSECURITY DEFINER AS 'SELECT 1'").startswith(
        "0001_x.sql:3:"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE member SET role = 'owner'",
        "UPDATE member SET name = 'x', role = 'owner'",
        "SET LOCAL lock_timeout = '1s'",
        "SET statement_timeout = '1min'",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "COMMENT ON TABLE t IS 'grant; commit'",
        "CREATE TABLE copy (commit int)",
        "ALTER TABLE t ADD COLUMN owner text",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
    ],
)
def test_what_only_looks_alike_is_allowed(sql: str) -> None:
    assert parsed(sql).statements


def test_text_that_could_be_executed_is_taken_for_code() -> None:
    assert "SET ROLE" in refusal("INSERT INTO note VALUES ('BEGIN; SET ROLE x')")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"SELECT 1;\n\xff", "0001_x.sql:2: is not UTF-8"),
        (b"SELECT 1;\n\n\0", "0001_x.sql:3: holds a NUL character"),
        (b"SELECT 1;\n'", "0001_x.sql:2: the ' opened here is never closed"),
        (b"\\connect other", "0001_x.sql:1: psql commands are not SQL"),
        (b"\n-- tenantry: referense-table", "0001_x.sql:2: unknown instruction 'tenantry: referense-table'"),
        (b"-- tenantry: reference-table\nSELECT 1", "0001_x.sql:2: 'tenantry: reference-table' belongs before"),
    ],
)
def test_files_that_are_no_sql_are_refused_at_their_line(content: bytes, message: str) -> None:
    with pytest.raises(MigrationRefused) as refused:
        parse(PATH, 1, "x", content)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE TABLE country (a int)", "country"),
        ("CREATE TABLE Country (a int)", "country"),
        ('CREATE TABLE "Country" (a int)', "Country"),
        ("CREATE UNLOGGED TABLE country (a int)", "country"),
        ("CREATE TABLE IF NOT EXISTS country (a int)", "country"),
        ("CREATE TABLE app.country (a int)", "country"),
        ("CREATE TABLE country AS SELECT 1 AS a", "country"),
        ("ALTER TABLE land RENAME TO country", "country"),
    ],
)
def test_reference_tables_are_declared_by_the_comment_before_them(statement: str, name: str) -> None:
    assert parsed(f"-- tenantry: reference-table\n{statement};").reference_tables == {name}
    assert parsed(f"{statement};").reference_tables == frozenset()


def test_a_migration_of_all_tenants_says_so() -> None:
    assert parsed("-- tenantry: all-tenants\nUPDATE t SET a = 1").all_tenants
    assert not parsed("UPDATE t SET a = 1 -- all tenants").all_tenants
