"""The broker over HTTP: two routes behind an application's bearer token (``docs/architecture.md``, "Broker").

Every refusal is the service's error envelope ``{"error": {"code", "message", "hint"}}``, whatever is mounted
around the router. The body is read only from a caller whose token was accepted.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from provisioner.application_route import application_route, refusal
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
    access: str = Field(description="what they were issued for; with `read_only` the database refuses writes")


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
    403: {"model": ErrorAnswer, "description": "`tenant_suspended`: the tenant may not even read; says why"},
    404: {"model": ErrorAnswer, "description": "`unknown_tenant`"},
    411: {"model": ErrorAnswer, "description": "`length_required`: the body's length must be announced"},
    413: {"model": ErrorAnswer, "description": f"`body_too_large`: more than {MAX_BODY} bytes"},
    422: {"model": ErrorAnswer, "description": "`invalid_request`: a field is missing or malformed"},
    503: {"model": ErrorAnswer, "description": "`broker_unavailable`, with `Retry-After`, or `broker_misconfigured`"},
}


def _of_error(error: TenantryError) -> JSONResponse:
    if isinstance(error, UnknownTenant):
        return refusal(404, error.code, error.message, error.hint)
    if isinstance(error, TenantSuspended):
        return refusal(403, error.code, error.message, error.hint)
    log.warning("broker.failed", code=error.code, message=error.message)
    if isinstance(error, BrokerUnavailable):
        return refusal(503, error.code, error.message, error.hint, Retry_After="1")
    return refusal(503, error.code, error.message, error.hint)


def broker_router(broker: Broker, application_tokens: ApplicationTokens) -> APIRouter:
    """The two routes, to be included by the service's application."""
    router = APIRouter(
        prefix="/v1/broker",
        tags=["broker"],
        route_class=application_route(
            application_tokens,
            max_body=MAX_BODY,
            too_large_hint="send tenant_id alone",
            of_error=_of_error,
            invalid_hint='send {"tenant_id": "..."}',
        ),
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
            access=issued.access.value,
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
