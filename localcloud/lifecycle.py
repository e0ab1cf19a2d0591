"""Up, down and status of a local cloud, from outside of its supervisor."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from localcloud.environment import process_environment
from localcloud.home import REPOSITORY, Home
from localcloud.identity import LIFE_VARIABLE, Identity, end, of_life
from localcloud.locks import file_lock
from localcloud.postgres import Cluster
from localcloud.postgres.cluster import RECORD
from localcloud.postgres.processes import orphans
from localcloud.services import accepts
from provisioner.errors import OperatorNeeded, Reject

UP_SECONDS = 90.0
#: The supervisor's own limit is shorter: services 5 s, a server's clean stop.
DOWN_SECONDS = 40.0


class LocalCloudFailed(OperatorNeeded):
    """The local cloud did not come up; the message ends with a log's tail."""

    code = "local_cloud_failed"


class NotRunning(Reject):
    code = "local_cloud_down"


@dataclass(frozen=True)
class Line:
    """One process, or server, of `tenantry local status`."""

    name: str
    kind: str  #: ``supervisor``, ``service`` or ``postgres``
    state: str  #: ``running``, ``starting``, ``restarting``, ``lost``, ``stopped``, ``dead``, ``not answering``
    port: int | None
    pid: int | None
    memory_mb: float | None  #: resident; a service's or server's with its children
    restarts: int
    note: str | None


@dataclass(frozen=True)
class Status:
    home: str
    phase: str  #: ``down``, ``starting``, ``ready``, ``stopping``, ``failed``, ``crashed`` (supervisor killed)
    lines: list[Line]

    @property
    def healthy(self) -> bool:
        return self.phase == "ready" and all(line.state in ("running", "stopped") for line in self.lines)

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "healthy": self.healthy}


def up(home: Home) -> bool:
    """Start a new life and wait until it is ready; False when one runs already. Left-overs of a crash go first."""
    home.claim()
    with file_lock(home.lock):
        state = _state(home)
        if _supervisor(state) is not None and state.get("phase") in ("starting", "ready"):
            _wait_until_ready(home, state)
            return False
        _end_processes(home, state)
        home.wipe()
        home.logs.mkdir(mode=0o700)
        life = secrets.token_hex(16)
        # Stored before the process exists: whatever crashes from here on is found by its environment.
        home.state.write_text(json.dumps({"life": life, "phase": "starting"}))
        _spawn_supervisor(home, life)
        _wait_until_ready(home, {"life": life})
        return True


def down(home: Home) -> bool:
    """End every process of the life and delete the data directory; False when there was nothing."""
    if not home.root.exists():
        return False
    if not home.is_ours():
        home.wipe()  # refuses
    with file_lock(home.lock):
        _end_processes(home, _state(home))
        _delete_stack_files(home)
        home.remove()
    return True


def _delete_stack_files(home: Home) -> None:
    """What this life's workers wrote beside the program (``provisioner.materialise``): their stacks are gone."""
    from provisioner.stack_request import STACK_FILE_HEADER

    with suppress(OSError, ValueError, KeyError):
        directory = Path(json.loads(home.environment.read_text())["TENANTRY_STACK_FILES"])
        for file in directory.glob("Pulumi.*.yaml"):
            if file.read_text().startswith(STACK_FILE_HEADER):
                file.unlink()


def status(home: Home) -> Status:
    state = _state(home)
    if not state:
        return Status(str(home.root), "down", [])
    supervisor = _supervisor(state)
    phase = str(state.get("phase", "down"))
    if supervisor is None and phase not in ("failed", "down"):
        phase = "crashed"
    lines = [_line("supervisor", "supervisor", state.get("supervisor"), {})]
    lines += [_line(name, "service", service, service) for name, service in state.get("services", {}).items()]
    restarts = state.get("postgres_restarts", {})
    for record in sorted(home.clusters.glob("*/" + RECORD)):
        lines.append(_server_line(home, record.parent.name, restarts.get(record.parent.name, 0)))
    return Status(str(home.root), phase, lines)


def require_ready(home: Home) -> None:
    """``NotRunning`` unless the local cloud is up."""
    state = _state(home)
    if _supervisor(state) is None or state.get("phase") != "ready" or not home.environment.exists():
        raise NotRunning("the local cloud is not running", hint="Start it with `tenantry local up`")


def life(home: Home) -> str:
    """The present life's name, in the environment of each of its processes; ``NotRunning`` when there is none."""
    require_ready(home)
    return str(_state(home)["life"])


