"""Writes ``Pulumi.<stack>.yaml`` from the registry, so that a plain ``pulumi`` command works on a stack."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import structlog
import yaml
from psycopg import AsyncConnection

from provisioner import stack_request
from provisioner.deployer.deployer import stack_settings
from provisioner.engine.state import PostgresState
from provisioner.errors import NotFound, PlatformMissing
from provisioner.registry import platforms, tenants
from provisioner.settings import ROOT, Settings
from provisioner.stack_request import STACK_FILE_HEADER, StackInputs

log = structlog.get_logger(__name__)


async def inputs_of(connection: AsyncConnection, settings: Settings, stack_name: str) -> StackInputs:
    """What the registry says the stack should be: ``platform[.cell]``, or a tenant's. ``NotFound`` for neither."""
    if stack_name == "platform" or stack_name.startswith("platform."):
        cell = stack_name.partition(".")[2] or "default"
        platform = await platforms.get(connection, cell)
        if platform is None:
            raise NotFound(f"there is no cell {cell}", hint=f"deploy it: tenantry platform up --cell {cell}")
        return stack_request.of_platform(platform.platform_spec, settings.app_schema)
    tenant_id = stack_name.partition(".")[0]
    record = await tenants.get(connection, tenant_id)
    spec = None if record is None else record.tenant_spec
    if record is None or spec is None or spec.stack_name != stack_name:
        raise NotFound(f"no tenant's stack is named {stack_name}", hint="`tenantry tenants list` shows all tenants")
    platform = await platforms.get(connection, record.cell)
    outputs = None if platform is None else platform.platform_outputs
    if outputs is None:
        raise PlatformMissing(
            f"the platform stack of cell {record.cell} has not been deployed",
            hint=f"deploy it: tenantry platform up --cell {record.cell}",
        )
    return stack_request.of_tenant(spec, outputs, settings.app_schema)


def write(inputs: StackInputs, state: PostgresState, secrets_provider: str | None, *, directory: Path = ROOT) -> Path:
    """The stack's file in ``directory``, replaced as a whole. It holds no secret: only the salt or key id of them."""
    deployment = state.deployment(inputs.stack_name) or {}
    document = stack_settings(inputs.config, secrets_provider, deployment.get("secrets_providers"))
    file = directory / f"Pulumi.{inputs.stack_name}.yaml"
    descriptor, partial = tempfile.mkstemp(prefix=f".{file.name}.", dir=directory)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(STACK_FILE_HEADER)
        yaml.safe_dump(document, opened)
    os.chmod(partial, 0o644)
    os.replace(partial, file)
    return file


def keep(
    stack_name: str,
    inputs: StackInputs | None,
    state: PostgresState,
    secrets_provider: str | None,
    *,
    directory: Path | None,
) -> None:
    """Write, or with None delete, a stack's file in ``directory``. A convenience: what fails is only logged."""
    if directory is None:
        return
    try:
        if inputs is None:
            (directory / f"Pulumi.{stack_name}.yaml").unlink(missing_ok=True)
        else:
            write(inputs, state, secrets_provider, directory=directory)
    except OSError as error:
        log.warning("stack_file.not_written", stack=stack_name, error=error.strerror)
