"""Resources of the provider ``tenantry-postgres``: thin classes; what they mean is in docs/architecture.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi import Input, Output

PACKAGE = "tenantry-postgres"
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _snake(name: str) -> str:
    return _HUMP.sub(lambda match: "_" + match.group().lower(), name)


class Provider(pulumi.ProviderResource):
    """A PostgreSQL server and the Secrets Manager secret of its master.

    ``stopped``: it is being stopped, or is: a refresh takes what the state says for granted.
    """

    def __init__(
        self,
        resource_name: str,
        *,
        host: Input[str],
        port: Input[int],
        master_secret_arn: Input[str],
        region: Input[str],
        stopped: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"host": host, "port": port, "masterSecretArn": master_secret_arn, "region": region}
        if stopped:
            properties["stopped"] = True
        super().__init__(PACKAGE, resource_name, properties, opts)


class _Resource(pulumi.CustomResource):
    """Properties are snake_case here and camelCase in the engine; those of value None are left out."""

    def __init__(
        self,
        kind: str,
        resource_name: str,
        properties: Mapping[str, Any],
        outputs: Sequence[str],
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        # An output is declared as an input without a value: the SDK resolves only what it was told of.
        every = {**properties, **dict.fromkeys(outputs)}
        super().__init__(f"{PACKAGE}:index:{kind}", resource_name, every, opts)

    def translate_input_property(self, prop: str) -> str:
        return _camel(prop)

    def translate_output_property(self, prop: str) -> str:
        return _snake(prop)


class Database(_Resource):
    """A database that is closed to PUBLIC. One that RDS made and nobody has used is taken over."""

    name: Output[str]

    def __init__(self, resource_name: str, *, name: Input[str], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("Database", resource_name, {"name": name}, (), opts)


class Role(_Resource):
    """An owner that can't log in, or a login that owns nothing. ``search_path`` is one schema, set in ``database``."""

    name: Output[str]
    login: Output[bool]
    access: Output[str]
    secret_version_id: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: Input[str],
        login: Input[bool],
        access: Input[str] = "full",
        secret_arn: Input[str] | None = None,
        connection_limit: Input[int] | None = None,
        database: Input[str] | None = None,
        search_path: Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "name": name,
            "login": login,
            "access": access,
            "secret_arn": secret_arn,
            "connection_limit": connection_limit,
            "database": database,
            "search_path": search_path,
        }
        super().__init__("Role", resource_name, properties, ("secret_version_id",), opts)


class Schema(_Resource):
    """A schema; deleting it drops what it holds."""

    database: Output[str]
    name: Output[str]
    owner: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        database: Input[str],
        name: Input[str],
        owner: Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("Schema", resource_name, {"database": database, "name": name, "owner": owner}, (), opts)


class Privileges(_Resource):
    """What ``role`` may do in ``schema``: use it, read the tables that are safe and, unless ``access`` is `read_only`,
    write them; nothing else."""

    database: Output[str]
    schema: Output[str]
    owner: Output[str]
    role: Output[str]
    access: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        database: Input[str],
        schema: Input[str],
        owner: Input[str],
        role: Input[str],
        access: Input[str] = "full",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"database": database, "schema": schema, "owner": owner, "role": role, "access": access}
        super().__init__("Privileges", resource_name, properties, (), opts)


class PoolSecurity(_Resource):
    """The token check that row-level security rests on. Another ``rotation`` puts a new key in force.

    ``definition``: what the provider derives itself. It is said here too, since a preview does not ask a provider whose
    server is not known yet, and an update may bring nothing that its preview did not show.
    """

    database: Output[str]
    schema: Output[str]
    key_version: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        database: Input[str],
        schema: Input[str],
        owner: Input[str],
        login: Input[str],
        token_secret_arn: Input[str],
        definition: Input[str],
        rotation: Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "database": database,
            "schema": schema,
            "owner": owner,
            "login": login,
            "token_secret_arn": token_secret_arn,
            "definition": definition,
            "rotation": rotation,
        }
        super().__init__("PoolSecurity", resource_name, properties, ("key_version",), opts)


class AppSchema(_Resource):
    """The application's tables. ``tenant_id`` pins a dedicated schema to its tenant. ``policies``: of a pool, as
    ``definition`` of its PoolSecurity."""

    database: Output[str]
    schema: Output[str]
    version: Output[int]

    def __init__(
        self,
        resource_name: str,
        *,
        database: Input[str],
        schema: Input[str],
        owner: Input[str],
        mode: Input[str],
        directory: Input[str],
        migrations: Input[Sequence[Input[Mapping[str, Any]]]],
        policies: Input[str] | None = None,
        tenant_id: Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "database": database,
            "schema": schema,
            "owner": owner,
            "mode": mode,
            "directory": directory,
            "migrations": migrations,
            "policies": policies,
            "tenant_id": tenant_id,
        }
        super().__init__("AppSchema", resource_name, properties, ("version",), opts)


class PoolTenant(_Resource):
    """A tenant's admission to a pool; deleting it removes the tenant's rows."""

    database: Output[str]
    schema: Output[str]
    tenant_id: Output[str]
    epoch: Output[int]
    access: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        database: Input[str],
        schema: Input[str],
        tenant_id: Input[str],
        epoch: Input[int],
        access: Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "database": database,
            "schema": schema,
            "tenant_id": tenant_id,
            "epoch": epoch,
            "access": access,
        }
        super().__init__("PoolTenant", resource_name, properties, (), opts)
