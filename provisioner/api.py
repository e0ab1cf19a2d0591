"""The operator API: what the command line shows and does, over HTTP, behind an operator's bearer token.

Annotations are evaluated here: FastAPI could not find the names of a function's own scope in text.
"""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.security import HTTPBearer
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from pydantic import BaseModel, ConfigDict, Field

from provisioner import approving, operator_tasks
from provisioner.broker import ApplicationTokens
from provisioner.broker_api import ErrorAnswer
from provisioner.errors import NotFound, Reject
from provisioner.explain import explain, tenant_document
from provisioner.operate import Pool
from provisioner.registry import approvals, events, operations, proofs, tenants
from provisioner.registry.approvals import Answer
from provisioner.registry.events import EventStatus

TenantPath = Annotated[str, Path(min_length=3, max_length=40, pattern=r"^[a-z][a-z0-9-]*$", examples=["acme"])]
EventPath = Annotated[str, Path(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_]+$", examples=["evt_1"])]
OperationPath = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[1])]
Limit = Annotated[int, Query(ge=1, le=1000)]

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "the request can't be read, or is refused"},
    401: {"model": ErrorAnswer, "description": "`unauthorized`: no operator token, or a wrong one"},
    404: {"model": ErrorAnswer, "description": "`not_found`"},
    409: {"model": ErrorAnswer, "description": "refused in the present state"},
    422: {"model": ErrorAnswer, "description": "`invalid_request`"},
    503: {"model": ErrorAnswer, "description": "`unavailable`: the registry can't be reached"},
}


_SAID = r"^[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*$"  #: something on one line


class Unauthorized(Reject):
    code = "unauthorized"


class Authorisation(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    by: str = Field(min_length=1, max_length=100, pattern=_SAID, description="who authorises it")
    reason: str = Field(min_length=1, max_length=500, pattern=_SAID)


class AnswerBody(Authorisation):
    diff_hash: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="answer only if the diff that waits still has this hash"
    )


class Queued(BaseModel):
    queued: bool = True
    ids: list[str]


def bearer(tokens: ApplicationTokens, what: str) -> Callable[[Request], None]:
    """A dependency that refuses requests without one of ``tokens``."""

    def check(request: Request) -> None:
        scheme, _, presented = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not tokens.accept(presented.strip()):
            raise Unauthorized(f"no accepted {what} token", hint="send Authorization: Bearer <token>")

    return check


def operator_router(pool: Callable[[], Pool], tokens: ApplicationTokens) -> APIRouter:
    router = APIRouter(
        prefix="/v1",
        tags=["operator"],
        responses=ERRORS,
        dependencies=[
            Depends(HTTPBearer(auto_error=False, scheme_name="OperatorToken")),
            Depends(bearer(tokens, "operator")),
        ],
    )

    async def connection() -> AsyncIterator[AsyncConnection[TupleRow]]:
        async with pool().connection() as opened:
            yield opened

    Connection = Annotated[AsyncConnection[TupleRow], Depends(connection, scope="function")]

    @router.get("/tenants", summary="All tenants")
    async def list_tenants(connection: Connection) -> list[dict[str, Any]]:
        verdicts = await proofs.verdicts(connection)
        records = await tenants.all_tenants(connection)
        return [tenant_document(record, verdicts.get(record.tenant_id)) for record in records]

    @router.get("/tenants/{tenant_id}", summary="One tenant")
    async def show_tenant(tenant_id: TenantPath, connection: Connection) -> dict[str, Any]:
        record = await operator_tasks.require(connection, tenant_id)
        return tenant_document(record, (await proofs.verdicts(connection, tenant_id)).get(tenant_id))

    @router.get("/tenants/{tenant_id}/explain", summary="Its timeline: event, decision, operation, resources, next")
    async def explain_tenant(tenant_id: TenantPath, connection: Connection) -> dict[str, Any]:
        return await explain(connection, tenant_id)

    @router.post("/tenants/{tenant_id}/reconcile", status_code=202, summary="Bring it to what it pays for, now")
    async def reconcile_tenant(tenant_id: TenantPath, connection: Connection) -> Queued:
        await operator_tasks.reconcile(connection, tenant_id, by="the operator API")
        return Queued(ids=[tenant_id])

    @router.post("/tenants/{tenant_id}/destroy", status_code=202, summary="Authorise its destruction")
    async def destroy_tenant(tenant_id: TenantPath, body: Authorisation, connection: Connection) -> Queued:
        await operator_tasks.destroy(connection, tenant_id, by=body.by, reason=body.reason)
        return Queued(ids=[tenant_id])

    @router.get("/operations", summary="Stack operations, newest first")
    async def list_operations(
        connection: Connection, tenant_id: str | None = Query(None, max_length=40), limit: Limit = 50
    ) -> list[dict[str, Any]]:
        _storable(tenant_id)
        found = await operations.list_operations(connection, tenant_id=tenant_id, limit=limit)
        return [vars(operation) for operation in found]

    @router.get("/approvals", summary="Updates that would destroy data, with their diffs, newest first")
    async def list_approvals(connection: Connection, open_only: bool = True, limit: Limit = 50) -> list[dict[str, Any]]:
        return [vars(each) for each in await approvals.list_approvals(connection, open_only=open_only, limit=limit)]

    @router.post("/operations/{operation_id}/approve", summary="Let a parked operation do exactly what it showed")
    async def approve(operation_id: OperationPath, body: AnswerBody, connection: Connection) -> dict[str, Any]:
        return await _answered(connection, operation_id, Answer.APPROVED, body)

    @router.post("/operations/{operation_id}/reject", summary="Refuse a parked operation")
    async def reject(operation_id: OperationPath, body: AnswerBody, connection: Connection) -> dict[str, Any]:
        return await _answered(connection, operation_id, Answer.REJECTED, body)

    @router.get("/events", summary="Stripe events, newest first, without their bodies")
    async def list_events(
        connection: Connection, status: EventStatus | None = None, limit: Limit = 100
    ) -> list[dict[str, Any]]:
        return [event.summary() for event in await events.list_events(connection, status=status, limit=limit)]

    @router.get("/events/{event_id}", summary="One Stripe event")
    async def show_event(event_id: EventPath, connection: Connection) -> dict[str, Any]:
        found = await events.get(connection, event_id)
        if found is None:
            raise NotFound(f"there is no event {event_id}", hint="`tenantry events list` shows the latest")
        return found.summary()

    @router.post("/events/{event_id}/retry", status_code=202, summary="Process a quarantined event again")
    async def retry_event(event_id: EventPath, connection: Connection) -> Queued:
        return Queued(ids=await operator_tasks.retry_events(connection, [event_id]))

    return router


async def _answered(connection: AsyncConnection, operation_id: int, given: Answer, body: AnswerBody) -> dict[str, Any]:
    record = await approving.answer(
        connection, operation_id, given, by=body.by, reason=body.reason, diff_hash=body.diff_hash
    )
    return vars(record)


def _storable(text: str | None) -> None:
    if text is not None and "\x00" in text:
        raise NotFound("no such tenant")
