"""A worker that kills itself with SIGKILL as it logs a given line, so the service itself knows of no crash points.

Commands come on stdin, one JSON object a line, and each is answered by one on stdout:

``{"do": "go"}``: begin to work (until then it is started and warm, and does nothing).
``{"do": "arm", "event": ..., "where": {...}, "nth": n, "survive": bool}``: die at the n-th line of that event whose
fields contain ``where``; with ``survive`` engines that are started from now on outlive the worker.
``{"do": "check", "tenant": ...}``: whether a refresh finds drift, or a preview something to change, in its stack.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

from provisioner import app, housekeeping, logs, settings, stack_request, worker
from provisioner.deployer import OperationResult, StackRequest
from provisioner.engine import launch
from provisioner.registry import leases, platforms, tenants
from provisioner.worker import WorkerProcess

BOUND = str(launch.__file__)
UNBOUND = str(Path(__file__).with_name("unbound.py"))
APP_SCHEMA = Path(__file__).parents[3] / "example" / "app_schema"


class Trap:
    """A structlog processor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plan: dict[str, Any] | None = None
        self._seen = 0

    def arm(self, plan: dict[str, Any]) -> None:
        with self._lock:
            self._plan, self._seen = plan, 0

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        plan = self._plan
        if plan is not None and event["event"] == plan["event"]:
            with self._lock:
                self._seen += all(str(event.get(name)) == value for name, value in plan["where"].items())
                if self._seen == plan["nth"]:
                    os.write(2, json.dumps({**event, "event": "killed", "at": plan}, default=str).encode() + b"\n")
                    os.kill(os.getpid(), signal.SIGKILL)
        return event


def hurry() -> None:
    """Heartbeats every second, and whoever misses four of them is dead: tests take over in 5 s instead of 15."""
    for module in (leases, worker, housekeeping):
        for name, seconds in (("HEARTBEAT_S", 1.0), ("SILENCE_S", 4.0), ("STALLED_EVERY_S", 1.0)):
            if hasattr(module, name):
                setattr(module, name, seconds)


async def check(process: WorkerProcess, tenant_id: str) -> dict[str, Any]:
    operator = process.operator
    async with process.housekeeping.pool.connection() as connection:
        record = await tenants.get(connection, tenant_id)
        assert record is not None
        assert record.tenant_spec is not None
        platform = await platforms.get(connection, record.cell)
    assert platform is not None
    assert platform.platform_outputs is not None
    inputs = stack_request.of_tenant(record.tenant_spec, platform.platform_outputs, APP_SCHEMA)
    deployer = operator._deployer
    async with operator.hold(record.stack_name, wait_s=10) as held:
        request = StackRequest(inputs.stack_name, inputs.program, config=inputs.config, fence=held.fence)
        refreshed = await asyncio.to_thread(deployer.refresh, request)
        previewed = await asyncio.to_thread(deployer.preview, request)
    return {"drift": _changes(refreshed), "changes": _changes(previewed)}


def _changes(result: OperationResult) -> list[str]:
    return [f"{step.op} {step.type} {step.name} {step.changed}" for step in result.steps if step.op != "same"]


async def main() -> None:
    logs.configure(level=logging.DEBUG, text=False)
    trap = Trap()
    processors = structlog.get_config()["processors"]
    structlog.configure(processors=[processors[0], trap, *processors[1:]])
    if "--hurry" in sys.argv:
        hurry()
    loop = asyncio.get_running_loop()
    go = asyncio.Event()
    async with app.open_worker(settings.load()) as process:

        async def obey(command: dict[str, Any]) -> Any:
            match command["do"]:
                case "go":
                    go.set()
                case "arm":
                    launch.__file__ = UNBOUND if command.get("survive") else BOUND
                    trap.arm(command)
                case "check":
                    return await check(process, command["tenant"])
            return {}

        def listen() -> None:
            for line in sys.stdin:
                answer = asyncio.run_coroutine_threadsafe(obey(json.loads(line)), loop)
                try:
                    document = answer.result()
                except Exception as error:
                    document = {"error": f"{type(error).__name__}: {error}"}
                print(json.dumps(document), flush=True)

        threading.Thread(target=listen, daemon=True).start()
        print(json.dumps({"started": os.getpid()}), flush=True)
        await go.wait()
        await process.run()


if __name__ == "__main__":
    asyncio.run(main())
