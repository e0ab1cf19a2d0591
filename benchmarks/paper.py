"""Tenants on paper: registered, entitled and recorded by the real reconciler, whose operations build nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from psycopg import AsyncConnection

from components.spec import PlatformOutputs, TenantOutputs, TenantSpec
from components.tiers import TIERS
from provisioner import stack_request
from provisioner.app import Core
from provisioner.deployer import Operation, OperationResult
from provisioner.engine.state import PostgresState
from provisioner.inbox import Inbox
from provisioner.operate import Held, Operator
from provisioner.reconcile import Outcome
from provisioner.registry.operations import OperationKind
from provisioner.stack_request import StackInputs


async def register(core: Core, documents: Iterable[Mapping[str, Any]]) -> None:
    """Make the tenant of each subscription stand, with an empty stack."""
    inbox = Inbox(core.pool, core.gateway, core.catalogue, core.settings.cell)
    reconciler = replace(core.reconciler, operator=PaperOperator(core.state))
    for document in documents:
        tenant_id = await inbox.adopt(document)
        outcome = await reconciler.reconcile(tenant_id, "on paper")
        if outcome is not Outcome.CHANGED:
            raise RuntimeError(f"{tenant_id}: {outcome}")


class _OnPaper(Held):
    async def require(self, connection: AsyncConnection) -> None:
        return


@dataclass
class PaperOperator(Operator):
    state: PostgresState

    @asynccontextmanager
    async def hold(self, stack_name: str, *, wait_s: float = 0.0) -> AsyncIterator[Held]:
        yield _OnPaper(None, stack_name)  # type: ignore[arg-type]

    async def run(
        self,
        held: Held,
        operation: Operation,
        kind: OperationKind,
        inputs: StackInputs,
        *,
        tenant_id: str | None,
        reason: str,
        refresh: bool = False,
    ) -> OperationResult:
        self.state.ensure_stack(held.stack_name)
        spec = TenantSpec.model_validate_json(inputs.config[stack_request.SPEC])
        platform = PlatformOutputs.model_validate_json(inputs.config[stack_request.PLATFORM])
        outputs = _outputs(spec, platform).model_dump(mode="json")
        version = self.state.checkpoint_version(held.stack_name)
        return OperationResult(
            held.stack_name, operation, {"tenant": outputs}, {"create": 1}, 0.0, (), checkpoint_version=version
        )


def _outputs(spec: TenantSpec, platform: PlatformOutputs) -> TenantOutputs:
    own = TIERS[spec.tier]
    name = f"t_{spec.tenant_id}"
    return TenantOutputs(
        tenant_id=spec.tenant_id,
        generation=spec.generation,
        cell=spec.cell,
        tier=spec.tier,
        epoch=spec.epoch,
        access=spec.access,
        database=platform.shared_database,
        db_schema=name if own.own_schema else "pool",
        login=name if own.own_login else platform.pool_login,
        login_secret_arn=platform.pool_login_secret_arn,
        bucket=platform.shared_bucket,
        prefix=f"{spec.tenant_id}/",
        kms_key_arn=platform.platform_key_arn,
        role_arn=platform.shared_role_arn,
        app_schema_version=spec.app_schema_version,
    )
