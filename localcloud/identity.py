"""Which process is meant: a process id alone is reused, together with its start time it is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil

#: In the environment of every process of a life, so that even those are found that no state file knows.
LIFE_VARIABLE = "TENANTRY_LOCAL_LIFE"
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Identity:
    pid: int
    started: float  #: Unix seconds, as the kernel tells

    @classmethod
    def of(cls, pid: int) -> Identity:
        return cls(pid, psutil.Process(pid).create_time())

    @classmethod
    def parse(cls, document: Any) -> Identity | None:
        if not isinstance(document, dict) or not document.get("pid"):
            return None
        return cls(int(document["pid"]), float(document["started"]))

    def process(self) -> psutil.Process | None:
        """The process, if it still is the one."""
        try:
            process = psutil.Process(self.pid)
            # The boot time the start is computed from may be adjusted by the clock's.
            if abs(process.create_time() - self.started) > 1.0 or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.Error:
            return None
        return process

    def is_alive(self) -> bool:
        return self.process() is not None


def of_life(life: str) -> Iterator[Identity]:
    """Every process of this user's that was started for ``life``, this process aside."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(LIFE_VARIABLE) == life:
                yield Identity(process.pid, process.create_time())
        except psutil.Error:
            continue


def end(identities: Iterable[Identity], grace: float) -> None:
    """Ask all to end, and kill who hasn't after ``grace`` seconds."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        alive = [identity for identity in identities if identity.is_alive()]
        for identity in alive:
            process = identity.process()
            if process is not None:
                try:
                    process.send_signal(number)
                except psutil.NoSuchProcess:
                    continue
        deadline = time.monotonic() + seconds
        while any(identity.is_alive() for identity in alive) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
