"""ASGI middleware: holds each tenant's requests to the rates of its plan.

It answers 429 with ``Retry-After``, the fields ``RateLimit`` and ``RateLimit-Policy`` of
draft-ietf-httpapi-ratelimit-headers (structured fields: one item a rate) and a problem document (RFC 9457).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Collection, MutableMapping
from typing import TYPE_CHECKING, Any

from tenantry.asgi import Application, Receive, Scope, Send
from tenantry.context import current_tenant
from tenantry.entitlements import Rate
from tenantry.errors import RateStoreUnavailable, Unavailable, UnknownTenant
from tenantry.rate_limiter import RateVerdict

if TYPE_CHECKING:
    from tenantry.aio import AsyncTenantry

log = logging.getLogger(__name__)

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
#: seconds after which a client may come again when calls can't be counted
UNAVAILABLE_RETRY_AFTER = 1
#: https://websocket.org/reference/close-codes: try again later
_TRY_AGAIN_LATER = 1013

#: given the ASGI scope, the names of the rates that the request counts for
Selector = Callable[[Scope], Collection[str]]


class LimitMiddleware:
    """Inside of TenantMiddleware: ``app.add_middleware(LimitMiddleware, sdk=sdk)`` before that one's.

    ``sdk``: or a function of the scope, where it is made by the application's lifespan. ``rates``: names that every
    request counts for, or a function of the scope; None: all of the plan's. ``calls``: how many calls a request is.
    A request outside of any tenant, and one whose path is in ``exempt``, is let through.

    When the tenant's entitlements were never read, and when the limiter can't count and doesn't fail open, requests
    are let through if ``fail_open``, else refused with 503.
    """

    def __init__(
        self,
        app: Application,
        *,
        sdk: AsyncTenantry | Callable[[Scope], AsyncTenantry],
        rates: Collection[str] | Selector | None = None,
        calls: Callable[[Scope], int] | None = None,
        exempt: Collection[str] = (),
        fail_open: bool = True,
    ) -> None:
        self._app = app
        self._sdk = sdk
        self._rates = rates if rates is None or callable(rates) else frozenset(rates)
        self._calls = calls
        self._exempt = frozenset(exempt)
        self._fail_open = fail_open
        self._policies: dict[tuple[Rate, ...], bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant_id = current_tenant()
        if tenant_id is None or scope["type"] not in ("http", "websocket") or scope.get("path") in self._exempt:
            await self._app(scope, receive, send)
            return
        try:
            verdict = await self._count(scope, tenant_id)
        except UnknownTenant:
            verdict = None  # whoever needs the tenant refuses it
        except (Unavailable, RateStoreUnavailable) as error:
            log.log(logging.WARNING if self._fail_open else logging.ERROR, "calls are not counted: %s", error.message)
            if not self._fail_open:
                await _refuse_uncounted(scope, send)
                return
            verdict = None
        if verdict is None or not verdict.states:
            await self._app(scope, receive, send)
        elif verdict.refused:
            await self._refuse(scope, send, verdict)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            fields = self._fields(verdict)

            async def send_with_fields(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", ()), *fields]
                await send(message)

            await self._app(scope, receive, send_with_fields)

    async def _count(self, scope: Scope, tenant_id: str) -> RateVerdict | None:
        sdk = self._sdk(scope) if callable(self._sdk) else self._sdk
        rates = (await sdk.entitlements(tenant_id)).rates
        if self._rates is not None:
            names = self._rates(scope) if callable(self._rates) else self._rates
            rates = tuple(rate for rate in rates if rate.name in names)
        calls = 1 if self._calls is None else self._calls(scope)
        return await sdk.count(tenant_id, rates, calls) if rates and calls > 0 else None

    async def _refuse(self, scope: Scope, send: Send, verdict: RateVerdict) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
            return
        names = [state.rate.name for state in verdict.refused]
        retry_after = max(1, math.ceil(verdict.retry_after))
        problem = {
            "type": QUOTA_EXCEEDED,
            "title": "Too many requests",
            "status": 429,
            "detail": f"The plan's rate {' and '.join(names)} is used up. Try again in {retry_after} s.",
            "violated-policies": names,
        }
        await _answer(send, 429, problem, retry_after, self._fields(verdict))

    def _fields(self, verdict: RateVerdict) -> list[tuple[bytes, bytes]]:
        rates = tuple(state.rate for state in verdict.states)
        policy = self._policies.get(rates)
        if policy is None:
            if len(self._policies) > 1000:
                self._policies.clear()
            policy = ", ".join(f'"{rate.name}";q={rate.amount};w={rate.seconds}' for rate in rates).encode()
            self._policies[rates] = policy
        limits = ", ".join(
            f'"{state.rate.name}";r={state.remaining};t={math.ceil(state.resets_in)}' for state in verdict.states
        )
        fields = [(b"ratelimit-policy", policy), (b"ratelimit", limits.encode())]
        if verdict.reported:
            exceeded = ", ".join(f'"{state.rate.name}"' for state in verdict.reported)
            fields.append((b"tenantry-soft-limit-exceeded", exceeded.encode()))
        return fields


async def _refuse_uncounted(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
        return
    problem = {"type": "about:blank", "title": "Service unavailable", "status": 503, "detail": "Try again shortly."}
    await _answer(send, 503, problem, UNAVAILABLE_RETRY_AFTER, [])


async def _answer(
    send: Send, status: int, problem: dict[str, Any], retry_after: int, fields: list[tuple[bytes, bytes]]
) -> None:
    body = json.dumps(problem).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(retry_after).encode()),
        *fields,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
