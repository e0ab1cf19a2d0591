"""Sign-up and billing: which plan, how many seats, until when. Stripe's part is the SDK's; here is no Stripe code."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from example.app.parts import Sdk

router = APIRouter()
Interval = Literal["month", "year"]


class SignUp(BaseModel):
    """``email``: your sign-up has sent a link to it before, and this request carries what that link proved."""

    tenant: str = Field(min_length=3, max_length=40)
    email: str = Field(max_length=254)
    company: str = Field(min_length=1, max_length=150)
    plan: str
    interval: Interval = "month"
    seats: int | None = Field(None, ge=1)


class Change(BaseModel):
    plan: str
    interval: Interval | None = None


class Seats(BaseModel):
    seats: int = Field(ge=1)


class Cancellation(BaseModel):
    at_once: bool = False
    feedback: Literal["too_expensive", "missing_features", "switched_service", "unused", "other"] | None = None
    comment: str | None = Field(None, max_length=1000)


@router.post("/sign-up", status_code=201)
async def sign_up(new: SignUp, request: Request, sdk: Sdk) -> dict[str, Any]:
    """Where to pay. The tenant is there some seconds after the payment: its first request may come too early."""
    opened = await sdk.billing.sign_up(
        new.tenant,
        plan=new.plan,
        interval=new.interval,
        seats=new.seats,
        email=new.email,
        name=new.company,
        success_url=_here(request, "welcome"),
        cancel_url=_here(request, "plans"),
    )
    return {"pay_at": opened.url, "trial_days": opened.trial_days}


@router.get("/billing")
async def billing(sdk: Sdk) -> dict[str, Any]:
    found = await sdk.billing.subscription()
    return {"subscription": None if found is None else asdict(found)}


@router.post("/billing/plan")
async def change_plan(change: Change, sdk: Sdk) -> dict[str, Any]:
    """More at once, less when the period ends."""
    return asdict(await sdk.billing.change_plan(change.plan, change.interval))


@router.post("/billing/plan/preview")
async def preview(change: Change, sdk: Sdk) -> dict[str, Any]:
    """What it would cost, and when."""
    return asdict(await sdk.billing.preview_change(plan=change.plan, interval=change.interval))


@router.post("/billing/seats")
async def set_seats(wanted: Seats, sdk: Sdk) -> dict[str, Any]:
    return asdict(await sdk.billing.set_seats(wanted.seats))


@router.post("/billing/cancel")
async def cancel(wish: Cancellation, sdk: Sdk) -> dict[str, Any]:
    left = await sdk.billing.cancel(at_period_end=not wish.at_once, feedback=wish.feedback, comment=wish.comment)
    return {"subscription": None if left is None else asdict(left)}


@router.post("/billing/resume")
async def resume(sdk: Sdk) -> dict[str, Any]:
    return asdict(await sdk.billing.resume())


@router.post("/billing/portal")
async def portal(request: Request, sdk: Sdk) -> dict[str, str]:
    """Invoices, payment method, address: Stripe's own page."""
    return {"go_to": await sdk.billing.portal(_here(request, "billing"))}


def _here(request: Request, page: str) -> str:
    """A page of this application, at the address that its operator gave it: a client chooses its Host header."""
    origin: str = request.app.state.origin
    return f"{origin}/{page}"
