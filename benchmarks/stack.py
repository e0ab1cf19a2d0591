"""Stacks created by a warm worker against the plain ``pulumi up``; from the webhook to a ready tenant; the no-change
reconcile; memory. The providers' own time is taken off both sides of the first comparison."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import select
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import yaml

from benchmarks import report
from benchmarks.cloud import Cloud, open_cloud
from benchmarks.provider_clock import busy
from benchmarks.report import Bar, Report, Side, progress
from benchmarks.sales import Sales
from components.spec import PlatformOutputs, TenantSpec
from components.tiers import Tier
from localcloud.home import REPOSITORY
from provisioner import app, logs, materialise, stack_request
from provisioner.billing import catalogue as catalogues
from provisioner.deployer import Deployer, StackRequest
from provisioner.desired import Installation
from provisioner.engine.runtime import prepare
from provisioner.engine.state import PostgresState
from provisioner.finder import AwsFinder
from provisioner.gate.gatekeeper import Gatekeeper
from provisioner.reconcile import Outcome
from provisioner.registry import platforms, tenants
from provisioner.settings import Settings, load

PLANS = {Tier.POOL: "starter", Tier.BRIDGE: "team", Tier.SILO: "enterprise"}
OPERATION_BAR = 0.5
READY_BAR = 0.8
NO_CHANGE_BAR_MS = 20.0
WORKER_BAR_MB = 400.0
OPERATIONS = 30
READY_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Timed:
    wall: float  #: seconds
    providers: float  #: of them, those in which a provider was working

    @property
    def own(self) -> float:
        return self.wall - self.providers


def measure(arguments: argparse.Namespace, result: Report) -> None:
    logs.configure(level=logging.WARNING)
    with open_cloud(arguments.home) as cloud, clocked(cloud) as (timed, calls):
        os.environ.update(timed.environ)
        settings = load()
        sales = Sales(timed)
        try:
            with timed.serving(), timed.working() as worker:
                platform = wait_for_platform(timed)
                rounds = 1 if arguments.quick else 5
                _creations(timed, settings, platform, sales, calls, result, rounds)
                _no_change(settings, result, times=20 if arguments.quick else 200)
                _memory(timed, sales, worker, result, OPERATIONS if not arguments.quick else 3)
        finally:
            sales.close()


@contextlib.contextmanager
def clocked(cloud: Cloud) -> Iterator[tuple[Cloud, Path]]:
    """The cloud with a clock between engines and providers, and the file that it writes."""
    calls = cloud.home.root / "calls.txt"
    calls.touch()
    providers = cloud.environ["PULUMI_DEBUG_PROVIDERS"].split(",")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "benchmarks.provider_clock", str(calls), *providers],
        cwd=REPOSITORY,
        env=cloud.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        changed = {"PULUMI_DEBUG_PROVIDERS": process.stdout.readline().strip()}
        yield replace(cloud, environ={**cloud.environ, **changed}, settings={**cloud.settings, **changed}), calls
    finally:
        process.terminate()
        process.wait()


def wait_for_platform(cloud: Cloud) -> PlatformOutputs:
    progress("the platform's stack")

    def outputs() -> PlatformOutputs | None:
        async def ask() -> PlatformOutputs | None:
            async with await psycopg.AsyncConnection.connect(cloud.database_url) as connection:
                try:
                    record = await platforms.get(connection, "default")
                except psycopg.errors.UndefinedTable:
                    return None
            return None if record is None else record.platform_outputs

        return asyncio.run(ask())

    cloud.wait_until(outputs, "the platform stands", READY_TIMEOUT_S)
    found = outputs()
    assert found is not None
    return found


# Creating


def _creations(
    cloud: Cloud,
    settings: Settings,
    platform: PlatformOutputs,
    sales: Sales,
    calls: Path,
    result: Report,
    rounds: int,
) -> None:
    app.warm_up()
    maker = Maker(settings, platform)
    try:
        progress("one stack to warm up")
        maker.deploy(maker.spec("warm", Tier.POOL))
        for tier in Tier:
            plain, ours, ready = [], [], []
            for turn in range(rounds):
                progress(f"{tier}, round {turn + 1} of {rounds}")
                plain.append(_timed(calls, lambda tier=tier, turn=turn: maker.plain(maker.spec(f"p{turn}", tier))))
                ours.append(_timed(calls, lambda tier=tier, turn=turn: maker.deploy(maker.spec(f"o{turn}", tier))))
                ready.append(_event_to_ready(cloud, sales, f"{tier}-e{turn}", PLANS[tier]))
            result.bars.append(
                report.ratio(
                    f"{tier}: creating operation, without the providers' time",
                    Side.of("warm worker", [each.own for each in ours], "s"),
                    Side.of("pulumi up --skip-preview", [each.own for each in plain], "s"),
                    OPERATION_BAR,
                )
            )
            result.bars.append(
                report.ratio(
                    f"{tier}: from the webhook to ready",
                    Side.of("event to ready", ready, "s"),
                    Side.of("pulumi up --skip-preview, whole", [each.wall for each in plain], "s"),
                    READY_BAR,
                )
            )
            result.notes[f"{tier} providers' time"] = {
                "worker_s": round(statistics.median(each.providers for each in ours), 3),
                "plain_s": round(statistics.median(each.providers for each in plain), 3),
            }
    finally:
        maker.close()


def _timed(calls: Path, work: Any) -> Timed:
    began = time.monotonic()
    work()
    ended = time.monotonic()
    return Timed(ended - began, busy(calls, began, ended))


class Maker:
    """Creates stacks in both ways from the same specs."""

    def __init__(self, settings: Settings, platform: PlatformOutputs) -> None:
        self._settings = settings
        self._platform = platform
        self._plans = catalogues.load(settings.catalogue)
        self._installation: Installation = app.installation(settings)
        self._state: PostgresState = app.state(settings)
        self._secrets_provider = app.secrets_provider(settings)
        engine = prepare(settings.home)
        backend = settings.pulumi_backend_url().replace("postgresql://", "postgres://", 1)
        self._pulumi = engine.pulumi
        self._environment = engine.environment(backend_url=backend)
        self._deployer = Deployer(
            pulumi=engine.pulumi,
            environment=self._environment,
            project=yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text()),
            root=REPOSITORY,
            store=self._state,
            finder=AwsFinder(settings.region),
        )
        self._files = tempfile.TemporaryDirectory(prefix="tenantry-bench-stacks-")

    def close(self) -> None:
        self._state.close()
        self._files.cleanup()

    def spec(self, name: str, tier: Tier) -> TenantSpec:
        plan = self._plans.plan(PLANS[tier])
        return TenantSpec(
            installation=self._installation.name,
            environment=self._installation.environment,
            tenant_id=f"{tier}-{name}",
            tier=tier,
            plan=plan.name,
            instance=plan.instance,
            app_schema_version=self._installation.app_schema_version,
        )

    def deploy(self, spec: TenantSpec) -> None:
        """As the worker's operator does it, but for the gate: `benchmarks.gate` tells what that costs."""
        self._deployer.up(self._request(spec))

    def preview(self, spec: TenantSpec) -> None:
        """What a gate can't do without."""
        self._deployer.preview(self._request(spec))

    def deploy_through(self, keeper: Gatekeeper, spec: TenantSpec) -> float:
        """As the worker's operator does it; seconds that evaluation took, of the whole."""
        request = self._request(spec)
        standing = self._state.deployment(request.stack_name) or {}
        judgement = keeper.open(request.stack_name, request.config, standing)
        assert not judgement.found_standing
        try:
            self._deployer.up(replace(request, gate=judgement.judge))
            judgement.recheck(self._state.deployment(request.stack_name) or {})
        finally:
            judgement.close()
        return judgement.seconds

    def _request(self, spec: TenantSpec) -> StackRequest:
        inputs = stack_request.of_tenant(spec, self._platform, self._settings.app_schema)
        return StackRequest(
            inputs.stack_name, inputs.program, config=inputs.config, secrets_provider=self._secrets_provider
        )

    def plain(self, spec: TenantSpec) -> None:
        """The command that a person types. Its stack exists already, and its file is not timed either."""
        inputs = stack_request.of_tenant(spec, self._platform, self._settings.app_schema)
        file = materialise.write(inputs, self._state, self._secrets_provider, directory=Path(self._files.name))
        self._state.ensure_stack(inputs.stack_name)
        subprocess.run(
            [
                *(self._pulumi, "up", "--stack", inputs.stack_name, "--config-file", file),
                *("--skip-preview", "--yes", "--non-interactive"),
            ],
            cwd=REPOSITORY,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )


