"""What an interrupted update left pending in a stack's state, and how it is resolved before the next one.

An engine that is killed while it creates leaves the operation recorded and the resource's id unknown: the thing may
exist, and nothing points to it. Physical names are deterministic, so a ``Finder`` can tell. Pure: works on the JSON of
a deployment, as ``pulumi stack export`` prints it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Made by the engine itself, in its own process.
_ENGINES_OWN = "pulumi:"


class Finder(Protocol):
    """Tells whether a resource whose creation was interrupted exists."""

    def find(self, type_: str, name: str, inputs: Mapping[str, Any]) -> str | None:
        """The physical id, as the provider would have returned it; None if nothing was created.

        ``type_`` is the type token, ``name`` the logical name, ``inputs`` the resource's inputs in the state's JSON
        (secrets encrypted). Raises ``RetryLater`` while it can't tell or the resource is still being created.
        """


@dataclass(frozen=True)
class Recovery:
    """A deployment without pending operations, and what became of them (URNs)."""

    deployment: dict[str, Any]
    adopted: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    #: To be read from the cloud before anything else happens: how far their operation came is unknown.
    refresh: tuple[str, ...] = ()


@dataclass
class _Outcome:
    adopted: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    refresh: list[str] = field(default_factory=list)


def pending_operations(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(deployment.get("pending_operations") or [])


def resolve(deployment: Mapping[str, Any], finder: Finder) -> Recovery:
    """Adopt what a pending create made, drop what it did not make, and have the rest read again.

    An update or delete that was interrupted has its resource in the state still: reading it tells what happened.
    """
    edited: dict[str, Any] = copy.deepcopy(dict(deployment))
    resources: list[dict[str, Any]] = list(edited.get("resources") or [])
    outcome = _Outcome()
    for operation in pending_operations(edited):
        resource = operation["resource"]
        if operation["type"] == "creating":
            _resolve_create(resource, resources, finder, outcome)
        elif operation["type"] in {"updating", "deleting"} and _present(resources, resource):
            outcome.refresh.append(resource["urn"])
        else:  # `reading` and `importing` made nothing
            outcome.dropped.append(resource["urn"])
    edited["resources"] = resources
    edited.pop("pending_operations", None)
    return Recovery(
        edited,
        tuple(dict.fromkeys(outcome.adopted)),
        tuple(dict.fromkeys(outcome.dropped)),
        tuple(dict.fromkeys(outcome.refresh)),
    )


def _resolve_create(
    resource: dict[str, Any], resources: list[dict[str, Any]], finder: Finder, outcome: _Outcome
) -> None:
    urn, type_ = resource["urn"], resource["type"]
    if not resource.get("custom") or type_.startswith(_ENGINES_OWN):
        outcome.dropped.append(urn)
        return
    id_ = finder.find(type_, urn.split("::", 3)[-1], resource.get("inputs") or {})
    if id_ is None:
        outcome.dropped.append(urn)
        return
    if any(other["urn"] == urn and other.get("id") == id_ for other in resources):
        # The create was recorded as done, or a replacement would have kept the physical name: nothing is lost.
        outcome.refresh.append(urn)
        return
    # A creation that replaces: the old one stays behind it, to be deleted by the next update.
    for other in resources:
        if other["urn"] == urn and not other.get("delete"):
            other["delete"] = True
    # At the end: whatever it depends on was there before it was begun.
    resources.append({**resource, "id": id_, "outputs": {**(resource.get("inputs") or {}), "id": id_}})
    outcome.adopted.append(urn)
    outcome.refresh.append(urn)


def _present(resources: list[dict[str, Any]], resource: Mapping[str, Any]) -> bool:
    return any(other["urn"] == resource["urn"] for other in resources)
