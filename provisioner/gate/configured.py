"""The installation's policy configuration, and what the registry knows of a stack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from psycopg import AsyncConnection

from policies.configuration import Configuration, ConfigurationError
from policies.configuration_file import load
from policies.model import Facts, Rule
from provisioner.errors import ConfigurationInvalid
from provisioner.registry import platforms, tenants

PROJECT = "tenantry"


def configuration(path: Path | None, rules: Sequence[Rule]) -> Configuration:
    """Of the file, or of none: every rule as it is. Raises ConfigurationInvalid."""
    if path is None:
        return Configuration()
    try:
        return load(path, rules)
    except ConfigurationError as error:
        raise ConfigurationInvalid(
            str(error),
            hint="correct it; `tenantry policy validate` checks the file alone, docs/policies.md describes it",
        ) from None


def text(path: Path | None) -> str:
    """What a policy version covers beside the rules: "" without a file. Raises ConfigurationInvalid."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationInvalid(
            f"{path}: the policy configuration can't be read", hint="correct TENANTRY_POLICY_CONFIG"
        ) from None


async def facts_of(connection: AsyncConnection, stack_name: str) -> Facts | None:
    """None for a stack that the registry does not know."""
    if stack_name == "platform" or stack_name.startswith("platform."):
        cell = await platforms.get(connection, stack_name.partition(".")[2] or "default")
        return None if cell is None else Facts(stack_name, PROJECT, cell.platform_spec)
    record = await tenants.get(connection, stack_name.partition(".")[0])
    spec = None if record is None else record.tenant_spec
    if record is None or spec is None or spec.stack_name != stack_name:
        return None
    cell = await platforms.get(connection, record.cell)
    return Facts(stack_name, PROJECT, spec, None if cell is None else cell.platform_outputs)
