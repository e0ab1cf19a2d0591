"""Stacks on paper: what the engine would be asked to do is written down. For tests and simulations of the service."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection

from components.spec import DatabaseEndpoint, PlatformOutputs, TenantOutputs, TenantSpec
from components.tiers import TIERS
from provisioner.deployer import Operation, OperationResult
from provisioner.errors import TenantryError
from provisioner.operate import Held, Operator
from provisioner.registry.operations import OperationKind
from provisioner.stack_request import StackInputs

PLATFORM = PlatformOutputs(
    cell="default",
    account_id="123456789012",
    region="us-east-1",
    vpc_id="vpc-1",
    private_subnet_ids=("subnet-1", "subnet-2"),
    db_subnet_group="group",
    db_parameter_group="parameters",
    app_security_group_id="sg-1",
    shared_instance_identifier="shared",
    shared_database=DatabaseEndpoint(address="127.0.0.1", port=5432, name="tenantry"),
    shared_master_secret_arn="arn:master",  # noqa: S106 - names, no secrets
    pool_login="pool_app",
    pool_login_secret_arn="arn:pool",  # noqa: S106 - names, no secrets
    pool_token_secret_arn="arn:token",  # noqa: S106 - names, no secrets
    shared_bucket="shared",
    platform_key_arn="arn:key",
    shared_role_arn="arn:role",
    permissions_boundary_arn="arn:boundary",
    alarm_topic_arn="arn:topic",
    app_schema_version=2,
)


class _OnPaper(Held):
    """Nobody else is there to take it over."""

    async def require(self, connection: AsyncConnection) -> None:
        return


class PaperOperator(Operator):
    """Every stack can be held at once: nothing of it is anywhere. ``run`` is its heirs'."""

    @asynccontextmanager
    async def hold(self, stack_name: str, *, wait_s: float = 0.0) -> AsyncIterator[Held]:
        yield _OnPaper(None, stack_name)  # type: ignore[arg-type]


@dataclass
class PaperStacks(PaperOperator):
    """Takes down what the engine would be asked to do; ``fail`` is raised by the next operations instead."""

    stacks: dict[str, TenantSpec] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)  #: (stack, kind) of every operation that was begun
    fail: list[TenantryError] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    on_destroy: Callable[[TenantSpec], None] = lambda _: None  #: asked before a stack is destroyed
    _counter: Any = field(default_factory=lambda: itertools.count(1))

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
        self.log.append((held.stack_name, kind.value))
        if self.fail:
            raise self.fail.pop(0)
        spec = TenantSpec.model_validate_json(inputs.config["tenantry:spec"])
        self.versions[held.stack_name] = str(next(self._counter))
        if operation is Operation.DESTROY:
            assert not self.stacks[held.stack_name].protect, "a protected stack was to be destroyed"
            self.on_destroy(self.stacks[held.stack_name])
            del self.stacks[held.stack_name], self.versions[held.stack_name]
            return OperationResult(held.stack_name, operation, {}, {"delete": 1}, 0.1, ())
        self.stacks[held.stack_name] = spec
        outputs = outputs_on_paper(spec, PLATFORM).model_dump(mode="json")
        version = self.versions[held.stack_name]
        return OperationResult(
            held.stack_name, operation, {"tenant": outputs}, {"create": 1}, 0.1, (), checkpoint_version=version
        )

    # What the reconciler asks of the state store

    def checkpoint_version(self, stack_name: str) -> str | None:
        return self.versions.get(stack_name)

    def checkpoint_versions(self) -> dict[str, str]:
        return dict(self.versions)

    def deployment(self, stack_name: str) -> dict[str, Any] | None:
        spec = self.stacks.get(stack_name)
        return None if spec is None else {"resources": [{"urn": "urn", "protect": spec.protect}]}

    async def purge(self, outputs: TenantOutputs, platform: PlatformOutputs) -> None:
        self.purged.append(outputs.tenant_id)


def outputs_on_paper(spec: TenantSpec, platform: PlatformOutputs) -> TenantOutputs:
    """What the tenant's stack would export, with names alone."""
    own = TIERS[spec.tier]
    name = f"t_{spec.tenant_id}"
    shared = platform.shared_database
    return TenantOutputs(
        tenant_id=spec.tenant_id,
        generation=spec.generation,
        cell=spec.cell,
        tier=spec.tier,
        epoch=spec.epoch,
        access=spec.access,
        database=shared.model_copy(update={"name": name}) if own.own_instance else shared,
        db_schema=name if own.own_schema else "pool",
        login=name if own.own_login else platform.pool_login,
        login_secret_arn=f"arn:{name}",
        bucket=name if own.own_bucket else platform.shared_bucket,
        prefix="" if own.own_bucket else f"{spec.tenant_id}/",
        kms_key_arn=platform.platform_key_arn,
        role_arn=platform.shared_role_arn,
        app_schema_version=spec.app_schema_version,
    )
