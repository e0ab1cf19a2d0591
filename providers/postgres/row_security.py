"""Row-level security of a schema's tables: every table with a `tenant_id` column, partitions included, forced."""

from __future__ import annotations

from psycopg import sql

from providers.postgres.connection import Connection

POLICY = "tenantry_tenant"
COLUMN = "tenant_id"
#: as pg_get_expr prints the policy's expression with search_path = pg_catalog
_EXPRESSION = "(tenant_id = ( SELECT tenantry.current_tenant() AS current_tenant))"

_TENANT_TABLES = """
SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
       coalesce((SELECT p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'
                        AND pg_get_expr(p.polqual, p.polrelid) = %(expression)s
                        AND pg_get_expr(p.polwithcheck, p.polrelid) = %(expression)s
                   FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = %(policy)s), false),
       EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = %(policy)s),
       a.atthasdef
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p')
 ORDER BY c.relispartition, c.relname
"""


def tenant_tables(connection: Connection, schema: str) -> list[str]:
    """Tables with a tenant's rows, by name; partitions are left out: their rows are reached through the parent."""
    rows = connection.execute(
        """
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
         WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
        """,
        (schema,),
    ).fetchall()
    return [str(name) for (name,) in rows]


def _states(connection: Connection, schema: str) -> list[tuple[str, bool, bool, bool, bool, bool]]:
    # pg_get_expr leaves out the schema of what search_path finds.
    connection.execute("SET LOCAL search_path = pg_catalog")
    parameters = {"schema": schema, "policy": POLICY, "expression": _EXPRESSION}
    rows = connection.execute(_TENANT_TABLES, parameters).fetchall()
    return [(str(name), *(bool(flag) for flag in flags)) for name, *flags in rows]  # type: ignore[misc]


def enforce(connection: Connection, schema: str) -> None:
    """Secure every table of the schema that isn't; called as the owner, in the transaction that changed the tables.

    Tables that are secured already are not touched, so that nobody waits for their locks. `tenant_id` gets the entered
    tenant as its default, so that an application's INSERT reads the same in every tier; the policy checks it.
    """
    for name, enabled, forced, right, present, has_default in _states(connection, schema):
        table = sql.Identifier(schema, name)
        if not enabled or not forced:
            connection.execute(
                sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY").format(table)
            )
        if present and not right:
            connection.execute(sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(POLICY), table))
        if not right:
            connection.execute(
                sql.SQL(
                    "CREATE POLICY {} ON {} AS PERMISSIVE FOR ALL TO PUBLIC"
                    " USING (tenant_id = (SELECT tenantry.current_tenant()))"
                    " WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()))"
                ).format(sql.Identifier(POLICY), table)
            )
        if not has_default:
            connection.execute(
                sql.SQL(
                    "ALTER TABLE {} ALTER COLUMN tenant_id"
                    " SET DEFAULT NULLIF(current_setting('app.current_tenant', true), '')"
                ).format(table)
            )


def secured(connection: Connection, schema: str) -> frozenset[str]:
    """Tables of the schema whose rows our policy guards, whether or not their owner is forced under it.

    Named by their oids: a migration may rename them.
    """
    states = {name: enabled and right for name, enabled, _, right, *_ in _states(connection, schema)}
    return frozenset(oid for name, oid in _oids(connection, schema).items() if states.get(name))


def lost(connection: Connection, schema: str, before: frozenset[str]) -> list[str]:
    """Tables, by name, that were ``secured`` before and are not any more."""
    after = secured(connection, schema)
    return sorted(name for name, oid in _oids(connection, schema).items() if oid in before - after)


def _oids(connection: Connection, schema: str) -> dict[str, str]:
    rows = connection.execute(
        "SELECT c.relname, c.oid::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'p')",
        (schema,),
    ).fetchall()
    return {str(name): str(oid) for name, oid in rows}


def unforce(connection: Connection, schema: str) -> None:
    """Let the owner change every tenant's rows until :func:`enforce` in the same transaction."""
    for name, *_ in _states(connection, schema):
        connection.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(sql.Identifier(schema, name)))


def drift(connection: Connection, schema: str) -> list[str]:
    """Tables of the schema that are not secured, and policies that others added."""
    found = []
    with connection.transaction():
        for name, enabled, forced, right, _, _ in _states(connection, schema):
            if not (enabled and forced):
                found.append(f"table {name}: row-level security is not " + ("forced" if enabled else "enabled"))
            if not right:
                found.append(f"table {name}: policy {POLICY} is missing or changed")
    return found + [
        f"table {table}: permissive policy {policy} lets more rows through"
        for table, policy in foreign_policies(connection, schema)
    ]


def foreign_policies(connection: Connection, schema: str) -> list[tuple[str, str]]:
    """Permissive policies beside ours, as (table, policy)."""
    rows = connection.execute(
        """
        SELECT c.relname, p.polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = %s AND p.polname <> %s AND p.polpermissive ORDER BY 1, 2
        """,
        (schema, POLICY),
    ).fetchall()
    return [(str(table), str(policy)) for table, policy in rows]


PIN = "tenantry_tenant_id"

_PINS = """
SELECT c.relname, a.atthasdef, k.oid IS NOT NULL,
       coalesce(pg_get_constraintdef(k.oid) = format('CHECK ((tenant_id = %%L::text))', %(tenant)s::text), false)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
  LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.conname = %(pin)s
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p') ORDER BY c.relispartition, c.relname
"""


def pin(connection: Connection, schema: str, tenant_id: str) -> None:
    """A dedicated schema holds one tenant: `tenant_id` defaults to it and nothing else is accepted."""
    constraint = sql.Identifier(PIN)
    for name, has_default, present, right in _pins(connection, schema, tenant_id):
        table = sql.Identifier(schema, name)
        changes = []
        if present and not right:
            connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(table, constraint))
        if not right:
            changes.append(
                sql.SQL("ADD CONSTRAINT {} CHECK (tenant_id = {})").format(constraint, sql.Literal(tenant_id))
            )
        if not has_default:
            changes.append(sql.SQL("ALTER COLUMN tenant_id SET DEFAULT {}").format(sql.Literal(tenant_id)))
        if changes:
            connection.execute(sql.SQL("ALTER TABLE {} {}").format(table, sql.SQL(", ").join(changes)))


def pin_drift(connection: Connection, schema: str, tenant_id: str) -> list[str]:
    """Tables that would accept rows of another tenant."""
    with connection.transaction():
        pins = _pins(connection, schema, tenant_id)
    return [f"table {name}: is not pinned to the tenant" for name, _, _, right in pins if not right]


def _pins(connection: Connection, schema: str, tenant_id: str) -> list[tuple[str, bool, bool, bool]]:
    connection.execute("SET LOCAL search_path = pg_catalog")
    rows = connection.execute(_PINS, {"schema": schema, "tenant": tenant_id, "pin": PIN}).fetchall()
    return [(str(name), *(bool(flag) for flag in flags)) for name, *flags in rows]  # type: ignore[misc]
