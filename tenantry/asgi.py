"""ASGI middleware: a request's tenant, decided by the server, becomes the context of everything that serves it."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import TYPE_CHECKING, Any

from tenantry.context import tenant_context
from tenantry.errors import Unavailable, UnknownTenant

if TYPE_CHECKING:
    from tenantry.aio import AsyncTenantry

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: given the ASGI scope, says whose request it is, or None; may be async
Resolver = Callable[[Scope], str | Awaitable[str | None] | None]

_REFUSAL = json.dumps(
    {"error": {"code": "no_tenant", "message": "the request belongs to no tenant", "hint": "sign in"}}
).encode()


class TenantMiddleware:
    """``resolve`` must decide by what the client can't choose: verified claims of a session, a client certificate.

    There is no default and none that reads a header: whoever names a tenant in a header would become it. A request
    without a tenant is refused with 403 (a websocket is closed with 1008), unless its path is in ``exempt``.
    With an ``sdk`` the tenant's entitlements are loaded before the application is called, so that ``sdk.entitled`` and
    its like need no await. If they can't be, they are not there: the application decides what it does without.
    """

    def __init__(
        self,
        app: Application,
        *,
        resolve: Resolver,
        exempt: Collection[str] = (),
        sdk: AsyncTenantry | Callable[[Scope], AsyncTenantry] | None = None,
    ) -> None:
        self._app = app
        self._sdk = sdk
        self._resolve = resolve
        self._exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope.get("path") in self._exempt:
            await self._app(scope, receive, send)
            return
        found = self._resolve(scope)
        tenant_id = await found if inspect.isawaitable(found) else found
        if tenant_id:
            with tenant_context(tenant_id):
                if self._sdk is not None:
                    sdk = self._sdk(scope) if callable(self._sdk) else self._sdk
                    with contextlib.suppress(Unavailable, UnknownTenant):
                        await sdk.entitlements()
                await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_REFUSAL)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSAL})
