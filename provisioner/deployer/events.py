"""Turns the engine's event stream into steps, outputs and diagnostics.

The shapes are the JSON ones of Pulumi's ``apitype/events.go``; the engine has replaced secrets by ``[secret]`` in them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from provisioner.deployer.types import Happening, ResourceStep, StepEvent
from provisioner.urns import split_urn

#: Colour directives of Pulumi's own markup and of terminals.
_MARKUP = re.compile(r"<\{%[^%]*%\}>|\x1b\[[0-9;]*m")

STACK_TYPE = "pulumi:pulumi:Stack"

#: Marks special values in Pulumi's JSON; with the second one, a secret.
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105
SECRET = "[secret]"  # noqa: S105


def redacted(value: Any) -> Any:
    """``value`` with every secret in it as the text ``[secret]``."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET_SIGNATURE:
            return SECRET
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def plain(text: str) -> str:
    return _MARKUP.sub("", text).strip()


class EventLog:
    """Collects one operation's events. ``handle`` is called by the gRPC server's threads, one event after the other."""

    def __init__(
        self,
        on_step: Callable[[StepEvent], None] | None = None,
        *,
        redact: Callable[[str], str] = lambda text: text,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_step = on_step
        self._redact = redact
        self._clock = clock
        self._started: dict[str, float] = {}
        self._metadata: dict[str, Mapping[str, Any]] = {}
        self._steps: dict[tuple[str, str], ResourceStep] = {}
        self.outputs: dict[str, Any] = {}
        self.changes: dict[str, int] = {}
        self.errors: list[StepEvent] = []
        self.warnings: list[str] = []
        self.violations: list[StepEvent] = []
        self.summarised = False

    @property
    def steps(self) -> tuple[ResourceStep, ...]:
        return tuple(self._steps.values())

    @property
    def running(self) -> tuple[str, ...]:
        """URNs of the resources that were started and have not ended."""
        return tuple(self._started)

    def handle(self, text: str) -> None:
        event = json.loads(text)
        for name, handler in (
            ("resourcePreEvent", self._started_resource),
            ("resOutputsEvent", self._finished_resource),
            ("resOpFailedEvent", self._failed_resource),
            ("diagnosticEvent", self._diagnostic),
            ("errorEvent", self._engine_error),
            ("policyEvent", self._policy),
            ("summaryEvent", self._summary),
        ):
            if isinstance(event.get(name), dict):
                handler(event[name])

    def _emit(self, step: StepEvent) -> StepEvent:
        if self._on_step is not None:
            self._on_step(step)
        return step

    def _step(self, happening: Happening, urn: str, **fields: Any) -> StepEvent:
        type_, name = split_urn(urn) if urn else ("", "")
        return self._emit(StepEvent(happening, urn, type_, name, **{"op": "", **fields}))

    def _started_resource(self, event: Mapping[str, Any]) -> None:
        metadata = event["metadata"]
        self._started[metadata["urn"]] = self._clock()
        self._step(Happening.STARTED, metadata["urn"], op=metadata["op"])

    def _end(self, metadata: Mapping[str, Any], *, failed: bool) -> None:
        urn, op = metadata["urn"], metadata["op"]
        began = self._started.pop(urn, None)
        seconds = 0.0 if began is None else self._clock() - began
        previous = self._steps.get((urn, op))
        if began is None and previous is not None and not failed:
            return  # the second event of a component: its outputs were registered
        type_, name = split_urn(urn)
        self._steps[urn, op] = ResourceStep(
            urn, type_, name, op, round(seconds, 4), failed, tuple(metadata.get("diffs") or ())
        )
        happening = Happening.FAILED if failed else Happening.FINISHED
        self._step(happening, urn, op=op, seconds=round(seconds, 4))

    def _finished_resource(self, event: Mapping[str, Any]) -> None:
        metadata = event["metadata"]
        self._end(metadata, failed=False)
        if metadata["type"] == STACK_TYPE and metadata["op"] not in {"delete", "discard"}:
            self.outputs = redacted((metadata.get("new") or {}).get("outputs") or {})

    def _failed_resource(self, event: Mapping[str, Any]) -> None:
        self._end(event["metadata"], failed=True)

    def _diagnostic(self, event: Mapping[str, Any]) -> None:
        severity, message = event.get("severity", ""), self._redact(plain(event.get("message", "")))
        # The SDK's debugging messages print properties, secrets in plain text among them.
        if severity not in {"info", "info#err", "warning", "error"} or event.get("ephemeral") or not message:
            return
        step = self._step(Happening.DIAGNOSTIC, event.get("urn", ""), severity=severity, message=message)
        if severity == "error":
            self.errors.append(step)
        elif severity == "warning":
            self.warnings.append(message)

    def _engine_error(self, event: Mapping[str, Any]) -> None:
        self._diagnostic({"severity": "error", "message": event.get("error", "")})

    def _policy(self, event: Mapping[str, Any]) -> None:
        step = self._step(
            Happening.POLICY,
            event.get("resourceUrn", ""),
            severity=event.get("enforcementLevel", ""),
            message=f"{event.get('policyName', '')}: {self._redact(plain(event.get('message', '')))}",
        )
        if step.severity == "mandatory":
            self.violations.append(step)
        else:
            self.warnings.append(step.message)

    def _summary(self, event: Mapping[str, Any]) -> None:
        self.summarised = True
        self.changes = {op: count for op, count in (event.get("resourceChanges") or {}).items() if count}
