"""From a spec to what the deployer runs: the program, and the configuration that a plain ``pulumi up`` would read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.app_schema import AppMigrations
from components.spec import PlatformOutputs, PlatformSpec, TenantSpec
from provisioner.errors import ConfigurationInvalid
from stacks.app_schema import MigrationsInvalid, app_migrations

SPEC = "tenantry:spec"
PLATFORM = "tenantry:platform"
APP_SCHEMA = "tenantry:app_schema"
#: First line of every ``Pulumi.<stack>.yaml`` that is written from the registry.
STACK_FILE_HEADER = "# Written from the registry by Tenantry: changes here are lost.\n"
#: Of every stack: a resource without an explicit provider would go to an ambient account.
NO_DEFAULT_PROVIDERS = {"pulumi:disable-default-providers": '["*"]'}


@dataclass(frozen=True)
class StackInputs:
    """``program`` declares the stack; ``config`` is the same as text, key to value. No secret is in it."""

    stack_name: str
    program: Callable[[], None]
    config: Mapping[str, str]


def migrations(directory: Path, version: int | None = None) -> AppMigrations:
    """The application's migrations up to ``version``; ``ConfigurationInvalid`` names the file that is wrong."""
    try:
        return app_migrations(directory, version)
    except MigrationsInvalid as error:
        raise ConfigurationInvalid(str(error), hint="correct the migrations in TENANTRY_APP_SCHEMA") from None


def of_tenant(spec: TenantSpec, platform: PlatformOutputs, app_schema: Path) -> StackInputs:
    applied = migrations(app_schema, spec.app_schema_version) if spec.app_schema_version else None

    def program() -> None:
        from stacks import tenant

        tenant.program(spec, platform, applied)

    config = {
        **NO_DEFAULT_PROVIDERS,
        SPEC: spec.model_dump_json(),
        PLATFORM: platform.model_dump_json(),
        APP_SCHEMA: str(app_schema.resolve()),
    }
    return StackInputs(spec.stack_name, program, config)


def of_platform(spec: PlatformSpec, app_schema: Path) -> StackInputs:
    applied = migrations(app_schema, spec.app_schema_version) if spec.app_schema_version else None

    def program() -> None:
        from stacks import platform

        platform.program(spec, applied)

    config = {**NO_DEFAULT_PROVIDERS, SPEC: spec.model_dump_json(), APP_SCHEMA: str(app_schema.resolve())}
    return StackInputs(spec.stack_name, program, config)
