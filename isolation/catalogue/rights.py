"""Who may do what: privileges, default privileges, roles, memberships, settings."""

from __future__ import annotations

from isolation.attempts import Severity
from isolation.catalogue.check import Check

GRANTS = Check(
    "grants",
    Severity.BREACH,
    "looks for privileges in the application's schemas beyond those of their owner and login, for any of PUBLIC, and"
    " for what a login that may only read could write with",
    """
, own AS (
    SELECT app.oid, app.schema, app.owner, r.oid AS role,
           coalesce((SELECT writes FROM known WHERE known.schema = app.schema), true) AS writes FROM app JOIN pg_roles r
        ON r.rolname = (SELECT login FROM known WHERE known.schema = app.schema)
        OR app.schema NOT IN (SELECT schema FROM known) AND shobj_description(r.oid, 'pg_authid') = app.marker
), granted AS (
    SELECT 'schema ' || app.schema AS target, 'n' AS kind, app.oid, app.owner, g.grantee, g.privilege_type,
           g.is_grantable
      FROM app JOIN pg_namespace n ON n.oid = app.oid, aclexplode(n.nspacl) g
     UNION ALL
    SELECT c.oid::regclass::text, CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END, app.oid, app.owner, g.grantee,
           g.privilege_type, g.is_grantable
      FROM app JOIN pg_class c ON c.relnamespace = app.oid, aclexplode(c.relacl) g
     UNION ALL
    SELECT c.oid::regclass || ' (' || a.attname || ')', 'a', app.oid, app.owner, g.grantee, g.privilege_type,
           g.is_grantable
      FROM app JOIN pg_class c ON c.relnamespace = app.oid JOIN pg_attribute a ON a.attrelid = c.oid,
           aclexplode(a.attacl) g
     UNION ALL
    SELECT 'function ' || p.oid::regprocedure, 'f', app.oid, app.owner, g.grantee, g.privilege_type, g.is_grantable
      FROM app JOIN pg_proc p ON p.pronamespace = app.oid, aclexplode(p.proacl) g
)
SELECT target || ': ' || privilege_type || ' is granted to '
       || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END
       || CASE WHEN is_grantable THEN ', who may pass it on' ELSE '' END
  FROM granted
 WHERE grantee <> owner AND NOT (grantee = 0 AND kind = 'f') AND (
       is_grantable OR NOT EXISTS (SELECT FROM own WHERE own.oid = granted.oid AND own.role = granted.grantee)
       OR privilege_type <> ALL (
           CASE kind WHEN 'n' THEN '{USAGE}' WHEN 'S' THEN '{SELECT,USAGE}' WHEN 'f' THEN '{EXECUTE}'
                     WHEN 'r' THEN '{SELECT,INSERT,UPDATE,DELETE}' ELSE '{}' END::text[])
       OR kind IN ('r', 'S') AND privilege_type <> 'SELECT'
          AND EXISTS (SELECT FROM own WHERE own.oid = granted.oid AND own.role = granted.grantee AND NOT own.writes))
""",
)

DEFAULTS = Check(
    "default-privileges",
    Severity.WALL,
    "looks for default privileges that would open a table or a function that somebody forgets to protect",
    """
SELECT 'future ' || CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
       WHEN 'n' THEN 'schemas' WHEN 'L' THEN 'large objects' ELSE 'types' END || ' of ' || pg_get_userbyid(d.defaclrole)
       || coalesce(' in ' || app.schema, '') || ': ' || g.privilege_type || ' to '
       || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END
  FROM pg_default_acl d LEFT JOIN app ON app.oid = d.defaclnamespace, aclexplode(d.defaclacl) g
 WHERE (d.defaclnamespace = 0 OR app.oid IS NOT NULL) AND g.grantee <> d.defaclrole
   AND NOT (d.defaclobjtype = 'S' AND g.privilege_type IN ('SELECT', 'USAGE') AND NOT g.is_grantable AND g.grantee <> 0
            AND (EXISTS (SELECT FROM known WHERE known.schema = app.schema AND known.login = pg_get_userbyid(g.grantee)
                            AND (known.writes OR g.privilege_type = 'SELECT'))
                 OR app.schema NOT IN (SELECT schema FROM known)
                    AND shobj_description(g.grantee, 'pg_authid') = app.marker))
   AND NOT (d.defaclobjtype = 'T' AND g.grantee = 0 AND g.privilege_type = 'USAGE')
""",
)

