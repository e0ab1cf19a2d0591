"""Sessions of all tiers, sync and async alike: whose rows are seen, and what misuse, faults and moves do to that."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tenantry import (
    BrokerUnavailable,
    EntryRefused,
    NoTenant,
    PoolTimeout,
    SessionEnded,
    TenantConflict,
    TenantSuspended,
    UnknownTenant,
)
from tests.integration.tenantry.conftest import Driver
from tests.integration.tenantry.world import World, wait_until

INSERT = "INSERT INTO note (tenant_id, body) VALUES (current_setting('app.current_tenant'), %s)"
ALL = ("acme", "globex", "initech", "umbrella", "hooli")


@pytest.mark.parametrize("tenant", ALL)
def test_a_tenant_of_each_tier_reads_what_it_wrote(sdk: Driver, tenant: str) -> None:
    sdk.query(tenant, INSERT, "hello")
    assert sdk.query(tenant, "SELECT tenant_id, body FROM note") == [(tenant, "hello")]


def test_no_tenant_sees_another_ones_rows(sdk: Driver) -> None:
    for tenant in ALL:
        sdk.query(tenant, INSERT, tenant)
    for tenant in ALL:
        assert sdk.query(tenant, "SELECT body FROM note") == [(tenant,)]


@pytest.mark.parametrize("nothing", [None, "", 7])
def test_forgetting_the_tenant_is_an_error_before_any_connection(sdk: Driver, nothing: Any) -> None:
    with pytest.raises(NoTenant):
        sdk.query(nothing, "SELECT 1")
    assert sdk.total() == 0


def test_a_session_inside_another_tenants_session_is_refused(sdk: Driver) -> None:
    with pytest.raises(TenantConflict):
        sdk.nest("acme", "globex")
    sdk.nest("acme", "acme")


def test_unknown_and_suspended_tenants_are_told_apart(sdk: Driver, world: World) -> None:
    with pytest.raises(UnknownTenant):
        sdk.query("nobody", "SELECT 1")
    world.suspend("acme")
    with pytest.raises(TenantSuspended):
        sdk.query("acme", "SELECT 1")


def test_an_exception_rolls_back_and_the_connection_serves_on(sdk: Driver) -> None:
    with pytest.raises(RuntimeError, match="mine"):
        sdk.script("acme", ["INSERT INTO note (tenant_id, body) VALUES ('acme', 'x')"], RuntimeError("mine"))
    with pytest.raises(psycopg.errors.DivisionByZero):
        sdk.script("acme", ["SELECT 1/0"])
    assert sdk.query("acme", "SELECT count(*) FROM note") == [(0,)]
    assert sdk.total() == 1


def test_a_savepoint_undoes_only_itself(sdk: Driver) -> None:
    assert sdk.savepoint("acme", "SELECT 1/0", "SELECT 1") == [(1,)]


def test_sessions_and_cursors_refuse_to_work_after_their_block(sdk: Driver) -> None:
    errors = sdk.use_after_end("acme")
    assert [type(error) for error in errors] == [SessionEnded] * 9


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "COMMIT; BEGIN"])
@pytest.mark.parametrize("tenant", ["acme", "initech"])
def test_statements_after_a_commit_inside_a_session_do_not_run_outside_of_a_transaction(
    sdk: Driver, ending: str, tenant: str
) -> None:
    with pytest.raises(SessionEnded):
        sdk.script(tenant, [ending, f"INSERT INTO note (tenant_id, body) VALUES ('{tenant}', 'after')"])
    assert sdk.query(tenant, "SELECT count(*) FROM note") == [(0,)]


def test_a_savepoint_of_sql_may_be_rolled_back_to(sdk: Driver) -> None:
    insert = "INSERT INTO note (tenant_id, body) VALUES ('acme', '{}')"
    sdk.script("acme", ["SAVEPOINT s", insert.format("undone"), "ROLLBACK TO SAVEPOINT s", insert.format("kept")])
    assert sdk.query("acme", "SELECT body FROM note") == [("kept",)]


POISON = [
    "SET SESSION search_path = pg_temp",
    "SET SESSION TimeZone = 'Pacific/Auckland'",
    "SET SESSION default_transaction_read_only = on",
    "CREATE TEMPORARY TABLE note (tenant_id text, id bigint, body text)",
    "PREPARE stolen AS SELECT 'from the other'",
    "SELECT pg_advisory_lock(42)",
    "DECLARE held CURSOR WITH HOLD FOR SELECT 'secret'",
]


def test_what_one_tenants_statements_leave_on_a_connection_never_meets_the_next_tenant(
    driver_of: Callable[..., Driver],
) -> None:
    sdk = driver_of(max_pool_connections=1)
    sdk.script("globex", ["SELECT set_config('app.current_tenant', 'globex', false)", *POISON])
    sdk.query("acme", INSERT, "mine")
    assert sdk.query("acme", "SELECT tenant_id FROM note") == [("acme",)]
    assert sdk.query("acme", "SHOW TimeZone") != [("Pacific/Auckland",)]
    assert sdk.query("acme", "SELECT count(*) FROM pg_cursors") == [(0,)]
    assert sdk.query("acme", "SELECT count(*) FROM pg_prepared_statements") == [(0,)]
    assert sdk.query("globex", "SELECT count(*) FROM note") == [(0,)]
    assert sdk.total() == 1


def test_a_temporary_table_never_hides_a_table_even_without_a_reset(sdk: Driver) -> None:
    sdk.script(
        "acme",
        [
            "CREATE TEMPORARY TABLE note (tenant_id text, body text)",
            "INSERT INTO note (tenant_id, body) VALUES ('acme', 'real')",
        ],
    )
    assert sdk.query("acme", "SELECT count(*) FROM app.note") == [(1,)]


def test_another_tenants_id_without_its_token_is_refused_in_raw_sql(sdk: Driver) -> None:
    sdk.query("globex", INSERT, "secret")
    for forged in (
        "SELECT set_config('app.current_tenant', 'globex', true)",
        "SET LOCAL app.current_tenant = 'globex'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            sdk.script("acme", [forged, "SELECT * FROM note"])


def test_the_token_shows_in_no_query_text(sdk: Driver, world: World) -> None:
    sdk.query("acme", "SELECT 1")
    texts = world.admin("SELECT query FROM pg_stat_activity WHERE usename LIKE 'pool%%'")
    assert texts
    key = sdk.sdk._credentials.wanted("acme")
    assert key is not None
    token = key.token
    assert token is not None
    assert all(token not in text for (text,) in texts)


def test_killed_connections_are_replaced_unseen(sdk: Driver, world: World) -> None:
    for tenant in ALL:
        sdk.query(tenant, "SELECT 1")
    killed = world.admin(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'tenantry-sdk'"
        " AND usename LIKE %s",
        f"%{world.suffix}",
    )
    assert len(killed) >= len(ALL)
    for tenant in ALL:
        assert sdk.query(tenant, "SELECT 1") == [(1,)]


def test_a_connection_killed_inside_a_session_raises_and_the_next_session_works(sdk: Driver) -> None:
    with pytest.raises(psycopg.OperationalError):
        sdk.script("acme", ["SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1"])
    assert sdk.query("acme", "SELECT 1") == [(1,)]


def test_a_raised_epoch_is_noticed_and_followed(driver_of: Callable[..., Driver], world: World) -> None:
    sdk = driver_of(listen=False)
    sdk.query("acme", INSERT, "kept")
    world.admin("UPDATE tenantry.pool_tenant SET epoch = 2 WHERE tenant_id = 'acme'")
    world.placement("acme", epoch=2)
    assert sdk.query("acme", "SELECT body FROM note") == [("kept",)], "entered with a new token"


def test_a_tenant_that_moved_to_a_database_of_its_own_is_followed(
    driver_of: Callable[..., Driver], world: World
) -> None:
    sdk = driver_of(listen=False)
    sdk.query("acme", "SELECT 1")
    world.add_own("acme-next", "silo")
    (target,) = world.admin(
        "SELECT tier, db_name, db_schema, db_login FROM tenantry_v1.placement WHERE tenant_id = 'acme-next'",
        database=world.control,
    )
    world.admin("DELETE FROM tenantry.pool_tenant WHERE tenant_id = 'acme'")
    world.placement("acme", tier=target[0], db_name=target[1], db_schema=target[2], db_login=target[3], epoch=2)
    assert sdk.query("acme", "SELECT current_user::text") == [(target[3],)]


def test_a_closed_login_is_a_suspension_and_open_sessions_do_not_survive_it(
    driver_of: Callable[..., Driver], world: World
) -> None:
    sdk = driver_of(listen=False)
    sdk.query("initech", "SELECT 1")
    login = f"t_initech_{world.suffix}"
    world.admin(f'ALTER ROLE "{login}" NOLOGIN')
    world.admin("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", login)
    with pytest.raises(EntryRefused):
        sdk.query("initech", "SELECT 1")
    world.placement("initech", access="suspended")
    with pytest.raises(TenantSuspended):
        sdk.query("initech", "SELECT 1")


def test_a_rotated_password_is_fetched_anew(sdk: Driver, world: World) -> None:
    sdk.query("initech", "SELECT 1")
    login = f"t_initech_{world.suffix}"
    world.admin(f"ALTER ROLE \"{login}\" PASSWORD 'rotated'")
    world.aws.secrets[login]["password"] = "rotated"
    world.admin("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", login)

    def works() -> bool:
        try:
            return sdk.query("initech", "SELECT 1") == [(1,)]
        except EntryRefused:
            return False

    wait_until(works)


def test_a_change_is_heard_without_waiting_for_the_ttl(driver_of: Callable[..., Driver], world: World) -> None:
    sdk = driver_of(placement_ttl=3600.0)
    assert sdk.placement("acme").plan == "plan"
    wait_until(sdk.listening)
    sdk.placement("acme")
    world.placement("acme", plan="gold")
    wait_until(lambda: sdk.listening() and sdk.placement("acme").plan == "gold")


def test_a_change_missed_while_the_listener_was_away_is_seen_after_it_returns(
    driver_of: Callable[..., Driver], world: World
) -> None:
    sdk = driver_of(placement_ttl=3600.0)
    sdk.placement("acme")
    wait_until(sdk.listening)
    sdk.placement("acme")
    world.admin(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", f"reader_{world.suffix}"
    )
    world.placement("acme", plan="gold")
    wait_until(lambda: sdk.listening() and sdk.placement("acme").plan == "gold")


def test_known_tenants_work_on_while_the_control_plane_is_down(driver_of: Callable[..., Driver], world: World) -> None:
    sdk = driver_of(placement_ttl=0.0, routing_timeout=1.0)
    sdk.query("acme", INSERT, "before")
    world.broker_up = False
    world.admin(f"ALTER DATABASE {world.control} ALLOW_CONNECTIONS false", database="postgres")
    world.admin(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
        world.control,
        database="postgres",
    )
    assert sdk.query("acme", "SELECT body FROM note") == [("before",)]
    from tenantry import ControlPlaneUnavailable

    with pytest.raises(ControlPlaneUnavailable):
        sdk.query("globex", "SELECT 1")


def test_a_broker_that_is_down_stops_only_tenants_without_credentials(sdk: Driver, world: World) -> None:
    sdk.query("acme", "SELECT 1")
    world.broker_up = False
    assert sdk.query("acme", "SELECT 1") == [(1,)]
    with pytest.raises(BrokerUnavailable):
        sdk.query("globex", "SELECT 1")


def test_run_repeats_what_a_new_transaction_may_mend(sdk: Driver) -> None:
    def work(session: Any, attempt: int) -> list[str]:
        raise_it = "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"
        return [raise_it] if attempt < 3 else ["INSERT INTO note (tenant_id, body) VALUES ('acme', 'once')"]

    assert sdk.run("acme", work) == 3
    assert sdk.query("acme", "SELECT count(*) FROM note") == [(1,)]


def test_run_repeats_nothing_else(sdk: Driver) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        sdk.run("acme", lambda session, attempt: ["SELECT 1/0"])


@pytest.mark.parametrize("tenant", ["acme", "initech"])
def test_run_does_not_repeat_what_may_have_been_committed(sdk: Driver, world: World, tenant: str) -> None:
    schema = {"acme": "app"}.get(tenant, f"t_{tenant}_{world.suffix}")
    world.admin(
        f"""
        CREATE FUNCTION {schema}.die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
            $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER die AFTER INSERT ON {schema}.note DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION {schema}.die();
        """
    )
    attempts: list[int] = []

    def work(session: Any, attempt: int) -> list[str]:
        attempts.append(attempt)
        return [f"INSERT INTO note (tenant_id, body) VALUES ('{tenant}', 'once')"]

    with pytest.raises(psycopg.OperationalError):
        sdk.run(tenant, work)
    assert attempts == [1]


def test_run_repeats_what_was_lost_before_the_commit(sdk: Driver) -> None:
    def work(session: Any, attempt: int) -> list[str]:
        if attempt == 1:
            return ["SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1"]
        return ["INSERT INTO note (tenant_id, body) VALUES ('acme', 'once')"]

    assert sdk.run("acme", work) == 2
    assert sdk.query("acme", "SELECT count(*) FROM note") == [(1,)]


def test_connections_are_bounded_over_all_logins_and_idle_ones_make_room(
    driver_of: Callable[..., Driver], world: World
) -> None:
    for number in range(12):
        world.add_own(f"many-{number:02}", "bridge")
    sdk = driver_of(max_connections=3)
    for _ in range(2):
        for number in range(12):
            tenant = f"many-{number:02}"
            assert sdk.query(tenant, "SELECT current_user::text") == [(f"t_many_{number:02}_{world.suffix}",)]
            assert sdk.total() <= 3
    work = [(f"many-{n % 12:02}", "SELECT current_user::text", ()) for n in range(120)]
    answers = sdk.query_all(work)
    assert answers == [[(f"t_many_{n % 12:02}_{world.suffix}",)] for n in range(120)]
    assert sdk.total() <= 3


def test_waiting_for_a_connection_ends(driver_of: Callable[..., Driver]) -> None:
    sdk = driver_of(max_pool_connections=1, pool_timeout=0.2)
    answers = sdk.query_all([("acme", "SELECT pg_sleep(1)", ()), ("acme", "SELECT pg_sleep(1)", ())])
    assert [type(each) for each in answers if isinstance(each, Exception)] == [PoolTimeout]


def test_many_tenants_at_once_never_meet(driver_of: Callable[..., Driver], world: World) -> None:
    pool = [f"pool-{number}" for number in range(12)]
    for tenant in pool:
        world.add_pool(tenant)
    sdk = driver_of(max_connections=6, max_pool_connections=4, pool_timeout=60.0)
    tenants = [*pool, *ALL]
    write = [(tenant, INSERT, (f"{tenant}/{n}",)) for n in range(12) for tenant in tenants]
    assert [each for each in sdk.query_all(write) if isinstance(each, Exception)] == []
    read = [
        (tenant, "SELECT array_agg(DISTINCT split_part(body, '/', 1)), count(*) FROM note", ())
        for _ in range(6)
        for tenant in tenants
    ]
    assert sdk.query_all(read) == [[([tenant], 12)] for _ in range(6) for tenant in tenants]


def test_placements_carry_plan_features_and_limits(sdk: Driver) -> None:
    placement = sdk.placement("acme")
    assert placement.features == {"export"}
    assert placement.limits == json.loads('{"seats": 5}')
