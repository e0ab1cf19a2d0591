"""Faults of row-level security: of every table of tenants, and of every policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.integration.mutations.database_schema import Ask, Schema
from tests.integration.mutations.database_world import VICTIM
from tests.integration.mutations.fault import Fault

GENUINE = "tenant_id = (SELECT tenantry.current_tenant())"
FORGEABLE = "tenant_id = current_setting('app.current_tenant', true)"
WRITING = "tenant_id = (SELECT tenantry.writing_tenant())"
RESTORED = f"USING ({GENUINE}) WITH CHECK ({WRITING})"
OF_DELETION = f"CREATE POLICY tenantry_delete ON {{schema}}.{{table}} AS RESTRICTIVE FOR DELETE USING ({WRITING})"
_OF = "ON {schema}.{table}"


def of_tables(schema: Schema) -> Iterator[Fault]:
    for table in schema.tables:
        alter = "ALTER TABLE {schema}.{table}"
        yield schema.fault(
            f"table/{table}/rls-off",
            f"table `{table}`: row-level security is off",
            [f"{alter} DISABLE ROW LEVEL SECURITY"],
            [f"{alter} ENABLE ROW LEVEL SECURITY"],
            exploit=schema.steals(table),
            table=table,
        )
        yield schema.fault(
            f"table/{table}/force-missing",
            f"table `{table}`: FORCE ROW LEVEL SECURITY is missing",
            [f"{alter} NO FORCE ROW LEVEL SECURITY"],
            [f"{alter} FORCE ROW LEVEL SECURITY"],
            exploit=schema.steals(table),
            table=table,
        )
        yield schema.fault(
            f"table/{table}/owned-by-login",
            f"table `{table}` belongs to the application's login",
            [f"{alter} OWNER TO {{login}}"],
            [
                f"{alter} OWNER TO {{owner}}",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.{table} TO {login}",
                "GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {login}",
            ],
            exploit=schema.tries(f"{alter} DISABLE ROW LEVEL SECURITY", "switches row-level security off", table=table),
            table=table,
        )
        yield schema.fault(
            f"table/{table}/unique-across-tenants",
            f"table `{table}`: a unique key without `tenant_id`",
            ["CREATE UNIQUE INDEX across ON {schema}.{table} ({column})"],
            ["DROP INDEX {schema}.across"],
            closest="unique-values",
            table=table,
            column=f"{table}_id",
        )
        yield schema.fault(
            f"table/{table}/child",
            f"table `{table}`: a child by inheritance that nothing protects",
            [
                "CREATE TABLE {schema}.child () INHERITS ({schema}.{table})",
                "INSERT INTO {schema}.child OVERRIDING SYSTEM VALUE SELECT * FROM ONLY {schema}.{table}",
                "GRANT SELECT ON {schema}.child TO {login}",
            ],
            ["DROP TABLE {schema}.child"],
            exploit=schema.steals("child"),
            table=table,
        )
        yield schema.fault(
            f"table/{table}/copy",
            f"a new table with rows of `{table}` that somebody forgot to protect",
            [
                "CREATE TABLE {schema}.copied AS SELECT * FROM {schema}.{table}",
                "ALTER TABLE {schema}.copied OWNER TO {owner}",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.copied TO {login}",
            ],
            ["DROP TABLE {schema}.copied"],
            exploit=schema.steals("copied"),
            table=table,
        )
    yield schema.fault(
        "table/task/foreign-key-across-tenants",
        "a foreign key without `tenant_id`: whether another's row exists shows",
        [
            "ALTER TABLE {schema}.project ADD CONSTRAINT only_id UNIQUE (project_id)",
            (
                "ALTER TABLE {schema}.task ADD CONSTRAINT across FOREIGN KEY (project_id)"
                " REFERENCES {schema}.project (project_id)"
            ),
        ],
        ["ALTER TABLE {schema}.task DROP CONSTRAINT across", "ALTER TABLE {schema}.project DROP CONSTRAINT only_id"],
        closest="foreign-key",
    )


def of_policies(schema: Schema) -> Iterator[Fault]:
    for table, policy in schema.policies:
        names: dict[str, Any] = {"table": table, "policy": policy}
        alter, drop = f"ALTER POLICY {{policy}} {_OF}", f"DROP POLICY {{policy}} {_OF}"
        changed: tuple[tuple[str, str, str, Ask | None], ...] = (
            ("using-true", "USING (true)", "USING (true)", schema.steals(table)),
            ("check-true", "WITH CHECK (true)", "WITH CHECK (true)", None),
            ("forgeable", "USING trusts the setting alone", f"USING ({FORGEABLE})", _claims(schema, table, VICTIM)),
            ("forgeable-check", "WITH CHECK trusts the setting alone", f"WITH CHECK ({FORGEABLE})", None),
            (
                "open-without-tenant",
                "USING shows everything while no tenant is set",
                f"USING (CASE WHEN current_setting('app.current_tenant', true) = '' THEN true ELSE {GENUINE} END)",
                _claims(schema, table, ""),
            ),
        )
        for name, weakened, clause, exploit in changed:
            yield schema.fault(
                f"policy/{table}/{name}",
                f"policy of `{table}`: {weakened}",
                [f"{alter} {clause}"],
                [f"{alter} {RESTORED}"],
                exploit=exploit,
                closest="insert-for-another",
                **names,
            )
        yield schema.fault(
            f"policy/{table}/check-missing",
            f"policy of `{table}`: WITH CHECK is missing",
            [drop, f"CREATE POLICY {{policy}} {_OF} USING ({GENUINE})"],
            [drop, f"CREATE POLICY {{policy}} {_OF} {RESTORED}"],
            closest="insert-for-another",
            **names,
        )
        yield schema.fault(
            f"policy/{table}/beside",
            f"`{table}`: a permissive policy beside the tenant's",
            [f"CREATE POLICY support {_OF} USING (true)"],
            [f"DROP POLICY support {_OF}"],
            exploit=schema.steals(table),
            **names,
        )
        yield schema.fault(
            f"policy/{table}/beside-for-insert",
            f"`{table}`: a permissive policy for INSERT beside the tenant's",
            [f"CREATE POLICY import {_OF} FOR INSERT WITH CHECK (true)"],
            [f"DROP POLICY import {_OF}"],
            closest="insert-for-another",
            **names,
        )


def of_writing(schema: Schema) -> Iterator[Fault]:
    """What lets a tenant of the pool write that may only read."""
    for table in schema.tables:
        update = "UPDATE {schema}.{table} SET tenant_id = tenant_id"
        delete = "DELETE FROM {schema}.{table}"
        alter = f"ALTER POLICY {{policy}} {_OF}"
        for name, policy, weakened, broken, mended, statement in (
            ("check-of-readers", "tenantry_tenant", "WITH CHECK asks who reads, not who writes",
             f"{alter} WITH CHECK ({GENUINE})", f"{alter} WITH CHECK ({WRITING})", update),
            ("deletion-unasked", "tenantry_delete", "the policy of deletion is gone",
             f"DROP POLICY tenantry_delete {_OF}", OF_DELETION, delete),
            ("deletion-of-readers", "tenantry_delete", "the policy of deletion asks who reads, not who writes",
             f"{alter} USING ({GENUINE})", f"{alter} USING ({WRITING})", delete),
            ("deletion-true", "tenantry_delete", "the policy of deletion lets everybody",
             f"{alter} USING (true)", f"{alter} USING ({WRITING})", delete),
        ):  # fmt: skip
            yield schema.fault(
                f"policy/{table}/{name}",
                f"policy of `{table}`: {weakened}",
                [broken],
                [mended],
                exploit=schema.writes_read_only(statement, table=table),
                table=table,
                policy=policy,
            )


def _claims(schema: Schema, table: str, tenant: str) -> Ask:
    """Reads with ``tenant`` in the setting and no token that says so."""
    claim = f"set_config('app.current_tenant', '{tenant}', true)"
    return schema.steals_by(f"SELECT t.tenant_id FROM (SELECT {claim}) c, LATERAL (SELECT * FROM {{schema}}.{{table}}"
                            " OFFSET 0) t", table=table)  # fmt: skip


def of_pins(schema: Schema) -> Iterator[Fault]:
    """Of a schema of a tenant's own, whose tables take no other tenant's rows."""
    for table in schema.tables:
        yield schema.fault(
            f"table/{table}/pin-missing",
            f"table `{table}` takes rows of other tenants: its constraint is gone",
            ["ALTER TABLE {schema}.{table} DROP CONSTRAINT tenantry_tenant_id"],
            [f"ALTER TABLE {{schema}}.{{table}} ADD CONSTRAINT tenantry_tenant_id CHECK (tenant_id = '{schema.home}')"],
            closest=schema.closest,
            table=table,
        )
