"""A live local system, into which one fault after the other is put."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.postgres import Cluster
from tenantry import Tenantry
from tests.acceptance.conftest import ROOT, new_shell
from tests.acceptance.test_lifecycle import Service, ready
from tests.integration.isolation.estate import make_estate
from tests.integration.mutations.aws_world import PLANS, Installation, standing
from tests.integration.mutations.database_world import TENANTS, World


@pytest.fixture(scope="module")
def world(postgres_server: Cluster, moto_server: str, service_directory: Path) -> Iterator[World]:
    """Tenants of every tier in databases that the resource provider made, with rows of each in each table."""
    with (
        make_estate(postgres_server, moto_server, service_directory, TENANTS) as estate,
        World(estate, Tenantry(estate.config())) as made,
    ):
        made.fill()
        yield made


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """Tenants of every tier that the engine made, and after that nothing but the service and the cloud."""
    home = Path(tempfile.gettempdir()) / f"tenantry-mutations-{secrets.token_hex(4)}"
    shell = new_shell(home)
    serving: subprocess.Popen[bytes] | None = None
    try:
        shell.run('bin/tenantry local up && eval "$(bin/tenantry local env)" && bin/tenantry stripe seed')
        shell.environment |= {"TENANTRY_STACK_FILES": str(home)}
        service = Service(shell, ROOT / "example" / "app_schema")
        service.start()
        try:
            for tenant, plan in PLANS.items():
                service.ask(f"stripe subscribe {tenant} --plan {plan}")
            for tenant in PLANS:
                service.wait(tenant, ready, "ready")
            service.stop()
        finally:
            service.kill()
        # no worker any more: it would prove and mend at the same time
        serving = subprocess.Popen(
            ["bin/tenantry", "serve"],
            cwd=ROOT,
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        shell.run('until curl -sf "$TENANTRY_API_URL/readyz"; do sleep 0.1; done', timeout=60)
        with pytest.MonkeyPatch.context() as monkeypatch:
            for name, value in shell.environment.items():
                monkeypatch.setenv(name, value)
            with standing() as made:
                yield made
    finally:
        if serving is not None:
            serving.terminate()
            serving.wait(20)
        subprocess.run(["bin/tenantry", "local", "down"], cwd=ROOT, env=shell.environment, check=True, timeout=120)
        shutil.rmtree(home, ignore_errors=True)
