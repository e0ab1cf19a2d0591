"""Runs operations on Pulumi stacks from a warm process, by the engine's command line and gRPC interfaces.

Nothing here or elsewhere uses ``pulumi.automation``: each of its operations costs several commands.
"""

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
