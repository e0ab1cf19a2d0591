"""The middleware: whose request it is, and what becomes of nobody's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tenantry import TenantMiddleware, current_tenant


class Application:
    def __init__(self) -> None:
        self.served: list[tuple[str, str | None]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.served.append((scope["type"], current_tenant()))


def call(middleware: TenantMiddleware, scope: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    asyncio.run(middleware(scope, receive, send))
    assert current_tenant() is None
    return sent


async def asynchronously(scope: Any) -> str | None:
    return "acme"


@pytest.mark.parametrize("resolve", [lambda scope: "acme", asynchronously], ids=["sync", "async"])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_request_is_served_in_its_tenants_context(resolve: Any, kind: str) -> None:
    app = Application()
    assert call(TenantMiddleware(app, resolve=resolve), {"type": kind, "path": "/"}) == []
    assert app.served == [(kind, "acme")]


@pytest.mark.parametrize("nobody", [None, ""])
def test_nobodys_request_is_refused(nobody: str | None) -> None:
    app = Application()
    middleware = TenantMiddleware(app, resolve=lambda scope: nobody)
    start, body = call(middleware, {"type": "http", "path": "/"})
    assert start["status"] == 403
    assert json.loads(body["body"])["error"]["code"] == "no_tenant"
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert call(middleware, {"type": "websocket", "path": "/"}) == [{"type": "websocket.close", "code": 1008}]
    assert app.served == []


def test_exempt_paths_and_the_lifespan_have_no_tenant() -> None:
    app = Application()

    def unasked(scope: Any) -> str:
        raise AssertionError("nobody is asked whose these are")

    middleware = TenantMiddleware(app, resolve=unasked, exempt=["/health"])
    call(middleware, {"type": "http", "path": "/health"})
    call(middleware, {"type": "lifespan"})
    assert app.served == [("http", None), ("lifespan", None)]


def test_only_the_exact_path_is_exempt() -> None:
    app = Application()
    middleware = TenantMiddleware(app, resolve=lambda scope: None, exempt=["/health"])
    for path in ("/health/", "/healthy", "/x/health", "/HEALTH"):
        assert call(middleware, {"type": "http", "path": path})[0]["status"] == 403
    assert app.served == []


def test_a_resolver_that_fails_lets_nobody_in() -> None:
    def failing(scope: Any) -> str:
        raise LookupError("no store")

    app = Application()
    with pytest.raises(LookupError):
        call(TenantMiddleware(app, resolve=failing), {"type": "http", "path": "/"})
    assert app.served == []
