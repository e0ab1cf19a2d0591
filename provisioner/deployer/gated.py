"""The preview with which a gated update begins: one command, under one lock, previews, asks and updates."""

from __future__ import annotations

import threading
from collections.abc import Callable

from provisioner.deployer.events import EventLog
from provisioner.deployer.plan import Gate, PlanRecorder
from provisioner.errors import EngineFailed, TenantryError

#: Seconds that an engine gets to end after its update was refused. Nothing was begun, so it may be killed then.
TO_END_S = 60.0


class GatedPreview:
    """``refusal``: why the update may not begin; ``passed``: it may. Neither: the preview has not come to its end."""

    def __init__(
        self, stack_name: str, gate: Gate, *, redact: Callable[[str], str], to_end_s: float = TO_END_S
    ) -> None:
        self._to_end_s = to_end_s
        self._kill: Callable[[], None] = lambda: None
        self._watch: threading.Timer | None = None
        self._gate = gate
        self._recorder = PlanRecorder(stack_name)
        self._stack_name = stack_name
        self.log = EventLog(redact=redact)  #: of the preview, for its errors
        self.refusal: TenantryError | None = None
        self.passed = False

    def begins(self, kill: Callable[[], None]) -> None:
        """The engine is about to be started; ``kill`` ends it."""
        self._kill = kill

    def ended(self) -> None:
        """The engine has ended."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch.join()

    def listen(self) -> None:
        self._recorder.listen()

    def handle(self, event: str) -> None:
        self.log.handle(event)
        self._recorder.handle(event)

    def decide(self) -> str | None:
        refused = self._decided()
        if refused is not None:
            self._watch = threading.Timer(self._to_end_s, self._kill)
            self._watch.daemon = True
            self._watch.start()
        return refused

    def _decided(self) -> str | None:
        try:
            if not self.log.summarised:
                # Nothing is judged by a part of the preview.
                raise EngineFailed(
                    f"stack {self._stack_name}: the preview's events have not all arrived", hint="it is tried again"
                )
            self._gate(self._recorder.plan())
        except TenantryError as error:
            self.refusal = error
            return error.message
        except Exception as error:
            self.refusal = EngineFailed(
                f"stack {self._stack_name}: the preview could not be judged: {type(error).__name__}",
                hint="the worker's log has the details",
            )
            self.refusal.__cause__ = error
            return self.refusal.message
        self.passed = True
        return None
