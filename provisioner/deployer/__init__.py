"""Runs operations on Pulumi stacks from a warm process; the only importer of ``pulumi.automation``."""

from provisioner.deployer.deployer import Deployer
from provisioner.deployer.types import (
    Fence,
    Happening,
    Operation,
    OperationResult,
    Program,
    ResourceStep,
    StackRequest,
    StepEvent,
)

__all__ = [
    "Deployer",
    "Fence",
    "Happening",
    "Operation",
    "OperationResult",
    "Program",
    "ResourceStep",
    "StackRequest",
    "StepEvent",
]
