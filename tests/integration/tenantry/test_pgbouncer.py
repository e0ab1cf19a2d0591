"""Transaction pooling: a client's transactions run on whichever server connection is free, and share it with all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.tenantry.conftest import Driver
from tests.integration.tenantry.pgbouncer import pgbouncer
from tests.integration.tenantry.world import World

INSERT = "INSERT INTO note (tenant_id, body) VALUES (current_setting('app.current_tenant'), %s)"
TENANTS = ("acme", "globex", "initech", "hooli")


@pytest.fixture
def port(world: World, service_directory: Path) -> Iterator[int]:
    """Two server connections for each login; ``acme`` and ``globex`` share theirs."""
    users = {login: value["password"] for login, value in world.aws.secrets.items() if "password" in value}
    home = service_directory / f"pgbouncer-{world.suffix}"
    with pgbouncer(world.cluster, home, users, pool_size=2) as port:
        yield port


@pytest.fixture
def sdk(driver_of: Callable[..., Driver], port: int) -> Driver:
    return driver_of(connect_overrides=lambda placement: {"port": port}, max_pool_connections=12, pool_timeout=60.0)


def test_tenants_on_shared_server_connections_never_meet(sdk: Driver, world: World) -> None:
    write = [(tenant, INSERT, (f"{tenant}/{n}",)) for n in range(15) for tenant in TENANTS]
    assert [each for each in sdk.query_all(write) if isinstance(each, Exception)] == []
    look = (
        "SELECT array_agg(DISTINCT split_part(body, '/', 1)), count(*), current_setting('app.current_tenant') FROM note"
    )
    read = [(tenant, look, ()) for _ in range(15) for tenant in TENANTS]
    assert sdk.query_all(read) == [[([tenant], 15, tenant)] for _ in range(15) for tenant in TENANTS]
    servers = world.admin(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND datname = %s",
        f"pool_{world.suffix}",
        world.shared,
        database="postgres",
    )
    assert servers[0][0] <= 2


def test_a_tenant_is_not_left_on_a_server_connection(sdk: Driver, world: World, port: int) -> None:
    for _ in range(4):
        sdk.query("acme", INSERT, "secret")
    url = f"host=127.0.0.1 port={port} dbname={world.shared} user=pool_{world.suffix} password=pool sslmode=verify-full"
    with psycopg.connect(f"{url} sslrootcert={world.cluster.authority.bundle}", prepare_threshold=None) as other:
        for _ in range(4):
            assert other.execute("SELECT current_setting('app.current_tenant', true)").fetchone() in (("",), (None,))
            with pytest.raises(psycopg.errors.InsufficientPrivilege), other.transaction():
                other.execute("SELECT * FROM app.note")


def test_a_failed_transaction_leaves_no_tenant_either(sdk: Driver) -> None:
    sdk.query("globex", INSERT, "secret")
    for _ in range(4):
        with pytest.raises(psycopg.errors.DivisionByZero):
            sdk.script("globex", ["SELECT * FROM note", "SELECT 1/0"])
        assert sdk.query("acme", "SELECT count(*) FROM note") == [(0,)]


def test_what_a_tenant_set_for_its_session_gives_the_next_no_access(sdk: Driver) -> None:
    """Nothing but a token opens rows: settings that stay on a server connection are harmless."""
    sdk.query("globex", INSERT, "secret")
    for _ in range(4):
        sdk.script(
            "globex",
            [
                "SELECT set_config('app.current_tenant', 'globex', false)",
                "SELECT set_config('search_path', 'pg_temp', false)",
                "CREATE TEMPORARY TABLE IF NOT EXISTS note (tenant_id text, id bigint, body text)",
            ],
        )
        assert sdk.query("acme", "SELECT count(*), current_setting('app.current_tenant') FROM note") == [(0, "acme")]


def test_server_connections_that_die_are_replaced(sdk: Driver, world: World) -> None:
    for tenant in TENANTS:
        sdk.query(tenant, INSERT, "kept")
    world.admin(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE usename LIKE %s AND usename NOT LIKE 'reader%%'",
        f"%{world.suffix}",
        database="postgres",
    )
    for tenant in TENANTS:
        assert sdk.query(tenant, "SELECT body FROM note") == [("kept",)]
