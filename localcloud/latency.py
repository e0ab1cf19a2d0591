"""Injected latency: how long operations of the local AWS take, as ``rds.create``: seconds.

The delays lie in ``latency.json`` of the data directory and are read while waiting, so a change releases, or holds,
what already waits.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from localcloud.postgres.tls import write_file
from provisioner.errors import Reject

OPERATIONS = ("rds.create", "rds.modify", "rds.stop", "rds.start", "rds.delete")
MAX_SECONDS = 86_400.0
_STEP_SECONDS = 0.2


class UnknownOperation(Reject):
    code = "unknown_operation"


def delays(path: Path) -> dict[str, float]:
    """All delays that are set, seconds by operation."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return {str(name): float(seconds) for name, seconds in document.items()}


def set_delay(path: Path, operation: str, seconds: float) -> None:
    """Set (or, with 0, remove) the delay of ``operation``."""
    if operation not in OPERATIONS:
        raise UnknownOperation(f"there is no operation {operation}", hint=f"Operations: {', '.join(OPERATIONS)}")
    if not 0 <= seconds <= MAX_SECONDS:
        raise UnknownOperation(f"{seconds} s is no delay", hint=f"Give seconds from 0 to {MAX_SECONDS:.0f}")
    changed = {**delays(path), operation: seconds}
    write_file(path, json.dumps({name: s for name, s in changed.items() if s > 0}).encode(), 0o600)


def wait(path: Path, operation: str, sleep: Callable[[float], None], *, elapsed: float = 0.0) -> None:
    """Let the delay of ``operation`` pass. ``sleep`` may raise to end the wait (a cancelled provider operation).

    ``elapsed``: seconds that the operation took already, when it is taken up again.
    """
    started = time.monotonic() - elapsed
    while True:
        remaining = started + delays(path).get(operation, 0.0) - time.monotonic()
        if remaining <= 0:
            return
        sleep(min(remaining, _STEP_SECONDS))
