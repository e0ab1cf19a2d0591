"""Selling over HTTP: what an application asks for on behalf of a tenant, behind its bearer token (``docs/billing.md``).

An application names a tenant, plans and seats; customer, prices and amounts are found on the server. Nothing is in the
path or the query, so that no access log has it.

Annotations are evaluated here: FastAPI could not find the names of a function's own scope in text.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from provisioner.application_route import application_route, refusal
from provisioner.billing.sales import PaymentFailed
from provisioner.broker import ApplicationTokens
from provisioner.broker_api import ErrorAnswer
from provisioner.errors import NotFound, Reject, RetryLater, TenantryError
from provisioner.selling.change import When
from provisioner.selling.checkout import Checkout, Pages
from provisioner.selling.errors import InvalidRequest, ReturnUrlRefused
from provisioner.selling.portal import Flow
from provisioner.selling.return_urls import MAX_URL
from provisioner.selling.seller import Feedback, Seller, Wanted
from provisioner.selling.views import Preview, SubscriptionView

MAX_BODY = 16 * 1024  #: bytes: two URLs and a customer's comment

log = structlog.get_logger(__name__)

TenantId = Annotated[
    str, Field(min_length=3, max_length=40, pattern=r"^[a-z][a-z0-9-]*$", description="the tenant", examples=["acme"])
]
PlanName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$", description="of plans.toml", examples=["team"])]
Interval = Literal["month", "year"]
Seats = Annotated[int, Field(ge=1, le=1_000_000)]
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL, description="at one of TENANTRY_RETURN_URLS")]
_LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"  #: something on one line
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
Used = Annotated[int | None, Field(ge=0, le=1_000_000, description="seats in use: fewer are not sold")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    tenant_id: TenantId


class CheckoutBody(Body):
    plan: PlanName
    interval: Interval = "month"
    seats: Seats | None = Field(None, description="for plans that are sold by the seat; default: one")
    success_url: Url
    cancel_url: Url
    promotion_codes: bool = Field(False, description="whether the customer may enter one")
    locale: str | None = Field(
        None, pattern=r"^[a-z]{2}(-[A-Z0-9]{2,3})?$", description="of the page; default: its own"
    )


class SignUpBody(CheckoutBody):
    email: str = Field(min_length=3, max_length=254, description="of who pays", examples=["ada@example.com"])
    name: str | None = Field(None, min_length=1, max_length=150, pattern=_LINE)
    reference: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=_LINE,
        description="who signs up, as your application knows them: the id is kept for them; default: the address",
    )


class PortalBody(Body):
    return_url: Url
    flow: Annotated[Flow | None, Field(strict=False)] = None


class ChangeBody(Body):
    used: Used = None
    when: Annotated[When, Field(strict=False, description="auto: more at once, less when the period ends")] = When.AUTO


class PlanBody(ChangeBody):
    plan: PlanName
    interval: Interval | None = Field(None, description="default: the present one")
    seats: Seats | None = Field(None, description="default: the present number")


class SeatsBody(ChangeBody):
    seats: Seats


class PreviewBody(ChangeBody):
    plan: PlanName | None = Field(None, description="default: the present one")
    interval: Interval | None = None
    seats: Seats | None = None


class CancelBody(Body):
    at_period_end: bool = True
    feedback: Annotated[Feedback | None, Field(strict=False)] = None
    comment: str | None = Field(None, max_length=1000, pattern=_TEXT, description="the customer's own words")


class UrlAnswer(BaseModel):
    url: str


class CheckoutAnswer(BaseModel):
    url: str = Field(description="where to send the customer")
    session_id: str
    expires_at: datetime
    trial_days: int
    trial_refused: str | None = Field(description="why the plan's trial is not in it")


class SubscriptionAnswer(BaseModel):
    subscription: SubscriptionView | None


_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "`malformed_body`: the body is not JSON"},
    401: {"model": ErrorAnswer, "description": "`unauthorized`: no application token, or a wrong one"},
    402: {"model": ErrorAnswer, "description": "`payment_failed`: nothing was changed"},
    404: {"model": ErrorAnswer, "description": "`unknown_tenant`; `not_found`: no such plan, or not sold so"},
    409: {
        "model": ErrorAnswer,
        "description": "`tenant_taken`, `already_subscribed`, `not_subscribed`, `not_changeable`, `seats_refused`",
    },
    411: {"model": ErrorAnswer, "description": "`length_required`: the body's length must be announced"},
    413: {"model": ErrorAnswer, "description": f"`body_too_large`: more than {MAX_BODY} bytes"},
    422: {"model": ErrorAnswer, "description": "`invalid_request`, `return_url_refused`"},
    503: {
        "model": ErrorAnswer,
        "description": "`stripe_unavailable`, `busy`, ..., with `Retry-After`; or misconfigured",
    },
}


def _of_error(error: TenantryError) -> JSONResponse:
    match error:
        case PaymentFailed():
            return refusal(402, error.code, error.message, error.hint)
        case NotFound():
            return refusal(404, error.code, error.message, error.hint)
        case InvalidRequest() | ReturnUrlRefused():
            return refusal(422, error.code, error.message, error.hint)
        case Reject():
            return refusal(409, error.code, error.message, error.hint)
        case RetryLater():
            log.warning("selling.failed", code=error.code, message=error.message)
            return refusal(503, error.code, error.message, error.hint, Retry_After="2")
        case _:
            log.error("selling.failed", code=error.code, message=error.message)
            return refusal(503, error.code, error.message, error.hint)


def storefront_router(seller: Callable[[], Seller], application_tokens: ApplicationTokens) -> APIRouter:
    """The routes, to be included by the service's application."""
    router = APIRouter(
        prefix="/v1/billing",
        tags=["billing"],
        route_class=application_route(
            application_tokens,
            max_body=MAX_BODY,
            too_large_hint="shorten it",
            of_error=_of_error,
            invalid_hint="docs/billing.md has what each request takes",
        ),
        dependencies=[Depends(HTTPBearer(auto_error=False, scheme_name="ApplicationToken"))],
        responses=_ERRORS,
    )

    @router.post("/sign-up", summary="Reserve a new tenant's id and open its checkout")
    async def sign_up(body: SignUpBody) -> CheckoutAnswer:
        opened = await seller().sign_up(
            body.tenant_id,
            _wanted(body),
            _pages(body),
            email=body.email,
            name=body.name,
            reference=body.reference or body.email.lower(),
        )
        return _checkout(opened)

    @router.post("/checkout", summary="Open a checkout for a tenant that has no subscription")
    async def checkout(body: CheckoutBody) -> CheckoutAnswer:
        return _checkout(await seller().checkout(body.tenant_id, _wanted(body), _pages(body)))

    @router.post("/portal", summary="Open Stripe's customer portal")
    async def portal(body: PortalBody) -> UrlAnswer:
        return UrlAnswer(url=await seller().portal(body.tenant_id, body.return_url, body.flow))

    @router.post("/subscription", summary="What is in force, and what is planned")
    async def subscription(body: Body) -> SubscriptionAnswer:
        return SubscriptionAnswer(subscription=await seller().subscription(body.tenant_id))

    @router.post("/preview", summary="What a change would cost, and when")
    async def preview(body: PreviewBody) -> Preview:
        wanted = Wanted(body.plan, body.interval, body.seats, body.used, body.when)
        return await seller().preview(body.tenant_id, wanted)

    @router.post("/plan", summary="Change plan or interval")
    async def plan(body: PlanBody) -> SubscriptionAnswer:
        wanted = Wanted(body.plan, body.interval, body.seats, body.used, body.when)
        return SubscriptionAnswer(subscription=await seller().change(body.tenant_id, wanted))

    @router.post("/seats", summary="Change the number of seats")
    async def seats(body: SeatsBody) -> SubscriptionAnswer:
        wanted = Wanted(seats=body.seats, used=body.used, when=body.when)
        return SubscriptionAnswer(subscription=await seller().change(body.tenant_id, wanted))

    @router.post("/cancel", summary="End the subscription, by default when its period ends")
    async def cancel(body: CancelBody) -> SubscriptionAnswer:
        left = await seller().cancel(
            body.tenant_id, at_period_end=body.at_period_end, feedback=body.feedback, comment=body.comment
        )
        return SubscriptionAnswer(subscription=left)

    @router.post("/resume", summary="Take a cancellation back, or resume a paused subscription")
    async def resume(body: Body) -> SubscriptionAnswer:
        return SubscriptionAnswer(subscription=await seller().resume(body.tenant_id))

    return router


def _wanted(body: CheckoutBody) -> Wanted:
    return Wanted(body.plan, body.interval, body.seats)


def _pages(body: CheckoutBody) -> Pages:
    return Pages(body.success_url, body.cancel_url, body.promotion_codes, body.locale)


def _checkout(opened: Checkout) -> CheckoutAnswer:
    return CheckoutAnswer(**vars(opened))
