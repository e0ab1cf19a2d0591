"""What an application's login may do in a schema, as PostgreSQL's catalogue should show it.

Tables are granted one by one and only once they are safe: there is no default privilege on tables, so a table that was
forgotten, or made by hand, is out of reach instead of open.
"""

from __future__ import annotations

from psycopg import sql

from providers.postgres import row_security
from providers.postgres.connection import Connection

Grant = tuple[str, str, str]  #: kind (TABLE, SEQUENCE, FUNCTION, SCHEMA), name, privilege

_DML = ("SELECT", "INSERT", "UPDATE", "DELETE")

_RELATIONS = """
SELECT c.relname, c.relkind::text, EXISTS (SELECT FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'S') AND NOT c.relispartition
"""

_ACTUAL = """
SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, quote_ident(c.relname), g.privilege_type
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) g
 WHERE n.nspname = %(schema)s AND g.grantee = %(role)s::text::regrole
 UNION ALL
SELECT 'COLUMN', quote_ident(c.relname) || '.' || quote_ident(a.attname), g.privilege_type
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid,
       aclexplode(a.attacl) g
 WHERE n.nspname = %(schema)s AND g.grantee = %(role)s::text::regrole
 UNION ALL
SELECT 'ROUTINE', p.oid::regprocedure::text, g.privilege_type
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(p.proacl) g
 WHERE n.nspname = %(schema)s AND g.grantee = %(role)s::text::regrole
 UNION ALL
SELECT 'SCHEMA', quote_ident(n.nspname), g.privilege_type FROM pg_namespace n, aclexplode(n.nspacl) g
 WHERE n.nspname = %(schema)s AND g.grantee = %(role)s::text::regrole
"""


def wanted(connection: Connection, schema: str, mode: str | None) -> set[Grant]:
    """Every privilege an application's login has in the schema.

    ``mode`` is the AppSchema's (`pool`, `dedicated`), None if its tables come from elsewhere.
    """
    open_tables = {line.split(":", 1)[0].removeprefix("table ") for line in row_security.drift(connection, schema)}
    grants: set[Grant] = {("SCHEMA", _quoted(connection, schema), "USAGE")}
    for name, kind, has_tenant in connection.execute(_RELATIONS, (schema,)).fetchall():
        quoted = _quoted(connection, str(name))
        if kind == "S":
            grants |= {("SEQUENCE", quoted, privilege) for privilege in ("SELECT", "USAGE")}
        elif kind == "v":
            grants |= {("TABLE", quoted, privilege) for privilege in _DML}
        elif not has_tenant and mode is not None:
            grants.add(("TABLE", quoted, "SELECT"))
        elif mode != "pool" or str(name) not in open_tables:
            grants |= {("TABLE", quoted, privilege) for privilege in _DML}
    rows = connection.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = %s AND NOT p.prosecdef",
        (schema,),
    ).fetchall()
    return grants | {("ROUTINE", str(signature), "EXECUTE") for (signature,) in rows}


def actual(connection: Connection, schema: str, role: str) -> set[Grant]:
    rows = connection.execute(_ACTUAL, {"schema": schema, "role": _quoted(connection, role)}).fetchall()
    return {(str(kind), str(name), str(privilege)) for kind, name, privilege in rows}


def converge(connection: Connection, schema: str, role: str, mode: str | None) -> None:
    """Grant ``role`` what it should have and revoke the rest; called as the owner, in a transaction."""
    connection.execute("SET LOCAL search_path = pg_catalog")
    have, want = actual(connection, schema, role), wanted(connection, schema, mode)
    for kind, name, privilege in sorted(have - want):
        connection.execute(_statement("REVOKE", schema, kind, name, privilege, role))
    for kind, name, privilege in sorted(want - have):
        connection.execute(_statement("GRANT", schema, kind, name, privilege, role))


def _statement(verb: str, schema: str, kind: str, name: str, privilege: str, role: str) -> sql.Composed:
    """``name`` is quoted by PostgreSQL already."""
    target: sql.Composable = sql.SQL(name)
    columns = sql.SQL("")
    if kind in ("TABLE", "SEQUENCE"):
        target = sql.SQL("{}.{}").format(sql.Identifier(schema), target)
    elif kind == "COLUMN":
        table, _, column = name.partition(".")
        target = sql.SQL("{}.{}").format(sql.Identifier(schema), sql.SQL(table))
        columns = sql.SQL(f"({column})")
    return sql.SQL("{} {}{} ON {} {} {} {}").format(
        sql.SQL(verb),
        sql.SQL(privilege),
        columns,
        sql.SQL("TABLE" if kind == "COLUMN" else kind),
        target,
        sql.SQL("TO" if verb == "GRANT" else "FROM"),
        sql.Identifier(role),
    )


def users(connection: Connection, schema: str) -> list[str]:
    """Stacks' roles that were given USAGE on the schema: those a new table has to be granted to."""
    rows = connection.execute(
        """
        SELECT DISTINCT pg_get_userbyid(g.grantee) FROM pg_namespace n, aclexplode(n.nspacl) g
         WHERE n.nspname = %s AND g.privilege_type = 'USAGE' AND g.grantee NOT IN (0, n.nspowner)
           AND shobj_description(g.grantee, 'pg_authid') LIKE 'tenantry:%%' ORDER BY 1
        """,
        (schema,),
    ).fetchall()
    return [str(name) for (name,) in rows]


def _quoted(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT quote_ident(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])
