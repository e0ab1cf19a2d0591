"""The HTTP service on a real registry and a real socket: what webhooks may do, who gets in, and what makes it fail."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis.checks import CHECKS
from schemathesis.generation.modes import GenerationMode

from components.spec import Environment
from provisioner.billing.fake import event_document, subscription_document
from provisioner.errors import ConfigurationInvalid
from provisioner.registry.migrate import migrate
from provisioner.settings import Settings
from provisioner.web import make_web

SECRET, OLD_SECRET, OPERATOR, APPLICATION = "whsec_new", "whsec_old", "op_token", "app_token"
AUTHORIZED = {"Authorization": f"Bearer {OPERATOR}"}
MAX_BYTES = 64 * 1024


def service_settings(database_url: str, **changes: Any) -> Settings:
    fields: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "environment": Environment.DEVELOPMENT,
        "stripe_webhook_secrets": (SecretStr(SECRET), SecretStr(OLD_SECRET)),
        "operator_tokens": (SecretStr(OPERATOR),),
        "application_tokens": (SecretStr(APPLICATION),),
        "webhook_max_bytes": MAX_BYTES,
    }
    return Settings(**{**fields, **changes})


@contextmanager
def served(configured: Settings) -> Iterator[httpx.Client]:
    """A client of the service, which listens on a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(make_web(configured), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 20
            while not server.started:
                assert thread.is_alive(), "the service ended at its start"
                assert time.monotonic() < deadline, "the service did not start"
                time.sleep(0.01)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture
def client(database: str) -> Iterator[httpx.Client]:
    migrate(database, database)
    with served(service_settings(database)) as client:
        yield client


def signature(body: bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={stamp},v1={digest}", "Content-Type": "application/json"}


def event(event_id: str = "evt_1", type: str = "customer.subscription.created") -> bytes:
    subject = subscription_document("sub_1", "acme", "starter_monthly")
    return json.dumps(event_document(event_id, type, subject)).encode()


def count(database: str) -> tuple[int, int]:
    """(events stored, jobs queued)."""
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM registry.event), (SELECT count(*) FROM procrastinate_jobs)"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def test_a_signed_event_is_stored_once_with_its_job(client: httpx.Client, database: str) -> None:
    body = event()
    for expected in ({"received": True}, {"received": True, "duplicate": True}):
        answer = client.post("/webhooks/stripe", content=body, headers=signature(body))
        assert (answer.status_code, answer.json()) == (200, expected)
    assert count(database) == (1, 1)
    answer = client.post("/webhooks/stripe", content=(old := event("evt_2")), headers=signature(old, secret=OLD_SECRET))
    assert answer.status_code == 200
    assert count(database) == (2, 2)


def test_an_unknown_type_is_stored_without_a_job(client: httpx.Client, database: str) -> None:
    body = event(type="radar.early_fraud_warning.created")
    assert client.post("/webhooks/stripe", content=body, headers=signature(body)).status_code == 200
    assert count(database) == (1, 0)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (event(), lambda body: {}, 400, "signature_missing"),
        (event(), lambda body: {"Stripe-Signature": "nonsense"}, 400, "signature_malformed"),
        (event(), lambda body: signature(body, secret="whsec_forged"), 400, "signature_mismatch"),
        (event(), lambda body: signature(body, at=time.time() - 3600), 400, "signature_stale"),
        (event(), lambda body: signature(body, at=time.time() + 3600), 400, "signature_stale"),
        (event()[:-5], lambda body: signature(event()), 400, "signature_mismatch"),
        (event()[:-5], signature, 400, "not_json"),
        (b"", signature, 400, "not_json"),
        (b"[]", signature, 400, "not_an_event"),
        (b"\xff\xfe", signature, 400, "not_utf8"),
        (b" " * (MAX_BYTES + 1), signature, 413, "body_too_large"),
    ],
)
def test_what_is_refused_leaves_no_row(
    client: httpx.Client,
    database: str,
    body: bytes,
    headers: Callable[[bytes], dict[str, str]],
    status: int,
    code: str,
) -> None:
    # signed here, not where the list is made: a long run of tests would find it stale
    answer = client.post("/webhooks/stripe", content=body, headers=headers(body))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert count(database) == (0, 0)


