"""A control plane's routing view, tenants of all three tiers on real servers, and a real broker before them."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from psycopg import sql

from localcloud.postgres import Cluster
from provisioner.broker import ApplicationTokens, Broker, BrokerPlacement
from provisioner.broker_api import broker_router
from tenantry import Config

POOL_SECURITY = Path(__file__).parents[3] / "providers/postgres/sql/pool_security.sql"
APPLICATION_TOKEN = "an-application-token"
NOTE = "CREATE TABLE note (tenant_id text NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, body text NOT NULL)"


class Aws:
    """Secrets Manager and STS, as much as the broker asks of them."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, str]] = {}
        self.reads: list[str] = []

    def sts(self, region: str) -> Any:
        return self

    def secretsmanager(self, region: str) -> Any:
        return self

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:
        self.reads.append(SecretId)
        return {"SecretString": json.dumps(self.secrets[SecretId])}

    def assume_role(self, **arguments: Any) -> dict[str, Any]:
        tag = arguments["Tags"][0]["Value"]
        return {
            "Credentials": {
                "AccessKeyId": f"AKIA{tag}",
                "SecretAccessKey": "s",
                "SessionToken": "t",
                "Expiration": datetime.now(UTC) + timedelta(minutes=15),
            }
        }


@dataclass
class World:
    cluster: Cluster
    control: str  #: database of the control plane
    shared: str  #: database of pool and bridges
    api_url: str = ""
    suffix: str = ""
    aws: Aws = field(default_factory=Aws)
    broker_up: bool = True
    asked: list[str] = field(default_factory=list)  #: tenants for which the broker was asked for anything
    passed: float = 0.0  #: seconds by which the broker's clock is ahead

    def config(self, **overrides: Any) -> Config:
        settings: dict[str, Any] = {
            "database_url": self.cluster.url(f"reader_{self.suffix}", "reader", self.control),
            "api_url": self.api_url,
            "application_token": APPLICATION_TOKEN,
            "database_ca": str(self.cluster.authority.bundle),
            "pool_timeout": 10.0,
        }
        return Config(**(settings | overrides))

    def admin(self, statement: str, *parameters: Any, database: str | None = None) -> list[tuple[Any, ...]]:
        with self.cluster.admin(database or self.shared) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def placement(self, tenant_id: str, **changes: Any) -> None:
        """Change a tenant's row as the registry does: its trigger notifies."""
        for column, value in changes.items():
            self.admin(
                f"UPDATE tenantry_v1.placement_row SET {column} = %s WHERE tenant_id = %s",
                value,
                tenant_id,
                database=self.control,
            )

    def suspend(self, tenant_id: str) -> None:
        self.admin("UPDATE tenantry.pool_tenant SET access = 'suspended' WHERE tenant_id = %s", tenant_id)
        self.placement(tenant_id, access="suspended")

    def add_pool(self, tenant_id: str) -> None:
        self.admin("INSERT INTO tenantry.pool_tenant VALUES (%s, 1, 'full', 'test')", tenant_id)
        self._register(tenant_id, "pool", self.shared, "app", f"pool_{self.suffix}")

    def add_own(self, tenant_id: str, tier: str) -> None:
        login = f"t_{tenant_id}_{self.suffix}".replace("-", "_")
        database = self.shared
        if tier == "silo":
            database = f"silo_{tenant_id}_{self.suffix}".replace("-", "_")
            self.admin(f'CREATE DATABASE "{database}"')
            self.admin(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
        self.admin(f"CREATE ROLE \"{login}\" LOGIN PASSWORD 'own'")
        self.admin(f'GRANT CONNECT, TEMPORARY ON DATABASE "{database}" TO "{login}"')
        self.admin(f'CREATE SCHEMA "{login}"', database=database)
        self.admin(f'SET search_path = "{login}"; {NOTE}', database=database)
        self.admin(
            f'GRANT USAGE ON SCHEMA "{login}" TO "{login}"; GRANT ALL ON "{login}".note TO "{login}"', database=database
        )
        self.aws.secrets[login] = {"username": login, "password": "own"}
        self._register(tenant_id, tier, database, login, login)

    def _register(self, tenant_id: str, tier: str, database: str, schema: str, login: str) -> None:
        self.admin(
            "INSERT INTO tenantry_v1.placement_row VALUES (%s, 1, 'default', 'us-east-1', %s, 1, 'full', '127.0.0.1',"
            " %s, %s, %s, %s, 'bucket', %s, 'arn:aws:kms:us-east-1:1:key/k', 'arn:aws:iam::1:role/r', 'plan',"
            " ARRAY['export'], '{\"seats\": 5}', now())",
            tenant_id,
            tier,
            self.cluster.port,
            database,
            schema,
            login,
            f"tenants/{tenant_id}/",
            database=self.control,
        )

    def expire_fresh(self) -> None:
        """Let a second pass for the broker, within which it reads no secret twice even when asked for fresh ones."""
        self.passed += 2.0

    def broker_placement(self, tenant_id: str) -> BrokerPlacement | None:
        self.asked.append(tenant_id)
        rows = self.admin(
            "SELECT tier, epoch, access, db_login, role_arn FROM tenantry_v1.placement WHERE tenant_id = %s",
            tenant_id,
            database=self.control,
        )
        if not rows:
            return None
        tier, epoch, access, login, role = rows[0]
        key = "pool-key" if tier == "pool" else None
        return BrokerPlacement(tenant_id, 1, epoch, access, "us-east-1", login, key, role)


COLUMNS = """
    tenant_id text PRIMARY KEY, generation int, cell text, region text, tier text, epoch bigint, access text,
    db_host text, db_port int, db_name text, db_schema text, db_login text, bucket text, prefix text,
    kms_key_arn text, role_arn text, plan text, features text[], limits jsonb, updated_at timestamptz,
    access_reason text, access_since timestamptz
"""


@contextmanager
def make_world(cluster: Cluster) -> Iterator[World]:
    suffix = secrets.token_hex(4)
    world = World(cluster, f"control_{suffix}", f"shared_{suffix}", suffix=suffix)
    with cluster.admin() as admin:
        for name in (world.control, world.shared):
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
        for role, password in ((f"reader_{suffix}", "reader"), (f"pool_{suffix}", "pool")):
            admin.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
            )
        admin.execute(f"GRANT CONNECT ON DATABASE {world.control} TO reader_{suffix}")
        # TEMPORARY too, more than the product grants: the SDK must be safe without that revocation
        admin.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {world.shared} TO pool_{suffix}")
    key = secrets.token_bytes(64)
    world.aws.secrets["pool-key"] = {"key": key.hex()}
    world.aws.secrets[f"pool_{suffix}"] = {"username": f"pool_{suffix}", "password": "pool"}
    world.admin(
        f"""
        CREATE SCHEMA tenantry_v1;
        CREATE TABLE tenantry_v1.placement_row ({COLUMNS});
        CREATE VIEW tenantry_v1.placement AS SELECT * FROM tenantry_v1.placement_row;
        CREATE FUNCTION tenantry_v1.notify() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN
                PERFORM pg_notify('tenantry_placement', coalesce(new.tenant_id, old.tenant_id));
                RETURN NULL;
            END $$;
        CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON tenantry_v1.placement_row
            FOR EACH ROW EXECUTE FUNCTION tenantry_v1.notify();
        GRANT USAGE ON SCHEMA tenantry_v1 TO reader_{suffix};
        GRANT SELECT ON tenantry_v1.placement TO reader_{suffix};
        """,
        database=world.control,
    )
    world.admin("CREATE SCHEMA tenantry")
    world.admin(POOL_SECURITY.read_text())
    world.admin(
        "INSERT INTO tenantry.pool_key VALUES ('1', %s, %s)",
        bytes(b ^ 0x36 for b in key),
        bytes(b ^ 0x5C for b in key),
    )
    world.admin(
        f"""
        GRANT USAGE ON SCHEMA tenantry TO pool_{suffix};
        GRANT EXECUTE ON FUNCTION tenantry.current_tenant(), tenantry.writing_tenant() TO pool_{suffix};
        CREATE SCHEMA app;
        SET search_path = app;
        {NOTE};
        ALTER TABLE note ENABLE ROW LEVEL SECURITY;
        ALTER TABLE note FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenant ON note USING (tenant_id = (SELECT tenantry.current_tenant()))
            WITH CHECK (tenant_id = (SELECT tenantry.writing_tenant()));
        CREATE POLICY deletion ON note AS RESTRICTIVE FOR DELETE USING (tenant_id = (SELECT tenantry.writing_tenant()));
        GRANT USAGE ON SCHEMA app TO pool_{suffix};
        GRANT SELECT, INSERT, UPDATE, DELETE ON note TO pool_{suffix};
        """
    )
    for tenant in ("acme", "globex"):
        world.add_pool(tenant)
    for tenant in ("initech", "umbrella"):
        world.add_own(tenant, "bridge")
    world.add_own("hooli", "silo")
    try:
        with serve(world) as url:
            world.api_url = url
            yield world
    finally:
        with cluster.admin() as admin:
            databases = [
                row[0]
                for row in admin.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (f"%{suffix}",))
            ]
            for name in databases:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            for row in admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"%{suffix}",)).fetchall():
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(row[0])))


@contextmanager
def serve(world: World) -> Iterator[str]:
    """The world's broker; ``world.broker_up = False`` makes it answer 503."""
    broker = Broker(world.broker_placement, world.aws, clock=lambda: time.time() + world.passed)
    with serve_broker(broker, up=lambda: world.broker_up) as url:
        yield url


@contextmanager
def serve_broker(broker: Broker, up: Callable[[], bool] = lambda: True) -> Iterator[str]:
    """A broker over HTTP, on a free port; it answers 503 while ``up`` is false."""
    app = FastAPI()
    app.include_router(broker_router(broker, ApplicationTokens([APPLICATION_TOKEN])))

    async def gate(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not up():
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    with serve_asgi(gate) as url:
        yield url


@contextmanager
def serve_asgi(app: Any) -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(10)


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
