"""A local cloud with the HTTP service beside it, and workers that die where a test says."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import psycopg
from psycopg.rows import dict_row

from localcloud import environment, latency, lifecycle
from localcloud.home import Home
from localcloud.identity import LIFE_VARIABLE
from localcloud.services import accepts
from provisioner import operator_tasks
from provisioner.billing import catalogue as catalogues
from provisioner.billing.storefront import Storefront
from provisioner.cli.stripe_control import LocalControl
from provisioner.engine.state import PostgresState
from tests.integration.crashes import inventory

ROOT = Path(__file__).parents[3]
PLANS = {"pool": "starter", "bridge": "team", "silo": "enterprise"}
#: Runs what follows the host's name as if on another machine: nobody here knows its processes by their host and pid.
ELSEWHERE = (
    *("unshare", *(["--user", "--map-root-user"] if os.geteuid() else []), "--uts"),
    *("sh", "-c", 'hostname "$1" && shift && exec "$@"', "sh"),
)
#: Generous: other tests run on the same cores.
PATIENCE_S = 120.0


def wait_until(condition: Callable[[], Any], what: str | Callable[[], str], seconds: float = PATIENCE_S) -> Any:
    """The first true value of ``condition``; ``what`` was waited for, as a text or what makes one."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not after {seconds:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)


