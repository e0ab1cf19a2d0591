"""What an application's login may do in a schema, as PostgreSQL's catalogue should show it.

Tables are granted one by one and only once they are safe: there is no default privilege on tables, so a table that was
forgotten, or made by hand, is out of reach instead of open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from providers.postgres import row_security
from providers.postgres.bookkeeping import Registered
from providers.postgres.connection import Connection

Grant = tuple[str, str, str]  #: kind (TABLE, SEQUENCE, FUNCTION, SCHEMA), name, privilege

READS = {"TABLE": ("SELECT",), "SEQUENCE": ("SELECT",)}
WRITES = {"TABLE": (*READS["TABLE"], "INSERT", "UPDATE", "DELETE"), "SEQUENCE": (*READS["SEQUENCE"], "USAGE")}

_RELATIONS = """
SELECT c.relname, quote_ident(c.relname), c.relkind::text, EXISTS (SELECT FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped),
       EXISTS (SELECT FROM pg_options_to_table(c.reloptions)
                WHERE option_name = 'security_invoker' AND option_value::bool)
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


def wanted(connection: Connection, schema: str, app: Registered | None, *, writes: bool) -> set[Grant]:
    """Every privilege an application's login has in the schema; ``app`` is None if its tables come from elsewhere.

    Without ``writes`` it reads. Functions act with its own rights, so that none of them writes either.

    What somebody made beside the migrations stays out of reach unless it is safe: a table without tenant that no
    migration declares, a table of a pool without row-level security, a view that reads with its owner's rights.
    """
    open_tables = row_security.open_tables(connection, schema)
    of = WRITES if writes else READS
    grants: set[Grant] = {("SCHEMA", _quoted(connection, schema), "USAGE")}
    for name, identifier, kind, has_tenant, invoker in connection.execute(_RELATIONS, (schema,)).fetchall():
        quoted = str(identifier)
        if kind == "S":
            grants |= {("SEQUENCE", quoted, privilege) for privilege in of["SEQUENCE"]}
        elif kind == "v":
            grants |= {("TABLE", quoted, privilege) for privilege in of["TABLE"] if invoker or app is None}
        elif not has_tenant and app is not None:
            grants |= {("TABLE", quoted, "SELECT")} if name in app.reference_tables else set()
        elif app is None or app.mode != "pool" or str(name) not in open_tables:
            grants |= {("TABLE", quoted, privilege) for privilege in of["TABLE"]}
    rows = connection.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = %s AND NOT p.prosecdef",
        (schema,),
    ).fetchall()
    return grants | {("ROUTINE", str(signature), "EXECUTE") for (signature,) in rows}


def actual(connection: Connection, schema: str, role: str) -> set[Grant]:
    rows = connection.execute(_ACTUAL, {"schema": schema, "role": _quoted(connection, role)}).fetchall()
    return {(str(kind), str(name), str(privilege)) for kind, name, privilege in rows}


def converge(connection: Connection, schema: str, role: str, app: Registered | None, *, writes: bool) -> None:
    """Grant ``role`` what it should have and revoke the rest; called as the owner, in a transaction."""
    connection.execute("SET LOCAL search_path = pg_catalog")
    have, want = actual(connection, schema, role), wanted(connection, schema, app, writes=writes)
    statements = [
        *_statements("REVOKE", schema, have - want, role),
        *_statements("GRANT", schema, want - have, role),
    ]
    if statements:
        connection.execute(sql.SQL("; ").join(statements))


def _statements(verb: str, schema: str, privileges: set[Grant], role: str) -> Iterator[sql.Composed]:
    """One statement a target. Names are quoted by PostgreSQL already, privileges are its words."""
    by_target: dict[tuple[str, str], list[str]] = {}
    for kind, name, privilege in sorted(privileges):
        by_target.setdefault((kind, name), []).append(privilege)
    for (kind, name), several in by_target.items():
        target: sql.Composable = sql.SQL(name)
        columns = ""
        if kind in ("TABLE", "SEQUENCE"):
            target = sql.SQL("{}.{}").format(sql.Identifier(schema), target)
        elif kind == "COLUMN":
            table, _, column = name.partition(".")
            target = sql.SQL("{}.{}").format(sql.Identifier(schema), sql.SQL(table))
            columns = f" ({column})"
        yield sql.SQL("{} {} ON {} {} {} {}").format(
            sql.SQL(verb),
            sql.SQL(", ".join(privilege + columns for privilege in several)),
            sql.SQL("TABLE" if kind == "COLUMN" else kind),
            target,
            sql.SQL("TO" if verb == "GRANT" else "FROM"),
            sql.Identifier(role),
        )


