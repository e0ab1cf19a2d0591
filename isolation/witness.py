"""Rows to steal: an attack on empty tables proves nothing.

What a tenant has already is used. Only a tenant of the pool without any row at all gets one, made up from the types of
a table's columns and named ``tenantry-proof-...``, for as long as the proof runs.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import sql

from isolation.subject import Subject
from isolation.tables import Relation, Session, has_rows, relations
from tenantry.session import TenantSession

_COLUMNS = """
SELECT a.attname, t.typcategory::text, t.typname, a.attname = 'tenant_id',
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', a.attidentity <> '' OR a.attgenerated <> '',
       EXISTS (SELECT FROM pg_constraint k
                WHERE k.conrelid = a.attrelid AND k.contype = 'f' AND a.attnum = ANY (k.conkey))
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


class NothingToSteal(ValueError):
    """A tenant has no row, and none could be made up."""


@dataclass(frozen=True)
class Holdings:
    """Of one tenant: what its login may use in its schema, and where it has rows."""

    relations: tuple[Relation, ...]
    with_rows: tuple[Relation, ...]


@contextlib.contextmanager
def holdings(subject: Subject) -> Iterator[Holdings]:
    """What the tenant has; in the pool with at least one row somewhere. Raises NothingToSteal."""
    with subject.session() as session:
        found = relations(session, subject.outputs.db_schema)
        rows = _with_rows(session, found, subject.id)
    if rows or not subject.placement().pooled:
        yield Holdings(tuple(found), tuple(rows))
        return
    table, column, marker = _make_up(subject, found)
    try:
        yield Holdings(tuple(found), (table,))
    finally:
        with subject.sdk.session(subject.id) as session:
            statement = sql.SQL("DELETE FROM {} WHERE {} = %s")
            session.execute(statement.format(table.identifier, sql.Identifier(column)), (marker,))


def _with_rows(session: TenantSession, found: list[Relation], tenant_id: str) -> list[Relation]:
    readable = [each for each in found if each.by_tenant and each.readable]
    return [each for each in readable if has_rows(session, each, tenant_id)]


def _make_up(subject: Subject, found: list[Relation]) -> tuple[Relation, str, str]:
    """Insert a row into the first table that takes one: table, column that names the row, its value there."""
    marker = f"tenantry-proof-{secrets.token_hex(4)}"
    for table in found:
        if not (table.is_table and table.by_tenant and table.readable and table.insertable and table.deletable):
            continue
        with contextlib.suppress(psycopg.Error), subject.sdk.session(subject.id) as session:
            values = made_up(session, table, subject.id, marker)
            named = next((name for name, value in values.items() if value == marker), None)
            if named is None:
                continue
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                table.identifier,
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            )
            session.execute(statement, list(values.values()))
            return table, named, marker
    raise NothingToSteal(f"tenant {subject.id} has no row in any table, and none could be made up: insert one")


def made_up(
    session: Session, table: Relation, tenant_id: str, marker: str, given: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Columns and values of a row; none where the table can't be filled without knowing it.

    ``given``: values of columns, such as those that refer to another table.
    """
    values: dict[str, Any] = {}
    name = table.identifier.as_string()
    for column, category, kind, is_tenant, needed, generated, refers in session.execute(_COLUMNS, (name,)).fetchall():
        if is_tenant:
            values[column] = tenant_id
        elif column in given:
            values[column] = given[column]
        elif generated or (refers and not needed):
            continue
        elif refers:
            return {}
        elif category == "S" and kind in ("text", "varchar") and (needed or marker not in values.values()):
            values[column] = marker
        elif needed:
            value = _OF_CATEGORY.get(category, _OF_TYPE.get(kind))
            if value is None:
                return {}
            values[column] = value
    return values


_OF_CATEGORY = {"N": 1, "B": True, "D": "2000-01-01"}
_OF_TYPE = {"uuid": "00000000-0000-4000-8000-000000000000", "json": "{}", "jsonb": "{}", "bytea": ""}
