"""The broker's routes: the envelope of every refusal, and no 5xx for any input."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.broker import ApplicationTokens, Broker, BrokerPlacement
from provisioner.broker_api import broker_router
from tests.unit.provisioner.broker_fakes import BRIDGE, PASSWORD, POOL, FakeAws, client_error

TOKEN = "application-token"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
PATHS = ("/v1/broker/database", "/v1/broker/aws")


def make_app(aws: FakeAws) -> FastAPI:
    placements: dict[str, BrokerPlacement] = {
        "acme": POOL,
        "globex": BRIDGE,
        "initech": replace(POOL, tenant_id="initech", access="suspended"),
    }
    app = FastAPI()
    app.include_router(
        broker_router(Broker(placements.get, aws, clock=lambda: aws.now), ApplicationTokens([TOKEN])),
    )
    return app


class Client:
    """Requests to an application in this process."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx.ASGITransport(app)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://test") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(send())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("POST", path, **arguments)


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def client(aws: FakeAws) -> Client:
    return Client(make_app(aws))


def code_of(answer: Any) -> str:
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "hint"}
    return str(error["code"])


def test_database_answers_the_contracts_fields(client: Client) -> None:
    answer = client.post(PATHS[0], json={"tenant_id": "acme"}, headers=AUTH)
    assert answer.status_code == 200
    assert set(answer.json()) == {"username", "password", "token", "epoch", "expires_at", "access"}
    assert answer.headers["cache-control"] == "no-store"
    assert client.post(PATHS[0], json={"tenant_id": "globex"}, headers=AUTH).json()["token"] is None


def test_aws_answers_the_contracts_fields(client: Client) -> None:
    answer = client.post(PATHS[1], json={"tenant_id": "acme"}, headers=AUTH)
    assert set(answer.json()) == {"access_key_id", "secret_access_key", "session_token", "expires_at"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("tenant", "status", "code"), [("initech", 403, "tenant_suspended"), ("nobody", 404, "unknown_tenant")]
)
def test_refusals_say_which(client: Client, path: str, tenant: str, status: int, code: str) -> None:
    answer = client.post(path, json={"tenant_id": tenant}, headers=AUTH)
    assert (answer.status_code, code_of(answer)) == (status, code)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
def test_no_body_is_looked_at_without_an_application_token(client: Client, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for content in (b'{"tenant_id": "acme"}', b"{not json", b"x" * 10_000):
        answer = client.post(path, content=content, headers=headers)
        assert (answer.status_code, code_of(answer)) == (401, "unauthorized")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{not json", 422),
        (b"\xff\xfe{", None),
        (b"null", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"tenant_id": 7}', 422),
        (b'{"tenant_id": "acme", "epoch": 3}', 422),
        (b'{"tenant_id": "ac\\u0000me"}', 404),
        (b'{"tenant_id": "ac\\ud800me"}', None),
        (b"[" * 4000, 400),
        (b"x" * 4097, 413),
    ],
)
def test_a_malformed_body_is_a_4xx_in_the_envelope(
    client: Client, path: str, content: bytes, status: int | None
) -> None:
    answer = client.post(path, content=content, headers=AUTH | {"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert status in (None, answer.status_code)
    code_of(answer)


def test_an_invalid_field_is_named_and_its_value_not_repeated(client: Client) -> None:
    answer = client.post(PATHS[0], json={"tenant_id": "acme", "password": PASSWORD}, headers=AUTH)
    assert "password" in answer.json()["error"]["message"]
    assert PASSWORD not in answer.text


def test_a_body_of_unannounced_length_is_refused_unread(client: Client) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    answer = client.post(PATHS[0], content=body(), headers=AUTH)
    assert (answer.status_code, code_of(answer)) == (411, "length_required")


def test_throttled_aws_is_503_with_retry_after(client: Client, aws: FakeAws) -> None:
    aws.error = client_error("Throttling")
    answer = client.post(PATHS[1], json={"tenant_id": "acme"}, headers=AUTH)
    assert (answer.status_code, code_of(answer), answer.headers["retry-after"]) == (503, "broker_unavailable", "1")


def test_the_schema_documents_every_answer_and_the_token(client: Client) -> None:
    schema = client.get("/openapi.json").json()
    for path in PATHS:
        operation = schema["paths"][path]["post"]
        assert {"200", "400", "401", "403", "404", "411", "413", "422", "503"} == set(operation["responses"])
        assert operation["security"] == [{"ApplicationToken": []}]
        for status in ("401", "403", "404", "422"):
            reference = operation["responses"][status]["content"]["application/json"]["schema"]["$ref"]
            assert reference.endswith("/ErrorAnswer")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    path=st.sampled_from(PATHS),
    body=st.binary(max_size=200) | st.fixed_dictionaries({"tenant_id": JSON}, optional={"fresh": JSON}),
)
def test_no_input_makes_a_5xx(path: str, body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = Client(make_app(FakeAws())).post(
        path, content=content, headers=AUTH | {"Content-Type": "application/json"}
    )
    assert answer.status_code < 500
