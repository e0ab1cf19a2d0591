"""Progress of something that takes minutes: one line rewritten on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

#: Seconds between lines where lines can't be rewritten.
_PLAIN_INTERVAL = 15.0
_TERMINAL_INTERVAL = 0.2


class Progress:
    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = clock()
        self._shown = float("-inf")
        self._rewriting = False
        self._terminal = self._stream.isatty()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._end_line()
        self._stream.write(f"engine: {text}\n")
        self._stream.flush()

    def update(self, text: str) -> None:
        """The present state, with the time since the start; often called, seldom shown."""
        now = self._clock()
        if now - self._shown < (_TERMINAL_INTERVAL if self._terminal else _PLAIN_INTERVAL):
            return
        self._shown = now
        line = f"engine: {text}, {elapsed(now - self._began)}"
        if self._terminal:
            self._stream.write(f"\r\x1b[2K{line}")
            self._rewriting = True
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _end_line(self) -> None:
        if self._rewriting:
            self._stream.write("\r\x1b[2K")
            self._rewriting = False


def elapsed(seconds: float) -> str:
    return f"{int(seconds) // 60}m{int(seconds) % 60:02d}s" if seconds >= 60 else f"{int(seconds)}s"
