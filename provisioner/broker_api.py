"""The broker over HTTP: two routes behind an application's bearer token (``docs/architecture.md``, "Broker").

Every refusal is the service's error envelope ``{"error": {"code", "message", "hint"}}``, whatever is mounted
around the router. The body is read only from a caller whose token was accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from provisioner.broker import (
    ApplicationTokens,
    Broker,
    BrokerUnavailable,
    TenantSuspended,
    UnknownTenant,
)
from provisioner.errors import TenantryError

MAX_BODY = 4096  #: bytes

log = structlog.get_logger(__name__)


class CredentialRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    tenant_id: str = Field(min_length=3, max_length=40, description="the tenant to act for", examples=["acme"])


class DatabaseRequest(CredentialRequest):
    fresh: bool = Field(False, description="the credentials issued before were refused: re-read them from their secret")


class DatabaseAnswer(BaseModel):
    username: str
    password: str
    token: str | None = Field(description="the pool's entry token; null where the tenant has a login of its own")
    epoch: int
    expires_at: datetime


class AwsAnswer(BaseModel):
    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: datetime


class ErrorDetail(BaseModel):
    code: str
    message: str
    hint: str


class ErrorAnswer(BaseModel):
    error: ErrorDetail


_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "`malformed_body`: the body is not JSON"},
    401: {"model": ErrorAnswer, "description": "`unauthorized`: no application token, or a wrong one"},
    403: {"model": ErrorAnswer, "description": "`tenant_suspended`: the tenant's access is not full"},
    404: {"model": ErrorAnswer, "description": "`unknown_tenant`"},
    411: {"model": ErrorAnswer, "description": "`length_required`: the body's length must be announced"},
    413: {"model": ErrorAnswer, "description": f"`body_too_large`: more than {MAX_BODY} bytes"},
    422: {"model": ErrorAnswer, "description": "`invalid_request`: a field is missing or malformed"},
    503: {"model": ErrorAnswer, "description": "`broker_unavailable`, with `Retry-After`, or `broker_misconfigured`"},
}


def _refusal(status: int, code: str, message: str, hint: str = "", **headers: str) -> JSONResponse:
    return JSONResponse(
        {"error": {"code": code, "message": message, "hint": hint}},
        status,
        {name.replace("_", "-"): value for name, value in headers.items()} | {"Cache-Control": "no-store"},
    )


def _of_error(error: TenantryError) -> JSONResponse:
    if isinstance(error, UnknownTenant):
        return _refusal(404, error.code, error.message, error.hint)
    if isinstance(error, TenantSuspended):
        return _refusal(403, error.code, error.message, error.hint)
    log.warning("broker.failed", code=error.code, message=error.message)
    if isinstance(error, BrokerUnavailable):
        return _refusal(503, error.code, error.message, error.hint, Retry_After="1")
    return _refusal(503, error.code, error.message, error.hint)


def _announced_length(request: Request) -> int | JSONResponse:
    announced = request.headers.get("content-length", "")
    if not (announced.isascii() and announced.isdigit()):
        return _refusal(411, "length_required", "the request announces no Content-Length", "send one")
    if len(announced) > 9 or int(announced) > MAX_BODY:
        return _refusal(413, "body_too_large", f"the body has more than {MAX_BODY} bytes", "send tenant_id alone")
    return int(announced)


def _route_class(tokens: ApplicationTokens) -> type[APIRoute]:
    class BrokerRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handler(request: Request) -> Response:
                scheme, _, presented = request.headers.get("authorization", "").partition(" ")
                if scheme.lower() != "bearer" or not tokens.accept(presented.strip()):
                    return _refusal(
                        401,
                        "unauthorized",
                        "no accepted application token",
                        "send Authorization: Bearer <one of TENANTRY_APPLICATION_TOKENS>",
                        WWW_Authenticate="Bearer",
                    )
                length = _announced_length(request)
                if isinstance(length, JSONResponse):
                    return length
                try:
                    response = await handle(request)
                except TenantryError as error:
                    return _of_error(error)
                except RequestValidationError as error:
                    return _invalid(error)
                except HTTPException:
                    return _refusal(400, "malformed_body", "the body could not be read", "send a JSON object in UTF-8")
                response.headers["Cache-Control"] = "no-store"
                return response

            return handler

    return BrokerRoute


def _invalid(error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    # the value itself is not repeated: it may be a misplaced secret
    where = ".".join(str(part) for part in first.get("loc", ())) or "body"
    return _refusal(422, "invalid_request", f"{where}: {first.get('msg', 'invalid')}", 'send {"tenant_id": "..."}')


def broker_router(broker: Broker, application_tokens: ApplicationTokens) -> APIRouter:
    """The two routes, to be included by the service's application."""
    router = APIRouter(
        prefix="/v1/broker",
        tags=["broker"],
        route_class=_route_class(application_tokens),
        dependencies=[Depends(HTTPBearer(auto_error=False, scheme_name="ApplicationToken"))],
        responses=_ERRORS,
    )

    @router.post("/database", summary="Database login and pool entry token of a tenant, for 15 minutes")
    def database(body: DatabaseRequest) -> DatabaseAnswer:
        issued = broker.database(body.tenant_id, fresh=body.fresh)
        return DatabaseAnswer(
            username=issued.username,
            password=issued.password,
            token=issued.token,
            epoch=issued.epoch,
            expires_at=issued.expires_at,
        )

    @router.post("/aws", summary="AWS credentials of a tenant, tagged tenant_id, for at most 15 minutes")
    def aws(body: CredentialRequest) -> AwsAnswer:
        issued = broker.aws(body.tenant_id)
        return AwsAnswer(
            access_key_id=issued.access_key_id,
            secret_access_key=issued.secret_access_key,
            session_token=issued.session_token,
            expires_at=issued.expires_at,
        )

    return router
