"""Tenants of every tier to attack each other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.postgres import Cluster
from tenantry import Tenantry
from tests.integration.isolation.estate import ROOT, Estate, make_estate

TENANTS = {
    "acme": "pool",
    "globex": "pool",
    "initech": "bridge",
    "umbrella": "bridge",
    "hooli": "silo",
    "stark": "silo",
}


@pytest.fixture(scope="module")
def aws_server() -> Iterator[str]:
    """URL of an AWS of the module's own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.isolation.aws_server"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        assert port.isdigit(), f"the server did not start: exit code {process.poll()}"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


@pytest.fixture(scope="module")
def estate(postgres_server: Cluster, aws_server: str, service_directory: Path) -> Iterator[Estate]:
    """Shared by a module's tests: who breaks something, mends it."""
    with make_estate(postgres_server, aws_server, service_directory, TENANTS) as made:
        yield made


@pytest.fixture(scope="module")
def sdk(estate: Estate) -> Iterator[Tenantry]:
    with Tenantry(estate.config()) as made:
        yield made