def _event_to_ready(cloud: Cloud, sales: Sales, tenant_id: str, plan: str) -> float:
    """Seconds from the POST of the event to the commit that makes the tenant ready."""
    event = sales.sell(tenant_id, plan)
    with cloud.connect() as connection:
        connection.execute("LISTEN tenantry_placement")
        began = time.monotonic()
        sales.post(event)
        deadline = began + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            # As a list: the connection asks nothing while its notifications are iterated over.
            for notice in list(connection.notifies(timeout=1.0, stop_after=1)):
                at = time.monotonic()
                if notice.payload == tenant_id and _state_of(connection, tenant_id) == "ready":
                    return at - began
    raise TimeoutError(f"{tenant_id} is not ready after {READY_TIMEOUT_S:.0f} s; see {cloud.home.logs}/worker.log")


def _state_of(connection: psycopg.Connection[Any], tenant_id: str) -> str | None:
    row = connection.execute("SELECT state FROM registry.tenant WHERE tenant_id = %s", [tenant_id]).fetchone()
    return None if row is None else str(row[0])


# Standing


def _no_change(settings: Settings, result: Report, *, times: int) -> None:
    progress(f"{times} reconciles that change nothing")
    ours, baseline = asyncio.run(_reconciles(settings, times))
    side = Side.of("reconcile", ours, "ms")
    bare = Side.of("refetch and one SELECT", baseline, "ms")
    result.bars.append(
        Bar(
            "reconcile that changes nothing",
            side.value,
            NO_CHANGE_BAR_MS,
            "ms",
            ours=_short(side),
            baseline=_short(bare),
        )
    )


