"""What the broker's answers become, and how long credentials are kept."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tenantry import BrokerUnavailable, Config, ConfigurationInvalid, TenantSuspended, UnknownTenant
from tenantry.broker import AsyncBrokerClient, BrokerClient, CredentialCache, DatabaseCredentials

CONFIG = Config(database_url="postgresql://x", api_url="http://broker", application_token="the-token")
ISSUED = {
    "username": "pool_app",
    "password": "the-password",
    "token": "t",
    "epoch": 3,
    "expires_at": "2026-01-01T00:00:00Z",
}


def ask(handler: Any, *, sync: bool, fresh: bool = False) -> DatabaseCredentials:
    transport = httpx.MockTransport(handler)
    if sync:
        client = BrokerClient(CONFIG, transport)
        try:
            return client.database("acme", fresh=fresh)
        finally:
            client.close()

    async def main() -> DatabaseCredentials:
        asynchronous = AsyncBrokerClient(CONFIG, transport)
        try:
            return await asynchronous.database("acme", fresh=fresh)
        finally:
            await asynchronous.close()

    return asyncio.run(main())


both = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


@both
@pytest.mark.parametrize("fresh", [True, False])
def test_a_login_is_asked_for_by_the_tenants_id_alone(sync: bool, fresh: bool) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ISSUED)

    issued = ask(handler, sync=sync, fresh=fresh)
    assert (issued.username, issued.password, issued.epoch, issued.expires_at) == (
        "pool_app",
        "the-password",
        3,
        1767225600.0,
    )
    (request,) = seen
    assert request.url == "http://broker/v1/broker/database"
    assert request.headers["authorization"] == "Bearer the-token"
    assert request.content == (b'{"tenant_id":"acme","fresh":true}' if fresh else b'{"tenant_id":"acme"}')


@both
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, {"error": {"code": "unknown_tenant"}}, UnknownTenant),
        (404, {"detail": "Not Found"}, ConfigurationInvalid),
        (403, {"error": {"code": "tenant_suspended"}}, TenantSuspended),
        (401, {"error": {"code": "unauthorized"}}, ConfigurationInvalid),
        (422, {"error": {"code": "invalid_request"}}, ConfigurationInvalid),
        (429, {}, BrokerUnavailable),
        (503, {"error": {"code": "broker_unavailable"}}, BrokerUnavailable),
        (500, None, BrokerUnavailable),
        (200, {"username": "x", "password": "the-password"}, BrokerUnavailable),
        (200, {**ISSUED, "expires_at": "2026-01-01T00:00:00"}, BrokerUnavailable),
        (200, ["the-password"], BrokerUnavailable),
        (200, None, BrokerUnavailable),
    ],
)
def test_refusals_are_told_apart_and_hold_no_secret(
    sync: bool, status: int, body: Any, expected: type[Exception]
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text="<html>") if body is None else httpx.Response(status, json=body)

    with pytest.raises(expected) as refused:
        ask(handler, sync=sync)
    assert "the-password" not in str(refused.value)
    assert "the-token" not in str(refused.value)
    assert refused.value.__cause__ is None


@both
def test_a_broker_that_does_not_answer_may_be_asked_again(sync: bool) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("the-token")

    with pytest.raises(BrokerUnavailable) as refused:
        ask(handler, sync=sync)
    assert str(refused.value) == "the broker did not answer: ConnectTimeout. try again"


def test_no_credential_shows_its_secrets() -> None:
    assert "the-password" not in repr(DatabaseCredentials.parse(ISSUED))


def test_credentials_are_renewed_early_and_usable_late() -> None:
    moment = [1000.0]
    cache: CredentialCache[DatabaseCredentials] = CredentialCache(size=2, clock=lambda: moment[0])
    issued = DatabaseCredentials("u", "p", None, 1, 1900.0)
    cache.put("acme", issued)
    for now, wanted, usable in ((1000, True, True), (1599, True, True), (1600, False, True), (1870, False, False)):
        moment[0] = now
        assert (cache.wanted("acme") is issued, cache.usable("acme") is issued) == (wanted, usable)
    moment[0] = 1000
    cache.put("globex", issued)
    cache.wanted("acme")
    cache.put("initech", issued)
    assert [cache.wanted(each) is issued for each in ("acme", "globex", "initech")] == [True, False, True]
    cache.forget("acme")
    assert cache.wanted("acme") is None