DATABASES = Check(
    "databases",
    Severity.BREACH,
    "looks for databases of tenants that PUBLIC, or a login without a schema there, may enter",
    """
SELECT 'database ' || d.datname || ': ' || g.privilege_type || ' is granted to '
       || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END
  FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) g
 WHERE g.grantee <> d.datdba AND (d.datname = current_database()
       OR shobj_description(d.oid, 'pg_database') LIKE 'tenantry:%%')
   AND (g.grantee = 0 OR g.is_grantable OR g.privilege_type <> 'CONNECT'
        OR pg_get_userbyid(g.grantee) NOT IN (SELECT login FROM known)
           AND shobj_description(g.grantee, 'pg_authid') NOT LIKE 'tenantry:%%'
        OR shobj_description(g.grantee, 'pg_authid') IS NULL
        OR shobj_description(d.oid, 'pg_database') !~ '/platform([.][a-z0-9]+)?$'
           AND shobj_description(g.grantee, 'pg_authid') <> shobj_description(d.oid, 'pg_database'))
 UNION ALL
SELECT 'schema public: ' || g.privilege_type || ' is granted to PUBLIC'
  FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) g
 WHERE n.nspname = 'public' AND g.grantee = 0
""",
    place=True,
)

ROLES = Check(
    "roles",
    Severity.BREACH,
    "looks for roles that row-level security does not bind or that may become others, and for owners that log in",
    """
, attribute AS (
    SELECT r.oid, r.rolname, a.name FROM pg_roles r, LATERAL (VALUES
           ('SUPERUSER', r.rolsuper), ('BYPASSRLS', r.rolbypassrls), ('CREATEROLE', r.rolcreaterole),
           ('CREATEDB', r.rolcreatedb), ('REPLICATION', r.rolreplication)) a (name, has)
     WHERE a.has
)
SELECT 'role ' || rolname || ': ' || name FROM attribute WHERE oid IN (SELECT oid FROM ours)
 UNION
SELECT 'role ' || rolname || ': ' || name FROM attribute
 WHERE name IN ('SUPERUSER', 'BYPASSRLS') AND oid <> 10 AND rolname <> 'rdsadmin'
 UNION ALL
SELECT 'role ' || rolname || ': owns a schema, and may log in' FROM ours
 WHERE rolcanlogin AND oid IN (SELECT owner FROM app)
""",
    place=True,
)

MEMBERSHIPS = Check(
    "memberships",
    Severity.BREACH,
    "looks for roles of tenants that may act as another, and for others that may act as them",
    """
SELECT 'role ' || m.member::regrole || ': a member of ' || m.roleid::regrole FROM pg_auth_members m
 WHERE m.member IN (SELECT oid FROM ours)
 UNION
SELECT 'role ' || m.member::regrole || ': a member of ' || m.roleid::regrole
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
 WHERE m.roleid IN (SELECT oid FROM ours) AND NOT (r.rolcreaterole OR r.rolsuper)
 UNION
SELECT 'role ' || m.member::regrole || ': a member of ' || m.roleid::regrole
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
 WHERE m.roleid::regrole::text IN ('pg_read_all_data', 'pg_write_all_data', 'pg_execute_server_program',
                                   'pg_read_server_files', 'pg_write_server_files') AND NOT r.rolsuper
""",
    place=True,
)

SETTINGS = Check(
    "settings",
    Severity.WALL,
    "looks for settings of roles and databases that would change who a session is or what it sees, and for a server"
    " without TLS",
    """
, setting AS (
    SELECT s.setrole, d.datname, split_part(c, '=', 1) AS name, substr(c, strpos(c, '=') + 1) AS value, c AS text
      FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
)
SELECT 'role ' || rolname || ': ' || name || ' is set' FROM setting JOIN ours ON ours.oid = setrole
 WHERE name <> 'search_path' OR datname IS NULL
    OR datname = current_database() AND rolname IN (SELECT login FROM known)
       AND replace(value, '"', '') <> ALL (SELECT schema FROM known WHERE login = rolname)
 UNION ALL
SELECT coalesce('database ' || datname, 'every role') || ': ' || name || ' is set' FROM setting
 WHERE setrole = 0 AND (datname IS NULL OR datname = current_database())
   AND (name IN ('row_security', 'role', 'session_authorization', 'search_path', 'session_replication_role',
                 'session_preload_libraries', 'local_preload_libraries', 'lo_compat_privileges')
        OR name LIKE 'app.%%')
 UNION ALL
SELECT 'the server: ' || name || ' is ' || setting FROM pg_settings
 WHERE (name, setting) IN (('ssl', 'off'), ('row_security', 'off'), ('lo_compat_privileges', 'on'),
                           ('password_encryption', 'md5'), ('session_replication_role', 'replica'))
""",
    place=True,
)

CHECKS = (GRANTS, DEFAULTS, DATABASES, ROLES, MEMBERSHIPS, SETTINGS)
