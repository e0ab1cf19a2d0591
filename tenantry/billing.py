"""Selling plans to tenants without any Stripe code: sign-up, checkout, portal, seats, plan changes, cancellation.

``sdk.billing`` is here for threads (``Billing``) and for asyncio (``AsyncBilling``). The service finds the tenant's
customer, prices and amounts; an application names plans of the catalogue. Each request may be made again: what is in
force already changes nothing, and a tenant never gets a second customer or a second open checkout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from tenantry.config import Config
from tenantry.context import require_tenant
from tenantry.errors import (
    BillingRefused,
    BillingUnavailable,
    ConfigurationInvalid,
    PaymentFailed,
    TenantryError,
    UnknownTenant,
)

ROOT = "/v1/billing/"


@dataclass(frozen=True)
class Checkout:
    """``url``: where to send the customer. ``trial_refused``: why the plan's trial is not in it; None: no reason."""

    url: str
    session_id: str
    expires_at: datetime
    trial_days: int
    trial_refused: str | None


@dataclass(frozen=True)
class PlannedChange:
    plan: str
    interval: str
    seats: int | None
    at: datetime


@dataclass(frozen=True)
class Subscription:
    """``status``: Stripe's. ``interval``: ``month`` or ``year``. ``seats``: None if the plan is not sold by the seat.
    ``cancels_at``: when it ends; None: it renews. ``next``: what it becomes when its period ends."""

    status: str
    plan: str
    interval: str
    seats: int | None
    current_period_end: datetime
    trial_end: datetime | None
    cancels_at: datetime | None
    next: PlannedChange | None


@dataclass(frozen=True)
class PreviewLine:
    description: str
    amount: int
    proration: bool


@dataclass(frozen=True)
class Preview:
    """``change``: ``now``, ``period_end``, or ``none`` if the subscription stays as it is. ``amount``: due at
    ``effective_at``, in the smallest unit of ``currency``; below 0: a credit."""

    change: str
    effective_at: datetime
    currency: str
    amount: int
    lines: tuple[PreviewLine, ...]


@dataclass(frozen=True)
class _Call:
    """One request, and what its answer is read as."""

    route: str
    tenant_id: str
    body: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        return {"tenant_id": self.tenant_id} | {name: value for name, value in self.body.items() if value is not None}


def _of_tenant(route: str, tenant_id: str | None, **body: Any) -> _Call:
    return _Call(route, require_tenant(tenant_id), body)


class Billing:
    """Thread-safe. Raises BillingRefused (its ``code`` says why), PaymentFailed, UnknownTenant, BillingUnavailable,
    ConfigurationInvalid. Without ``tenant_id`` the tenant is the context's."""

    def __init__(self, config: Config, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=config.api_url,
            timeout=config.billing_timeout,
            headers={"Authorization": f"Bearer {config.application_token}"},
            transport=transport or httpx.HTTPTransport(retries=1),
        )

    def sign_up(
        self,
        tenant_id: str,
        *,
        plan: str,
        email: str,
        success_url: str,
        cancel_url: str,
        interval: str = "month",
        seats: int | None = None,
        name: str | None = None,
        reference: str | None = None,
        promotion_codes: bool = False,
        locale: str | None = None,
    ) -> Checkout:
        """Reserve the id for a new tenant and open its checkout. ``email``: a verified address of who pays.

        ``reference``: who signs up, as you know them (a user's id); whoever asks for the id again with another one is
        refused as ``tenant_taken``. Without one it is the address.
        """
        body = _sign_up(plan, email, success_url, cancel_url, interval, seats, name, reference, promotion_codes, locale)
        return _checkout(self._post(_Call("sign-up", tenant_id, body)))

    def checkout(
        self,
        plan: str,
        *,
        success_url: str,
        cancel_url: str,
        interval: str = "month",
        seats: int | None = None,
        promotion_codes: bool = False,
        locale: str | None = None,
        tenant_id: str | None = None,
    ) -> Checkout:
        """Open a checkout for a tenant whose subscription has ended, or who did not pay at sign-up."""
        body = _checkout_body(plan, success_url, cancel_url, interval, seats, promotion_codes, locale)
        return _checkout(self._post(_of_tenant("checkout", tenant_id, **body)))

    def portal(self, return_url: str, *, flow: str | None = None, tenant_id: str | None = None) -> str:
        """The URL of Stripe's customer portal, good for some minutes. ``flow``: ``payment_method_update``,
        ``subscription_update`` or ``subscription_cancel``."""
        return _url(self._post(_of_tenant("portal", tenant_id, return_url=return_url, flow=flow)))

    def subscription(self, tenant_id: str | None = None) -> Subscription | None:
        """What is in force, and what is planned; None if there is none, or it has ended."""
        return _subscription(self._post(_of_tenant("subscription", tenant_id)))

    def preview_change(
        self,
        *,
        plan: str | None = None,
        interval: str | None = None,
        seats: int | None = None,
        when: str = "auto",
        tenant_id: str | None = None,
    ) -> Preview:
        """What ``change_plan`` or ``set_seats`` would cost, and when. Nothing is changed."""
        call = _of_tenant("preview", tenant_id, plan=plan, interval=interval, seats=seats, when=when)
        return _preview(self._post(call))

    def change_plan(
        self,
        plan: str,
        interval: str | None = None,
        *,
        seats: int | None = None,
        used: int | None = None,
        when: str = "auto",
        tenant_id: str | None = None,
    ) -> Subscription:
        """More at once, paid at once; less when the period ends (``when``: ``auto``, ``now``, ``period_end``).

        The plan in force ends a change that was planned. ``used``: seats in use; a plan with fewer is refused.
        """
        call = _of_tenant("plan", tenant_id, plan=plan, interval=interval, seats=seats, used=used, when=when)
        return _standing(self._post(call))

    def set_seats(
        self, seats: int, *, used: int | None = None, when: str = "auto", tenant_id: str | None = None
    ) -> Subscription:
        """More seats at once, fewer when the period ends. ``used``: seats in use; fewer than these are refused."""
        return _standing(self._post(_of_tenant("seats", tenant_id, seats=seats, used=used, when=when)))

    def cancel(
        self,
        *,
        at_period_end: bool = True,
        feedback: str | None = None,
        comment: str | None = None,
        tenant_id: str | None = None,
    ) -> Subscription | None:
        """End the subscription when its period ends, or at once (then the answer is None).

        ``feedback``: one of Stripe's: ``too_expensive``, ``missing_features``, ``switched_service``, ``unused``,
        ``customer_service``, ``too_complex``, ``low_quality``, ``other``. ``comment``: the customer's own words.
        """
        call = _of_tenant("cancel", tenant_id, at_period_end=at_period_end, feedback=feedback, comment=comment)
        return _subscription(self._post(call))

    def resume(self, tenant_id: str | None = None) -> Subscription:
        """Take a cancellation back before it takes effect, or go on after a trial that ended without a payment
        method."""
        return _standing(self._post(_of_tenant("resume", tenant_id)))

    def close(self) -> None:
        self._client.close()

    def _post(self, call: _Call) -> dict[str, Any]:
        try:
            response = self._client.post(ROOT + call.route, json=call.document())
        except httpx.HTTPError as error:
            raise _unanswered(error) from error
        return _accepted(call, response)


