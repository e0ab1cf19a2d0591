"""The HTTP service: webhook, health, metrics, operator API, broker, storefront. The webhook and health need no token.

The webhook's route stands before the framework: it is the hot path, and reads its body itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import JSONResponse
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from provisioner import metrics
from provisioner.api import Unauthorized, bearer, operator_router
from provisioner.broker import ApplicationTokens, Boto3Clients, Broker
from provisioner.broker_api import broker_router
from provisioner.errors import ConfigurationInvalid, NotFound, Reject, RetryLater, TenantryError
from provisioner.inbox_writer import WRITERS, InboxWriter
from provisioner.intake import Intake
from provisioner.operate import Pool
from provisioner.registry.sources import Placements
from provisioner.selling import opening as selling
from provisioner.settings import Settings
from provisioner.storefront_api import storefront_router

log = structlog.get_logger(__name__)

INTAKE_CONNECTIONS = WRITERS + 1  # and one that says whether the service is ready
API_CONNECTIONS = 4


def make_web(settings: Settings) -> FastAPI:
    """The application. ``ConfigurationInvalid`` for settings with which it would be open or useless."""
    operators = _tokens(settings.operator_tokens, "TENANTRY_OPERATOR_TOKENS")
    applications = ApplicationTokens(token.get_secret_value() for token in settings.application_tokens)
    url = settings.database_url.get_secret_value()
    intake_pool: Pool = AsyncConnectionPool(
        url,
        kwargs={"autocommit": True, "application_name": "tenantry-intake"},
        min_size=2,
        max_size=INTAKE_CONNECTIONS,
        timeout=5,
        open=False,
    )
    pool: Pool = AsyncConnectionPool(
        url, kwargs={"application_name": "tenantry-api"}, min_size=1, max_size=API_CONNECTIONS, timeout=5, open=False
    )
    placements = Placements(url)
    seller = selling.of_settings(settings)
    intake = Intake(
        InboxWriter(lambda: intake_pool),
        settings.webhook_secrets(),
        tolerance_s=settings.webhook_tolerance_s,
        max_bytes=settings.webhook_max_bytes,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with intake_pool, pool, seller:
            placements.open()
            try:
                yield
            finally:
                placements.close()

    app = FastAPI(
        title="Tenantry",
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        routes=[Route("/webhooks/stripe", intake.receive, methods=["POST"])],
    )
    _add_error_handlers(app)
    app.include_router(operator_router(lambda: pool, operators))
    app.include_router(broker_router(Broker(placements, Boto3Clients()), applications))
    app.include_router(storefront_router(seller, applications))

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        try:
            async with intake_pool.connection(timeout=2) as connection:
                await connection.execute("SELECT FROM registry.tenant LIMIT 1")
        except (psycopg.Error, PoolTimeout) as error:
            return PlainTextResponse(f"the control plane's database: {type(error).__name__}\n", 503)
        return PlainTextResponse("ready\n")

    guarded = [Depends(bearer(operators, "operator"))]

    @app.get("/metrics", include_in_schema=False, dependencies=guarded)
    async def prometheus() -> Response:
        return Response(await metrics.render(pool), media_type=metrics.CONTENT_TYPE)

    @app.get("/openapi.json", include_in_schema=False, dependencies=guarded)
    async def openapi() -> Response:
        return JSONResponse(app.openapi())

    @app.get("/docs", include_in_schema=False, dependencies=guarded)
    async def docs() -> Response:
        return get_swagger_ui_html(openapi_url="/openapi.json", title="Tenantry")

    return app


def _tokens(secrets: tuple[object, ...], variable: str) -> ApplicationTokens:
    values = [secret.get_secret_value() for secret in secrets]  # type: ignore[attr-defined]
    if not values:
        raise ConfigurationInvalid(
            f"{variable} is empty", hint="set a long random token; two, comma-separated, to rotate"
        )
    return ApplicationTokens(values)


def _add_error_handlers(app: FastAPI) -> None:
    """Every refusal is ``{"error": {"code", "message", "hint"}}``."""

    @app.exception_handler(TenantryError)
    async def ours(_: Request, error: TenantryError) -> Response:
        match error:
            case Unauthorized():
                return _envelope(401, error.code, error.message, error.hint, {"WWW-Authenticate": "Bearer"})
            case NotFound():
                return _envelope(404, error.code, error.message, error.hint)
            case Reject():
                return _envelope(409, error.code, error.message, error.hint)
            case RetryLater():
                return _envelope(503, error.code, error.message, error.hint, {"Retry-After": "5"})
            case _:
                return _envelope(503, error.code, error.message, error.hint)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        # the value itself is not repeated: it may be a misplaced secret
        where = ".".join(str(part) for part in first.get("loc", ())) or "body"
        return _envelope(422, "invalid_request", f"{where}: {first.get('msg', 'invalid')}", "see /docs")

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        codes = {404: "not_found", 405: "method_not_allowed", 400: "malformed_request"}
        return _envelope(
            error.status_code,
            codes.get(error.status_code, "refused"),
            str(error.detail),
            headers=dict(error.headers or {}),
        )

    @app.exception_handler(psycopg.Error)
    async def database(_: Request, error: psycopg.Error) -> Response:
        log.error("web.database_failed", error=type(error).__name__)
        return _envelope(503, "unavailable", "the registry can't be reached", "try again", {"Retry-After": "5"})

    @app.exception_handler(PoolTimeout)
    async def busy(_: Request, error: PoolTimeout) -> Response:
        log.error("web.database_failed", error=type(error).__name__)
        return _envelope(503, "unavailable", "the registry can't be reached", "try again", {"Retry-After": "5"})


def _envelope(
    status: int, code: str, message: str, hint: str = "", headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message, "hint": hint}}, status, headers)
