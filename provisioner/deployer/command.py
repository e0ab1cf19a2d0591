"""Runs one engine command as a child that can't outlive this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provisioner.engine import launch

#: Lines of output kept for the error message.
_KEPT_LINES = 400


@dataclass(frozen=True)
class EngineProcess:
    """Identifies the child for good: a pid alone may be reused."""

    pid: int
    started: float  #: ``psutil.Process(pid).create_time()``: seconds since the epoch


@dataclass(frozen=True)
class Finished:
    code: int
    stdout: str
    stderr: str
    interrupted: bool


class EngineCommand:
    """One child process. ``run`` blocks; ``interrupt`` and ``kill`` may be called from other threads and handlers."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        on_start: Callable[[EngineProcess], None] | None = None,
    ) -> None:
        self._arguments = list(arguments)
        self._cwd = cwd
        self._env = dict(env)
        self._on_start = on_start
        self._child: subprocess.Popen[str] | None = None
        self._interrupted = threading.Event()

    def run(self) -> Finished:
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(int(signal.SIGKILL)), str(os.getpid())]
        # In a session of its own: Ctrl-C in a terminal reaches this process alone, which passes on one SIGINT; the
        # second one that a shared terminal would deliver makes the engine abandon what is in flight.
        child = subprocess.Popen(
            [*launcher, *self._arguments],
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._child = child
        output: dict[str, deque[str]] = {}
        readers = []
        for name, stream in (("stdout", child.stdout), ("stderr", child.stderr)):
            assert stream is not None
            output[name] = deque(maxlen=_KEPT_LINES)
            readers.append(threading.Thread(target=output[name].extend, args=(stream,), daemon=True))
            readers[-1].start()
        try:
            if self._on_start is not None:
                self._on_start(EngineProcess(child.pid, _create_time(child.pid)))
            if self._interrupted.is_set():
                child.send_signal(signal.SIGINT)
            code = child.wait()
        except BaseException:
            # KeyboardInterrupt in the waiting thread, or a callback that failed: never leave the child behind.
            self._end()
            raise
        finally:
            for reader in readers:
                reader.join(timeout=2)
            for stream in (child.stdout, child.stderr):
                assert stream is not None
                stream.close()
        return Finished(code, "".join(output["stdout"]), "".join(output["stderr"]), self._interrupted.is_set())

    def interrupt(self) -> None:
        """Ask the engine to stop: it cancels its providers, waits for what is in flight, and saves the state."""
        self._interrupted.set()
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it and its plugins at once. Its lock and pending operations stay for the next operation to resolve."""
        self._interrupted.set()
        if self._child is not None and self._child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def _end(self, grace: float = 30.0) -> None:
        assert self._child is not None
        self.interrupt()
        try:
            self._child.wait(grace)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._child.kill()
            self._child.wait()


def _create_time(pid: int) -> float:
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return time.time()


def kill_recorded(process: EngineProcess) -> bool:
    """End a child recorded by another worker on this machine; False if it is gone or its pid belongs to another."""
    import psutil

    try:
        found = psutil.Process(process.pid)
        if abs(found.create_time() - process.started) > 0.05:
            return False
        found.kill()
    except psutil.NoSuchProcess:
        return False
    return True