def test_a_body_that_announces_no_length_is_limited_as_well(client: httpx.Client, database: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BYTES // 1000 + 2):
            yield b" " * 1000

    assert client.post("/webhooks/stripe", content=chunks(), headers=signature(b"")).status_code == 413
    assert count(database) == (0, 0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300) | st.text(max_size=200).map(str.encode),
    header=st.text(max_size=120),
    sign=st.booleans(),
)
def test_no_delivery_makes_the_service_fail(client: httpx.Client, body: bytes, header: str, sign: bool) -> None:
    headers: dict[str, Any] = signature(body) if sign else {"Stripe-Signature": header.encode()}
    try:
        answer = client.post("/webhooks/stripe", content=body, headers=headers)
    except httpx.LocalProtocolError:  # no HTTP client sends such a header
        return
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "path",
    ["/v1/tenants", "/v1/events", "/v1/operations", "/metrics", "/openapi.json", "/docs", "/v1/tenants/acme/explain"],
)
def test_only_health_and_the_webhook_answer_without_a_token(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"Authorization": f"Bearer {APPLICATION}"}).status_code == 401
    assert client.get(path, headers={"Authorization": f"bearer {OPERATOR}"}).status_code in (200, 404)


def test_the_broker_takes_no_operator_token(client: httpx.Client) -> None:
    body = {"tenant_id": "acme"}
    assert client.post("/v1/broker/database", json=body).status_code == 401
    assert client.post("/v1/broker/database", json=body, headers=AUTHORIZED).status_code == 401
    answer = client.post("/v1/broker/database", json=body, headers={"Authorization": f"Bearer {APPLICATION}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_tenant")


def test_health_and_readiness(client: httpx.Client) -> None:
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").text == "ready\n"


def test_it_is_not_ready_without_its_database() -> None:
    unreachable = service_settings("postgresql://nobody@127.0.0.1:1/none")
    with served(unreachable) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        body = event()
        assert client.post("/webhooks/stripe", content=body, headers=signature(body)).status_code == 503


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"stripe_webhook_secrets": ()}, "TENANTRY_STRIPE_WEBHOOK_SECRETS"),
        ({"stripe_webhook_secrets": (SecretStr(""),)}, "TENANTRY_STRIPE_WEBHOOK_SECRETS"),
        ({"operator_tokens": ()}, "TENANTRY_OPERATOR_TOKENS"),
    ],
)
def test_it_refuses_to_start_open(database: str, changes: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=names):
        make_web(service_settings(database, **changes))


def test_metrics_tell_the_state(client: httpx.Client) -> None:
    body = event()
    client.post("/webhooks/stripe", content=body, headers=signature(body))
    text = client.get("/metrics", headers=AUTHORIZED).text
    assert 'tenantry_events{status="received"} 1.0' in text
    assert 'tenantry_jobs{queue="events",status="todo"} 1.0' in text
    assert "tenantry_webhook_seconds_bucket" in text


def test_an_operator_sees_events_and_their_tenants(client: httpx.Client) -> None:
    body = event()
    client.post("/webhooks/stripe", content=body, headers=signature(body))
    (found,) = client.get("/v1/events", headers=AUTHORIZED).json()
    assert (found["event_id"], found["status"]) == ("evt_1", "received")
    assert "body" not in found
    assert client.get("/v1/tenants/nobody", headers=AUTHORIZED).json()["error"]["code"] == "not_found"
    assert client.post("/v1/events/evt_1/retry", headers=AUTHORIZED).status_code == 202


@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_an_answer_needs_a_token_a_name_and_something_that_waits(client: httpx.Client, answer: str) -> None:
    path, said = f"/v1/operations/7/{answer}", {"by": "ada", "reason": "it is empty"}
    assert client.post(path, json=said).status_code == 401
    assert client.post(path, json=said, headers={"Authorization": f"Bearer {APPLICATION}"}).status_code == 401
    for blank in ({**said, "by": "  "}, {**said, "reason": " "}, {"by": "ada"}, {**said, "diff_hash": "7"}):
        assert client.post(path, json=blank, headers=AUTHORIZED).status_code == 422
    assert client.post(path, json=said, headers=AUTHORIZED).status_code == 404


def test_no_request_makes_the_api_fail(client: httpx.Client) -> None:
    """Schemathesis over the API, in both tokens' roles. Billing's routes need a Stripe: they have their own test."""
    document = client.get("/openapi.json", headers=AUTHORIZED).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE], max_examples=25)
    checks = CHECKS.get_by_names(["not_a_server_error", "response_schema_conformance", "status_code_conformance"])
    tried = 0
    for result in schema.exclude(path_regex="^/v1/billing/").get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]

        @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def try_operation(case: Any) -> None:
            nonlocal tried
            tried += 1
            token = APPLICATION if "/broker/" in case.path else OPERATOR
            answer = case.call(base_url=str(client.base_url), headers={"Authorization": f"Bearer {token}"})
            case.validate_response(answer, checks=checks)

        try_operation()
    assert tried > 100