class Mortal:
    """One worker process (``mortal.py``), started and warm; it works from :meth:`go` on."""

    def __init__(self, environment: Mapping[str, str], log: Path, *, hurry: bool, machine: str | None = None) -> None:
        self.log = log
        self._answers: Queue[dict[str, Any]] = Queue()
        command = [
            sys.executable,
            "-P",
            "-u",
            "-m",
            "tests.integration.crashes.mortal",
            *(["--hurry"] if hurry else []),
        ]
        if machine is not None:
            command = [*ELSEWHERE, machine, *command]
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(json.loads(line))

    def answer(self, seconds: float = PATIENCE_S) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            raise AssertionError(f"the worker does not answer:\n{self.tail()}") from None
        assert "error" not in answer, answer["error"]
        return answer

    def tell(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        return self.answer()

    def go(self) -> Mortal:
        self.answer()  # that it has started
        self.tell(do="go")
        return self

    def arm(self, point: Point, *, survive: bool = False) -> None:
        self.tell(do="arm", event=point.event, where=dict(point.where), nth=point.nth, survive=survive)

    def died(self, seconds: float = PATIENCE_S) -> None:
        """Wait until it has killed itself where it was told to."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker never came to its end:\n{self.tail()}") from None
        assert code == -signal.SIGKILL, self.tail()
        assert '"event": "killed"' in self.log.read_text()

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log about ``event``."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]

    def tail(self, lines: int = 25) -> str:
        kept = [line for line in self.log.read_text(errors="replace").splitlines() if '"event": "step.' not in line]
        return "\n".join(line[:400] for line in kept[-lines:])

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        if self.process.stdin is not None and self.process.stdin.closed:
            return
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@dataclass(frozen=True)
class Point:
    """Where a worker dies: at its ``nth`` log line ``event`` whose fields contain ``where``."""

    event: str
    where: tuple[tuple[str, str], ...] = ()
    nth: int = 1

    def __str__(self) -> str:
        return "-".join([self.event, *(value for _, value in self.where), *([str(self.nth)] if self.nth > 1 else [])])


def at(event: str, nth: int = 1, **where: str) -> Point:
    return Point(event, tuple(where.items()), nth)


@dataclass
class World:
    home: Home
    environment: dict[str, str]
    hurry: bool
    _workers: list[Mortal] = field(default_factory=list)
    _others: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _spare: Mortal | None = None
    _numbers: int = 0
    #: Found by an earlier test, and reported there.
    _known: inventory.Things = field(default_factory=inventory.Things)

    # -- its life

    @classmethod
    def begin(cls, *, hurry: bool = True, sweep_s: int = 3600) -> World:
        directory = Path(tempfile.mkdtemp(prefix="tenantry-crash-"))
        if os.geteuid() == 0:
            directory.chmod(0o711)
        home = Home(directory / "home")
        lifecycle.up(home)
        settings = environment.process_environment(environment.shell_environment(home, os.environ), dict(os.environ))
        own = {LIFE_VARIABLE: lifecycle.life(home), "PYTHONPATH": str(ROOT)}
        world = cls(home, {**settings, **own, "TENANTRY_SWEEP_INTERVAL_S": str(sweep_s)}, hurry)
        try:
            world._serve()
            world.storefront.seed()
            world.worker()
            platform = "SELECT outputs FROM registry.platform WHERE outputs IS NOT NULL"
            wait_until(lambda: world.rows(platform), world.tails)
        except BaseException:
            world.end()
            raise
        return world

    def end(self) -> None:
        for worker in self._workers:
            worker.end()
        for process in self._others:
            process.kill()
            process.wait()
        if "storefront" in vars(self):
            self.storefront.close()
        lifecycle.down(self.home)
        shutil.rmtree(self.home.root.parent, ignore_errors=True)

    def _serve(self) -> None:
        with (self.home.logs / "serve.log").open("wb") as log:
            command = [sys.executable, "-P", "-m", "provisioner.cli", "serve"]
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._others.append(process)
        port = int(self.environment["TENANTRY_API_URL"].rsplit(":", 1)[1])
        wait_until(lambda: accepts(port), "the HTTP service listens")

    # -- workers

    def start(self, *, hurry: bool | None = None, machine: str | None = None, **environment: str) -> Mortal:
        """A worker that is started and does not work yet; ``machine``: on another one, of that name."""
        log = self.home.logs / f"worker-{len(self._workers) + 1}.log"
        hurry = self.hurry if hurry is None else hurry
        self._workers.append(Mortal({**self.environment, **environment}, log, hurry=hurry, machine=machine))
        return self._workers[-1]

    def worker(self) -> Mortal:
        """The one that works; another one if it died."""
        working = [worker for worker in self._workers if worker.process.poll() is None and worker is not self._spare]
        return working[-1] if working else self.another()

    def another(self) -> Mortal:
        """One more that works. The next one is always being started, so that none is waited for."""
        successor = (self._spare or self.start()).go()
        self._spare = self.start()
        return successor

    def no_worker_but(self, *spared: Mortal) -> None:
        """End the others that work, as a machine that loses its power does."""
        for worker in self._workers:
            if worker is not self._spare and worker not in spared:
                worker.end()

    def no_worker(self) -> None:
        self.no_worker_but()

    def tails(self) -> str:
        return "\n\n".join(f"{worker.log.name}\n{worker.tail()}" for worker in self._workers[-3:])

    # -- Stripe

    @cached_property
    def storefront(self) -> Storefront:
        catalogue = catalogues.load(Path(self.environment["TENANTRY_CATALOGUE"]))
        key, base = self.environment["TENANTRY_STRIPE_API_KEY"], self.environment["TENANTRY_STRIPE_API_BASE"]
        return Storefront(key, base, catalogue)

    def faults(self, **faults: Any) -> None:
        base, key = self.environment["TENANTRY_STRIPE_API_BASE"], self.environment["TENANTRY_STRIPE_API_KEY"]
        LocalControl(base, key).post("/_local/faults", faults)

    def new_name(self, tier: str) -> str:
        self._numbers += 1
        return f"{tier}-{self._numbers}"

    def subscribe(self, tenant: str, tier: str) -> None:
        self.storefront.subscribe(tenant, PLANS[tier])

    def destroy(self, tenant: str) -> None:
        """What ``tenantry tenants destroy`` does."""

        async def authorise() -> None:
            url = self.environment["TENANTRY_DATABASE_URL"]
            async with await psycopg.AsyncConnection.connect(url) as connection:
                await operator_tasks.destroy(connection, tenant, by="test", reason="the test is over")

        asyncio.run(authorise())

    def delay(self, operation: str, seconds: float) -> None:
        latency.set_delay(self.home.latency, operation, seconds)

    # -- what is there

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.environment["TENANTRY_DATABASE_URL"], row_factory=dict_row) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def answers(self) -> bool:
        """Whether the control plane's database does."""
        try:
            return bool(self.rows("SELECT 1 AS one"))
        except psycopg.OperationalError:
            return False

    def tenant(self, tenant: str) -> dict[str, Any]:
        found = self.rows("SELECT * FROM registry.tenant WHERE tenant_id = %s", tenant)
        return found[0] if found else {"state": None}

    def operations(self, tenant: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM registry.operation WHERE tenant_id = %s ORDER BY operation_id", tenant)

    def timeline(self, tenant: str) -> str:
        query = "SELECT at, kind, summary FROM registry.timeline WHERE tenant_id = %s ORDER BY entry_id"
        return "\n".join(f"{row['at']:%H:%M:%S} {row['kind']} {row['summary']}" for row in self.rows(query, tenant))

    def settled(self, tenant: str) -> bool:
        """Whether nothing is left to do: no event, no job, no retry."""
        (row,) = self.rows(
            "SELECT (SELECT count(*) FROM registry.event WHERE status = 'received') AS events, "
            "(SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing') "
            "    AND (lock = 'tenant:' || %s OR task_name = 'handle_event')) AS jobs, "
            "(SELECT count(*) FROM registry.tenant WHERE tenant_id = %s AND next_attempt_at IS NOT NULL) AS retries",
            tenant,
            tenant,
        )
        return not any(row.values())

    def rests(self, tenant: str, state: str, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until the tenant is ``state`` and nothing is left to do."""

        def there() -> bool:
            return self.tenant(tenant)["state"] == state and self.settled(tenant)

        wait_until(there, lambda: f"{tenant} is {state}\n{self.timeline(tenant)}\n{self.tails()}", seconds)
        return self.tenant(tenant)

    def running_steps(self, tenant: str, type_: str) -> list[dict[str, Any]]:
        """Steps that are under way now, of resources of the type, in the tenant's running operation."""
        return self.rows(
            "SELECT s.*, o.fencing FROM registry.operation_step s JOIN registry.operation o USING (operation_id) "
            "WHERE o.tenant_id = %s AND o.status = 'running' AND s.status = 'running' AND s.type = %s",
            tenant,
            type_,
        )

    def service_pid(self, name: str) -> int:
        """The process of one of the local cloud's services."""
        return int(json.loads(self.home.state.read_text())["services"][name]["pid"])

    # -- what must hold

    def assert_sound(self, tenant: str) -> None:
        """Nothing lost, nothing twice, nothing left behind: in the cloud, the states and the registry."""
        state = PostgresState(self.environment["PULUMI_BACKEND_URL"], "tenantry")
        try:
            in_states, in_cloud = inventory.recorded(state), inventory.existing(self.environment)
            # Its stacks of all its lives; others may be looked at by a sweep just now.
            stacks = {row["stack_name"] for row in self.operations(tenant)}
            locks = [lock for stack in stacks for lock in state.locks(stack)]
            pending = [stack for stack in stacks if (state.deployment(stack) or {}).get("pending_operations")]
        finally:
            state.close()
        orphans, missing = in_cloud - in_states - self._known, in_states - in_cloud - self._known
        self._known.update(orphans + missing)
        story = self.timeline(tenant)
        assert not orphans, f"in no stack's state: {sorted(orphans)}\n{story}"
        assert not missing, f"in a state, and not there: {sorted(missing)}\n{story}"
        assert set(in_states.values()) == {1}, f"twice: {[thing for thing, count in in_states.items() if count > 1]}"
        assert not inventory.servers_without_instance(self.environment, in_cloud)
        assert not locks, f"still locked: {locks}\n{story}"
        assert not pending, f"operations left pending in {pending}\n{story}"
        record = self.tenant(tenant)
        assert record["failure"] is None, record["failure"]
        wait_until(lambda: self.settled(tenant), lambda: f"late deliveries are handled\n{self.tails()}")
        quarantined = self.rows("SELECT event_id, reason FROM registry.event WHERE status = 'quarantined'")
        assert not quarantined, f"events quarantined: {quarantined}"
        operations = self.operations(tenant)
        assert not [row for row in operations if row["status"] == "running"], story
        numbers = [row["fencing"] for row in operations if row["stack_name"] == operations[-1]["stack_name"]]
        assert numbers == sorted(numbers)
        query = "SELECT split_part(application_name, 'tenantry-lease/', 2) AS stack FROM pg_stat_activity"
        held = {row["stack"] for row in self.rows(query)} & stacks
        assert not held, f"leases held still: {held}"

    def assert_at_rest(self, tenant: str) -> None:
        """A refresh finds no drift, and a preview nothing to change."""
        found = self.worker().tell(do="check", tenant=tenant)
        assert found == {"drift": [], "changes": []}, f"{tenant}: {found}"