class AsyncBilling:
    """``Billing`` for one event loop; the arguments are described there."""

    def __init__(self, config: Config, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=config.api_url,
            timeout=config.billing_timeout,
            headers={"Authorization": f"Bearer {config.application_token}"},
            transport=transport or httpx.AsyncHTTPTransport(retries=1),
        )

    async def sign_up(
        self,
        tenant_id: str,
        *,
        plan: str,
        email: str,
        success_url: str,
        cancel_url: str,
        interval: str = "month",
        seats: int | None = None,
        name: str | None = None,
        reference: str | None = None,
        promotion_codes: bool = False,
        locale: str | None = None,
    ) -> Checkout:
        body = _sign_up(plan, email, success_url, cancel_url, interval, seats, name, reference, promotion_codes, locale)
        return _checkout(await self._post(_Call("sign-up", tenant_id, body)))

    async def checkout(
        self,
        plan: str,
        *,
        success_url: str,
        cancel_url: str,
        interval: str = "month",
        seats: int | None = None,
        promotion_codes: bool = False,
        locale: str | None = None,
        tenant_id: str | None = None,
    ) -> Checkout:
        body = _checkout_body(plan, success_url, cancel_url, interval, seats, promotion_codes, locale)
        return _checkout(await self._post(_of_tenant("checkout", tenant_id, **body)))

    async def portal(self, return_url: str, *, flow: str | None = None, tenant_id: str | None = None) -> str:
        return _url(await self._post(_of_tenant("portal", tenant_id, return_url=return_url, flow=flow)))

    async def subscription(self, tenant_id: str | None = None) -> Subscription | None:
        return _subscription(await self._post(_of_tenant("subscription", tenant_id)))

    async def preview_change(
        self,
        *,
        plan: str | None = None,
        interval: str | None = None,
        seats: int | None = None,
        when: str = "auto",
        tenant_id: str | None = None,
    ) -> Preview:
        call = _of_tenant("preview", tenant_id, plan=plan, interval=interval, seats=seats, when=when)
        return _preview(await self._post(call))

    async def change_plan(
        self,
        plan: str,
        interval: str | None = None,
        *,
        seats: int | None = None,
        used: int | None = None,
        when: str = "auto",
        tenant_id: str | None = None,
    ) -> Subscription:
        call = _of_tenant("plan", tenant_id, plan=plan, interval=interval, seats=seats, used=used, when=when)
        return _standing(await self._post(call))

    async def set_seats(
        self, seats: int, *, used: int | None = None, when: str = "auto", tenant_id: str | None = None
    ) -> Subscription:
        return _standing(await self._post(_of_tenant("seats", tenant_id, seats=seats, used=used, when=when)))

    async def cancel(
        self,
        *,
        at_period_end: bool = True,
        feedback: str | None = None,
        comment: str | None = None,
        tenant_id: str | None = None,
    ) -> Subscription | None:
        call = _of_tenant("cancel", tenant_id, at_period_end=at_period_end, feedback=feedback, comment=comment)
        return _subscription(await self._post(call))

    async def resume(self, tenant_id: str | None = None) -> Subscription:
        return _standing(await self._post(_of_tenant("resume", tenant_id)))

    async def close(self) -> None:
        await self._client.aclose()

    async def _post(self, call: _Call) -> dict[str, Any]:
        try:
            response = await self._client.post(ROOT + call.route, json=call.document())
        except httpx.HTTPError as error:
            raise _unanswered(error) from error
        return _accepted(call, response)


