"""The resource types of pools and of the application's tables as the engine sees them."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from providers.base import Context, Properties, has_unknown
from providers.postgres import app_schema, markers, pool_security, pool_tenants, row_security
from providers.postgres.connection import Server
from providers.postgres.errors import DatabaseGone, PostgresProviderError
from providers.postgres.handler_base import (
    Failures,
    PostgresHandler,
    check_arn,
    check_choice,
    check_integer,
    check_name,
    id_parts,
    with_drift,
)
from providers.postgres.identifiers import role_problem

_DIGEST = re.compile(r"[0-9a-f]{64}")


class PoolSecurityHandler(PostgresHandler):
    token = "tenantry-postgres:index:PoolSecurity"
    inputs = frozenset({"database", "schema", "owner", "login", "tokenSecretArn", "rotation"})
    outputs = frozenset({"keyVersion"})
    changed_by_update = outputs
    required = frozenset({"database", "schema", "owner", "login", "tokenSecretArn"})
    replace_on = frozenset({"database", "schema"})
    delete_before_replace = True
    #: what the pool is made by: a pool of an earlier release differs, and is brought to this one's in place
    derived_inputs = frozenset({"definition"})

    def check(self, ctx: Context[Server], inputs: Properties, old_inputs: Properties) -> Properties:
        return {**super().check(ctx, inputs, old_inputs), "definition": pool_security.definition()}

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        check_name(inputs, "login", role_problem, failures)
        check_arn(inputs, "tokenSecretArn", failures)

    @staticmethod
    def _pool(inputs: Properties) -> pool_security.PoolSecurity:
        return pool_security.PoolSecurity(
            inputs["database"], inputs["schema"], inputs["owner"], inputs["login"], inputs["tokenSecretArn"]
        )

    def create_once(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        version = pool_security.create(ctx.client, self._pool(inputs), markers.for_urn(ctx.urn))
        return inputs["database"], {"keyVersion": version}

    def read_once(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        if not inputs:
            raise PostgresProviderError(
                "a PoolSecurity can't be imported: create it in the program, it takes over what this stack made"
            )
        found = pool_security.read(ctx.client, self._pool(inputs), markers.for_urn(ctx.urn))
        if found is None:
            return None
        version, drift = found
        return id, with_drift(inputs, drift), {"keyVersion": version}

    def update_once(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        rotate = old_inputs.get("rotation") != inputs.get("rotation")
        version = pool_security.create(ctx.client, self._pool(inputs), markers.for_urn(ctx.urn), rotate=rotate)
        return {"keyVersion": version}

    def delete_once(self, ctx: Context[Server], id: str, state: Properties) -> None:
        pool_security.delete(ctx.client, self._pool(state), markers.for_urn(ctx.urn))


class AppSchemaHandler(PostgresHandler):
    token = "tenantry-postgres:index:AppSchema"
    inputs = frozenset({"database", "schema", "owner", "mode", "directory", "migrations", "tenantId"})
    outputs = frozenset({"version"})
    changed_by_update = outputs
    required = frozenset({"database", "schema", "owner", "mode", "directory", "migrations"})
    replace_on = frozenset({"database", "schema", "mode", "tenantId"})
    delete_before_replace = True
    #: where the files lie on this machine is no property of the schema; their digests are
    local_inputs = frozenset({"directory"})
    #: the policies of a pool's tables: those of an earlier release differ, and are changed in place
    derived_inputs = frozenset({"policies"})

    def check(self, ctx: Context[Server], inputs: Properties, old_inputs: Properties) -> Properties:
        checked = super().check(ctx, inputs, old_inputs)
        return {**checked, "policies": row_security.DEFINITION} if inputs.get("mode") == "pool" else checked

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        check_choice(inputs, "mode", ("pool", "dedicated"), failures)
        if inputs.get("mode") == "pool" and "tenantId" in inputs:
            failures.append(("tenantId", "belongs to a dedicated schema; a pool has many tenants"))
        migrations = inputs.get("migrations")
        if migrations is None or has_unknown(migrations):
            return
        if not isinstance(migrations, list):
            failures.append(("migrations", "is not a list"))
            return
        for index, migration in enumerate(migrations, start=1):
            if not isinstance(migration, dict) or migration.keys() != {"version", "name", "sha256"}:
                failures.append((f"migrations[{index - 1}]", "is not an object of version, name and sha256"))
            elif migration["version"] != index:
                failures.append((f"migrations[{index - 1}]", f"has version {migration['version']}, not {index}"))
            elif not _DIGEST.fullmatch(str(migration["sha256"])):
                failures.append((f"migrations[{index - 1}]", "has no SHA-256 of 64 hex digits"))

    def planned(self, ctx: Context[Server], inputs: Properties, state: Properties | None) -> Properties:
        migrations = inputs.get("migrations")
        return {} if has_unknown(migrations) or migrations is None else {"version": len(migrations)}

    @staticmethod
    def _app(ctx: Context[Server], inputs: Properties) -> app_schema.AppSchema:
        return app_schema.AppSchema(
            marker=markers.for_urn(ctx.urn),
            database=inputs["database"],
            schema=inputs["schema"],
            owner=inputs["owner"],
            mode=inputs["mode"],
            directory=Path(inputs["directory"]),
            migrations=tuple(inputs["migrations"]),
            tenant_id=inputs.get("tenantId"),
        )

    def create_once(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        version = app_schema.converge(ctx.client, self._app(ctx, inputs))
        return f"{inputs['database']}/{inputs['schema']}", {"version": version}

    def read_once(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        if not inputs:
            raise PostgresProviderError(
                "an AppSchema can't be imported: create it in the program, it takes over what this stack applied"
            )
        found = app_schema.read(ctx.client, self._app(ctx, inputs))
        if found is None:
            return None
        version, drift = found
        live = {**inputs, "migrations": inputs["migrations"][:version]}
        return id, with_drift(live, drift), {"version": version}

    def update_once(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        return {"version": app_schema.converge(ctx.client, self._app(ctx, inputs))}

    def delete_once(self, ctx: Context[Server], id: str, state: Properties) -> None:
        with suppress(DatabaseGone):
            app_schema.delete(ctx.client, self._app(ctx, state))


class PoolTenantHandler(PostgresHandler):
    token = "tenantry-postgres:index:PoolTenant"
    inputs = frozenset({"database", "schema", "tenantId", "epoch", "access"})
    required = inputs
    replace_on = frozenset({"database", "schema", "tenantId"})

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        check_choice(inputs, "access", ("full", "read_only", "suspended"), failures)
        check_integer(inputs, "epoch", 1, 10**15, failures)

    @staticmethod
    def _tenant(inputs: Properties) -> pool_tenants.PoolTenant:
        return pool_tenants.PoolTenant(
            inputs["database"], inputs["schema"], inputs["tenantId"], inputs["epoch"], inputs["access"]
        )

    def create_once(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        pool_tenants.create(ctx.client, self._tenant(inputs), markers.for_urn(ctx.urn))
        return f"{inputs['database']}/{inputs['schema']}/{inputs['tenantId']}", {}

    def read_once(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        database, schema, tenant_id = id_parts(id, 3, "<database>/<schema>/<tenant id>")
        found = pool_tenants.read(ctx.client, database, tenant_id)
        if found is None:
            return None
        epoch, access, marker = found
        ours = markers.for_urn(ctx.urn)
        drift = [] if marker == ours else [f"tenant {tenant_id} is registered by {marker!r}"]
        live: Properties = {"database": database, "schema": schema, "tenantId": tenant_id}
        return id, with_drift({**live, "epoch": epoch, "access": access}, drift), {}

    def update_once(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        pool_tenants.update(ctx.client, self._tenant(inputs), markers.for_urn(ctx.urn))
        return {}

    def delete_once(self, ctx: Context[Server], id: str, state: Properties) -> None:
        with suppress(DatabaseGone):
            pool_tenants.delete(ctx.client, self._tenant(state), markers.for_urn(ctx.urn))
