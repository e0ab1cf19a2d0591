"""The resource types as the engine sees them: inputs, ids, what replaces; the work is in the modules named alike.

``read`` reports what no input expresses as the pseudo input ``drift``: no program sets it, so that its presence in the
state is a difference, and the next update repairs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from providers.base import UNKNOWN, Context, Handler, Properties, has_unknown, require
from providers.postgres import (
    app_schema,
    databases,
    markers,
    pool_security,
    pool_tenants,
    privileges,
    roles,
    schemas,
)
from providers.postgres.connection import Server
from providers.postgres.errors import DatabaseGone, PostgresProviderError, translated
from providers.postgres.identifiers import (
    database_problem,
    role_problem,
    schema_problem,
    tenant_id_problem,
)

Failures = list[tuple[str, str]]
_NAME_RULES = {
    "database": database_problem,
    "schema": schema_problem,
    "owner": role_problem,
    "role": role_problem,
    "tenantId": tenant_id_problem,
}
_ARN = re.compile(r"arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _with_drift(inputs: Properties, drift: list[str] | tuple[str, ...]) -> Properties:
    return {**inputs, "drift": list(drift)} if drift else inputs


def _parts(id: str, count: int, form: str) -> list[str]:
    parts = id.split("/")
    if len(parts) != count or not all(parts):
        raise PostgresProviderError(f"{id!r} is no id of this type; import it as {form}")
    return parts


class _PostgresHandler(Handler[Server]):
    """Checks names; runs the work with the driver's errors translated."""

    def check(self, ctx: Context[Server], inputs: Properties, old_inputs: Properties) -> Properties:
        failures: Failures = []
        for key, problem in _NAME_RULES.items():
            _check_name(inputs, key, problem, failures)
        self.check_more(inputs, failures)
        require(failures)
        return inputs

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        """Add to ``failures`` what else is wrong with ``inputs``."""


def _check_name(inputs: Properties, key: str, problem: Callable[[str], str | None], failures: Failures) -> None:
    value = inputs.get(key)
    if value is not None and value is not UNKNOWN:
        reason = problem(value) if isinstance(value, str) else "is not a string"
        if reason:
            failures.append((key, f"{value!r} {reason}"))


def _check_choice(inputs: Properties, key: str, choices: tuple[str, ...], failures: Failures) -> None:
    value = inputs.get(key)
    if value is not None and value is not UNKNOWN and value not in choices:
        failures.append((key, f"{value!r} is none of {', '.join(choices)}"))


def _check_integer(inputs: Properties, key: str, least: int, most: int, failures: Failures) -> None:
    value = inputs.get(key)
    if value is None or value is UNKNOWN:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        failures.append((key, f"{value!r} is not an integer from {least} to {most}"))


def _check_arn(inputs: Properties, key: str, failures: Failures) -> None:
    value = inputs.get(key)
    if value is not None and value is not UNKNOWN and not (isinstance(value, str) and _ARN.fullmatch(value)):
        failures.append((key, f"{value!r} is not the ARN of a Secrets Manager secret"))


