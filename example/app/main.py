"""The application: ``uvicorn --factory example.app.main:create_app``.

It needs what the SDK needs (``TENANTRY_DATABASE_URL``, ``TENANTRY_API_URL``, ``TENANTRY_APPLICATION_TOKEN``; locally
``eval "$(tenantry local env)"``) and ``EXAMPLE_SIGNING_KEY``, 64 hex digits of its own.
``EXAMPLE_ORIGIN`` is where customers see it, one of the service's ``TENANTRY_RETURN_URLS``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from example.app import billing, files, projects
from example.app.parts import Sdk
from example.app.sign_in import SignIn
from tenantry import (
    AsyncTenantry,
    BillingRefused,
    Config,
    InvalidFileName,
    LimitMiddleware,
    PaymentFailed,
    TenantMiddleware,
    TenantryError,
    TenantSuspended,
    Unavailable,
    UnknownTenant,
    current_tenant,
)
from tenantry.asgi import Scope


def create_app(environ: Mapping[str, str] | None = None) -> FastAPI:
    """Connects to nothing before its lifespan begins. Raises ConfigurationInvalid or KeyError for missing settings."""
    environ = os.environ if environ is None else environ
    config = Config.from_env(environ)
    sign_in = SignIn(bytes.fromhex(environ["EXAMPLE_SIGNING_KEY"]))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncTenantry(config) as sdk:  # one a process: it keeps connections and credentials
            app.state.sdk = sdk
            yield

    def tenant_of(scope: Scope) -> str | None:
        user = sign_in.of_request(scope)
        return user.tenant_id if user else None

    def sdk_of(scope: Scope) -> AsyncTenantry:
        sdk: AsyncTenantry = scope["app"].state.sdk
        return sdk

    app = FastAPI(title="Project tracker", lifespan=lifespan)
    app.state.sign_in = sign_in
    app.state.origin = environ.get("EXAMPLE_ORIGIN", "http://127.0.0.1:8000")
    app.add_middleware(LimitMiddleware, sdk=sdk_of, exempt=("/health",))
    app.add_middleware(TenantMiddleware, resolve=tenant_of, exempt=("/health", "/sign-up"), sdk=sdk_of)
    app.add_exception_handler(TenantryError, _answer)
    app.include_router(projects.router)
    app.include_router(files.router)
    app.include_router(billing.router)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "up"}

    @app.get("/me")
    async def me(sdk: Sdk) -> dict[str, Any]:
        """The tenant, its plan, and what that allows."""
        await sdk.placement()  # refuses whose access is withdrawn
        known = sdk.cached_entitlements()
        return {
            "tenant": current_tenant(),
            "plan": known.plan,
            "access": known.access,
            "features": sorted(known.features),
            "limits": dict(known.limits),
        }

    return app


async def _answer(request: Request, error: Exception) -> JSONResponse:
    """An error of the SDK as the client sees it: what happened, and nothing about where."""
    assert isinstance(error, TenantryError)
    if isinstance(error, Unavailable):
        return JSONResponse({"error": error.code}, 503, {"Retry-After": "1"})
    if isinstance(error, UnknownTenant | TenantSuspended):
        return JSONResponse({"error": error.code}, 403)
    if isinstance(error, BillingRefused):  # its text is made for whoever buys
        status = 402 if isinstance(error, PaymentFailed) else 409
        return JSONResponse({"error": error.code, "message": error.message}, status)
    if isinstance(error, InvalidFileName):
        return JSONResponse({"error": error.code}, 400)
    return JSONResponse({"error": "internal"}, 500)
