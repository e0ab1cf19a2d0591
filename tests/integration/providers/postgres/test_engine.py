"""The provider under the real engine: named by its path and spawned, and attached; previewed, created, destroyed."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine import shims
from provisioner.engine.resolve import Resolver
from tests.integration.providers.postgres.conftest import EXAMPLE, REGION, Stack

ROOT = Path(__file__).parents[4]

PROGRAM = """
import json, os, pathlib
import pulumi
from components import postgres
from providers.postgres import pool_security, row_security
from stacks.app_schema import load_migrations

c = json.loads(pathlib.Path("settings.json").read_text())
unknown = pulumi.runtime.is_dry_run() and c.get("unknown_host")
host = pulumi.Output.from_input("127.0.0.1")
server = postgres.Provider("server", host=host, port=c["port"], master_secret_arn=c["master"], region=c["region"])
opts = pulumi.ResourceOptions(provider=server)
database = postgres.Database("db", name=c["name"], opts=opts)
owner = postgres.Role("owner", name=c["name"] + "_owner", login=False, opts=opts)
schema = postgres.Schema("schema", database=database.name, name="pool", owner=owner.name, opts=opts)
login = postgres.Role("login", name=c["name"] + "_app", login=True, secret_arn=c["login"], connection_limit=c["limit"],
                      access="full", database=database.name, search_path=schema.name, opts=opts)
where = dict(database=database.name, schema=schema.name, owner=owner.name)
security = postgres.PoolSecurity("security", **where, login=login.name, token_secret_arn=c["token"],
                                 definition=pool_security.definition(), opts=opts)
privileges = postgres.Privileges("privileges", **where, role=login.name, opts=opts)
tables = postgres.AppSchema("tables", **where, mode="pool", directory=c["directory"],
                            migrations=load_migrations(pathlib.Path(c["directory"])), policies=row_security.DEFINITION,
                            opts=pulumi.ResourceOptions(provider=server, depends_on=[security, privileges]))
tenant = postgres.PoolTenant("acme", database=database.name, schema=schema.name, tenant_id="acme", epoch=1,
                             access="full", opts=pulumi.ResourceOptions(provider=server, depends_on=[tables]))
pulumi.export("version", tables.version)
pulumi.export("secretVersion", login.secret_version_id)
pulumi.export("key", security.key_version)
"""


@dataclass
class Project:
    """A project directory and a stack `dev` in a file backend."""

    directory: Path
    environ: dict[str, str]

    def pulumi(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def settings(self, **changes: Any) -> None:
        path = self.directory / "settings.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, **changes}))

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json").stdout)
        return found

    def state(self) -> str:
        return self.pulumi("stack", "export").stdout


@pytest.fixture(params=["spawned", "attached"])
def project(request: pytest.FixtureRequest, stack: Stack, tmp_path: Path) -> Iterator[Project]:
    engine = Resolver(os.environ).find()
    if engine is None:
        pytest.skip("there is no Pulumi engine; `make setup` installs one")
    directory = tmp_path / "project"
    directory.mkdir()
    (tmp_path / "state").mkdir()
    (directory / "__main__.py").write_text(PROGRAM)
    spawned = request.param == "spawned"
    plugins = f"plugins:\n  providers:\n    - {{name: tenantry-postgres, path: {ROOT / 'providers' / 'postgres'}}}\n"
    (directory / "Pulumi.yaml").write_text("name: tenantry\nruntime: python\n" + (plugins if spawned else ""))
    server = None
    base = {**os.environ, "PYTHONPATH": str(ROOT), "PULUMI_CONFIG_PASSPHRASE": "test"}
    if not spawned:
        server = subprocess.Popen(
            [sys.executable, "-u", "-m", "providers.postgres", "--serve", "--port", "0"],
            cwd=ROOT,
            env=base,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        base["PULUMI_DEBUG_PROVIDERS"] = server.stdout.readline().strip()
    base.pop("PULUMI_STACK", None)
    shims.write(tmp_path / "shims")
    environ = {
        **base,
        "PATH": os.pathsep.join([str(tmp_path / "shims"), str(engine.pulumi.parent), base.get("PATH", os.defpath)]),
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'state'}",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    found = Project(directory, environ)
    found.settings(
        name=f"e{secrets.token_hex(4)}",
        port=stack.server.port,
        master=stack.server.master_secret_arn,
        region=REGION,
        login=stack.secret("login"),
        token=stack.secret("token"),
        directory=str(EXAMPLE),
        limit=5,
    )
    found.pulumi("stack", "init", "dev")
    try:
        yield found
    finally:
        if server is not None:
            server.terminate()
            server.wait(10)
            assert server.stdout is not None
            server.stdout.close()


def test_a_stack_lives_from_preview_to_destroy(project: Project, stack: Stack) -> None:
    project.pulumi("preview", "-s", "dev")
    project.pulumi("up", "-s", "dev", "--yes", "--skip-preview")
    known = json.loads((project.directory / "settings.json").read_text())
    outputs = project.outputs()
    assert outputs["version"] == 2
    login, key = stack.value(known["login"]), stack.value(known["token"])
    state = project.state()
    assert login["password"] not in state
    assert key["key"] not in state
    with stack.connect(known["login"]) as session:
        assert session.execute("SHOW search_path").fetchone() == ("pool",)

    again = project.pulumi("up", "-s", "dev", "--yes", "--refresh", "--expect-no-changes")
    assert "unchanged" in again.stdout

    project.settings(limit=7)
    project.pulumi("up", "-s", "dev", "--yes")
    with stack.server.connect() as master:
        limit = master.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", (login["username"],))
        assert limit.fetchone() == (7,)
        master.execute(f"ALTER ROLE {login['username']} CREATEDB".encode())

    drifted = project.pulumi("refresh", "-s", "dev", "--yes", "--diff")
    assert "role has CREATEDB" in drifted.stdout
    project.pulumi("up", "-s", "dev", "--yes")
    with stack.server.connect() as master:
        right = master.execute("SELECT rolcreatedb FROM pg_roles WHERE rolname = %s", (login["username"],))
        assert right.fetchone() == (False,)

    project.pulumi("destroy", "-s", "dev", "--yes")
    with stack.server.connect() as master:
        left = master.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE %(n)s UNION ALL"
            " SELECT datname FROM pg_database WHERE datname LIKE %(n)s",
            {"n": known["name"] + "%"},
        )
        assert left.fetchall() == []
