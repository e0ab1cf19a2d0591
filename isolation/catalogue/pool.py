"""What a pool's policies rest on, and what may lie beside the schemas: extensions, large objects, logins' things."""

from __future__ import annotations

from isolation.attempts import Severity
from isolation.catalogue.check import Check

#: SHA-256 of the functions' bodies, without space around them; a test compares them with the provider's
TOKEN_CHECK_SHA256 = {
    "current_tenant": "343279efcdb6221fe6f2436052580ed2b15b7178584f34e1afe8003bde957789",
    "writing_tenant": "261790e936d1874a123b5bfb08b7af9227f47499e093b52f4fba1be4be075c9d",
}

TOKEN_CHECK = Check(
    "token-check",
    Severity.BREACH,
    "compares tenantry.current_tenant() and writing_tenant(), their owner, their key and their register with what the"
    " platform installs",
    """
, pool AS (
    SELECT app.owner, r.oid AS login FROM known JOIN app USING (schema) JOIN pg_roles r ON r.rolname = known.login
     WHERE known.tenant IS NULL
), code AS (
    SELECT p.*, l.lanname, r.rolsuper, r.rolbypassrls, r.rolcanlogin, r.rolname FROM pg_proc p
      JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
      JOIN pg_roles r ON r.oid = p.proowner WHERE n.nspname = 'tenantry' AND EXISTS (SELECT FROM pool)
), right_one AS (
    SELECT key AS name, value AS digest FROM jsonb_each_text(%(digests)s)
), genuine AS (
    SELECT code.*, digest FROM code JOIN right_one ON name = proname WHERE pronargs = 0
)
SELECT 'tenantry.' || name || '(): is missing' FROM right_one
 WHERE EXISTS (SELECT FROM pool) AND name NOT IN (SELECT proname FROM genuine)
 UNION ALL
SELECT 'tenantry.' || proname || '(): another body' FROM genuine
 WHERE encode(sha256(convert_to(btrim(prosrc, E' \\n\\t'), 'UTF8')), 'hex') <> digest OR lanname <> 'plpgsql'
 UNION ALL
SELECT 'tenantry.' || proname || '(): not SECURITY DEFINER, STABLE and with search_path pinned' FROM genuine
 WHERE NOT prosecdef OR provolatile <> 's' OR proleakproof
    OR proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']
 UNION ALL
SELECT 'tenantry.' || proname || '(): its owner ' || rolname || ' logs in or is above row-level security' FROM genuine
 WHERE rolsuper OR rolbypassrls OR rolcanlogin
 UNION ALL
SELECT 'schema tenantry: function ' || oid::regprocedure || ' is not the platform''s' FROM code
 WHERE oid NOT IN (SELECT oid FROM genuine)
 UNION ALL
SELECT 'tenantry.' || proname || '(): ' || g.privilege_type || ' is granted to '
       || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END
  FROM genuine, aclexplode(coalesce(proacl, acldefault('f', proowner))) g
 WHERE g.grantee NOT IN (SELECT proowner FROM genuine UNION SELECT owner FROM pool UNION SELECT login FROM pool)
    OR g.is_grantable AND g.grantee <> genuine.proowner
 UNION ALL
SELECT 'schema tenantry: ' || c.relname || ' grants ' || g.privilege_type || ' to '
       || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) g
 WHERE n.nspname = 'tenantry' AND g.grantee <> c.relowner
 UNION ALL
SELECT 'schema tenantry: ' || c.relname || ' (' || a.attname || ') grants ' || g.privilege_type || ' to '
       || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid,
       aclexplode(a.attacl) g
 WHERE n.nspname = 'tenantry' AND g.grantee <> c.relowner
 UNION ALL
SELECT 'schema tenantry: ' || c.relname || ' belongs to ' || pg_get_userbyid(c.relowner)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, genuine
 WHERE n.nspname = 'tenantry' AND c.relname IN ('pool_key', 'pool_tenant') AND c.relowner <> genuine.proowner
 UNION ALL
SELECT 'schema tenantry: ' || g.privilege_type || ' is granted to '
       || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END
  FROM pg_namespace n, aclexplode(n.nspacl) g
 WHERE n.nspname = 'tenantry' AND g.grantee <> n.nspowner AND (g.privilege_type <> 'USAGE' OR g.is_grantable
       OR g.grantee NOT IN (SELECT proowner FROM genuine UNION SELECT owner FROM pool UNION SELECT login FROM pool))
   AND EXISTS (SELECT FROM pool)
""",
    place=True,
)

#: what reaches beyond the database, or shows what other sessions do
_EXTENSIONS = (
    "adminpack",
    "aws_lambda",
    "aws_s3",
    "dblink",
    "file_fdw",
    "lo",
    "oracle_fdw",
    "pageinspect",
    "pg_buffercache",
    "pg_cron",
    "pg_freespacemap",
    "pg_stat_statements",
    "pg_visibility",
    "pg_walinspect",
    "pgrowlocks",
    "pgstattuple",
    "plperlu",
    "plpython3u",
    "pltclu",
    "postgres_fdw",
    "tds_fdw",
)

BESIDE = Check(
    "beside-the-schemas",
    Severity.LEAK,
    "looks for large objects, things that logins own, foreign servers and extensions that reach out of the database:"
    " row-level security knows nothing of them",
    """
SELECT 'large object ' || oid || ' of ' || pg_get_userbyid(lomowner) FROM pg_largeobject_metadata
 UNION ALL
SELECT 'login ' || k.login || ': owns ' || count(*) || ' objects in this database'
  FROM (SELECT DISTINCT login FROM known) k JOIN pg_roles r ON r.rolname = k.login
  JOIN pg_shdepend s ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid AND s.deptype = 'o'
  JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()
 WHERE NOT EXISTS (SELECT FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
                    WHERE s.classid = 'pg_class'::regclass AND t.oid = s.objid AND n.nspname LIKE 'pg\\_temp%%')
 GROUP BY k.login
 UNION ALL
SELECT 'foreign server ' || srvname FROM pg_foreign_server
 UNION ALL
SELECT 'extension ' || extname FROM pg_extension WHERE extname = ANY (%(extensions)s)
 UNION ALL
SELECT 'event trigger ' || evtname FROM pg_event_trigger WHERE evtowner <> 10
""",
    place=True,
)

CHECKS = (TOKEN_CHECK, BESIDE)
EXTENSIONS = list(_EXTENSIONS)
