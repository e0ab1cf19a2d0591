"""Rules that a schema of the application has to meet, checked in PostgreSQL's catalogue: what holds, not what is
written.

In every mode, since the same SQL makes the pool and the dedicated schemas and rows move between them unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

from providers.postgres import grants
from providers.postgres.connection import Connection


@dataclass(frozen=True, order=True)
class Violation:
    """``object`` as PostgreSQL names it, ``problem`` with what to do."""

    object: str
    problem: str

    def __str__(self) -> str:
        return f"{self.object} {self.problem}"


_TABLES = """
WITH tables AS (
    SELECT c.oid, c.relname, c.relkind, a.attnum, a.atttypid, a.attnotnull, a.attgenerated
      FROM pg_class c LEFT JOIN pg_attribute a
        ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
     WHERE c.relnamespace = %(schema)s::text::regnamespace AND c.relkind IN ('r', 'p')
), tenant AS (SELECT * FROM tables WHERE attnum IS NOT NULL)

SELECT 'table ' || relname,
       'has no column tenant_id; add "tenant_id text NOT NULL" to it and to its keys, or, if every tenant may read all'
       ' of it, put the comment "-- tenantry: reference-table" before its CREATE TABLE'
  FROM tables WHERE attnum IS NULL AND relname <> ALL (%(reference)s)
 UNION ALL
SELECT 'table ' || relname, 'is declared a reference table but has a column tenant_id; remove the comment or the column'
  FROM tenant WHERE relname = ANY (%(reference)s)
 UNION ALL
SELECT 'table ' || relname, 'has a tenant_id that is not "text NOT NULL"'
  FROM tenant WHERE atttypid <> 'text'::regtype OR NOT attnotnull OR attgenerated <> ''
 UNION ALL
SELECT 'table ' || relname, 'has no primary key; it needs one that carries tenant_id'
  FROM tenant WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = tenant.oid AND i.indisprimary)
 UNION ALL
SELECT 'table ' || t.relname, 'has the unique index ' || x.relname || ' without tenant_id: one tenant''s values would'
       ' collide with, and tell of, another''s'
  FROM tenant t JOIN pg_index i ON i.indrelid = t.oid JOIN pg_class x ON x.oid = i.indexrelid
 WHERE i.indisunique AND NOT t.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
 UNION ALL
SELECT 'table ' || t.relname, 'has the exclusion constraint ' || k.conname || ' without "tenant_id WITH ="'
  FROM tenant t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'x'
 WHERE NOT EXISTS (SELECT FROM unnest(k.conkey, k.conexclop) AS e (attnum, operator)
                     JOIN pg_operator o ON o.oid = e.operator WHERE e.attnum = t.attnum AND o.oprname = '=')
 UNION ALL
SELECT 'table ' || t.relname, 'has the foreign key ' || k.conname || ' to ' || k.confrelid::regclass
       || ' that does not carry tenant_id: FOREIGN KEY (tenant_id, ...) REFERENCES ... (tenant_id, ...)'
  FROM tenant t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f' JOIN tenant r ON r.oid = k.confrelid
 WHERE NOT EXISTS (SELECT FROM unnest(k.conkey, k.confkey) AS e (here, there)
                    WHERE e.here = t.attnum AND e.there = r.attnum)
 UNION ALL
SELECT 'table ' || t.relname, 'is a reference table and refers to the tenant table ' || k.confrelid::regclass
       || ' by ' || k.conname
  FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f' JOIN tenant r ON r.oid = k.confrelid
 WHERE t.attnum IS NULL
 UNION ALL
SELECT 'table ' || t.relname, 'has the foreign key ' || k.conname || ' to a table outside of the schema'
  FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f'
 WHERE NOT EXISTS (SELECT FROM tables r WHERE r.oid = k.confrelid)
 UNION ALL
SELECT 'table ' || t.relname, 'has the rule ' || w.rulename || ': rules act with the rights of the owner; use a trigger'
  FROM tables t JOIN pg_rewrite w ON w.ev_class = t.oid
 UNION ALL
SELECT 'table ' || t.relname, 'has the permissive policy ' || p.polname || ', which lets more rows through; write it'
       ' AS RESTRICTIVE'
  FROM tables t JOIN pg_policy p ON p.polrelid = t.oid WHERE p.polpermissive AND p.polname <> 'tenantry_tenant'
"""

_OTHERS = """
WITH space AS (SELECT %(schema)s::text::regnamespace AS oid)
SELECT 'view ' || c.relname, 'reads with the rights of its owner; create it WITH (security_invoker = true)'
  FROM pg_class c, space WHERE c.relnamespace = space.oid AND c.relkind = 'v'
   AND NOT EXISTS (SELECT FROM pg_options_to_table(c.reloptions)
                    WHERE option_name = 'security_invoker' AND option_value::bool)
 UNION ALL
SELECT 'view ' || c.relname, 'has the rule ' || w.rulename || '; use an INSTEAD OF trigger'
  FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class, space
 WHERE c.relnamespace = space.oid AND c.relkind = 'v' AND w.rulename <> '_RETURN'
 UNION ALL
SELECT CASE c.relkind WHEN 'm' THEN 'materialized view ' ELSE 'foreign table ' END || c.relname,
       'can''t carry row-level security; use a table with tenant_id'
  FROM pg_class c, space WHERE c.relnamespace = space.oid AND c.relkind IN ('m', 'f')
 UNION ALL
SELECT 'function ' || p.oid::regprocedure, 'is SECURITY DEFINER: it would act with the rights of the owner'
  FROM pg_proc p, space WHERE p.pronamespace = space.oid AND p.prosecdef
 UNION ALL
SELECT 'function ' || p.oid::regprocedure, 'sets ' || split_part(setting, '=', 1)
  FROM pg_proc p, space, unnest(p.proconfig) AS setting WHERE p.pronamespace = space.oid
   AND (split_part(setting, '=', 1) IN ('role', 'session_authorization', 'row_security')
        OR split_part(setting, '=', 1) LIKE 'app.%%')
 UNION ALL
SELECT 'relation ' || c.relname, 'belongs to ' || pg_get_userbyid(c.relowner)
  FROM pg_class c, space, pg_namespace n WHERE c.relnamespace = space.oid AND n.oid = space.oid
   AND c.relowner <> n.nspowner
 UNION ALL
SELECT 'function ' || p.oid::regprocedure, 'belongs to ' || pg_get_userbyid(p.proowner)
  FROM pg_proc p, space, pg_namespace n WHERE p.pronamespace = space.oid AND n.oid = space.oid
   AND p.proowner <> n.nspowner
"""


def violations(connection: Connection, schema: str, reference_tables: frozenset[str], marker: str) -> list[Violation]:
    """What the schema breaks, sorted. ``reference_tables`` are those declared to have no tenant; ``marker`` is the
    stack's, whose roles may have privileges."""
    parameters = {"schema": '"' + schema.replace('"', '""') + '"', "reference": sorted(reference_tables)}
    rows = connection.execute(_TABLES, parameters).fetchall() + connection.execute(_OTHERS, parameters).fetchall()
    found = [Violation(str(name), str(problem)) for name, problem in rows]
    for each in grants.foreign(connection, schema, marker):
        problem = f"grants {each.privilege} to {each.grantee}; privileges are the platform's, take the GRANT out"
        kind, _, name = each.target.partition(" ")
        found.append(Violation(f"{kind.lower()} {name}", problem))
    return sorted(found)
