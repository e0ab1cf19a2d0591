"""What goes into an operation on a stack, and what comes out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from provisioner.deployer.plan import Gate
from provisioner.engine.stack_locks import EngineOwner

#: An inline Pulumi program: registers resources and exports outputs; may be a coroutine function.
Program = Callable[[], Awaitable[None] | None]


class Operation(StrEnum):
    UP = "up"
    PREVIEW = "preview"
    DESTROY = "destroy"
    REFRESH = "refresh"


@dataclass(frozen=True)
class Fence:
    """The lease under which an engine may write: ``number`` is `registry.lease.fencing` of ``stack_name``."""

    stack_name: str
    number: int

    @property
    def application_name(self) -> str:
        return f"tenantry/{self.stack_name}/{self.number}"


@dataclass(frozen=True)
class StackRequest:
    """One stack and what it should become."""

    stack_name: str
    program: Program
    #: Stack configuration, key to text: ``{"tenantry:spec": "<JSON>"}``. No secrets: it is stored in the history.
    config: Mapping[str, str] = field(default_factory=dict)
    #: Directories of policy packs that must pass.
    policy_packs: tuple[Path, ...] = ()
    #: ``awskms://...``, or None for the passphrase in ``PULUMI_CONFIG_PASSPHRASE``. Used when the stack is created.
    secrets_provider: str | None = None
    fence: Fence | None = None
    #: Engines that ran under this stack's earlier leases: their locks are cleared.
    fenced_off: tuple[EngineOwner, ...] = ()
    #: Added to the engine's environment, over the deployer's own.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Only these URNs and what depends on them; empty: everything.
    targets: tuple[str, ...] = ()
    #: Read every resource from the cloud before updating.
    refresh: bool = False
    message: str = ""
    #: Asked with what the preview shows before ``up`` changes anything; None: there is no preview.
    gate: Gate | None = None


class Happening(StrEnum):
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    DIAGNOSTIC = "diagnostic"
    POLICY = "policy"


@dataclass(frozen=True)
class StepEvent:
    """Something that happened to one resource while an operation runs; for live progress. Holds no secret."""

    happening: Happening
    urn: str
    type: str  #: type token, ``aws:kms/key:Key``; "" when the event names no resource
    name: str
    op: str  #: Pulumi's operation: ``create``, ``update``, ``same``, ``delete``, ...; "" for diagnostics
    seconds: float = 0.0  #: since the resource's start; 0 for a start
    severity: str = ""  #: of a diagnostic: ``info``, ``warning``, ``error``; of a policy: ``mandatory``, ``advisory``
    message: str = ""


@dataclass(frozen=True)
class ResourceStep:
    """What an operation did to one resource."""

    urn: str
    type: str
    name: str
    op: str
    seconds: float
    failed: bool = False
    #: Input properties that differ, for an update or a replacement.
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class OperationResult:
    stack_name: str
    operation: Operation
    #: The stack's outputs; secrets read ``[secret]``.
    outputs: Mapping[str, Any]
    #: Operation to number of resources: ``{"create": 7, "same": 2}``.
    changes: Mapping[str, int]
    seconds: float
    steps: tuple[ResourceStep, ...]
    warnings: tuple[str, ...] = ()
    #: What an interrupted operation before this one had created, now in the stack: URNs.
    adopted: tuple[str, ...] = ()
    #: Version of the state that the operation left, as ``PostgresState.checkpoint_versions`` gives it; None unknown.
    checkpoint_version: str | None = None

    @property
    def changed(self) -> bool:
        return any(count for op, count in self.changes.items() if op not in {"same", "read"})

    def output_json(self, name: str) -> Any:
        """Output ``name``; decoded if the program exported JSON text."""
        value = self.outputs[name]
        return json.loads(value) if isinstance(value, str) else value
