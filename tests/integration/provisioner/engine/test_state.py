"""Reading Pulumi's state table, pruning it, and the fence around it."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import psycopg
import pytest

from provisioner.deployer import Fence, StackRequest
from provisioner.engine import fencing
from provisioner.engine.environment import with_application_name
from provisioner.engine.state import PostgresState
from provisioner.errors import EngineFailed, TenantryError

LEASE = "CREATE SCHEMA registry; CREATE TABLE registry.lease (stack_name text PRIMARY KEY, fencing bigint NOT NULL)"


@pytest.fixture
def leased(workbench: Any) -> Any:
    with workbench.connect() as connection:
        connection.execute(LEASE)
        fencing.install(connection)
        fencing.install(connection)  # again changes nothing
    return workbench


def set_lease(bench: Any, number: int) -> None:
    with bench.connect() as connection:
        connection.execute(
            "INSERT INTO registry.lease VALUES ('acme', %s) ON CONFLICT (stack_name) DO UPDATE SET fencing = %s",
            [number, number],
        )


def test_the_engine_writes_under_its_lease_and_bare_sessions_without(leased: Any, thing: Any) -> None:
    set_lease(leased, 7)
    leased.cli("stack", "init", "other")
    result = leased.deployer().up(
        StackRequest("acme", lambda: thing("bucket", value="1") and None, fence=Fence("acme", 7))
    )
    assert result.changes == {"create": 2}
    leased.cli("refresh", "-s", "acme", "--yes", "--skip-preview")


def test_the_postgres_driver_passes_the_fence_on(leased: Any, thing: Any, wait_until: Any, fake_cloud: Any) -> None:
    import threading

    set_lease(leased, 7)
    deployer = leased.deployer()
    request = StackRequest("acme", lambda: thing("b", value="1", delay=30) and None, fence=Fence("acme", 7))

    def up() -> None:
        with pytest.raises(EngineFailed):
            deployer.up(request)

    thread = threading.Thread(target=up)
    thread.start()
    wait_until(lambda: leased.state.connected_engines("acme") > 0 and fake_cloud.names(), "the engine is connected")
    deployer.interrupt()
    thread.join(60)
    assert not thread.is_alive()


def test_a_number_lower_than_the_leases_may_not_write_anything(leased: Any) -> None:
    set_lease(leased, 8)
    with psycopg.connect(with_application_name(leased.backend_url, "tenantry/acme/7"), autocommit=True) as stale:
        for statement in (
            "INSERT INTO pulumi_state (key, data) VALUES ('x', '{}')",
            "UPDATE pulumi_state SET data = data",
            "DELETE FROM pulumi_state",
        ):
            with pytest.raises(psycopg.Error) as caught:
                stale.execute(statement)
            assert caught.value.sqlstate == fencing.SQLSTATE
        assert stale.execute("SELECT count(*) FROM pulumi_state").fetchone() == (0,)
    gone = with_application_name(leased.backend_url, "tenantry/gone/7")
    with (
        psycopg.connect(gone, autocommit=True) as unknown,
        pytest.raises(psycopg.Error, match="lease of stack gone is gone"),
    ):
        unknown.execute("DELETE FROM pulumi_state")


def test_a_takeover_waits_for_a_write_in_flight_and_stops_the_next(leased: Any) -> None:
    set_lease(leased, 1)
    url = with_application_name(leased.backend_url, "tenantry/acme/1")
    with psycopg.connect(url) as engine, leased.connect() as taker:
        engine.execute("INSERT INTO pulumi_state (key, data) VALUES ('x', '{}')")
        taker.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            taker.execute("UPDATE registry.lease SET fencing = 2 WHERE stack_name = 'acme'")
        engine.commit()
        taker.execute("UPDATE registry.lease SET fencing = 2 WHERE stack_name = 'acme'")
        with pytest.raises(psycopg.Error, match="was taken over by lease 2"):
            engine.execute("INSERT INTO pulumi_state (key, data) VALUES ('y', '{}')")


def test_a_fenced_off_engine_fails_and_leaves_the_state_as_it_is(leased: Any, thing: Any, fake_cloud: Any) -> None:
    set_lease(leased, 2)
    leased.deployer().up(StackRequest("acme", lambda: None, fence=Fence("acme", 2)))
    before = leased.state.checkpoint_version("acme")
    with pytest.raises(TenantryError):
        leased.deployer().up(StackRequest("acme", lambda: thing("bucket", value="1") and None, fence=Fence("acme", 1)))
    assert leased.state.checkpoint_version("acme") == before
    assert fake_cloud.names() == set()


def _fill(url: str, stacks: int) -> None:
    data = json.dumps({"data": base64.b64encode(b'{"version":3,"checkpoint":{"latest":null}}').decode()})
    with psycopg.connect(url, autocommit=True) as connection:
        fencing_table = "CREATE TABLE IF NOT EXISTS pulumi_state (key text PRIMARY KEY, data json NOT NULL, "
        connection.execute(fencing_table + "updated_at timestamptz NOT NULL DEFAULT now())")
        connection.execute("CREATE INDEX ON pulumi_state (key text_pattern_ops)")
        database = connection.info.dbname
        connection.execute(
            "INSERT INTO pulumi_state (key, data) "
            "SELECT %s || '/.pulumi/stacks/tenantry/t' || n || '.json', %s::json FROM generate_series(1, %s) n",
            [database, data, stacks],
        )
        connection.execute(
            "INSERT INTO pulumi_state (key, data) "
            "SELECT format('%%s/.pulumi/history/tenantry/t%%s/t%%s-%%s.%%s.json', %s::text, n, n, "
            "1700000000000000000 + u, kind), %s::json FROM generate_series(1, 20) n, generate_series(1, 15) u, "
            "unnest(ARRAY['history', 'checkpoint']) kind",
            [database, data],
        )
        connection.execute(
            "INSERT INTO pulumi_state (key, data) VALUES (%s || '/.pulumi/stacks/tenantry/t1.json.bak', %s::json), "
            "(%s || '/.pulumi/stacks/another/t1.json', %s::json), (%s || '/.pulumi/meta.yaml', %s::json)",
            [database, data, database, data, database, data],
        )


def test_versions_of_thousands_of_stacks_come_at_once(database: str) -> None:
    _fill(database, 3000)
    state = PostgresState(database, "tenantry")
    try:
        state.checkpoint_versions()
        began = time.monotonic()
        versions = state.checkpoint_versions()
        assert time.monotonic() - began < 0.5
        assert len(versions) == 3000
        assert versions["t7"] == state.checkpoint_version("t7")
        assert state.checkpoint_version("t70000") is None
        assert state.deployment("t7") == {}
    finally:
        state.close()


def test_pruning_keeps_the_newest_history_of_every_stack(database: str) -> None:
    _fill(database, 20)
    state = PostgresState(database, "tenantry")
    try:
        assert state.prune(keep=10, stack_name="t3") == 2 * 5
        assert state.prune(keep=10) == 19 * 2 * 5
        assert state.prune(keep=10) == 0
        with psycopg.connect(database) as connection:
            keys = [row[0] for row in connection.execute("SELECT key FROM pulumi_state WHERE key LIKE '%/t1/%'")]
        assert len(keys) == 20
        assert min(keys).split("-")[-1].startswith("1700000000000000006")
        assert len(state.checkpoint_versions()) == 20
    finally:
        state.close()


def test_a_database_that_is_gone_is_a_reason_to_retry_and_no_secret_is_told() -> None:
    state = PostgresState("postgres://user:hunter22@127.0.0.1:1/db", "tenantry")
    with pytest.raises(EngineFailed) as caught:
        state.checkpoint_versions()
    assert "hunter22" not in str(caught.value)


def test_a_lost_connection_is_opened_again(workbench: Any) -> None:
    workbench.cli("stack", "init", "acme")
    assert workbench.state.checkpoint_version("acme")
    with workbench.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tenantry/state'"
        )
    assert workbench.state.checkpoint_version("acme")
