"""The platform stack of a cell: what its tenants share. Deployed when it is missing or older than this program."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from components.spec import Environment, PlatformOutputs, PlatformSpec
from provisioner import failures, fingerprint, stack_request
from provisioner.deployer import Operation
from provisioner.engine.state import PostgresState
from provisioner.errors import OperatorNeeded
from provisioner.operate import Held, Operator, Pool
from provisioner.registry import platforms, queue, tenants
from provisioner.registry.operations import OperationKind

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PlatformDefaults:
    """What a cell's first spec is made of; later ones start from the recorded spec."""

    installation: str
    environment: Environment
    region: str
    broker_principal_arns: tuple[str, ...]


@dataclass(frozen=True)
class Cells:
    pool: Pool
    operator: Operator
    state: PostgresState
    app_schema: Path
    defaults: PlatformDefaults
    policy_version: str

    async def spec(self, cell: str) -> PlatformSpec:
        """The wanted spec: the recorded one (or the defaults) at the present application schema."""
        version = stack_request.migrations(self.app_schema).version
        async with self.pool.connection() as connection:
            record = await platforms.get(connection, cell)
        if record is not None:
            return record.platform_spec.model_copy(update={"app_schema_version": version})
        return PlatformSpec(
            installation=self.defaults.installation,
            environment=self.defaults.environment,
            cell=cell,
            region=self.defaults.region,
            broker_principal_arns=self.defaults.broker_principal_arns,
            app_schema_version=version,
        )

    async def converge(self, cell: str, reason: str, *, wait_s: float = 0.0, asked: bool = False) -> bool:
        """Bring the platform stack to its spec; False if there was nothing to do. Raises what the engine raises.

        An update that waits for an operator is not tried again until something has changed, or a person has ``asked``.
        """
        with structlog.contextvars.bound_contextvars(cell=cell):
            spec = await self.spec(cell)
            if await self._is_current(spec) or (not asked and await self._is_parked(cell)):
                return False
            async with self.operator.hold(spec.stack_name, wait_s=wait_s) as held:
                if await self._is_current(spec):
                    return False
                async with self.pool.connection() as connection:
                    await held.require(connection)
                    await platforms.record_spec(connection, spec)
                inputs = stack_request.of_platform(spec, self.app_schema)
                try:
                    result = await self.operator.run(
                        held, Operation.UP, OperationKind.PLATFORM, inputs, tenant_id=None, reason=reason
                    )
                except OperatorNeeded as error:
                    await self._park(held, cell, error)
                    raise
                outputs = PlatformOutputs.model_validate(result.output_json("platform"))
                made = self._fingerprint(spec, result.checkpoint_version)
                async with self.pool.connection() as connection:
                    await held.require(connection)
                    await platforms.record_outputs(connection, outputs, made)
                    await tenants.wake(connection, cell, datetime.now(UTC))
                    await queue.defer_cell_proof(connection, cell, nightly=False)
        return True

    async def _park(self, held: Held, cell: str, error: OperatorNeeded) -> None:
        failure = failures.described(error, self.policy_version)
        async with self.pool.connection() as connection:
            await held.require(connection)
            await platforms.record_failure(connection, cell, failure)

    async def _is_parked(self, cell: str) -> bool:
        async with self.pool.connection() as connection:
            record = await platforms.get(connection, cell)
        failure = None if record is None else record.failure
        return failure is not None and failure.get("judged_by") == fingerprint.judged_by(self.policy_version)

    async def _is_current(self, spec: PlatformSpec) -> bool:
        async with self.pool.connection() as connection:
            record = await platforms.get(connection, spec.cell)
        if record is None or record.fingerprint is None or record.outputs is None:
            return False
        version = await asyncio.to_thread(self.state.checkpoint_version, spec.stack_name)
        return record.fingerprint == self._fingerprint(spec, version)

    def _fingerprint(self, spec: PlatformSpec, checkpoint_version: str | None) -> str:
        schema = fingerprint.app_schema_digest(self.app_schema, spec.app_schema_version)
        return fingerprint.of_platform(spec, schema, checkpoint_version, self.policy_version)
