"""What can be learned without reading a row: keys, statistics, other sessions, the order of conditions."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from functools import cache, partial

import psycopg
from psycopg import sql

from isolation.attacks import references
from isolation.attacks.common import DENIED, Own, in_session, probe
from isolation.attempts import Answer, Probe, Severity, is_one_of
from isolation.subject import Subject
from isolation.tables import Relation, names
from isolation.witness import Holdings
from tenantry import tenant_context
from tenantry.session import TenantSession

_TOKEN = re.compile(r"\b\d{10}\.\d+\.[0-9a-f]{64}\b")
_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
 ORDER BY attnum
"""


def in_shared_tables(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    """Within a pool."""
    allowed = Own.reading(attacker, own.with_rows)
    both = [each for each in theirs.with_rows if each.is_table and each.insertable and each.name in _names(own)]
    if both:
        yield _unique(attacker, victim, both)
    yield from references.probes(attacker, victim, own, theirs)
    yield from _conditions(attacker, victim, theirs, own)
    yield from _copies(attacker, victim, own, theirs)

    def statistics(session: TenantSession) -> Answer:
        found = session.execute(
            "SELECT count(*), min(tablename) FROM pg_stats s WHERE schemaname = %s AND tablename = ANY (%s)",
            (attacker.outputs.db_schema, [each.name for each in own.relations if each.by_tenant]),
        ).fetchone()
        assert found is not None
        return Answer("ok", f"sees statistics of {found[1]}") if found[0] else Answer("no rows", "of their tables")

    yield probe(
        "statistics",
        "reads the planner's statistics, which hold the most common values of all tenants",
        partial(in_session, attacker, statistics),
        allowed,
        of_logins=True,
        expected="no rows",
        judged=is_one_of("no rows"),
        severity=Severity.LEAK,
    )


def _names(holdings: Holdings) -> set[str]:
    return {each.name for each in holdings.with_rows}


def _unique(attacker: Subject, victim: Subject, tables: list[Relation]) -> Probe:
    """A row with every value of the victim's, ids included, under one's own id: a collision would tell of it."""

    def copied(source: Subject, table: Relation) -> str:
        with source.session() as session:
            statement = sql.SQL("SELECT to_jsonb(t)::text FROM {} t WHERE tenant_id = %s LIMIT 1")
            row = session.execute(statement.format(table.identifier), (source.id,)).fetchone()
        assert row is not None
        return str(row[0])

    def insert(source: Subject) -> Answer:
        for table in tables:
            row = copied(source, table)
            with attacker.session() as session:
                name = table.identifier.as_string()
                columns = [str(each) for (each,) in session.execute(_COLUMNS, (name,)).fetchall()]
                listed = sql.SQL(", ").join(map(sql.Identifier, columns))
                statement = sql.SQL(
                    "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns}"
                    " FROM jsonb_populate_record(NULL::{table}, %s::jsonb || jsonb_build_object('tenant_id', %s::text))"
                )
                try:
                    session.execute(statement.format(table=table.identifier, columns=listed), (row, attacker.id))
                except psycopg.errors.UniqueViolation as error:
                    # DETAIL would quote the row
                    name = error.diag.constraint_name or ""
                    if source is attacker or not _carries_tenant(attacker, table, name):
                        return Answer("23505", f"in {table.name}: {name} collides")
                    continue  # with a row of the attacker's own that is alike
                except psycopg.errors.ForeignKeyViolation:
                    continue  # asked after the unique keys, and no more than that the attacker has no such row
        return Answer("no collision", f"in {names(tables)}")

    def own() -> Answer:
        answer = insert(attacker)
        return Answer("ok", f"its own row collides: {answer}") if answer.code == "23505" else answer

    return probe(
        "unique-values",
        f"inserts rows with all values of {victim.id}'s, ids included, and waits for a collision in {names(tables)}",
        partial(insert, victim),
        Own("inserts a row of its own a second time, which collides", own),
        expected="no collision",
        judged=is_one_of("no collision"),
        severity=Severity.LEAK,
    )


_CARRIES = """
SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
 WHERE c.relname = %s AND i.indrelid = %s::regclass AND a.attname = 'tenant_id'
"""


def _carries_tenant(attacker: Subject, table: Relation, index: str) -> bool:
    with attacker.session() as session:
        row = session.execute(_CARRIES, (index, table.identifier.as_string())).fetchone()
    return row is not None and row[0] == 1


def _conditions(attacker: Subject, victim: Subject, theirs: Holdings, own: Holdings) -> Iterator[Probe]:
    """An error in a condition tells of the row it was asked about: the policy must be asked before."""
    division = "SELECT FROM {} WHERE 1 / (CASE WHEN tenant_id = %s THEN 0 ELSE 1 END) = 1"
    quoting = "SELECT FROM {} WHERE (CASE WHEN tenant_id = %s THEN tenant_id ELSE '1' END)::int = 1"
    for name, words, text, state in (
        ("failing-condition", "divides by zero", division, "22012"),
        ("quoting-condition", "quotes the row in an error", quoting, "22P02"),
    ):

        def ask(session: TenantSession, of: str, tables: tuple[Relation, ...], text: str = text) -> Answer:
            for table in tables:
                session.execute(sql.SQL(text).format(table.identifier), (of,))
            return Answer("no rows", f"no row of {of} was asked about in {names(tables)}")

        def fails(own_ask: partial[Answer], state: str = state) -> Answer:
            try:
                return own_ask()
            except psycopg.Error as error:
                return Answer("ok", f"fails with {error.sqlstate}") if error.sqlstate == state else _raise(error)

        mine = partial(in_session, attacker, partial(ask, of=attacker.id, tables=own.with_rows))
        yield probe(
            name,
            f"reads {names(theirs.with_rows)} under a condition that {words} where a row is {victim.id}'s",
            partial(in_session, attacker, partial(ask, of=victim.id, tables=theirs.with_rows)),
            Own("does the same with its own rows, and it fails", cache(partial(fails, mine))),
            expected="no rows",
            judged=is_one_of("no rows"),
            severity=Severity.BREACH,
        )


def _raise(error: Exception) -> Answer:
    raise error


def _copies(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    tables = [each for each in theirs.with_rows if each.is_table and each.name in {r.name for r in own.relations}]
    statement = sql.SQL("COPY {} (tenant_id) TO STDOUT")

    def lines(session: TenantSession, table: Relation) -> set[str]:
        with session.cursor().copy(statement.format(table.identifier)) as copy:
            return {bytes(block).decode().strip() for block in copy}

    def out(session: TenantSession) -> Answer:
        found = set[str]().union(*(lines(session, table) for table in tables)) - {attacker.id}
        return Answer("ok", f"copies rows of {sorted(found)[0]}") if found else Answer("no rows", "but its own")

    def back(session: TenantSession) -> Answer:
        with session.cursor().copy(sql.SQL("COPY {} (tenant_id) FROM STDIN").format(tables[0].identifier)) as copy:
            copy.write_row((victim.id,))
        return Answer("ok", f"copies a row of {victim.id} in")

    if not tables:
        return
    allowed = Own.reading(attacker, own.with_rows)
    yield probe(
        "copy-out",
        f"copies {names(tables)} out, without a condition",
        partial(in_session, attacker, out),
        allowed,
        expected="no rows",
        judged=is_one_of("no rows"),
        fast=True,
    )
    yield probe(
        "copy-in",
        f"copies a row of {victim.id} into {tables[0].name}",
        partial(in_session, attacker, back),
        allowed,
        expected=f"{DENIED} or 0A000",
        judged=is_one_of(DENIED, "0A000"),
    )


def between_sessions(attacker: Subject, victim: Subject) -> Iterator[Probe]:
    """In one server: what the victim's session shows of itself while it is at work."""

    def activity() -> Answer:
        marker = f"tenantry-proof-{secrets.token_hex(8)}"
        with victim.session() as working:
            working.execute("SELECT %s::text", (marker,))
            issued = victim.broker.credentials(victim.id)
            with tenant_context(attacker.id, replace=True), attacker.session() as session:
                rows = session.execute("SELECT a::text FROM pg_stat_activity a").fetchall()
        texts = [str(text) for (text,) in rows]
        for what, found in (
            ("a value of another's statement", any(marker in each for each in texts)),
            ("a password", any(issued.password in each for each in texts)),
            ("an entry token", any(_TOKEN.search(each) for each in texts)),
        ):
            if found:
                return Answer("ok", f"sees {what} in pg_stat_activity")
        return Answer("no rows", f"with a value, a password or a token, of {len(texts)} sessions")

    def itself(session: TenantSession) -> Answer:
        row = session.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid() AND query LIKE '%%pg_stat_activity%%'"
        ).fetchone()
        return Answer("ok" if row == (1,) else "none", "sees its own statement there")

    yield probe(
        "activity",
        f"looks into pg_stat_activity while {victim.id} works",
        activity,
        Own("sees its own statement there", partial(in_session, attacker, itself)),
        expected="no rows",
        judged=is_one_of("no rows"),
        severity=Severity.LEAK,
    )
