"""The resource types as the engine sees them: inputs, ids, what replaces; the work is in the modules named alike."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

from providers.base import UNKNOWN, Context, Handler, Properties
from providers.postgres import databases, markers, privileges, roles, schemas
from providers.postgres.connection import Server
from providers.postgres.errors import DatabaseGone
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
from providers.postgres.identifiers import database_problem, role_problem, schema_problem
from providers.postgres.pool_handlers import AppSchemaHandler, PoolSecurityHandler, PoolTenantHandler


class DatabaseHandler(PostgresHandler):
    token = "tenantry-postgres:index:Database"
    inputs = frozenset({"name"})
    required = inputs
    replace_on = frozenset({"name"})
    name_property = "name"

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        check_name(inputs, "name", database_problem, failures)

    def create_once(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        databases.create(ctx.client, inputs["name"], markers.for_urn(ctx.urn))
        return inputs["name"], {}

    def read_once(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        drift = databases.read(ctx.client, id, markers.for_urn(ctx.urn))
        return None if drift is None else (id, with_drift({"name": id}, drift), {})

    def update_once(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        databases.update(ctx.client, id, markers.for_urn(ctx.urn))
        return {}

    def delete_once(self, ctx: Context[Server], id: str, state: Properties) -> None:
        databases.delete(ctx.client, id, markers.for_urn(ctx.urn))


class RoleHandler(PostgresHandler):
    token = "tenantry-postgres:index:Role"
    inputs = frozenset({"name", "login", "secretArn", "connectionLimit", "access", "database", "searchPath"})
    outputs = frozenset({"secretVersionId"})
    required = frozenset({"name", "login"})
    replace_on = frozenset({"name"})
    name_property = "name"
    defaults: ClassVar[dict[str, Any]] = {"access": "full", "connectionLimit": -1}

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        check_name(inputs, "name", role_problem, failures)
        check_choice(inputs, "access", ("full", "suspended"), failures)
        check_integer(inputs, "connectionLimit", -1, 262143, failures)
        check_arn(inputs, "secretArn", failures)
        login = inputs.get("login")
        if login is not UNKNOWN and not isinstance(login, bool):
            failures.append(("login", "is not a boolean"))
        if login is True and "secretArn" not in inputs:
            failures.append(("secretArn", "is required for a login: its generated password goes there"))
        if login is False and "secretArn" in inputs:
            failures.append(("secretArn", "makes no sense for a role that can't log in"))
        check_name(inputs, "searchPath", schema_problem, failures)
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

    def create_once(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        version = roles.create(ctx.client, self._role(inputs), markers.for_urn(ctx.urn))
        return inputs["name"], {"secretVersionId": version or ""}

    def read_once(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        wanted = self._role({"login": True, **inputs, "name": id})
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
        return id, with_drift(live, found.drift), {"secretVersionId": state.get("secretVersionId", "")}

    def update_once(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        moved = any(old_inputs.get(key) != inputs.get(key) for key in ("secretArn", "database"))
        new_password = "secretArn" in inputs and moved
        version = roles.update(ctx.client, self._role(inputs), markers.for_urn(ctx.urn), new_password=new_password)
        return {"secretVersionId": version or state.get("secretVersionId", "")}

    def delete_once(self, ctx: Context[Server], id: str, state: Properties) -> None:
        roles.delete(ctx.client, self._role({"login": True, **state, "name": id}), markers.for_urn(ctx.urn))


class SchemaHandler(PostgresHandler):
    token = "tenantry-postgres:index:Schema"
    inputs = frozenset({"database", "name", "owner"})
    required = inputs
    replace_on = frozenset({"database", "name"})

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        check_name(inputs, "name", schema_problem, failures)

    def create_once(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        schemas.create(ctx.client, inputs["database"], inputs["name"], inputs["owner"], markers.for_urn(ctx.urn))
        return f"{inputs['database']}/{inputs['name']}", {}

    def read_once(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        database, name = id_parts(id, 2, "<database>/<schema>")
        found = schemas.read(ctx.client, database, name, markers.for_urn(ctx.urn))
        if found is None:
            return None
        owner, drift = found
        return id, with_drift({"database": database, "name": name, "owner": owner}, drift), {}

    def update_once(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        schemas.update(ctx.client, inputs["database"], inputs["name"], inputs["owner"], markers.for_urn(ctx.urn))
        return {}

    def delete_once(self, ctx: Context[Server], id: str, state: Properties) -> None:
        database, name = id_parts(id, 2, "<database>/<schema>")
        with suppress(DatabaseGone):
            schemas.delete(ctx.client, database, name, markers.for_urn(ctx.urn))


class PrivilegesHandler(PostgresHandler):
    token = "tenantry-postgres:index:Privileges"
    inputs = frozenset({"database", "schema", "owner", "role", "access"})
    required = frozenset({"database", "schema", "owner", "role"})
    replace_on = frozenset({"database", "schema", "role"})
    defaults: ClassVar[dict[str, Any]] = {"access": "full"}

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        check_choice(inputs, "access", ("full", "read_only"), failures)

    @staticmethod
    def _privileges(inputs: Properties) -> privileges.Privileges:
        access = inputs.get("access", "full")
        return privileges.Privileges(inputs["database"], inputs["schema"], inputs["owner"], inputs["role"], access)

    def create_once(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        privileges.converge(ctx.client, self._privileges(inputs))
        return f"{inputs['database']}/{inputs['schema']}/{inputs['role']}", {}

    def read_once(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        database, schema, role = id_parts(id, 3, "<database>/<schema>/<role>")
        owner = inputs.get("owner")
        if owner is None:
            found = schemas.read(ctx.client, database, schema, markers.for_urn(ctx.urn))
            if found is None:
                return None
            owner = found[0]
        access = inputs.get("access", "full")
        live: Properties = {"database": database, "schema": schema, "owner": owner, "role": role, "access": access}
        drift = privileges.read(ctx.client, self._privileges(live))
        return None if drift is None else (id, with_drift(live, drift), {})

    def update_once(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        privileges.converge(ctx.client, self._privileges(inputs))
        return {}

    def delete_once(self, ctx: Context[Server], id: str, state: Properties) -> None:
        with suppress(DatabaseGone):
            privileges.delete(ctx.client, self._privileges(state))


ALL: tuple[Handler[Server], ...] = (
    DatabaseHandler(),
    RoleHandler(),
    SchemaHandler(),
    PrivilegesHandler(),
    PoolSecurityHandler(),
    AppSchemaHandler(),
    PoolTenantHandler(),
)