def _checkout_body(
    plan: str,
    success_url: str,
    cancel_url: str,
    interval: str,
    seats: int | None,
    promotion_codes: bool,
    locale: str | None,
) -> dict[str, Any]:
    return {
        "plan": plan,
        "success_url": success_url,
        "cancel_url": cancel_url,
        "interval": interval,
        "seats": seats,
        "promotion_codes": promotion_codes,
        "locale": locale,
    }


def _sign_up(
    plan: str,
    email: str,
    success_url: str,
    cancel_url: str,
    interval: str,
    seats: int | None,
    name: str | None,
    reference: str | None,
    promotion_codes: bool,
    locale: str | None,
) -> dict[str, Any]:
    body = _checkout_body(plan, success_url, cancel_url, interval, seats, promotion_codes, locale)
    return {**body, "email": email, "name": name, "reference": reference}


def _unanswered(error: httpx.HTTPError) -> BillingUnavailable:
    return BillingUnavailable(f"the service did not answer: {type(error).__name__}", hint="ask again: it does no harm")


def _accepted(call: _Call, response: httpx.Response) -> dict[str, Any]:
    if response.status_code != 200:
        raise _refusal(call, response)
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _misunderstood()
    return document


def _refusal(call: _Call, response: httpx.Response) -> TenantryError:
    status = response.status_code
    try:
        error = response.json()["error"]
        code, message, hint = str(error["code"]), str(error["message"]), str(error["hint"])
    except (ValueError, KeyError, TypeError):
        code, message, hint = "no_code", f"status {status}", ""
    if code == "unknown_tenant":
        return UnknownTenant(f"no tenant {call.tenant_id!r} is known", hint="check the id; a new one signs up first")
    if status == 401:
        return ConfigurationInvalid("the service refused the application token", hint="set TENANTRY_APPLICATION_TOKEN")
    if status == 402:
        return PaymentFailed(message, hint=hint)
    if status == 404 and code == "no_code":
        return ConfigurationInvalid("the service has no billing routes", hint="check TENANTRY_API_URL")
    if 400 <= status < 500 and status not in (408, 429):
        return BillingRefused(message, code=code, hint=hint)
    return BillingUnavailable(f"the service could not do it: {code}: {message}", hint=hint or "ask again")


def _misunderstood() -> BillingUnavailable:
    return BillingUnavailable(
        "the service's answer is not understood", hint="are the SDK and the service of one release?"
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _optional(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _url(document: dict[str, Any]) -> str:
    try:
        return str(document["url"])
    except KeyError:
        raise _misunderstood() from None


def _checkout(document: dict[str, Any]) -> Checkout:
    try:
        return Checkout(
            url=document["url"],
            session_id=document["session_id"],
            expires_at=_moment(document["expires_at"]),
            trial_days=document["trial_days"],
            trial_refused=document["trial_refused"],
        )
    except (KeyError, TypeError, ValueError):
        raise _misunderstood() from None


def _subscription(document: dict[str, Any]) -> Subscription | None:
    try:
        found = document["subscription"]
        if found is None:
            return None
        planned = found["next"]
        return Subscription(
            status=found["status"],
            plan=found["plan"],
            interval=found["interval"],
            seats=found["seats"],
            current_period_end=_moment(found["current_period_end"]),
            trial_end=_optional(found["trial_end"]),
            cancels_at=_optional(found["cancels_at"]),
            next=None
            if planned is None
            else PlannedChange(planned["plan"], planned["interval"], planned["seats"], _moment(planned["at"])),
        )
    except (KeyError, TypeError, ValueError):
        raise _misunderstood() from None


def _standing(document: dict[str, Any]) -> Subscription:
    found = _subscription(document)
    if found is None:
        raise _misunderstood()
    return found


def _preview(document: dict[str, Any]) -> Preview:
    try:
        return Preview(
            change=document["change"],
            effective_at=_moment(document["effective_at"]),
            currency=document["currency"],
            amount=document["amount"],
            lines=tuple(
                PreviewLine(line["description"], line["amount"], line["proration"]) for line in document["lines"]
            ),
        )
    except (KeyError, TypeError, ValueError):
        raise _misunderstood() from None
