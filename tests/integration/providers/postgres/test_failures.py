"""A server out of reach, a wrong password or secret: said clearly, classified, and without a secret."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import boto3
import grpc
import pytest

from providers.base.testing import RpcFailed
from providers.postgres import connection, patience
from providers.postgres.sessions import IDLE
from tests.integration.providers.postgres.conftest import REGION, Stack
from tests.integration.providers.postgres.engine import Engine, engine_of


@contextmanager
def engine_at(stack: Stack, **changes: object) -> Iterator[Engine]:
    with engine_of(replace(stack, server=replace(stack.server, **changes))) as engine:  # type: ignore[arg-type]
        yield engine


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_DEADLINE", 0.3)
    monkeypatch.setattr(connection, "AUTHENTICATION_DEADLINE", 0.3)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def failure(engine: Engine) -> RpcFailed:
    with pytest.raises(RpcFailed) as failed:
        engine.create("Database", "it", name="never_made")
    return failed.value


def other_secret(value: str | None) -> str:
    client = boto3.client("secretsmanager", region_name=REGION)
    arn = str(client.create_secret(Name=f"other-{id(value)}-{threading.get_ident()}-{value and len(value)}")["ARN"])
    if value is not None:
        client.put_secret_value(SecretId=arn, SecretString=value)
    return arn


@pytest.mark.usefixtures("impatient")
def test_a_server_that_does_not_listen_is_told_with_its_address(module_stack: Stack, closed_port: int) -> None:
    with engine_at(module_stack, port=closed_port) as engine:
        failed = failure(engine)
    assert failed.code is grpc.StatusCode.UNAVAILABLE
    assert re.search(rf"database postgres at 127.0.0.1:{closed_port}: .*Connection refused", failed.message)
    assert "then try again" in failed.message


@pytest.mark.usefixtures("impatient")
def test_a_name_that_does_not_resolve_may_come_up_later(module_stack: Stack) -> None:
    with engine_at(module_stack, host="no-such-host.invalid") as engine:
        failed = failure(engine)
    assert failed.code is grpc.StatusCode.UNAVAILABLE
    assert "no-such-host.invalid" in failed.message


def test_cancel_ends_the_wait_for_a_server(
    module_stack: Stack, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()
    real = patience.pause

    def pause(seconds: float) -> None:
        waiting.set()
        real(seconds)

    monkeypatch.setattr(connection, "pause", pause)
    found: list[RpcFailed] = []
    with engine_at(module_stack, port=closed_port) as engine:
        thread = threading.Thread(target=lambda: found.append(failure(engine)))
        thread.start()
        assert waiting.wait(20)
        engine.client.cancel()
        thread.join(20)
    assert [each.code for each in found] == [grpc.StatusCode.CANCELLED]


@pytest.mark.usefixtures("impatient")
def test_a_wrong_password_names_the_secret_and_not_the_password(module_stack: Stack) -> None:
    password = "wrong-horse-battery"
    arn = other_secret(json.dumps({"username": module_stack.master.username, "password": password}))
    with engine_at(module_stack, master_secret_arn=arn) as engine:
        failed = failure(engine)
    assert failed.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "password authentication failed" in failed.message
    assert f"The secret {arn} was read again and is refused too" in failed.message
    assert password not in failed.message


def test_a_rotated_master_password_is_read_anew(module_stack: Stack) -> None:
    master = module_stack.master
    client = boto3.client("secretsmanager", region_name=REGION)
    old = json.dumps({"username": master.username, "password": "of-yesterday"})
    arn = other_secret(old + " ")
    with engine_at(module_stack, master_secret_arn=arn) as engine:
        server = engine.stack.server
        connection._credentials[server._cache_key] = (master.username, "of-yesterday")
        client.put_secret_value(
            SecretId=arn, SecretString=json.dumps({"username": master.username, "password": master.password})
        )
        with server.connect() as session:
            assert session.execute("SELECT current_user").fetchone() == (master.username,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "holds no username and password of the master"),
        ("{}", "holds no username and password of the master"),
        ('{"username": "x"}', "holds no username and password of the master"),
        ("hunter2", "is not a JSON object; store one in RDS's form"),
        ('["hunter2"]', "is not a JSON object; store one in RDS's form"),
    ],
)
def test_a_secret_of_another_form_is_told(module_stack: Stack, value: str | None, message: str) -> None:
    with engine_at(module_stack, master_secret_arn=other_secret(value)) as engine:
        failed = failure(engine)
    assert failed.code is grpc.StatusCode.FAILED_PRECONDITION
    assert message in failed.message
    assert "hunter2" not in failed.message


def test_a_secret_that_does_not_exist_is_told(module_stack: Stack) -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:none-AbCdEf"
    with engine_at(module_stack, master_secret_arn=arn) as engine:
        failed = failure(engine)
    assert f"cannot read secret {arn}: ResourceNotFoundException" in failed.message


def test_a_login_whose_secret_does_not_exist_leaves_no_open_login(module_stack: Stack) -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:none-AbCdEf"
    with engine_of(module_stack) as engine:
        with pytest.raises(RpcFailed, match="cannot write secret"):
            engine.create("Role", "it", name="half_made", login=True, secretArn=arn)
        left = engine.client.import_("tenantry-postgres:index:Role", "it", "half_made")
        assert left is not None
        assert left.inputs["login"] is False
        engine.client.delete(left)


def test_a_server_of_another_authority_is_refused_without_a_second_try(
    module_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANTRY_DATABASE_CA", "system")
    with engine_of(module_stack) as engine:
        failed = failure(engine)
    assert "certificate" in failed.message
    assert "Set TENANTRY_DATABASE_CA to the CA bundle" in failed.message
    assert failed.code is grpc.StatusCode.FAILED_PRECONDITION


def test_idle_sessions_that_were_ended_are_replaced(module_stack: Stack) -> None:
    server = module_stack.server
    with server.connect() as session:
        pid = session.info.backend_pid
    with server.connect() as session:
        assert session.info.backend_pid == pid, "it is used again"
        session.execute("SET work_mem = '1MB'; SELECT pg_advisory_lock(4711)")
    with server.connect() as session:
        assert session.execute("SHOW work_mem").fetchone() != ("1MB",), "and remembers nothing"
        assert session.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)
    with module_stack.master.cluster.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
    with server.connect() as session:
        assert session.info.backend_pid != pid
        assert session.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(ZeroDivisionError), server.connect() as session:
        raise ZeroDivisionError
    assert session.closed, "an operation that failed may have left anything behind"
    IDLE.close()
    assert len(IDLE) == 0
