"""Tables, policies, keys, views and code of the application's schemas."""

from __future__ import annotations

from isolation.attempts import Severity
from isolation.catalogue.check import Check

ROW_SECURITY = Check(
    "row-security",
    Severity.BREACH,
    "looks for tables of a pool that row-level security does not cover, or not their owner",
    """
SELECT name || ': row-level security is ' || CASE WHEN relrowsecurity THEN 'not forced' ELSE 'off' END
  FROM pooled WHERE tenant IS NOT NULL AND NOT (relrowsecurity AND relforcerowsecurity)
 UNION ALL
SELECT name || ': tenant_id is not text NOT NULL'
  FROM pooled WHERE tenant IS NOT NULL AND (atttypid <> 'text'::regtype OR NOT attnotnull)
""",
)

POLICIES = Check(
    "policies",
    Severity.BREACH,
    "compares the policies of every table of a pool with those that ask tenantry.current_tenant() of what is read, and"
    " tenantry.writing_tenant() of what is written or deleted",
    """
, policy AS (
    SELECT p.polrelid, p.polname, p.polpermissive, p.polcmd, p.polroles, pg_get_expr(p.polqual, p.polrelid) AS reads,
           pg_get_expr(p.polwithcheck, p.polrelid) AS writes
      FROM pg_policy p
), right_one AS (
    SELECT '(tenant_id = ( SELECT tenantry.current_tenant() AS current_tenant))' AS reads,
           '(tenant_id = ( SELECT tenantry.writing_tenant() AS writing_tenant))' AS writes
)
SELECT name || ': policy tenantry_tenant is missing' FROM pooled
 WHERE tenant IS NOT NULL
   AND NOT EXISTS (SELECT FROM policy p WHERE p.polrelid = pooled.oid AND polname = 'tenantry_tenant')
 UNION ALL
SELECT name || ': policy tenantry_tenant has another USING: ' || coalesce(policy.reads, 'none')
  FROM pooled JOIN policy ON polrelid = pooled.oid, right_one
 WHERE polname = 'tenantry_tenant' AND policy.reads IS DISTINCT FROM right_one.reads
 UNION ALL
SELECT name || ': policy tenantry_tenant has another WITH CHECK: ' || coalesce(policy.writes, 'none')
  FROM pooled JOIN policy ON polrelid = pooled.oid, right_one
 WHERE polname = 'tenantry_tenant' AND policy.writes IS DISTINCT FROM right_one.writes
 UNION ALL
SELECT name || ': policy tenantry_tenant is not a permissive one for all commands and roles'
  FROM pooled JOIN policy ON polrelid = pooled.oid
 WHERE polname = 'tenantry_tenant' AND NOT (polpermissive AND polcmd = '*' AND polroles = '{0}')
 UNION ALL
SELECT name || ': policy tenantry_delete is missing' FROM pooled
 WHERE tenant IS NOT NULL
   AND NOT EXISTS (SELECT FROM policy p WHERE p.polrelid = pooled.oid AND polname = 'tenantry_delete')
 UNION ALL
SELECT name || ': policy tenantry_delete is not a restrictive one for DELETE and all roles, with USING '
       || right_one.writes
  FROM pooled JOIN policy ON polrelid = pooled.oid, right_one
 WHERE polname = 'tenantry_delete' AND NOT (NOT polpermissive AND polcmd = 'd' AND polroles = '{0}'
       AND policy.reads IS NOT DISTINCT FROM right_one.writes)
 UNION ALL
SELECT name || ': permissive policy ' || polname || ' lets more rows through'
  FROM pooled JOIN policy ON polrelid = pooled.oid WHERE polpermissive AND polname <> 'tenantry_tenant'
""",
)

FORGOTTEN = Check(
    "forgotten-table",
    Severity.BREACH,
    "looks for tables without tenant_id that an application's login may write, or that no migration declares to be one"
    " that every tenant may read",
    """
, granted AS (
    SELECT t.name, t.relname, g.grantee, g.privilege_type FROM tables t JOIN pg_class c ON c.oid = t.oid,
           aclexplode(c.relacl) g WHERE t.tenant IS NULL AND g.grantee <> t.owner
     UNION ALL
    SELECT t.name, t.relname, g.grantee, g.privilege_type FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid,
           aclexplode(a.attacl) g WHERE t.tenant IS NULL AND g.grantee <> t.owner
)
SELECT DISTINCT name || ': has no tenant_id, and grants ' || privilege_type FROM granted
 WHERE privilege_type <> 'SELECT'
 UNION ALL
SELECT DISTINCT name || ': has no tenant_id, is no reference table of the migrations, and is readable' FROM granted
 WHERE %(reference)s::text[] IS NOT NULL AND relname <> ALL (%(reference)s::text[])
 UNION ALL
SELECT t.name || ': has no tenant_id, and refers to the tenant table ' || k.confrelid::regclass
  FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f' JOIN tables r ON r.oid = k.confrelid
 WHERE t.tenant IS NULL AND r.tenant IS NOT NULL
""",
)

PINS = Check(
    "pinned-tables",
    Severity.WALL,
    "looks for tables of a tenant's own schema that would take another tenant's rows",
    """
SELECT name || ': no constraint pins tenant_id to ' || known.tenant FROM tables JOIN known USING (schema)
 WHERE known.tenant IS NOT NULL AND tables.tenant IS NOT NULL AND NOT EXISTS (
       SELECT FROM pg_constraint k WHERE k.conrelid = tables.oid AND k.contype = 'c' AND k.convalidated
          AND pg_get_constraintdef(k.oid) = format('CHECK ((tenant_id = %%L::text))', known.tenant))
""",
)

