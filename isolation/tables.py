"""What a tenant's login may use in a schema, as the catalogue tells that login."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from isolation.attempts import Answer, answered
from tenantry.session import TenantSession

Session = TenantSession | psycopg.Connection[Any]

_RELATIONS = """
SELECT n.nspname AS schema, c.relname AS name,
       CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
            ELSE 'table' END AS kind,
       c.relrowsecurity AND c.relforcerowsecurity AS protected,
       t.number IS NOT NULL AS by_tenant,
       has_table_privilege(c.oid, 'SELECT') OR has_column_privilege(c.oid, t.number, 'SELECT') AS readable,
       has_table_privilege(c.oid, 'INSERT') OR has_column_privilege(c.oid, t.number, 'INSERT') AS insertable,
       has_table_privilege(c.oid, 'UPDATE') OR has_column_privilege(c.oid, t.number, 'UPDATE') AS updatable,
       has_table_privilege(c.oid, 'DELETE') AS deletable,
       has_any_column_privilege(c.oid, 'INSERT, UPDATE') OR has_table_privilege(c.oid, 'DELETE, TRUNCATE')
           AS changeable,
       pg_get_userbyid(c.relowner) AS owner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN LATERAL (SELECT a.attnum FROM pg_attribute a
                      WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped) t (number) ON true
 WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND (has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
        OR has_table_privilege(c.oid, 'DELETE, TRUNCATE'))
 ORDER BY c.relname
"""


@dataclass(frozen=True)
class Relation:
    """A table or view that the login may use in any way. ``protected``: row-level security is enabled and forced.

    ``readable`` to ``deletable``: of the whole, or at least of its column ``tenant_id``.
    """

    schema: str
    name: str
    kind: str
    protected: bool
    by_tenant: bool  #: has a column tenant_id
    readable: bool
    insertable: bool
    updatable: bool
    deletable: bool
    changeable: bool  #: any column, in any way
    owner: str

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def is_table(self) -> bool:
        return self.kind == "table"


def relations(session: TenantSession, schema: str) -> list[Relation]:
    """What the session's login may use in ``schema``, by name."""
    found: list[Relation] = session.cursor(row_factory=class_row(Relation)).execute(_RELATIONS, (schema,)).fetchall()
    return found


_ABOVE = """
SELECT 'function ' || p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
 WHERE p.prosecdef AND (r.rolsuper OR r.rolbypassrls) AND has_function_privilege(p.oid, 'EXECUTE')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
 UNION ALL
SELECT 'view ' || c.oid::regclass::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
 WHERE c.relkind = 'v' AND (r.rolsuper OR r.rolbypassrls) AND has_any_column_privilege(c.oid, 'SELECT')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND NOT coalesce((SELECT option_value::boolean FROM pg_options_to_table(c.reloptions)
                      WHERE option_name = 'security_invoker'), false)
 ORDER BY 1
"""


def above_row_security(session: TenantSession) -> list[str]:
    """Functions and views that the login may use and that run as a role to which row-level security doesn't apply."""
    return [str(name) for (name,) in session.execute(_ABOVE).fetchall()]


def has_rows(session: Session, relation: Relation, tenant_id: str) -> bool:
    """Whether the session sees a row of ``tenant_id`` in a relation that has them by tenant."""
    statement = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE tenant_id = %s)").format(relation.identifier)
    found = session.execute(statement, (tenant_id,)).fetchone()
    return found is not None and bool(found[0])


class _Undone(Exception):
    """Rolls a savepoint back."""


def each_table(
    session: Session,
    tables: Iterable[Relation],
    ask: Callable[[Relation], Answer],
    expected: Callable[[Answer], bool],
) -> Answer:
    """One answer for all ``tables``: of the first that doesn't answer as ``expected``, else of the first.

    Each is asked in a savepoint of its own, so that a refusal doesn't end the session and no table's answer depends on
    what was done to another: a deletion cascades.
    """
    first: Answer | None = None
    for table in tables:

        def guarded(table: Relation = table) -> Answer:
            with contextlib.suppress(_Undone), session.transaction():
                answer = ask(table)
                raise _Undone
            return answer

        answer = answered(guarded)
        if not expected(answer):
            return Answer(answer.code, f"in {table.name}: {answer.detail}", answer.by)
        first = first or answer
    return first or Answer("no table", "there is none to try")


def names(tables: Iterable[Relation]) -> str:
    return ", ".join(each.name for each in tables) or "no table"
