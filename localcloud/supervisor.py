"""The one process behind `tenantry local up`: starts the services, restarts what dies, ends all on SIGTERM.

``python -m localcloud.supervisor`` is started detached by :mod:`localcloud.lifecycle`, which reads ``state.json``.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from localcloud import environment
from localcloud.home import REPOSITORY, Home
from localcloud.identity import LIFE_VARIABLE, Identity, end
from localcloud.locks import file_lock
from localcloud.postgres import Cluster, ClusterFailed
from localcloud.postgres.cluster import RECORD
from localcloud.postgres.master import create_database
from localcloud.postgres.ports import free_port
from localcloud.postgres.tls import write_file
from localcloud.services import Service, child_environment, services
from provisioner.errors import OperatorNeeded, TenantryError

log = logging.getLogger("supervisor")

START_SECONDS = 60.0
STOP_SECONDS = 5.0
WATCH_SECONDS = 0.3
#: Delay before the next restart of what keeps dying: doubled each time, reset after a minute of life.
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
_STABLE_SECONDS = 60.0
_PORTS = ("control-plane", "moto", "aws", "tenantry-postgres", "stripe", "smtp", "mail", "api")


class ServiceFailed(OperatorNeeded):
    """A service ended, or was not ready in time; the message ends with the tail of its log."""

    code = "service_failed"


class Child:
    """A service's process, and how often it had to be started again."""

    def __init__(self, service: Service, home: Home, environ: dict[str, str]) -> None:
        self.service = service
        self.log = home.logs / f"{service.name}.log"
        self.restarts = 0
        self.lost = False
        self.process: subprocess.Popen[bytes] | None = None
        self.identity: Identity | None = None
        self._environ = environ
        self._next_start = 0.0
        self._delay = _FIRST_DELAY
        self._started_at = 0.0

    def start(self) -> None:
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self.process = subprocess.Popen(
                self.service.command,
                cwd=REPOSITORY,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            os.close(output)
        self._started_at = time.monotonic()
        self.identity = Identity.of(self.process.pid)

    def wait_until_ready(self, stop: threading.Event) -> None:
        """Raises :class:`ServiceFailed`."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self.service.ready():
            if self.process.poll() is not None:
                code = self.process.returncode
                raise ServiceFailed(f"the local service {self.service.name} ended with code {code}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"the local service {self.service.name} is not ready after {START_SECONDS:.0f} s:\n{self.tail()}"
                )
            if stop.wait(0.03):
                return
        log.info("%s is ready after %.1f s", self.service.name, time.monotonic() - self._started_at)

    def tend(self) -> bool:
        """Start it again if it died and its turn has come. Whether anything changed."""
        assert self.process is not None
        if self.lost or self.process.poll() is None:
            return False
        if self.identity is not None:
            self.identity = None
            log.error("%s died with exit code %s", self.service.name, self.process.returncode)
            if self.service.lost_when_it_dies is not None:
                self.lost = True
                log.error("%s is not started again: %s", self.service.name, self.service.lost_when_it_dies)
                return True
            if time.monotonic() - self._started_at > _STABLE_SECONDS:
                self._delay = _FIRST_DELAY
            self._next_start = time.monotonic() + self._delay
            self._delay = min(self._delay * 2, _LONGEST_DELAY)
            return True
        if time.monotonic() < self._next_start:
            return False
        self.restarts += 1
        self.start()
        log.warning("%s started again (restart %d)", self.service.name, self.restarts)
        return True

    def tail(self, lines: int = 15) -> str:
        with suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return "(no log)"

    def describe(self) -> dict[str, Any]:
        state = "lost" if self.lost else "running" if self.identity else "restarting"
        return {
            "port": self.service.port,
            "pid": self.identity.pid if self.identity else None,
            "started": self.identity.started if self.identity else None,
            "restarts": self.restarts,
            "state": state,
            "note": self.service.lost_when_it_dies if self.lost else None,
            "log": str(self.log),
        }


class Supervisor:
    """One life of a local cloud. ``run`` returns when it is over."""

    def __init__(self, home: Home, life: str) -> None:
        self._home = home
        self._life = life
        self._stop = threading.Event()
        self._phase = "starting"
        self._error: dict[str, str] | None = None
        self._children: list[Child] = []
        self._restarts: dict[str, int] = {}
        self._retry_at: dict[str, float] = {}
        self._ports: dict[str, int] = {}
        self._written = ""

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stop.set())
        started = time.monotonic()
        try:
            self._write_state()
            self._start()
        except Exception as error:
            self._fail(error)
            self._end_all()
            return 1
        if not self._stop.is_set():
            self._phase = "ready"
            self._write_state()
            log.info("ready after %.1f s", time.monotonic() - started)
        while not self._stop.wait(WATCH_SECONDS):
            self._watch()
        self._phase = "stopping"
        self._write_state()
        self._end_all()
        return 0

    def _fail(self, error: Exception) -> None:
        known = isinstance(error, TenantryError)
        if not known:
            log.exception("starting failed")
        message = error.message if isinstance(error, TenantryError) else f"{type(error).__name__}: {error}"
        hint = error.hint if isinstance(error, TenantryError) else f"See {self._home.logs / 'supervisor.log'}"
        self._phase, self._error = "failed", {"message": message, "hint": hint}
        self._write_state()

    def _start(self) -> None:
        while len(set(self._ports.values())) < len(_PORTS):
            self._ports = {name: free_port() for name in _PORTS}
        credentials = environment.Credentials.generate()
        self._home.prepare()
        exports = environment.compose(self._home, credentials, self._ports)
        ambient = environment.process_environment({}, dict(os.environ))
        environ = {**child_environment(exports, ambient), LIFE_VARIABLE: self._life}
        # The superuser's and the control plane's login are no defaults of a service's own connections.
        environ = {name: value for name, value in environ.items() if not name.startswith("PG")}
        self._children = [
            Child(service, self._home, environ)
            for service in services(
                self._home,
                self._ports,
                credentials.stripe_api_key,
                exports["TENANTRY_API_URL"] + "/webhooks/stripe",
                credentials.stripe_webhook_secret,
            )
        ]
        for child in self._children:
            child.start()
        self._write_state()
        with ThreadPoolExecutor(len(self._children) + 1) as pool:
            waiting = [pool.submit(self._start_control_plane, credentials.control_plane_password)]
            waiting += [pool.submit(child.wait_until_ready, self._stop) for child in self._children]
            try:
                for future in waiting:
                    future.result()
            except BaseException:
                self._stop.set()
                raise
        environment.save(self._home, exports)

    def _start_control_plane(self, password: str) -> None:
        cluster = Cluster.create(
            self._home.clusters / "control-plane", authority=self._home.authority, port=self._ports["control-plane"]
        )
        cluster.start()
        user, database = environment.CONTROL_PLANE_USER, environment.CONTROL_PLANE_DATABASE
        with cluster.admin() as admin:
            from psycopg import sql

            admin.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                    sql.Identifier(user), sql.Literal(password)
                )
            )
            create_database(admin, database, user)

    def _watch(self) -> None:
        for child in self._children:
            child.tend()
        for directory in sorted(self._home.clusters.glob("*/" + RECORD)):
            self._tend_cluster(directory.parent)
        self._write_state()

    def _tend_cluster(self, directory: Path) -> None:
        if time.monotonic() < self._retry_at.get(directory.name, 0.0):
            return
        try:
            if Cluster.load(directory, self._home.authority).revive():
                self._restarts[directory.name] = self._restarts.get(directory.name, 0) + 1
                log.error("PostgreSQL %s had died; started again", directory.name)
        except FileNotFoundError:
            return
        except (ClusterFailed, OSError) as error:
            self._retry_at[directory.name] = time.monotonic() + _LONGEST_DELAY
            log.error("PostgreSQL %s can't be started again: %s", directory.name, error)

    def _end_all(self) -> None:
        """All at once: services are asked to end, servers are stopped cleanly."""
        clusters = [path.parent for path in self._home.clusters.glob("*/" + RECORD)]
        with ThreadPoolExecutor(max(1, min(16, len(clusters)))) as pool:
            stopping = [pool.submit(self._stop_cluster, directory) for directory in clusters]
            end([child.identity for child in self._children if child.identity], STOP_SECONDS)
            for future in stopping:
                future.result()
        for child in self._children:
            if child.process is not None:
                child.process.wait()
                child.identity = None

    def _stop_cluster(self, directory: Path) -> None:
        with suppress(FileNotFoundError, ClusterFailed):
            Cluster.load(directory, self._home.authority).stop()

    def _write_state(self) -> None:
        own = Identity.of(os.getpid())
        document = {
            "life": self._life,
            "phase": self._phase,
            "error": self._error,
            "supervisor": {"pid": own.pid, "started": own.started},
            "ports": self._ports,
            "services": {child.service.name: child.describe() for child in self._children},
            "postgres_restarts": self._restarts,
        }
        text = json.dumps(document, indent=2)
        if text != self._written:
            write_file(self._home.state, text.encode(), 0o600)
            self._written = text


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    home = Home(Path(sys.argv[1]))
    try:
        with file_lock(home.supervisor_lock, blocking=False):
            return Supervisor(home, os.environ[LIFE_VARIABLE]).run()
    except BlockingIOError:
        log.error("another supervisor runs on %s", home.root)
        return 1


if __name__ == "__main__":
    sys.exit(main())
