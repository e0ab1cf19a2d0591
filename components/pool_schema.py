"""The schema that pool tenants share: tables under row-level security, one login, and the key of entry tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components import postgres
from components.app_schema import AppMigrations
from components.naming import POOL_LOGIN, POOL_OWNER, POOL_SCHEMA, SHARED_DATABASE, Names
from components.secrets import StoredSecret, StoredSecretArgs
from components.spec import Environment
from providers.postgres import pool_security, row_security


@dataclass(frozen=True)
class PoolSchemaArgs:
    names: Names
    key_arn: pulumi.Input[str]
    connection_limit: int
    environment: Environment
    tags: Mapping[str, str]
    app_schema: AppMigrations | None = None
    protect: bool = True

    def __post_init__(self) -> None:
        if self.connection_limit < 1:
            raise ValueError(f"connection limit {self.connection_limit}: want at least 1")


class PoolSchema(pulumi.ComponentResource):
    """``database`` is known when tenants can be registered in it; ``app_schema_version`` when the tables stand."""

    database: pulumi.Output[str]
    login: pulumi.Output[str]
    login_secret_arn: pulumi.Output[str]
    token_secret_arn: pulumi.Output[str]
    app_schema_version: pulumi.Output[int]

    def __init__(
        self,
        name: str,
        args: PoolSchemaArgs,
        *,
        server: postgres.Provider,
        deleted_with: pulumi.Resource | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("tenantry:index:PoolSchema", name, None, opts)
        self._args = args
        child = pulumi.ResourceOptions(parent=self, provider=server, deleted_with=deleted_with)
        kept = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(protect=args.protect))
        login_secret = self._secret(name, "pool-login", "The application's login to the pool")
        token_secret = self._secret(name, "pool-token", "HMAC key of pool entry tokens: the broker's alone")
        database = postgres.Database(name, name=SHARED_DATABASE, opts=kept)
        owner = postgres.Role(f"{name}-owner", name=POOL_OWNER, login=False, access="full", opts=child)
        schema = postgres.Schema(name, database=database.name, name=POOL_SCHEMA, owner=owner.name, opts=kept)
        login = postgres.Role(
            f"{name}-login",
            name=POOL_LOGIN,
            login=True,
            secret_arn=login_secret.arn,
            connection_limit=args.connection_limit,
            access="full",
            database=database.name,
            search_path=schema.name,
            opts=child,
        )
        security = postgres.PoolSecurity(
            name,
            database=database.name,
            schema=schema.name,
            owner=owner.name,
            login=login.name,
            token_secret_arn=token_secret.arn,
            definition=pool_security.definition(),
            opts=kept,
        )
        privileges = postgres.Privileges(
            name, database=database.name, schema=schema.name, owner=owner.name, role=login.name, opts=child
        )
        self.app_schema_version = pulumi.Output.from_input(0)
        if args.app_schema is not None:
            tables = postgres.AppSchema(
                name,
                database=database.name,
                schema=schema.name,
                owner=owner.name,
                mode="pool",
                directory=args.app_schema.directory,
                migrations=[dict(each) for each in args.app_schema.migrations],
                policies=row_security.DEFINITION,
                # Policies call PoolSecurity's function; default privileges cover only tables made after them.
                opts=pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(depends_on=[security, privileges])),
            )
            self.app_schema_version = tables.version.apply(int)
        self.database = pulumi.Output.all(database.name, security.id, privileges.id).apply(lambda known: str(known[0]))
        self.login = login.name
        self.login_secret_arn = login_secret.arn
        self.token_secret_arn = token_secret.arn
        self.register_outputs(
            {
                "database": self.database,
                "login": self.login,
                "loginSecretArn": self.login_secret_arn,
                "tokenSecretArn": self.token_secret_arn,
                "appSchemaVersion": self.app_schema_version,
            }
        )

    def _secret(self, name: str, purpose: str, description: str) -> StoredSecret:
        args = self._args
        return StoredSecret(
            f"{name}-{purpose}",
            StoredSecretArgs(
                secret_name=args.names.secret(purpose),
                description=description,
                kms_key_arn=args.key_arn,
                environment=args.environment,
                tags=args.tags,
                protect=args.protect,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