KEYS = Check(
    "keys-across-tenants",
    Severity.LEAK,
    "looks for unique, exclusion and foreign keys that don't carry tenant_id: they would tell of other tenants' values",
    """
SELECT t.name || ': unique index ' || i.indexrelid::regclass || ' without tenant_id'
  FROM tables t JOIN pg_index i ON i.indrelid = t.oid
 WHERE t.tenant IS NOT NULL AND i.indisunique AND NOT t.tenant = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
 UNION ALL
SELECT t.name || ': exclusion constraint ' || k.conname || ' without tenant_id'
  FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'x'
 WHERE t.tenant IS NOT NULL AND NOT EXISTS (SELECT FROM unnest(k.conkey, k.conexclop) AS e (attnum, operator)
       JOIN pg_operator o ON o.oid = e.operator WHERE e.attnum = t.tenant AND o.oprname = '=')
 UNION ALL
SELECT t.name || ': foreign key ' || k.conname || ' without tenant_id'
  FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f' JOIN tables r ON r.oid = k.confrelid
 WHERE t.tenant IS NOT NULL AND r.tenant IS NOT NULL AND NOT EXISTS (
       SELECT FROM unnest(k.conkey, k.confkey) AS e (here, there) WHERE e.here = t.tenant AND e.there = r.tenant)
 UNION ALL
SELECT t.name || ': foreign key ' || k.conname || ' leads out of its schema'
  FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f' JOIN pg_class r ON r.oid = k.confrelid
 WHERE r.relnamespace <> (SELECT oid FROM app WHERE app.schema = t.schema)
""",
)

VIEWS = Check(
    "views",
    Severity.BREACH,
    "looks for views with their owner's rights, rules, materialised views and foreign tables: row-level security does"
    " not reach behind them",
    """
, relation AS (
    SELECT c.oid, c.relkind, c.reloptions, app.schema || '.' || c.relname AS name FROM app
      JOIN pg_class c ON c.relnamespace = app.oid
)
SELECT name || ': a view that is not security_invoker' FROM relation WHERE relkind = 'v' AND NOT EXISTS (
       SELECT FROM pg_options_to_table(reloptions) WHERE option_name = 'security_invoker' AND option_value::boolean)
 UNION ALL
SELECT name || CASE relkind WHEN 'm' THEN ': a materialised view' ELSE ': a foreign table' END
  FROM relation WHERE relkind IN ('m', 'f')
 UNION ALL
SELECT name || ': rule ' || w.rulename FROM relation JOIN pg_rewrite w ON w.ev_class = relation.oid
 WHERE w.rulename <> '_RETURN'
""",
)

FUNCTIONS = Check(
    "functions",
    Severity.BREACH,
    "looks for functions with their owner's rights, functions trusted to see rows before the policy does, and triggers"
    " from elsewhere",
    """
, code AS (
    SELECT p.oid, p.prosecdef, p.proleakproof, p.proowner, p.proconfig, l.lanname, l.lanpltrusted, app.owner
      FROM app JOIN pg_proc p ON p.pronamespace = app.oid JOIN pg_language l ON l.oid = p.prolang
)
SELECT 'function ' || oid::regprocedure || ': SECURITY DEFINER' FROM code WHERE prosecdef
 UNION ALL
SELECT 'function ' || oid::regprocedure || ': LEAKPROOF, so that it sees rows before the policy' FROM code
 WHERE proleakproof
 UNION ALL
SELECT 'function ' || oid::regprocedure || ': in the untrusted language ' || lanname FROM code
 WHERE NOT lanpltrusted AND lanname NOT IN ('sql')
 UNION ALL
SELECT 'function ' || oid::regprocedure || ': belongs to ' || pg_get_userbyid(proowner) FROM code
 WHERE proowner <> owner
 UNION ALL
SELECT 'function ' || oid::regprocedure || ': sets ' || split_part(setting, '=', 1) FROM code, unnest(proconfig) setting
 WHERE split_part(setting, '=', 1) IN ('role', 'session_authorization', 'row_security')
    OR split_part(setting, '=', 1) LIKE 'app.%%'
 UNION ALL
SELECT t.name || ': trigger ' || g.tgname || ' runs ' || p.oid::regprocedure || ', which is not the schema''s own'
  FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal JOIN pg_proc p ON p.oid = g.tgfoid
 WHERE p.prosecdef OR p.proowner <> t.owner
 UNION ALL
SELECT 'function ' || p.oid::regprocedure || ' outside of the schemas: SECURITY DEFINER, and executable'
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.prosecdef AND has_function_privilege(p.oid, 'EXECUTE')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND n.oid NOT IN (SELECT oid FROM app) AND (n.nspname, p.proname, p.pronargs)
       NOT IN (('tenantry', 'current_tenant', 0), ('tenantry', 'writing_tenant', 0))
""",
)

OWNERS = Check(
    "owners",
    Severity.WALL,
    "looks for relations of a schema that belong to another role than the schema",
    """
SELECT 'relation ' || c.oid::regclass || ': belongs to ' || pg_get_userbyid(c.relowner)
  FROM app JOIN pg_class c ON c.relnamespace = app.oid WHERE c.relowner <> app.owner
""",
)

CHECKS = (ROW_SECURITY, POLICIES, FORGOTTEN, PINS, KEYS, VIEWS, FUNCTIONS, OWNERS)
