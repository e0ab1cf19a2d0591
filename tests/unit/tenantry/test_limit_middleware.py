"""Requests beyond a tenant's rates are answered with 429, and say when to come again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from tenantry import (
    ControlPlaneUnavailable,
    Entitlements,
    LimitMiddleware,
    LocalRateLimiter,
    Rate,
    RateStoreUnavailable,
    RateVerdict,
    TenantMiddleware,
    UnknownTenant,
)
from tests.unit.tenantry.test_rates import Wall

API = Rate("api", 2, 60)
DAILY = Rate("daily", 100, 86400)
#: RFC 9651: a list of strings with integer parameters
ITEM = re.compile(r'"[a-z_]+"(;[a-z]+=\d+)+')


class Sdk:
    """What the middleware uses of AsyncTenantry."""

    def __init__(self, *rates: Rate, error: Exception | None = None) -> None:
        self.rates = rates
        self.error = error
        self.wall = Wall()
        self._limiter = LocalRateLimiter(wall=self.wall)
        self.counted: list[tuple[str, tuple[str, ...], int]] = []

    async def entitlements(self, tenant_id: str) -> Entitlements:
        if self.error is not None and not isinstance(self.error, RateStoreUnavailable):
            raise self.error
        return Entitlements(tenant_id, rates=self.rates)

    async def count(self, tenant_id: str, rates: Sequence[Rate], calls: int) -> RateVerdict:
        if self.error is not None:
            raise self.error
        self.counted.append((tenant_id, tuple(rate.name for rate in rates), calls))
        return self._limiter.take(tenant_id, rates, calls)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"kept")]})
    await send({"type": "http.response.body", "body": b"hello"})


def ask(
    sdk: Sdk, count: int = 1, *, path: str = "/", tenant: str | None = "acme", **options: Any
) -> list[httpx.Response]:
    inner = LimitMiddleware(hello, sdk=sdk, **options)  # type: ignore[arg-type]
    app = inner if tenant is None else TenantMiddleware(inner, resolve=lambda scope: tenant)

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return [await client.get(path) for _ in range(count)]

    return asyncio.run(run())


def test_every_answer_says_what_is_left() -> None:
    first, second = ask(Sdk(API, DAILY), 2)
    assert (first.status_code, first.text, first.headers["x-own"]) == (200, "hello", "kept")
    assert first.headers["ratelimit-policy"] == '"api";q=2;w=60, "daily";q=100;w=86400'
    for answer, left in ((first, 1), (second, 0)):
        items = answer.headers["ratelimit"].split(", ")
        assert all(ITEM.fullmatch(item) for item in items)
        assert items[0].startswith(f'"api";r={left};t=')


def test_too_many_are_refused_with_a_problem_and_let_through_when_it_was_said() -> None:
    sdk = Sdk(API, DAILY)
    refused = ask(sdk, 3)[-1]
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (problem["status"], problem["violated-policies"]) == (429, ["api"])
    wait = int(refused.headers["retry-after"])
    assert 1 <= wait <= 120
    assert refused.headers["ratelimit"].startswith('"api";r=0;t=')
    sdk.wall.now += wait
    assert ask(sdk)[0].status_code == 200


def test_a_soft_rate_is_told_in_a_header_and_lets_through() -> None:
    answers = ask(Sdk(Rate("api", 1, 60, soft=True)), 3)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.headers.get("tenantry-soft-limit-exceeded") for answer in answers] == [None, '"api"', '"api"']


def test_a_tenants_requests_are_counted_for_it_alone() -> None:
    sdk = Sdk(API)
    assert [answer.status_code for answer in ask(sdk, 3)] == [200, 200, 429]
    assert ask(sdk, tenant="globex")[0].status_code == 200


def test_which_rates_and_how_many_calls_a_request_counts_for_is_the_applications_to_say() -> None:
    sdk = Sdk(API, DAILY)
    ask(sdk, rates=("daily", "of another plan"))
    ask(sdk, path="/export", rates=lambda scope: ["api"] if scope["path"] == "/export" else [], calls=lambda scope: 2)
    free = ask(sdk, rates=lambda scope: [])
    assert "ratelimit" not in free[0].headers
    assert sdk.counted == [("acme", ("daily",), 1), ("acme", ("api",), 2)]


@pytest.mark.parametrize(
    "asked",
    [
        lambda sdk: ask(sdk, tenant=None),
        lambda sdk: ask(sdk, path="/health", exempt=("/health",)),
    ],
    ids=["nobody's", "exempt"],
)
def test_what_is_no_tenants_request_is_not_counted(asked: Callable[[Sdk], list[httpx.Response]]) -> None:
    sdk = Sdk(Rate("api", 0, 60))
    assert asked(sdk)[0].status_code == 200
    assert sdk.counted == []


@pytest.mark.parametrize("error", [ControlPlaneUnavailable("down"), RateStoreUnavailable("down")])
def test_what_can_not_be_counted_is_let_through_or_refused_as_configured(error: Exception) -> None:
    assert ask(Sdk(API, error=error))[0].status_code == 200
    refused = ask(Sdk(API, error=error), fail_open=False)[0]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.headers["content-type"] == "application/problem+json"
    assert "down" not in refused.text


def test_a_tenant_that_does_not_exist_is_the_applications_to_refuse() -> None:
    assert ask(Sdk(API, error=UnknownTenant("no such")), fail_open=False)[0].status_code == 200


@pytest.mark.parametrize("calls", [1, 3])
def test_a_websocket_is_counted_when_it_opens(calls: int) -> None:
    sdk = Sdk(API)
    sent: list[dict[str, Any]] = []

    async def accept(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    app = TenantMiddleware(LimitMiddleware(accept, sdk=sdk), resolve=lambda scope: "acme")  # type: ignore[arg-type]

    async def run() -> None:
        for _ in range(calls):
            await app({"type": "websocket", "path": "/"}, receive, send)

    asyncio.run(run())
    expected = [{"type": "websocket.accept"}] * min(calls, 2) + [{"type": "websocket.close", "code": 1013}] * (
        calls - 2
    )
    assert sent == expected
