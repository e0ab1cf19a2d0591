"""Tenants on paper: registered, entitled and recorded by the real reconciler, whose operations build nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from components.spec import PlatformOutputs, TenantSpec
from localcloud.simulation.paper import PaperOperator, outputs_on_paper
from provisioner import stack_request
from provisioner.app import Core
from provisioner.deployer import Operation, OperationResult
from provisioner.engine.state import PostgresState
from provisioner.inbox import Inbox
from provisioner.operate import Held
from provisioner.reconcile import Outcome
from provisioner.registry.operations import OperationKind
from provisioner.stack_request import StackInputs


async def register(core: Core, documents: Iterable[Mapping[str, Any]]) -> None:
    """Make the tenant of each subscription stand, with an empty stack."""
    inbox = Inbox(core.pool, core.gateway, core.catalogue, core.settings.cell)
    reconciler = replace(core.reconciler, operator=_EmptyStacks(core.state))
    for document in documents:
        tenant_id = await inbox.adopt(document)
        outcome = await reconciler.reconcile(tenant_id, "on paper")
        if outcome is not Outcome.CHANGED:
            raise RuntimeError(f"{tenant_id}: {outcome}")


@dataclass
class _EmptyStacks(PaperOperator):
    """Their state is in the real store: a sweep looks at it there."""

    state: PostgresState

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
        outputs = outputs_on_paper(spec, platform).model_dump(mode="json")
        version = self.state.checkpoint_version(held.stack_name)
        return OperationResult(
            held.stack_name, operation, {"tenant": outputs}, {"create": 1}, 0.0, (), checkpoint_version=version
        )
