"""The provisioner beside the local cloud: ``tenantry up`` as a detached process of the same life.

Nothing of the service knows: it gets the environment that `tenantry local env` prints. ``tenantry local down`` ends it
with everything else of the life.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from localcloud import environment
from localcloud.home import REPOSITORY, Home
from localcloud.identity import LIFE_VARIABLE, Identity
from localcloud.lifecycle import LocalCloudFailed
from localcloud.postgres.tls import write_file

READY_S = 60.0


def start(home: Home, life: str, *, workers: int = 2) -> bool:
    """Start it, and wait until it answers; False if it runs already. ``LocalCloudFailed`` with the end of its log."""
    if running(home) is not None:
        return False
    settings = environment.shell_environment(home, os.environ)
    environ = {
        **environment.process_environment(settings, dict(os.environ)),
        LIFE_VARIABLE: life,
        "PYTHONPATH": str(REPOSITORY),
    }
    log = home.logs / "provisioner.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "provisioner.cli", "up", "--processes", str(workers)],
            cwd=REPOSITORY,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    write_file(home.provisioner, json.dumps(vars(Identity.of(process.pid))).encode(), 0o600)
    deadline = time.monotonic() + READY_S
    url = settings["TENANTRY_API_URL"] + "/readyz"
    while not _answers(url):
        if process.poll() is not None:
            raise LocalCloudFailed(f"the provisioner ended at its start:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise LocalCloudFailed(f"the provisioner is not ready after {READY_S:.0f} s:\n{_tail(log)}")
        time.sleep(0.05)
    return True


def running(home: Home) -> psutil.Process | None:
    """The process group's parent, if it lives."""
    try:
        identity = Identity.parse(json.loads(home.provisioner.read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return None if identity is None else identity.process()


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
