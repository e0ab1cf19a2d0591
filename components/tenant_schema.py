"""A schema of a tenant's own: its owner that can't log in, a login that owns nothing, and the application's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components import postgres
from components.app_schema import AppMigrations
from components.naming import Names
from components.secrets import StoredSecret, StoredSecretArgs
from components.spec import Access, Environment


@dataclass(frozen=True)
class TenantSchemaArgs:
    names: Names
    tenant_id: str
    database: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    connection_limit: int
    access: Access
    environment: Environment
    tags: Mapping[str, str]
    app_schema: AppMigrations | None = None
    protect: bool = True
    frozen: bool = False  #: the server is being stopped, or is: only what closes the tenant's access may change

    def __post_init__(self) -> None:
        if self.connection_limit < 1:
            raise ValueError(f"connection limit {self.connection_limit}: want at least 1")


class TenantSchema(pulumi.ComponentResource):
    """``schema`` is known when the login may use it; ``app_schema_version`` when the tables stand."""

    schema: pulumi.Output[str]
    login: pulumi.Output[str]
    login_secret_arn: pulumi.Output[str]
    app_schema_version: pulumi.Output[int]

    def __init__(
        self,
        name: str,
        args: TenantSchemaArgs,
        *,
        server: postgres.Provider,
        deleted_with: pulumi.Resource | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``deleted_with``: the instance that takes schema and roles along when it is deleted itself."""
        super().__init__("tenantry:index:TenantSchema", name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=server, deleted_with=deleted_with)
        kept = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(protect=args.protect))

        def still(options: pulumi.ResourceOptions, *properties: str) -> pulumi.ResourceOptions:
            unchanging = pulumi.ResourceOptions(ignore_changes=list(properties) if args.frozen else None)
            return pulumi.ResourceOptions.merge(options, unchanging)

        secret = StoredSecret(
            f"{name}-login",
            StoredSecretArgs(
                secret_name=args.names.secret("database-login"),
                description="The application's login to the tenant's database",
                kms_key_arn=args.key_arn,
                environment=args.environment,
                tags=args.tags,
                protect=args.protect,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        owner = postgres.Role(
            f"{name}-owner",
            name=args.names.postgres_owner,
            login=False,
            access="full",
            opts=still(child, "name", "login", "access"),
        )
        schema = postgres.Schema(
            name,
            database=args.database,
            name=args.names.postgres,
            owner=owner.name,
            opts=still(kept, "database", "name", "owner"),
        )
        login = postgres.Role(
            f"{name}-login",
            name=args.names.postgres_login,
            login=True,
            secret_arn=secret.arn,
            connection_limit=args.connection_limit,
            access="full" if args.access.serves else "suspended",
            database=args.database,
            search_path=schema.name,
            opts=still(child, "name", "login", "secret_arn", "connection_limit", "database", "search_path"),
        )
        privileges = postgres.Privileges(
            name,
            database=args.database,
            schema=schema.name,
            owner=owner.name,
            role=login.name,
            # of a closed login as well: what opens it again grants first what it may do
            access="full" if args.access.writes else "read_only",
            opts=still(child, "database", "schema", "owner", "role"),
        )
        self.app_schema_version = pulumi.Output.from_input(0)
        if args.app_schema is not None:
            tables = postgres.AppSchema(
                name,
                database=args.database,
                schema=schema.name,
                owner=owner.name,
                mode="dedicated",
                tenant_id=args.tenant_id,
                directory=args.app_schema.directory,
                migrations=[dict(each) for each in args.app_schema.migrations],
                # Default privileges cover only tables that are made after them.
                opts=still(
                    pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(depends_on=[privileges])),
                    *("database", "schema", "owner", "mode", "tenant_id", "directory", "migrations"),
                ),
            )
            self.app_schema_version = tables.version.apply(int)
        self.schema = pulumi.Output.all(schema.name, privileges.id).apply(lambda known: str(known[0]))
        self.login = login.name
        self.login_secret_arn = secret.arn
        self.register_outputs(
            {
                "schema": self.schema,
                "login": self.login,
                "loginSecretArn": self.login_secret_arn,
                "appSchemaVersion": self.app_schema_version,
            }
        )
