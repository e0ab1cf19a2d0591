"""Row-level security of a schema's tables: every table with a `tenant_id` column, partitions included, forced.

Two policies a table. `tenantry_tenant` shows the rows of the entered tenant and takes new ones only of a tenant that
may write; a policy for all commands has no check of its own for DELETE, which `tenantry_delete` adds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from psycopg import sql

from providers.postgres.connection import Connection

POLICY = "tenantry_tenant"
DELETE_POLICY = "tenantry_delete"
COLUMN = "tenant_id"
#: as pg_get_expr prints the policies' expressions with search_path = pg_catalog
_READS = "(tenant_id = ( SELECT tenantry.current_tenant() AS current_tenant))"
_WRITES = "(tenant_id = ( SELECT tenantry.writing_tenant() AS writing_tenant))"

_USING = "(tenant_id = (SELECT tenantry.current_tenant()))"
_CHECK = "(tenant_id = (SELECT tenantry.writing_tenant()))"
_CREATE = (
    f"CREATE POLICY {POLICY} ON {{}} AS PERMISSIVE FOR ALL TO PUBLIC USING {_USING} WITH CHECK {_CHECK}",
    f"CREATE POLICY {DELETE_POLICY} ON {{}} AS RESTRICTIVE FOR DELETE TO PUBLIC USING {_CHECK}",
)
#: of the policies' texts: another one in a stack's state is an earlier release's
DEFINITION = hashlib.sha256("\n".join(_CREATE).encode()).hexdigest()

_TENANT_TABLES = """
SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, coalesce(ours.present, false), coalesce(ours.shape, false),
       coalesce(ours.checked = %(reads)s, false), coalesce(ours.checked = %(writes)s, false),
       EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = %(delete_policy)s),
       coalesce((SELECT NOT p.polpermissive AND p.polcmd = 'd' AND p.polroles = '{0}'
                        AND pg_get_expr(p.polqual, p.polrelid) = %(writes)s
                   FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = %(delete_policy)s), false),
       a.atthasdef
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
  LEFT JOIN LATERAL (
       SELECT true AS present, pg_get_expr(p.polwithcheck, p.polrelid) AS checked,
              p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'
              AND pg_get_expr(p.polqual, p.polrelid) = %(reads)s AS shape
         FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = %(policy)s) ours ON true
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p')
 ORDER BY c.relispartition, c.relname
"""


@dataclass(frozen=True)
class _State:
    """Of one table. ``present``, ``shape`` and the checks are the policy `tenantry_tenant`'s."""

    name: str
    enabled: bool
    forced: bool
    present: bool
    shape: bool  #: permissive, for all commands and roles, showing the entered tenant's rows
    checks_reads: bool  #: takes the rows of every entered tenant: the policy of an earlier release
    checks_writes: bool  #: takes the rows of a tenant that may write
    delete_present: bool
    delete_right: bool
    has_default: bool

    @property
    def isolates(self) -> bool:
        """Whether one tenant's rows are kept from another; `guards` says whether from its own writing as well."""
        return self.shape and (self.checks_reads or self.checks_writes)

    @property
    def guards(self) -> bool:
        return self.shape and self.checks_writes and self.delete_right


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


def _states(connection: Connection, schema: str) -> list[_State]:
    # pg_get_expr leaves out the schema of what search_path finds.
    connection.execute("SET LOCAL search_path = pg_catalog")
    parameters = {
        "schema": schema,
        "policy": POLICY,
        "delete_policy": DELETE_POLICY,
        "reads": _READS,
        "writes": _WRITES,
    }
    rows = connection.execute(_TENANT_TABLES, parameters).fetchall()
    return [_State(str(name), *map(bool, flags)) for name, *flags in rows]


def outdated(connection: Connection, schema: str) -> list[str]:
    """Tables under the policy of an earlier release, which lets whoever reads write; called in a transaction."""
    return [each.name for each in _states(connection, schema) if each.isolates and not each.guards]


def renew(connection: Connection, schema: str, name: str) -> None:
    """Change an outdated table's policies in place: at no moment it has none. As the owner, in a transaction."""
    for each in _states(connection, schema):
        if each.name == name:
            _guard(connection, schema, each)


def _guard(connection: Connection, schema: str, state: _State) -> None:
    table = sql.Identifier(schema, state.name)
    create, create_delete = (sql.SQL(text).format(table) for text in _CREATE)
    if state.isolates and not state.checks_writes:
        connection.execute(sql.SQL(f"ALTER POLICY {POLICY} ON {{}} WITH CHECK {_CHECK}").format(table))
    elif not state.isolates:
        if state.present:
            connection.execute(sql.SQL(f"DROP POLICY {POLICY} ON {{}}").format(table))
        connection.execute(create)
    if not state.delete_right:
        if state.delete_present:
            connection.execute(sql.SQL(f"DROP POLICY {DELETE_POLICY} ON {{}}").format(table))
        connection.execute(create_delete)


def enforce(connection: Connection, schema: str) -> None:
    """Secure every table of the schema that isn't; called as the owner, in the transaction that changed the tables.

    Tables that are secured already are not touched, so that nobody waits for their locks. `tenant_id` gets the entered
    tenant as its default, so that an application's INSERT reads the same in every tier; the policy checks it.
    """
    for state in _states(connection, schema):
        table = sql.Identifier(schema, state.name)
        if not state.enabled or not state.forced:
            connection.execute(
                sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY").format(table)
            )
        if not state.guards:
            _guard(connection, schema, state)
        if not state.has_default:
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
    states = {each.name: each.enabled and each.guards for each in _states(connection, schema)}
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
    for each in _states(connection, schema):
        name = each.name
        connection.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(sql.Identifier(schema, name)))


def drift(connection: Connection, schema: str) -> list[str]:
    """Tables of the schema that are not secured, and policies that others added."""
    found = []
    with connection.transaction():
        for each in _states(connection, schema):
            name = each.name
            if not (each.enabled and each.forced):
                found.append(f"table {name}: row-level security is not " + ("forced" if each.enabled else "enabled"))
            if not (each.shape and each.checks_writes):
                found.append(f"table {name}: policy {POLICY} is missing or changed")
            if not each.delete_right:
                found.append(f"table {name}: policy {DELETE_POLICY} is missing or changed")
    return found + [
        f"table {table}: permissive policy {policy} lets more rows through"
        for table, policy in foreign_policies(connection, schema)
    ]


def open_tables(connection: Connection, schema: str) -> frozenset[str]:
    """Tables with a `tenant_id` that would show one tenant's rows to another, whichever way."""
    with connection.transaction():
        states = _states(connection, schema)
    found = {each.name for each in states if not (each.enabled and each.forced and each.isolates)}
    return frozenset(found | {table for table, _ in foreign_policies(connection, schema)})


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
