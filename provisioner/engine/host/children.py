"""The host's children: programs, providers, policy packs. None survives the host, and none makes it end late.

The engine ends a host by SIGINT to its process group, then waits up to five seconds until it has gone *and* every
process that inherited its output has. A child in that group would get the signal too, at any point of its start; one
that ignores it, as a program that waits for the engine may, costs the five seconds. So children have sessions of their
own, never the host's output, and end by the host's hand.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

LAUNCHER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "launch.py")
#: Seconds that a child gets between SIGTERM and SIGKILL.
GRACE = 1.0


class Children:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._ending = False

    def start(self, command: Sequence[str], *, cwd: str, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """Start ``command`` with pipes for its output; it is killed by the kernel should the host be killed."""
        launcher = [sys.executable, "-I", "-S", LAUNCHER, str(int(signal.SIGKILL)), str(os.getpid())]
        with self._lock:
            if self._ending:
                raise OSError("the language host is ending")
            child = subprocess.Popen(
                [*launcher, *command],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._alive.add(child)
        return child

    def ended(self, child: "subprocess.Popen[bytes]") -> None:
        with self._lock:
            self._alive.discard(child)

    def end(self, child: "subprocess.Popen[bytes]") -> None:
        """SIGTERM to its session; SIGKILL unless it ends soon."""
        _signal(child, signal.SIGTERM)
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGKILL)

    def end_all(self) -> None:
        """For the end of the host."""
        with self._lock:
            self._ending = True
            alive = list(self._alive)
        enders = [threading.Thread(target=self.end, args=(child,), daemon=True) for child in alive]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join(GRACE + 0.5)


def _signal(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
