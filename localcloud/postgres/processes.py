"""Processes of PostgreSQL servers: started detached, recognised by their working directory, ended by process id."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from localcloud.postgres import binaries

_POLL_SECONDS = 0.01
_IPC_RMID = 0


def spawn(command: Sequence[str | Path], log: int) -> int:
    """Start ``command`` detached, as the servers' user, its output appended to the descriptor ``log``; its process id.

    A shell between makes it a child of init: it outlives this process, and leaves no zombie in it.
    """
    done = subprocess.run(
        binaries.account().command(["/bin/sh", "-c", '"$@" </dev/null >&2 & echo $!', "sh", *command]),
        cwd="/",
        env=binaries.clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        check=True,
        umask=0o077,
        start_new_session=True,
    )
    return int(done.stdout)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody collects does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pid: int, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def postmaster(data: Path) -> int | None:
    """The server that runs on the data directory ``data``: the id in its pid file, if that process really is it."""
    lines = _pid_file(data)
    if not lines or not lines[0].lstrip("-").isdigit():
        return None
    pid = abs(int(lines[0]))
    return pid if _works_in(pid, data) else None


def postmaster_status(data: Path) -> str:
    """``starting``, ``stopping``, ``ready`` or ``standby``, as the server last wrote it; ``""`` before that."""
    lines = _pid_file(data)
    return lines[7].strip() if len(lines) > 7 else ""


def orphans(data: Path) -> list[int]:
    """Server processes on ``data``: after a server was killed, its sessions may live until they next look."""
    uid = binaries.account().uid
    found = []
    for process in psutil.process_iter(["name", "uids"]):
        uids = process.info["uids"]
        if process.info["name"] == "postgres" and uids and uids.effective == uid and _works_in(process.pid, data):
            found.append(process.pid)
    return found


def end_orphans(data: Path) -> None:
    """Kill what is left of a server that is down, so that another one can start on its data."""
    for pid in orphans(data):
        with vanishing():
            os.kill(pid, signal.SIGKILL)
            wait_until_gone(pid, 5.0)


def remove_shared_memory(data: Path) -> None:
    """Free the System V segment that a killed server left behind: its id is in the pid file."""
    lines = _pid_file(data)
    numbers = lines[6].split() if len(lines) > 6 else []
    if len(numbers) == 2 and numbers[1].isdigit():
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).shmctl(int(numbers[1]), _IPC_RMID, None)


@contextmanager
def vanishing() -> Iterator[None]:
    """Inside, a process may be gone already."""
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        yield


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _works_in(pid: int, data: Path) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.name() == "postgres" and os.path.realpath(process.cwd()) == os.path.realpath(data)
    except psutil.Error:
        return False
