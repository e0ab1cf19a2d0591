"""A Pulumi project of the test's own: plain `pulumi` commands, the AWS provider attached, moto behind it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from localcloud.aws.registry import aws_provider
from localcloud.home import Home
from localcloud.postgres import Cluster
from providers.base import start
from providers.base.testing import ProviderClient, serving
from provisioner.engine.runtime import EngineRuntime, prepare
from tests.integration.localcloud.aws.instances import Instances
from tests.integration.localcloud.aws.world import REGION, World

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def provider(moto_server: str) -> Iterator[ProviderClient]:
    """A connection to the provider, in this process, on the worker's moto server; instances have no servers."""
    with serving(aws_provider(moto_server), {"region": REGION, "accessKey": "test", "secretKey": "test"}) as client:
        yield client


@pytest.fixture
def world(provider: ProviderClient, moto_server: str) -> World:
    return World(provider, moto_server)


@pytest.fixture
def home(service_directory: Path) -> Iterator[Home]:
    """A data directory of the local cloud's. Servers that a test leaves behind end with it."""
    home = Home(service_directory / f"home-{secrets.token_hex(4)}")
    home.claim()
    home.prepare()
    yield home
    for record in home.clusters.glob("*/cluster.json"):
        Cluster.load(record.parent, home.authority).destroy()
    home.remove()


@pytest.fixture
def instances(moto_server: str, home: Home) -> Iterator[Instances]:
    """RDS instances with servers, through a provider in this process."""
    server, port = start(aws_provider(moto_server, home.root))
    client = ProviderClient(port)
    found = Instances(World(client, moto_server), home, port)
    try:
        client.configure({"region": REGION, "accessKey": "test", "secretKey": "test"})
        yield found
    finally:
        found.close()
        client.close()
        server.stop(0).wait()


@pytest.fixture(scope="session")
def aws_provider_port(moto_server: str) -> Iterator[int]:
    """The provider's server process, as `tenantry local up` starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud.aws", "--port", "0", "--endpoint", moto_server],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        name, _, port = process.stdout.readline().strip().partition(":")
        assert name == "aws"
        yield int(port)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> EngineRuntime:
    return prepare(tmp_path_factory.mktemp("engine"))


@dataclass
class Project:
    """`unique` makes names that no other test has on the shared moto server."""

    directory: Path
    environment: dict[str, str]
    pulumi: Path
    endpoint: str
    unique: str

    def write(self, program: str) -> None:
        (self.directory / "__main__.py").write_text(
            "import pulumi\nimport pulumi_aws as aws\n" + textwrap.dedent(program)
        )

    def run(self, *arguments: str, succeeds: bool = True) -> str:
        done = subprocess.run(
            [self.pulumi, "--non-interactive", "--color=never", *arguments, "--stack=test"],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        output = done.stdout + done.stderr
        assert (done.returncode == 0) is succeeds, output
        return output

    def up(self, program: str | None = None, *, succeeds: bool = True) -> str:
        if program is not None:
            self.write(program)
        return self.run("up", "--yes", "--skip-preview", "--diff", succeeds=succeeds)

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("stack", "output", "--json"))
        return found

    def resources(self) -> list[dict[str, Any]]:
        state = json.loads(self.run("stack", "export"))
        return [r for r in state["deployment"].get("resources", []) if r["type"].startswith("aws:")]

    def client(self, service: str, region: str = REGION) -> Any:
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


@pytest.fixture
def project(tmp_path: Path, engine: EngineRuntime, moto_server: str, aws_provider_port: int) -> Iterator[Project]:
    (tmp_path / "state").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: tenantry\nruntime: python\n")
    base = {
        **os.environ,
        "PULUMI_CONFIG_PASSPHRASE": "correct horse battery",
        "PULUMI_DEBUG_PROVIDERS": f"aws:{aws_provider_port}",
    }
    environment = engine.environment(base, backend_url=f"file://{tmp_path}/state")
    found = Project(tmp_path, environment, engine.pulumi, moto_server, secrets.token_hex(4))
    found.run("stack", "init")
    yield found
    found.run("destroy", "--yes", "--skip-preview")