def _state(home: Home) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(home.state.read_text())
        return document
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def _provisioner(home: Home) -> Identity | None:
    try:
        return Identity.parse(json.loads(home.provisioner.read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _supervisor(state: dict[str, Any]) -> Identity | None:
    identity = Identity.parse(state.get("supervisor"))
    return identity if identity is not None and identity.is_alive() else None


def _spawn_supervisor(home: Home, life: str) -> None:
    environ = {**process_environment({}, dict(os.environ)), "PYTHONPATH": str(REPOSITORY), LIFE_VARIABLE: life}
    descriptor = os.open(home.logs / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # The shell in between ends at once, so that the supervisor is nobody's child and leaves no zombie.
        subprocess.run(
            [
                "/bin/sh",
                "-c",
                '"$@" </dev/null >&2 &',
                "sh",
                sys.executable,
                "-P",
                "-m",
                "localcloud.supervisor",
                home.root,
            ],
            cwd=REPOSITORY,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=descriptor,
            start_new_session=True,
            check=True,
        )
    finally:
        os.close(descriptor)


def _wait_until_ready(home: Home, expected: dict[str, Any]) -> None:
    """Until the state file says ``ready``, or raise with the reason it never will."""
    deadline = time.monotonic() + UP_SECONDS
    seen: Identity | None = None
    while True:
        state = _state(home)
        if state.get("life") == expected.get("life") and state.get("phase") == "ready":
            return
        if state.get("phase") == "failed":
            error = state.get("error") or {}
            raise LocalCloudFailed(str(error.get("message", "it failed")), hint=str(error.get("hint", "")))
        seen = _supervisor(state) or seen
        if seen is not None and not seen.is_alive():
            raise LocalCloudFailed(f"the supervisor ended while starting:\n{_log_tail(home)}")
        if time.monotonic() > deadline:
            raise LocalCloudFailed(f"the local cloud is not ready after {UP_SECONDS:.0f} s:\n{_log_tail(home)}")
        time.sleep(0.03)


def _log_tail(home: Home, lines: int = 15) -> str:
    try:
        return "\n".join((home.logs / "supervisor.log").read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def _end_processes(home: Home, state: dict[str, Any]) -> None:
    """The supervisor, which ends its own; then whatever a killed one left: recorded, of its life, or on its data."""
    # First those who use the rest: a worker hands back what runs while the databases are still there.
    end([identity for identity in (_provisioner(home),) if identity is not None], DOWN_SECONDS)
    supervisor = _supervisor(state)
    if supervisor is not None:
        end([supervisor], DOWN_SECONDS)
    recorded = [Identity.parse(service) for service in state.get("services", {}).values()]
    left = [identity for identity in recorded if identity is not None]
    if state.get("life"):
        left += list(of_life(str(state["life"])))
    end(set(left), 5.0)
    if not home.clusters.exists():
        return
    for record in home.clusters.glob("*/" + RECORD):
        Cluster.load(record.parent, home.authority).destroy()
    # A server whose directory is half made, or half deleted.
    for directory in home.clusters.iterdir():
        end([Identity.of(pid) for pid in orphans(directory / "data")], 5.0)


def _line(name: str, kind: str, identity_document: Any, service: dict[str, Any]) -> Line:
    identity = Identity.parse(identity_document)
    process = identity.process() if identity is not None else None
    state = str(service.get("state", "running"))
    if process is None and state == "running":
        state = "dead"
    port = service.get("port")
    if state == "running" and port and not accepts(int(port)):
        state = "starting"
    pid = process.pid if process is not None else None
    memory = _memory(process, with_children=kind != "supervisor")
    return Line(name, kind, state, port, pid, memory, int(service.get("restarts", 0)), service.get("note"))


def _server_line(home: Home, name: str, restarts: int) -> Line:
    try:
        cluster = Cluster.load(home.clusters / name, home.authority)
    except FileNotFoundError:
        return Line(name, "postgres", "stopped", None, None, None, restarts, None)
    pid = cluster.pid()
    if pid is None:
        state = "stopped" if cluster.wanted == "stopped" else "restarting"
        return Line(name, "postgres", state, cluster.port, None, None, restarts, None)
    state = "running" if cluster.is_ready() else "starting"
    return Line(name, "postgres", state, cluster.port, pid, _memory(psutil.Process(pid)), restarts, None)


def _memory(process: psutil.Process | None, *, with_children: bool = True) -> float | None:
    """Megabytes resident of the process and, without what they share with it, of its children."""
    if process is None:
        return None
    try:
        total = int(process.memory_info().rss)
        for child in process.children(recursive=True) if with_children else ():
            memory = child.memory_info()
            total += int(memory.rss - getattr(memory, "shared", 0))
    except psutil.Error:
        return None
    return round(total / 1e6, 1)
