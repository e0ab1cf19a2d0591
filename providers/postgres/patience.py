"""Pauses of whoever waits for a server, a lock or a session's end: they end when the engine cancels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wait: ContextVar[Callable[[float], None]] = ContextVar("wait", default=time.sleep)


def pause(seconds: float) -> None:
    """Sleep; raise what the operation's own wait raises when it is cancelled."""
    _wait.get()(seconds)


@contextmanager
def pausing_by(wait: Callable[[float], None]) -> Iterator[None]:
    """Within the block, in this thread, :func:`pause` is ``wait``."""
    token = _wait.set(wait)
    try:
        yield
    finally:
        _wait.reset(token)
