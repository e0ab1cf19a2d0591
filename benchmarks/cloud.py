"""A local cloud of the benchmark's own, with the service's processes started one by one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from localcloud import environment, lifecycle
from localcloud.home import REPOSITORY, Home
from localcloud.identity import LIFE_VARIABLE

READY_S = 60.0
#: With one of them off, a commit may be lost: its speed says nothing.
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


class NotDurable(RuntimeError):
    """The control plane's PostgreSQL may lose a commit."""


@dataclass(frozen=True)
class Cloud:
    home: Home
    environ: dict[str, str]  #: of every process of the life
    settings: dict[str, str]  #: what `tenantry local env` prints

    @property
    def database_url(self) -> str:
        return self.settings["TENANTRY_DATABASE_URL"]

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database_url, autocommit=True, application_name="tenantry-bench")

    @contextmanager
    def process(
        self, *arguments: str, log: str = "bench", environ: dict[str, str] | None = None
    ) -> Iterator[psutil.Process]:
        """A Python process of the life; it gets SIGTERM at the end, and SIGKILL 30 s later."""
        with (self.home.logs / f"{log}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", *arguments],
                cwd=REPOSITORY,
                env={**self.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield psutil.Process(process.pid)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextmanager
    def serving(self) -> Iterator[psutil.Process]:
        """`tenantry serve`, ready."""
        with self.process("-m", "provisioner.cli", "serve", log="serve") as process:
            self.wait_until(lambda: answers(self.settings["TENANTRY_API_URL"] + "/readyz"), "the service answers")
            yield process

    @contextmanager
    def working(self, environ: dict[str, str] | None = None) -> Iterator[psutil.Process]:
        """`tenantry worker`; it is not ready yet, and begins with the platform."""
        with self.process("-m", "provisioner.cli", "worker", log="worker", environ=environ) as process:
            yield process

    def run(
        self,
        *arguments: str | Path,
        timeout_s: float = 300,
        cwd: Path = REPOSITORY,
        environ: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """A command of the life, to its end; ``CalledProcessError`` with its output if it fails."""
        return subprocess.run(
            [str(argument) for argument in arguments],
            cwd=cwd,
            env={**self.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=True,
        )

    def wait_until(self, done: Any, what: str, timeout_s: float = READY_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not after {timeout_s:.0f} s: {what}; the logs are in {self.home.logs}")
            time.sleep(0.05)


@contextmanager
def open_cloud(home: str | None = None) -> Iterator[Cloud]:
    """A new life in ``home``, by default a temporary directory; it is ended and deleted however this ends."""
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-", ignore_cleanup_errors=True) as temporary:
        place = Home(Path(home) if home else Path(temporary) / "home")
        if lifecycle.status(place).phase == "ready":
            raise SystemExit(f"a local cloud runs in {place.root} already: end it, or choose another --home")
        lifecycle.up(place)
        try:
            settings = environment.shell_environment(place, os.environ)
            settings.pop("TENANTRY_STACK_FILES", None)  # the checkout is to stay as it is
            environ = {
                **environment.process_environment(settings, dict(os.environ)),
                LIFE_VARIABLE: lifecycle.life(place),
                "PYTHONPATH": str(REPOSITORY),
            }
            cloud = Cloud(place, environ, settings)
            require_durable(cloud)
            yield cloud
        finally:
            lifecycle.down(place)


def require_durable(cloud: Cloud) -> None:
    with cloud.connect() as connection:
        for name in DURABLE:
            row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
            if row is None or row[0] != "on":
                raise NotDurable(f"{name} is {row[0] if row else 'unknown'}, not on")


def answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return int(answer.status) == 200
    except OSError:
        return False