def writes(connection: Connection, schema: str, role: str) -> bool:
    """Whether ``role`` is to write in the schema, as its default privileges say: its Privileges set them."""
    row = connection.execute(
        """
        SELECT FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) g
         WHERE n.nspname = %s AND d.defaclrole = n.nspowner AND d.defaclobjtype = 'S' AND g.privilege_type = 'USAGE'
           AND pg_get_userbyid(g.grantee) = %s
        """,
        (schema, role),
    ).fetchone()
    return row is not None


def users(connection: Connection, schema: str, marker: str) -> list[str]:
    """The stack's own roles that have USAGE on the schema: those a new table has to be granted to."""
    rows = connection.execute(
        """
        SELECT DISTINCT pg_get_userbyid(g.grantee) FROM pg_namespace n, aclexplode(n.nspacl) g
         WHERE n.nspname = %s AND g.privilege_type = 'USAGE' AND g.grantee NOT IN (0, n.nspowner)
           AND shobj_description(g.grantee, 'pg_authid') = %s ORDER BY 1
        """,
        (schema, marker),
    ).fetchall()
    return [str(name) for (name,) in rows]


@dataclass(frozen=True, order=True)
class Foreign:
    """What a role that is none of the stack's may do in its schema; ``target`` is ready for GRANT and REVOKE."""

    target: str
    grantee: str
    privilege: str

    def __str__(self) -> str:
        return f"{self.target} grants {self.privilege} to {self.grantee}"


_FOREIGN = """
WITH space AS (SELECT n.* FROM pg_namespace n WHERE n.nspname = %(schema)s), granted AS (
    SELECT 'SCHEMA ' || quote_ident(space.nspname) AS target, g.* FROM space, aclexplode(space.nspacl) g
     UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass, g.*
      FROM space JOIN pg_class c ON c.relnamespace = space.oid, aclexplode(c.relacl) g
     UNION ALL
    SELECT 'TABLE ' || c.oid::regclass, g.grantor, g.grantee, g.privilege_type || ' (' || quote_ident(a.attname) || ')',
           g.is_grantable
      FROM space JOIN pg_class c ON c.relnamespace = space.oid JOIN pg_attribute a ON a.attrelid = c.oid,
           aclexplode(a.attacl) g
     UNION ALL
    SELECT 'ROUTINE ' || p.oid::regprocedure, g.*
      FROM space JOIN pg_proc p ON p.pronamespace = space.oid, aclexplode(p.proacl) g
)
SELECT DISTINCT target, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
       privilege_type
  FROM granted, space WHERE grantee <> nspowner AND shobj_description(grantee, 'pg_authid') IS DISTINCT FROM %(marker)s
   AND NOT (grantee = 0 AND target LIKE 'ROUTINE %%') ORDER BY 1, 2, 3
"""


def foreign(connection: Connection, schema: str, marker: str) -> list[Foreign]:
    """Privileges in the schema of PUBLIC and of roles that are not of the stack ``marker``."""
    rows = connection.execute(_FOREIGN, {"schema": schema, "marker": marker}).fetchall()
    return [Foreign(str(target), str(grantee), str(privilege)) for target, grantee, privilege in rows]


def revoke_foreign(connection: Connection, schema: str, marker: str) -> None:
    """Take away what :func:`foreign` finds; called as the owner, in a transaction."""
    connection.execute("SET LOCAL search_path = pg_catalog")
    for each in foreign(connection, schema, marker):
        # Target, grantee and privilege are PostgreSQL's own text, quoted by it.
        connection.execute(f"REVOKE {each.privilege} ON {each.target} FROM {each.grantee} CASCADE".encode())


def _quoted(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT quote_ident(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])
