"""One question to PostgreSQL's catalogue: what stands that must not, or is missing."""

from __future__ import annotations

from dataclasses import dataclass

from isolation.attempts import Severity

# What every question starts with. `app`: schemas of the application; `known`: whose login and tenant the proof knows;
# `granted`: every privilege on them. A role belongs to a schema if the comment by which the platform marks both is one.
PREAMBLE = """
WITH app AS (
    SELECT n.oid, n.nspname AS schema, n.nspowner AS owner, obj_description(n.oid, 'pg_namespace') AS marker
      FROM pg_namespace n
     WHERE n.nspname NOT LIKE 'pg\\_%%' AND n.nspname NOT IN ('information_schema', 'tenantry', 'public')
       AND (%(only)s::text[] IS NULL OR n.nspname = ANY (%(only)s::text[]))
), known AS (
    SELECT k.schema, k.login, k.tenant, k.writes
      FROM jsonb_to_recordset(%(known)s::jsonb) AS k (schema text, login text, tenant text, writes boolean)
), tables AS (
    SELECT c.oid, c.relname, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity, app.schema, app.owner,
           app.schema || '.' || c.relname AS name, a.attnum AS tenant, a.attnotnull, a.atttypid
      FROM app JOIN pg_class c ON c.relnamespace = app.oid AND c.relkind IN ('r', 'p')
      LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
), pooled AS (
    SELECT tables.* FROM tables JOIN known USING (schema) WHERE known.tenant IS NULL
), ours AS (
    SELECT r.* FROM pg_roles r
     WHERE shobj_description(r.oid, 'pg_authid') LIKE 'tenantry:%%' OR r.rolname IN (SELECT login FROM known)
        OR r.oid IN (SELECT owner FROM app)
)
"""


@dataclass(frozen=True)
class Check:
    """``sql`` goes after ``PREAMBLE`` and yields one text a fault, none if all is as it must be.

    ``place``: what is asked concerns the whole database, not single schemas of it.
    """

    name: str
    severity: Severity
    tried: str
    sql: str
    place: bool = False
