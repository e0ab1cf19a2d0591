"""Engines that are interrupted, killed, or lose their worker: the stack is usable and nothing exists twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pulumi
import pytest

from provisioner.deployer import StackRequest
from provisioner.deployer.command import EngineProcess, kill_recorded
from provisioner.errors import EngineFailed, OperatorNeeded, StackLocked

ROOT = Path(__file__).parents[4]


class Running:
    """An update in a thread, as a worker runs it."""

    def __init__(self, deployer: Any, request: StackRequest) -> None:
        self.error: BaseException | None = None
        self.engine: EngineProcess | None = None
        self._thread = threading.Thread(target=self._run, args=(deployer, request))
        self._thread.start()

    def _run(self, deployer: Any, request: StackRequest) -> None:
        try:
            deployer.up(request, on_start=lambda engine: setattr(self, "engine", engine))
        except BaseException as error:
            self.error = error

    def join(self, seconds: float = 60) -> BaseException | None:
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        return self.error


def request(program: Any, **fields: Any) -> StackRequest:
    return StackRequest("acme", program, {}, **fields)


def test_what_a_killed_engine_had_created_is_adopted_and_not_created_again(
    workbench: Any, thing: Any, fake_cloud: Any, wait_until: Any
) -> None:
    def program(delay: float = 0) -> None:
        first = thing("first", value="1")
        second = thing("second", value="1", delay=delay, opts=pulumi.ResourceOptions(depends_on=[first]))
        pulumi.export("url", second.url)

    deployer = workbench.deployer()
    running = Running(deployer, request(lambda: program(20)))
    wait_until(lambda: "second" in fake_cloud.names(), "the second create began")
    deployer.kill()
    assert isinstance(running.join(), EngineFailed)
    assert len(workbench.state.locks("acme")) == 1
    assert [op["type"] for op in workbench.state.deployment("acme")["pending_operations"]] == ["creating"]

    result = workbench.deployer().up(request(lambda: program(20)))

    assert [urn.rsplit("::", 1)[-1] for urn in result.adopted] == ["second"]
    assert result.outputs == {"url": "fake://second"}
    assert fake_cloud.log().count("create second") == 1
    assert workbench.state.locks("acme") == []
    assert "pending_operations" not in workbench.state.deployment("acme")
    assert not workbench.deployer().up(request(lambda: program(20))).changed


def test_what_a_killed_engine_had_not_created_is_created_by_the_next_update(
    workbench: Any, thing: Any, fake_cloud: Any, wait_until: Any
) -> None:
    deployer = workbench.deployer()
    running = Running(deployer, request(lambda: thing("bucket", value="1", delay=20) and None))
    wait_until(lambda: "bucket" in fake_cloud.names(), "the create began")
    deployer.kill()
    running.join()
    (fake_cloud.directory / "bucket.json").unlink()

    result = workbench.deployer().up(request(lambda: thing("bucket", value="1") and None))
    assert result.adopted == ()
    assert result.changes["create"] == 1
    assert fake_cloud.names() == {"bucket"}


def test_an_update_killed_midway_is_read_again_and_finished(
    workbench: Any, thing: Any, fake_cloud: Any, wait_until: Any
) -> None:
    deployer = workbench.deployer()
    deployer.up(request(lambda: thing("bucket", value="1") and None))
    running = Running(deployer, request(lambda: thing("bucket", value="2", delay=20) and None))
    wait_until(lambda: "update bucket" in fake_cloud.log(), "the update began")
    deployer.kill()
    running.join()
    result = workbench.deployer().up(request(lambda: thing("bucket", value="3") and None))
    assert result.changes["update"] == 1
    assert "read bucket" in fake_cloud.log()


def test_without_a_finder_pending_creates_need_an_operator(
    workbench: Any, thing: Any, fake_cloud: Any, wait_until: Any
) -> None:
    deployer = workbench.deployer()
    running = Running(deployer, request(lambda: thing("bucket", value="1", delay=20) and None))
    wait_until(lambda: "bucket" in fake_cloud.names(), "the create began")
    deployer.kill()
    running.join()
    blind = workbench.deployer()
    blind._finder = None
    with pytest.raises(OperatorNeeded, match="pending"):
        blind.up(request(lambda: None))


def test_an_interrupt_saves_the_state_and_leaves_no_lock(
    workbench: Any, thing: Any, fake_cloud: Any, wait_until: Any
) -> None:
    deployer = workbench.deployer()
    running = Running(deployer, request(lambda: thing("bucket", value="1", delay=60) and None))
    wait_until(lambda: "bucket" in fake_cloud.names(), "the create began")
    began = time.monotonic()
    deployer.interrupt()
    error = running.join()
    assert isinstance(error, EngineFailed)
    assert "interrupted" in str(error)
    assert time.monotonic() - began < 10
    assert workbench.state.locks("acme") == []
    assert workbench.deployer().up(request(lambda: thing("bucket", value="1") and None)).changes["create"] >= 1


def test_a_live_owners_lock_is_respected_and_a_dead_ones_cleared(workbench: Any, thing: Any) -> None:
    deployer = workbench.deployer()
    deployer.up(request(lambda: None))
    key = f"{workbench.state._backend.prefix}.pulumi/locks/organization/tenantry/acme/%s.json"
    import base64
    import json
    import socket

    def lock(name: str, pid: int, hostname: str = socket.gethostname()) -> None:
        content = {"pid": pid, "username": "u", "hostname": hostname, "timestamp": "2036-01-02T03:04:05.123456789Z"}
        data = json.dumps({"data": base64.b64encode(json.dumps(content).encode()).decode()})
        with workbench.connect() as connection:
            connection.execute("INSERT INTO pulumi_state (key, data) VALUES (%s, %s)", [key % name, data])

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock("dead", ended.pid)
    deployer.up(request(lambda: None))
    assert workbench.state.locks("acme") == []
    for name, pid, hostname in (("here", os.getpid(), socket.gethostname()), ("elsewhere", 4711, "another-host")):
        lock(name, pid, hostname)
        with pytest.raises(StackLocked, match=str(pid)):
            deployer.up(request(lambda: None))
        for held in workbench.state.locks("acme"):
            workbench.state.delete_lock(held)


WORKER = """
import json, sys
from pathlib import Path
import pulumi
from provisioner.deployer import Deployer, StackRequest

