"""Faults in AWS, walked from the checkpoints: every resource of every stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from provisioner.urns import split_urn
from tests.integration.mutations.aws_properties import Change, Inputs, Others, changes
from tests.integration.mutations.aws_world import ACME, PLATFORM, SILO, Installation, State
from tests.integration.mutations.fault import Fault

#: by service: the attack that a weakness there would help first
CLOSEST = {
    "kms": "decrypt-object",
    "s3": "get-object",
    "iam": "get-object",
    "secretsmanager": "read-login-secret",
}
NETWORK = "reach-from-anywhere"


@dataclass(frozen=True)
class Placed:
    """A fault, and how the rules get to see it: by URN what is read back, or what a preview would show."""

    fault: Fault
    stack: str
    services: tuple[str, ...]  #: of AWS, as boto3 names them
    seen: Callable[[], dict[str, State | None]]
    preview: bool = False
    mended: Callable[[], bool] = lambda: True


def of_stack(world: Installation, stack: str) -> Iterator[Placed]:
    """Every resource of a stack, weakened in every way."""
    others = _others(world, stack)
    for state in world.resources(stack):
        kind, name = split_urn(state["urn"])
        for change in changes(kind, name, state["inputs"], others):
            yield _placed(world, stack, state, kind, name, change)


def _others(world: Installation, stack: str) -> Others:
    one = world.tenants[ACME if stack == SILO else SILO]
    group = next(
        each["id"]
        for each in world.resources(PLATFORM)
        if split_urn(each["urn"]) == ("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", "platform-network")
    )
    return Others(one.kms_key_arn, one.role_arn, group, one.tenant_id)


def _placed(world: Installation, stack: str, state: State, kind: str, name: str, change: Change) -> Placed:
    service, _, type_ = kind.removeprefix("aws:").partition("/")
    type_ = type_.rpartition(":")[2]
    fault = Fault(
        f"{stack}/{name.removeprefix(f'{stack}-')}/{type_}/{change.name}",
        f"{stack}: {_spoken(type_)}",
        f"{_spoken(type_)} `{name}`: {change.words}",
        partial(_injected, world, state, change) if change.live else _nothing,
        partial(world.stolen, stack) if service in ("s3", "kms") else None,
        CLOSEST.get(service, NETWORK),
        "live" if change.live else "preview",
    )
    urn: str = state["urn"]
    services = _BOTO3.get(service, (service,))
    if change.live:
        return Placed(fault, stack, services, lambda: {urn: world.read_back(state)}, mended=lambda: _same(world, state))
    asked = {**state, "inputs": change.inputs, "outputs": {**state["outputs"], **(change.inputs or {})}}
    return Placed(fault, stack, services, lambda: {urn: asked}, preview=True)


def _same(world: Installation, state: State) -> bool:
    return world.read_back(state) == state


#: Pulumi's modules that boto3 names otherwise
_BOTO3 = {"vpc": ("ec2",), "cloudwatch": ("logs", "events", "cloudwatch")}


def _spoken(type_: str) -> str:
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in type_)
    return words.strip()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _injected(world: Installation, state: State, change: Change) -> Iterator[None]:
    handler, context = world.handler(state)
    inputs: Inputs = state["inputs"]
    if change.inputs is None or context.type in _MADE_ANEW:
        handler.delete(context, state["id"], {**inputs, **state["outputs"]})
        if change.inputs is not None:
            state["id"], _ = handler.create(context, change.inputs)
        try:
            yield
        finally:
            if change.inputs is not None:
                handler.delete(context, state["id"], change.inputs)
            state["id"], _ = handler.create(context, inputs)
            state["outputs"] = (world.read_back(state) or state)["outputs"]
        return
    handler.update(context, state["id"], {**state["outputs"], **inputs}, inputs, change.inputs)
    try:
        yield
    finally:
        handler.update(context, state["id"], {**state["outputs"], **change.inputs}, change.inputs, inputs)


#: moto's update of a rule keeps the peer that it had
_MADE_ANEW = ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",)
