"""What a stack's configuration says. Reads Pulumi config and nothing else; never prints a value."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pulumi
from pydantic import BaseModel, ValidationError

from components.app_schema import AppMigrations
from components.spec import PlatformOutputs, PlatformSpec, TenantSpec
from stacks.app_schema import MigrationsInvalid, app_migrations

PROJECT = "tenantry"
ROOT = Path(__file__).resolve().parent.parent

Model = TypeVar("Model", bound=BaseModel)


class ConfigInvalid(pulumi.RunError):
    """Missing or malformed configuration; Pulumi shows the message without a traceback."""


def is_platform(stack: str) -> bool:
    """Whether the name is a platform stack's: ``platform``, or ``platform.<cell>``."""
    return stack == "platform" or stack.startswith("platform.")


def platform_spec() -> PlatformSpec:
    return _matching(_load("spec", PlatformSpec))


def tenant_spec() -> TenantSpec:
    return _matching(_load("spec", TenantSpec))


def platform_outputs() -> PlatformOutputs:
    return _load("platform", PlatformOutputs)


def app_schema(version: int) -> AppMigrations | None:
    """The application's migrations up to ``version``, None for 0. A relative directory is the project root's."""
    if version == 0:
        return None
    stack = pulumi.get_stack()
    value = pulumi.Config(PROJECT).get("app_schema")
    if not value:
        raise ConfigInvalid(
            f"the spec of stack {stack} asks for app schema version {version}, and config {PROJECT}:app_schema "
            f"does not say where the migrations are: run `tenantry pulumi -s {stack} <command>`"
        )
    try:
        return app_migrations(ROOT / value, version)
    except MigrationsInvalid as error:
        raise ConfigInvalid(f"config {PROJECT}:app_schema of stack {stack}: {error}") from None


def _load(key: str, model: type[Model]) -> Model:
    stack = pulumi.get_stack()
    text = pulumi.Config(PROJECT).get(key)
    if not text:
        raise ConfigInvalid(
            f"stack {stack} has no config {PROJECT}:{key}. The registry holds it: run "
            f"`tenantry pulumi -s {stack} <command>`, which writes Pulumi.{stack}.yaml from there first"
        )
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in each['loc']) or 'value'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise ConfigInvalid(
            f"config {PROJECT}:{key} of stack {stack} is no {model.__name__}: {problems}. "
            f"`tenantry pulumi -s {stack} <command>` writes it from the registry"
        ) from None


Spec = TypeVar("Spec", TenantSpec, PlatformSpec)


def _matching(spec: Spec) -> Spec:
    stack = pulumi.get_stack()
    if spec.stack_name != stack:
        raise ConfigInvalid(
            f"config {PROJECT}:spec of stack {stack} describes stack {spec.stack_name}: "
            "the files of two stacks were mixed up; nothing was changed"
        )
    return spec
