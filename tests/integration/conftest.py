"""What integration tests share: one PostgreSQL server and one moto server a pytest worker, fresh databases on them."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import sql

from localcloud.postgres import Authority, Cluster, create_master, reachable_directory
from localcloud.postgres.master import create_database

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Login:
    """A user of a server, and what to connect to: ``url`` is a libpq URL over TLS."""

    cluster: Cluster
    username: str
    password: str
    database: str

    @property
    def url(self) -> str:
        return self.cluster.url(self.username, self.password, self.database)


@pytest.fixture(scope="session")
def service_directory() -> Iterator[Path]:
    """A short-lived directory outside of pytest's own (mode 0700 for root alone, and too deep for sockets)."""
    directory = Path(tempfile.mkdtemp(prefix="tenantry-test-"))
    if os.geteuid() == 0:
        directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(service_directory: Path) -> Iterator[Cluster]:
    """A PostgreSQL server with TLS, for this worker's tests; superuser through ``postgres_server.admin()``."""
    authority = Authority.create(service_directory / "tls")
    home = reachable_directory(service_directory / "postgres", service_directory.name)
    cluster = Cluster.create(home / "server", authority=authority, settings={"max_connections": "300"})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture
def database(postgres_server: Cluster) -> Iterator[Login]:
    """A fresh database and its owner, no superuser: what the control plane gets in production."""
    name, password = f"test_{secrets.token_hex(6)}", secrets.token_hex(16)
    with postgres_server.admin() as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))
        create_database(admin, name, name)
        yield Login(postgres_server, name, password, name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def database_url(database: Login) -> str:
    return database.url


@pytest.fixture
def rds_master(postgres_server: Cluster) -> Iterator[Login]:
    """A master user as RDS gives one, and a database it owns."""
    name, password = f"master_{secrets.token_hex(6)}", secrets.token_hex(16)
    with postgres_server.admin() as admin:
        before = {row[0] for row in admin.execute("SELECT datname FROM pg_database")}
        roles = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}
        create_master(admin, name, password)
        create_database(admin, name, name)
        yield Login(postgres_server, name, password, name)
        for row in admin.execute("SELECT datname FROM pg_database").fetchall():
            if row[0] not in before:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(row[0])))
        left = [row[0] for row in admin.execute("SELECT rolname FROM pg_roles") if row[0] not in roles]
        for role in (*(r for r in left if r not in (name, "rds_superuser")), name):
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """URL of a moto server for this worker's tests. It is shared: use names of your own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud.moto"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        assert port.isdigit(), f"moto's server did not start: exit code {process.poll()}"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()