class Thing(pulumi.CustomResource):
    def __init__(self, name, **inputs):
        super().__init__("fake:index:Thing", name, {"name": name, "url": None, **inputs})

environment = json.loads(sys.stdin.read())
deployer = Deployer(pulumi=Path(sys.argv[1]), environment=environment,
                    project={"name": "tenantry", "runtime": "python"}, root=Path(sys.argv[2]))
deployer.up(StackRequest("acme", lambda: Thing("bucket", value="1", delay=60) and None),
            on_start=lambda engine: print(json.dumps([engine.pid, engine.started]), flush=True))
"""


def test_an_engine_dies_with_its_worker(workbench: Any, fake_cloud: Any, wait_until: Any) -> None:
    import json

    workbench.cli("stack", "init", "acme")
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(workbench.pulumi), str(workbench.directory)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker.stdin, worker.stdout:
        worker.stdin.write(json.dumps(workbench.environment))
        worker.stdin.close()
        pid, started = json.loads(worker.stdout.readline())
        wait_until(lambda: "bucket" in fake_cloud.names(), "the create began")
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    wait_until(lambda: not psutil.pid_exists(pid), "the engine ended", 5)
    assert kill_recorded(EngineProcess(pid, started)) is False


def test_only_the_recorded_process_is_killed_by_its_record() -> None:
    child = subprocess.Popen(["sleep", "60"])
    started = psutil.Process(child.pid).create_time()
    assert kill_recorded(EngineProcess(child.pid, started - 10)) is False
    assert child.poll() is None
    assert kill_recorded(EngineProcess(child.pid, started)) is True
    assert child.wait(5) == -signal.SIGKILL
