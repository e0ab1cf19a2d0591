"""A group of child processes that live and die together: workers, and the HTTP service beside them.

A child that ends unexpectedly is started again, later each time; SIGTERM and Ctrl-C are passed on, and the group ends
when its last child has. If this process is killed, the kernel asks the children to end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from provisioner.engine import launch

log = structlog.get_logger(__name__)

RESTART_S = (0.5, 2.0, 5.0, 15.0, 30.0)
STEADY_S = 60.0  #: a child that lived so long is restarted as if for the first time
#: A child that ends so because its configuration is wrong ends so again.
HOPELESS = 3


@dataclass
class Child:
    name: str
    arguments: tuple[str, ...]  #: of this program's Python
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    restart_at: float = field(default=0.0)

    def start(self) -> None:
        command = [sys.executable, "-I", "-S", launch.__file__, str(int(signal.SIGTERM)), str(os.getpid())]
        # In a process group of its own: Ctrl-C reaches this process alone, which passes on one signal.
        self.process = subprocess.Popen(
            [*command, sys.executable, *self.arguments], stdin=subprocess.DEVNULL, process_group=0
        )
        self.started = time.monotonic()


class ProcessGroup:
    """``run`` must be called in the main thread, which takes the signals."""

    def __init__(self, children: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        self._children = [Child(name, arguments) for name, arguments in children]
        self._signalled = False
        self._stopping = threading.Event()
        self._wake = threading.Event()

    def run(self) -> int:
        """Until a signal, or until a child says that its configuration is hopeless; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        for child in self._children:
            child.start()
        code = 0
        while not self._stopping.is_set():
            self._wake.wait(0.2)
            self._wake.clear()
            for child in self._children:
                code = max(code, self._tend(child))
        self._end()
        return code

    def _on_signal(self, _: int, __: object) -> None:
        self._signalled = True
        self._stopping.set()
        self._wake.set()
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)

    def _tend(self, child: Child) -> int:
        if child.process is None:
            if time.monotonic() >= child.restart_at and not self._stopping.is_set():
                child.start()
            return 0
        code = child.process.poll()
        if code is None or self._stopping.is_set():
            return 0
        child.process = None
        if code == HOPELESS:
            self._stopping.set()
            return HOPELESS
        if time.monotonic() - child.started > STEADY_S:
            child.failures = 0
        wait = RESTART_S[min(child.failures, len(RESTART_S) - 1)]
        child.failures += 1
        child.restart_at = time.monotonic() + wait
        log.error("child.ended", child=child.name, code=code, restart_in_s=wait)
        return 0

    def _end(self) -> None:
        """The children were told to end, or are told now because one of them is hopeless."""
        for child in self._children:
            if child.process is not None and child.process.poll() is None and not self._signalled:
                child.process.send_signal(signal.SIGTERM)
        for child in self._children:
            if child.process is not None:
                child.process.wait()
