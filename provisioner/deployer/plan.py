"""What an update is going to do: collected while the engine previews it, before anything is changed.

The engine's events tell what becomes of every resource; what a property's value comes from is told by the program's
registrations alone, so both are listened to.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime.settings import get_monitor

from provisioner.urns import split_urn

#: Operations after which the old resource is in the stack no more.
GONE = frozenset({"delete", "delete-replaced", "discard", "discard-replaced", "remove-pending-replace"})
#: Operations that change nothing but the state.
NOTHING = frozenset({"same", "read", "refresh", "discard", "remove-pending-replace"})


@dataclass(frozen=True)
class PlannedStep:
    """What becomes of one resource. ``op``: the engine's name, ``replace`` for each of a replacement's three steps.

    ``old`` and ``new``: its state before and after as events show it, without secrets; {} where there is none.
    """

    urn: str
    op: str
    changed: tuple[str, ...] = ()  #: input properties that differ
    replacing: tuple[str, ...] = ()  #: those that can't be changed in place
    old: Mapping[str, Any] = field(default_factory=dict)
    new: Mapping[str, Any] = field(default_factory=dict)

    @property
    def type(self) -> str:
        return split_urn(self.urn)[0]

    @property
    def name(self) -> str:
        return split_urn(self.urn)[1]


@dataclass(frozen=True)
class Plan:
    """``resources``: the stack as it will be, in the form of a checkpoint's, with the engine's marks for what is
    unknown or secret. ``steps``: what is changed, deleted and replaced; not what stays."""

    stack_name: str
    resources: tuple[Mapping[str, Any], ...]
    steps: tuple[PlannedStep, ...]


#: Raises a ``TenantryError`` to keep the update from beginning.
Gate = Callable[[Plan], None]


class PlanRecorder:
    """Listens to one preview. Called from the engine's and the program's threads."""

    def __init__(self, stack_name: str) -> None:
        self._stack_name = stack_name
        self._lock = threading.Lock()
        self._sources: dict[str, dict[str, list[str]]] = {}
        self._dependencies: dict[str, list[str]] = {}
        self._states: dict[str, Mapping[str, Any]] = {}
        self._steps: dict[str, PlannedStep] = {}

    def listen(self) -> None:
        """To the registrations that the program makes with the SDK's present monitor."""
        monitor: Any = get_monitor()
        register = monitor.RegisterResource

        def registered(request: Any, *arguments: Any, **options: Any) -> Any:
            response = register(request, *arguments, **options)
            with self._lock:
                self._sources[response.urn] = {
                    name: list(found.urns) for name, found in request.propertyDependencies.items() if found.urns
                }
                self._dependencies[response.urn] = list(request.dependencies)
            return response

        monitor.RegisterResource = registered

    def handle(self, text: str) -> None:
        """One event of the preview, as JSON."""
        event = json.loads(text)
        for name in ("resourcePreEvent", "resOutputsEvent"):
            if isinstance(event.get(name), dict):
                with self._lock:
                    self._resource(event[name]["metadata"])

    def _resource(self, metadata: Mapping[str, Any]) -> None:
        urn, op = metadata["urn"], metadata["op"]
        new = metadata.get("new")
        if new and op not in GONE:
            self._states[urn] = new
        if op in NOTHING:
            return
        before = self._steps.get(urn)
        # The steps of a replacement come one by one, each with a part of it; what an interrupted one has left behind
        # is deleted beside what becomes of its successor.
        ops = {_simple(op), before.op if before else ""}
        op = next(each for each in ("replace", "delete", _simple(op)) if each in ops)
        self._steps[urn] = PlannedStep(
            urn,
            op,
            tuple(sorted({*(metadata.get("diffs") or ()), *(before.changed if before else ())})),
            tuple(sorted({*(metadata.get("keys") or ()), *(before.replacing if before else ())})),
            metadata.get("old") or (before.old if before else {}),
            new or (before.new if before else {}),
        )

    def plan(self) -> Plan:
        with self._lock:
            resources = tuple(
                {
                    **state,
                    "urn": urn,
                    "dependencies": self._dependencies.get(urn, []),
                    "propertyDependencies": self._sources.get(urn, {}),
                }
                for urn, state in self._states.items()
            )
            return Plan(self._stack_name, resources, tuple(self._steps.values()))


def _simple(op: str) -> str:
    return "replace" if "replace" in op else op