class DatabaseHandler(_PostgresHandler):
    token = "tenantry-postgres:index:Database"
    inputs = frozenset({"name"})
    required = inputs
    replace_on = frozenset({"name"})
    name_property = "name"

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        _check_name(inputs, "name", database_problem, failures)

    def create(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        with translated():
            databases.create(ctx.client, inputs["name"], markers.for_urn(ctx.urn))
        return inputs["name"], {}

    def read(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        with translated():
            drift = databases.read(ctx.client, id, markers.for_urn(ctx.urn))
        return None if drift is None else (id, _with_drift({"name": id}, drift), {})

    def update(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        with translated():
            databases.update(ctx.client, id, markers.for_urn(ctx.urn))
        return {}

    def delete(self, ctx: Context[Server], id: str, state: Properties) -> None:
        with translated():
            databases.delete(ctx.client, id, markers.for_urn(ctx.urn))


class RoleHandler(_PostgresHandler):
    token = "tenantry-postgres:index:Role"
    inputs = frozenset({"name", "login", "secretArn", "connectionLimit", "access", "database", "searchPath"})
    outputs = frozenset({"secretVersionId"})
    required = frozenset({"name", "login"})
    replace_on = frozenset({"name"})
    name_property = "name"
    defaults: ClassVar[dict[str, Any]] = {"access": "full", "connectionLimit": -1}

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        _check_name(inputs, "name", role_problem, failures)
        _check_choice(inputs, "access", ("full", "suspended"), failures)
        _check_integer(inputs, "connectionLimit", -1, 262143, failures)
        _check_arn(inputs, "secretArn", failures)
        login = inputs.get("login")
        if login is not UNKNOWN and not isinstance(login, bool):
            failures.append(("login", "is not a boolean"))
        if login is True and "secretArn" not in inputs:
            failures.append(("secretArn", "is required for a login: its generated password goes there"))
        if login is False and "secretArn" in inputs:
            failures.append(("secretArn", "makes no sense for a role that can't log in"))
        _check_name(inputs, "searchPath", schema_problem, failures)
        if "searchPath" in inputs and "database" not in inputs:
            failures.append(("database", "is required beside searchPath"))

    @staticmethod
    def _role(inputs: Properties) -> roles.Role:
        return roles.Role(
            name=inputs["name"],
            login=inputs["login"],
            access=inputs.get("access", "full"),
            secret_arn=inputs.get("secretArn"),
            connection_limit=inputs.get("connectionLimit", -1),
            database=inputs.get("database"),
            search_path=inputs.get("searchPath"),
        )

    def create(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        with translated():
            version = roles.create(ctx.client, self._role(inputs), markers.for_urn(ctx.urn))
        return inputs["name"], {"secretVersionId": version or ""}

    def read(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        wanted = self._role({"login": True, **inputs, "name": id})
        with translated():
            found = roles.read(ctx.client, wanted, markers.for_urn(ctx.urn))
        if found is None:
            return None
        live: Properties = {**inputs, "name": id, "connectionLimit": found.connection_limit}
        if found.login != wanted.may_log_in:
            if inputs.get("login"):
                live["access"] = "full" if found.login else "suspended"
            else:
                live["login"] = found.login
        live.setdefault("login", found.login)
        return id, _with_drift(live, found.drift), {"secretVersionId": state.get("secretVersionId", "")}

    def update(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        moved = any(old_inputs.get(key) != inputs.get(key) for key in ("secretArn", "database"))
        new_password = "secretArn" in inputs and moved
        with translated():
            version = roles.update(ctx.client, self._role(inputs), markers.for_urn(ctx.urn), new_password=new_password)
        return {"secretVersionId": version or state.get("secretVersionId", "")}

    def delete(self, ctx: Context[Server], id: str, state: Properties) -> None:
        with translated():
            roles.delete(ctx.client, self._role({"login": True, **state, "name": id}), markers.for_urn(ctx.urn))


class SchemaHandler(_PostgresHandler):
    token = "tenantry-postgres:index:Schema"
    inputs = frozenset({"database", "name", "owner"})
    required = inputs
    replace_on = frozenset({"database", "name"})

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        _check_name(inputs, "name", schema_problem, failures)

    def create(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        with translated():
            schemas.create(ctx.client, inputs["database"], inputs["name"], inputs["owner"], markers.for_urn(ctx.urn))
        return f"{inputs['database']}/{inputs['name']}", {}

    def read(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        database, name = _parts(id, 2, "<database>/<schema>")
        with translated():
            found = schemas.read(ctx.client, database, name, markers.for_urn(ctx.urn))
        if found is None:
            return None
        owner, drift = found
        return id, _with_drift({"database": database, "name": name, "owner": owner}, drift), {}

    def update(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        with translated():
            schemas.update(ctx.client, inputs["database"], inputs["name"], inputs["owner"], markers.for_urn(ctx.urn))
        return {}

    def delete(self, ctx: Context[Server], id: str, state: Properties) -> None:
        database, name = _parts(id, 2, "<database>/<schema>")
        with translated(), suppress(DatabaseGone):
            schemas.delete(ctx.client, database, name, markers.for_urn(ctx.urn))


class PrivilegesHandler(_PostgresHandler):
    token = "tenantry-postgres:index:Privileges"
    inputs = frozenset({"database", "schema", "owner", "role"})
    required = inputs
    replace_on = frozenset({"database", "schema", "role"})

    @staticmethod
    def _privileges(inputs: Properties) -> privileges.Privileges:
        return privileges.Privileges(inputs["database"], inputs["schema"], inputs["owner"], inputs["role"])

    def create(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        with translated():
            privileges.converge(ctx.client, self._privileges(inputs))
        return f"{inputs['database']}/{inputs['schema']}/{inputs['role']}", {}

    def read(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        database, schema, role = _parts(id, 3, "<database>/<schema>/<role>")
        with translated():
            owner = inputs.get("owner")
            if owner is None:
                found = schemas.read(ctx.client, database, schema, markers.for_urn(ctx.urn))
                if found is None:
                    return None
                owner = found[0]
            live: Properties = {"database": database, "schema": schema, "owner": owner, "role": role}
            drift = privileges.read(ctx.client, self._privileges(live))
        return None if drift is None else (id, _with_drift(live, drift), {})

    def update(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        with translated():
            privileges.converge(ctx.client, self._privileges(inputs))
        return {}

    def delete(self, ctx: Context[Server], id: str, state: Properties) -> None:
        with translated(), suppress(DatabaseGone):
            privileges.delete(ctx.client, self._privileges(state))


class PoolSecurityHandler(_PostgresHandler):
    token = "tenantry-postgres:index:PoolSecurity"
    inputs = frozenset({"database", "schema", "owner", "login", "tokenSecretArn", "rotation"})
    outputs = frozenset({"keyVersion"})
    changed_by_update = outputs
    required = frozenset({"database", "schema", "owner", "login", "tokenSecretArn"})
    replace_on = frozenset({"database", "schema"})
    delete_before_replace = True

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        _check_name(inputs, "login", role_problem, failures)
        _check_arn(inputs, "tokenSecretArn", failures)

    @staticmethod
    def _pool(inputs: Properties) -> pool_security.PoolSecurity:
        return pool_security.PoolSecurity(
            inputs["database"], inputs["schema"], inputs["owner"], inputs["login"], inputs["tokenSecretArn"]
        )

    def create(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        with translated():
            version = pool_security.create(ctx.client, self._pool(inputs), markers.for_urn(ctx.urn))
        return inputs["database"], {"keyVersion": version}

    def read(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        if not inputs:
            raise PostgresProviderError(
                "a PoolSecurity can't be imported: create it in the program, it takes over what this stack made"
            )
        with translated():
            found = pool_security.read(ctx.client, self._pool(inputs), markers.for_urn(ctx.urn))
        if found is None:
            return None
        version, drift = found
        return id, _with_drift(inputs, drift), {"keyVersion": version}

    def update(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        rotate = old_inputs.get("rotation") != inputs.get("rotation")
        with translated():
            version = pool_security.create(ctx.client, self._pool(inputs), markers.for_urn(ctx.urn), rotate=rotate)
        return {"keyVersion": version}

    def delete(self, ctx: Context[Server], id: str, state: Properties) -> None:
        with translated():
            pool_security.delete(ctx.client, self._pool(state), markers.for_urn(ctx.urn))


class AppSchemaHandler(_PostgresHandler):
    token = "tenantry-postgres:index:AppSchema"
    inputs = frozenset({"database", "schema", "owner", "mode", "directory", "migrations", "tenantId"})
    outputs = frozenset({"version"})
    changed_by_update = outputs
    required = frozenset({"database", "schema", "owner", "mode", "directory", "migrations"})
    replace_on = frozenset({"database", "schema", "mode", "tenantId"})
    delete_before_replace = True
    #: where the files lie on this machine is no property of the schema; their digests are
    local_inputs = frozenset({"directory"})

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        _check_choice(inputs, "mode", ("pool", "dedicated"), failures)
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
    def _app(inputs: Properties) -> app_schema.AppSchema:
        return app_schema.AppSchema(
            database=inputs["database"],
            schema=inputs["schema"],
            owner=inputs["owner"],
            mode=inputs["mode"],
            directory=Path(inputs["directory"]),
            migrations=tuple(inputs["migrations"]),
            tenant_id=inputs.get("tenantId"),
        )

    def create(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        with translated():
            version = app_schema.converge(ctx.client, self._app(inputs), markers.for_urn(ctx.urn))
        return f"{inputs['database']}/{inputs['schema']}", {"version": version}

    def read(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        if not inputs:
            raise PostgresProviderError(
                "an AppSchema can't be imported: create it in the program, it takes over what this stack applied"
            )
        with translated():
            found = app_schema.read(ctx.client, self._app(inputs), markers.for_urn(ctx.urn))
        if found is None:
            return None
        version, drift = found
        live = {**inputs, "migrations": inputs["migrations"][:version]}
        return id, _with_drift(live, drift), {"version": version}

    def update(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        with translated():
            return {"version": app_schema.converge(ctx.client, self._app(inputs), markers.for_urn(ctx.urn))}

    def delete(self, ctx: Context[Server], id: str, state: Properties) -> None:
        with translated(), suppress(DatabaseGone):
            app_schema.delete(ctx.client, self._app(state), markers.for_urn(ctx.urn))


class PoolTenantHandler(_PostgresHandler):
    token = "tenantry-postgres:index:PoolTenant"
    inputs = frozenset({"database", "schema", "tenantId", "epoch", "access"})
    required = inputs
    replace_on = frozenset({"database", "schema", "tenantId"})

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        _check_choice(inputs, "access", ("full", "suspended"), failures)
        _check_integer(inputs, "epoch", 1, 10**15, failures)

    @staticmethod
    def _tenant(inputs: Properties) -> pool_tenants.PoolTenant:
        return pool_tenants.PoolTenant(
            inputs["database"], inputs["schema"], inputs["tenantId"], inputs["epoch"], inputs["access"]
        )

    def create(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        with translated():
            pool_tenants.create(ctx.client, self._tenant(inputs), markers.for_urn(ctx.urn))
        return f"{inputs['database']}/{inputs['schema']}/{inputs['tenantId']}", {}

    def read(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        database, schema, tenant_id = _parts(id, 3, "<database>/<schema>/<tenant id>")
        with translated():
            found = pool_tenants.read(ctx.client, database, tenant_id)
        if found is None:
            return None
        epoch, access, marker = found
        ours = markers.for_urn(ctx.urn)
        drift = [] if marker == ours else [f"tenant {tenant_id} is registered by {marker!r}"]
        live: Properties = {"database": database, "schema": schema, "tenantId": tenant_id}
        return id, _with_drift({**live, "epoch": epoch, "access": access}, drift), {}

    def update(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        with translated():
            pool_tenants.update(ctx.client, self._tenant(inputs), markers.for_urn(ctx.urn))
        return {}

    def delete(self, ctx: Context[Server], id: str, state: Properties) -> None:
        with translated(), suppress(DatabaseGone):
            pool_tenants.delete(ctx.client, self._tenant(state), markers.for_urn(ctx.urn))


ALL: tuple[Handler[Server], ...] = (
    DatabaseHandler(),
    RoleHandler(),
    SchemaHandler(),
    PrivilegesHandler(),
    PoolSecurityHandler(),
    AppSchemaHandler(),
    PoolTenantHandler(),
)
