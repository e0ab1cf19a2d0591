"""Foreign keys: a row of one's own that refers to another tenant's row, which would tell that it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial

import psycopg
from psycopg import sql

from isolation.attacks.common import DENIED, Own, probe
from isolation.attempts import Answer, Probe, Severity, is_one_of
from isolation.subject import Subject
from isolation.tables import Relation
from isolation.witness import Holdings, made_up
from tenantry.session import TenantSession

_KEYS = """
SELECT here.relname, array(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY c (number, place)
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.number ORDER BY place),
       array(SELECT attname::text FROM unnest(k.confkey) WITH ORDINALITY c (number, place)
         JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = c.number ORDER BY place)
  FROM pg_constraint k JOIN pg_class here ON here.oid = k.conrelid JOIN pg_namespace n ON n.oid = here.relnamespace
  JOIN pg_class there ON there.oid = k.confrelid
 WHERE k.contype = 'f' AND n.nspname = %s AND there.relname = %s AND there.relnamespace = n.oid ORDER BY 1
"""


@dataclass(frozen=True)
class _Key:
    table: Relation
    parent: Relation
    columns: tuple[str, ...]
    referred: tuple[str, ...]


def probes(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    """Within a pool: one a foreign key to a table in which both have rows."""
    for key in _keys(attacker, own, theirs):

        def refer(of: Subject, key: _Key = key) -> Answer:
            values = _referred(of, key)
            with attacker.session() as session:
                return _insert(session, key, attacker.id, values)

        yield probe(
            "foreign-key",
            f"inserts a row into {key.table.name} that refers to {victim.id}'s row in {key.parent.name}",
            partial(refer, victim),
            Own(f"inserts one that refers to its own row in {key.parent.name}", cache(partial(refer, attacker))),
            expected=f"23503 or {DENIED}",
            judged=is_one_of("23503", DENIED),
            severity=Severity.LEAK,
        )


def _keys(attacker: Subject, own: Holdings, theirs: Holdings) -> list[_Key]:
    mine = {each.name for each in own.with_rows}
    insertable = {each.name: each for each in own.relations if each.is_table and each.by_tenant and each.insertable}
    found = []
    with attacker.session() as session:
        for parent in theirs.with_rows:
            if not parent.is_table or parent.name not in mine:
                continue
            rows = session.execute(_KEYS, (attacker.outputs.db_schema, parent.name)).fetchall()
            keys = [_Key(insertable[n], parent, tuple(c), tuple(r)) for n, c, r in rows if n in insertable]
            found += [key for key in keys if _fillable(session, key, attacker.id)]
    return found


def _fillable(session: TenantSession, key: _Key, tenant_id: str) -> bool:
    """Whether a row can be made up that refers by this key alone."""
    return bool(made_up(session, key.table, tenant_id, "x", dict.fromkeys(key.columns)))


def _referred(of: Subject, key: _Key) -> dict[str, object]:
    """The columns of the key with the values of a row of the tenant's; not the tenant's own id."""
    with of.session() as session:
        columns = sql.SQL(", ").join(map(sql.Identifier, key.referred))
        statement = sql.SQL("SELECT {} FROM {} WHERE tenant_id = %s LIMIT 1").format(columns, key.parent.identifier)
        row = session.execute(statement, (of.id,)).fetchone()
    assert row is not None
    pairs = zip(key.columns, key.referred, row, strict=True)
    return {column: value for column, referred, value in pairs if referred != "tenant_id"}


def _insert(session: TenantSession, key: _Key, tenant_id: str, referring: dict[str, object]) -> Answer:
    values = made_up(session, key.table, tenant_id, "tenantry-proof", referring)
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        key.table.identifier,
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join([sql.Placeholder()] * len(values)),
    )
    try:
        session.execute(statement, list(values.values()))
        session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.errors.ForeignKeyViolation as error:
        # DETAIL would quote the row
        return Answer("23503", f"{error.diag.constraint_name}: there is no such row of its own")
    return Answer("ok", f"the row in {key.table.name} refers to it")