async def _reconciles(settings: Settings, times: int) -> tuple[list[float], list[float]]:
    names = [f"{tier}-e0" for tier in Tier]
    ours, baseline = [], []
    async with app.open_core(settings) as core:
        for turn in range(times + 5):
            name = names[turn % len(names)]
            began = time.perf_counter()
            outcome = await core.reconciler.reconcile(name, "benchmark")
            between = time.perf_counter()
            async with core.pool.connection() as connection:
                record = await tenants.get(connection, name)
            assert record is not None
            assert record.stripe_customer_id is not None
            await core.gateway.subscriptions_of(record.stripe_customer_id)
            ended = time.perf_counter()
            if outcome is not Outcome.UNCHANGED:
                raise RuntimeError(f"reconcile of {name}: {outcome}")
            if turn >= 5:  # the first ones open connections
                ours.append(1000 * (between - began))
                baseline.append(1000 * (ended - between))
    return ours, baseline


def _short(side: Side) -> Side:
    return replace(side, samples=())


def _memory(cloud: Cloud, sales: Sales, worker: psutil.Process, result: Report, operations: int) -> None:
    engine = _EnginePeak(worker)
    with cloud.connect() as connection:
        done = _operations(connection)
        for number in range(max(0, operations - done)):
            progress(f"operations of the worker: {done + number} of {operations}")
            _event_to_ready(cloud, sales, f"memory-{number}", PLANS[Tier.POOL])
        done = _operations(connection)
    engine.stop()
    result.bars.append(
        Bar(
            f"memory of the worker process after {done} operations",
            worker.memory_info().rss / 1e6,
            WORKER_BAR_MB,
            "MB",
            ours=Side("its engine child at its peak", engine.peak / 1e6, "MB"),
        )
    )


def _operations(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT count(*) FROM registry.operation WHERE status = 'succeeded'").fetchone()
    return 0 if row is None else int(row[0])


class _EnginePeak:
    """Looks at the worker's children ten times a second."""

    def __init__(self, worker: psutil.Process) -> None:
        self.peak = 0
        self._worker = worker
        self._stop, self._stopping = os.pipe()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        os.write(self._stopping, b".")
        self._thread.join()
        os.close(self._stop)
        os.close(self._stopping)

    def _watch(self) -> None:
        while not select.select([self._stop], [], [], 0.1)[0]:
            with contextlib.suppress(psutil.Error):
                children = self._worker.children(recursive=True)
                self.peak = max(self.peak, sum(child.memory_info().rss for child in children))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--home", default=os.environ.get("TENANTRY_BENCH_HOME"), help="data directory of the local cloud"
    )


if __name__ == "__main__":
    sys.exit(report.main("stack", __doc__, measure, options))
