"""The HTTP side of the API: authentication, request bodies, answers. What a request does is ``dispatch``'s."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.stripe import api_faults, dispatch
from localcloud.stripe.account import API_VERSION, Account
from localcloud.stripe.errors import ApiError, invalid
from localcloud.stripe.form import Tree, parse

MAX_BODY = 1_000_000
#: How often a request that hangs looks whether the outage is over.
HANG_CHECK_S = 0.05
_KEY = re.compile(r"(sk|rk)_test_[A-Za-z0-9_]{3,}")
_METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]


def create_app(account: Account, extra_routes: list[Route] | None = None) -> Starlette:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        verdict = api_faults.draw(account)
        if verdict.latency_s:
            await asyncio.sleep(verdict.latency_s)
        if verdict.connection is not None:
            while verdict.connection == "hang" and api_faults.outage(account) == "hang":
                await asyncio.sleep(HANG_CHECK_S)
            return await _hang_up(request)
        found = answer(account, request, body, verdict.refusal)
        return await _hang_up(request) if verdict.lost else found

    return Starlette(routes=[*(extra_routes or []), Route("/{path:path}", endpoint, methods=_METHODS)])


async def _hang_up(request: Request) -> Response:
    """Close the connection without an answer. No ASGI message says that: the server's own transport does it."""
    cycle: Any = getattr(request.receive, "__self__", None)
    cycle.transport.abort()
    await asyncio.sleep(0)  # the server takes note that the client is gone: the answer below goes nowhere
    return Response(status_code=503)


def answer(account: Account, request: Request, body: bytes, refusal: ApiError | None = None) -> Response:
    """The answer to one request: the document, or the error, with Stripe's headers."""

    def read() -> Tree:
        authenticate(request)
        return _parameters(request, body)

    headers = request.headers
    found = dispatch.answer(
        account,
        request.method,
        request.url.path,
        read,
        key=headers.get("idempotency-key"),
        version=headers.get("stripe-version", API_VERSION),
        refusal=refusal,
    )
    return JSONResponse(found.document, status_code=found.status, headers=found.headers)


def authenticate(request: Request) -> None:
    """401 unless the request brings a test mode key."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    key = ""
    if scheme.lower() == "bearer":
        key = credentials.strip()
    elif scheme.lower() == "basic":
        try:
            key = base64.b64decode(credentials, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if not key:
        raise ApiError(
            401,
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )
    if not _KEY.fullmatch(key):
        shown = key[-4:] if len(key) >= 24 else ""
        raise ApiError(401, f"Invalid API Key provided: {'*' * 20}{shown}")


def _parameters(request: Request, body: bytes) -> Tree:
    if len(body) > MAX_BODY:
        raise invalid("Request body too large")
    query = parse(request.url.query)
    if not body:
        return query
    content_type = request.headers.get("content-type", "application/x-www-form-urlencoded").split(";")[0].strip()
    if content_type != "application/x-www-form-urlencoded":
        raise ApiError(
            400, f"Invalid Content-Type: {content_type[:80]}; this API takes application/x-www-form-urlencoded"
        )
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise invalid("Invalid request body: not form-encoded") from None
    return {**query, **parse(text)}
