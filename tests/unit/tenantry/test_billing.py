"""The SDK's billing: what it sends, what it reads, and how refusals are told."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tenantry import (
    BillingRefused,
    BillingUnavailable,
    Checkout,
    Config,
    ConfigurationInvalid,
    NoTenant,
    PaymentFailed,
    PlannedChange,
    Subscription,
    TenantConflict,
    UnknownTenant,
    tenant_context,
)
from tenantry.billing import AsyncBilling, Billing

TOKEN = "secret-token"
CONFIG = Config(database_url="postgresql://x", api_url="http://service", application_token=TOKEN)
AT = "2027-01-01T00:00:00Z"
MOMENT = datetime(2027, 1, 1, tzinfo=UTC)
STANDING = {
    "status": "active",
    "plan": "team",
    "interval": "month",
    "seats": 3,
    "current_period_end": AT,
    "trial_end": None,
    "cancels_at": None,
    "next": {"plan": "starter", "interval": "year", "seats": None, "at": AT},
}
OPENED = {"url": "https://c", "session_id": "cs_1", "expires_at": AT, "trial_days": 14, "trial_refused": None}
PREVIEW = {
    "change": "now",
    "effective_at": AT,
    "currency": "usd",
    "amount": -5,
    "lines": [{"description": "d", "amount": -5, "proration": True}],
}
PAGES = {"success_url": "https://a/ok", "cancel_url": "https://a/no"}

CALLS: dict[str, tuple[Callable[[Any], Any], str, dict[str, Any], dict[str, Any]]] = {
    "sign_up": (
        lambda billing: billing.sign_up("acme", plan="team", email="a@b.co", reference="u1", seats=2, **PAGES),
        "sign-up",
        {"plan": "team", "email": "a@b.co", "reference": "u1", "seats": 2, "interval": "month"},
        OPENED,
    ),
    "checkout": (
        lambda billing: billing.checkout("team", interval="year", **PAGES),
        "checkout",
        {"plan": "team", "interval": "year", "promotion_codes": False, **PAGES},
        OPENED,
    ),
    "portal": (
        lambda billing: billing.portal("https://a", flow="subscription_cancel"),
        "portal",
        {"return_url": "https://a", "flow": "subscription_cancel"},
        {"url": "https://p"},
    ),
    "subscription": (lambda billing: billing.subscription(), "subscription", {}, {"subscription": STANDING}),
    "preview_change": (
        lambda billing: billing.preview_change(plan="team", seats=4),
        "preview",
        {"plan": "team", "seats": 4, "when": "auto"},
        PREVIEW,
    ),
    "change_plan": (
        lambda billing: billing.change_plan("team", "year", used=3),
        "plan",
        {"plan": "team", "interval": "year", "used": 3, "when": "auto"},
        {"subscription": STANDING},
    ),
    "set_seats": (
        lambda billing: billing.set_seats(5, used=2, when="now"),
        "seats",
        {"seats": 5, "used": 2, "when": "now"},
        {"subscription": STANDING},
    ),
    "cancel": (
        lambda billing: billing.cancel(feedback="unused", comment="bye"),
        "cancel",
        {"at_period_end": True, "feedback": "unused", "comment": "bye"},
        {"subscription": STANDING},
    ),
    "resume": (lambda billing: billing.resume(), "resume", {}, {"subscription": STANDING}),
}


def both(call: Callable[[Any], Any], answer: Callable[[httpx.Request], httpx.Response]) -> Any:
    """The result of the sync call, which is the async one's."""
    transport = httpx.MockTransport(answer)
    billing = Billing(CONFIG, transport)

    async def asynchronously() -> Any:
        other = AsyncBilling(CONFIG, transport)
        try:
            return await call(other)
        finally:
            await other.close()

    try:
        result = call(billing)
    finally:
        billing.close()
    assert asyncio.run(asynchronously()) == result
    return result


@pytest.mark.parametrize("name", CALLS)
def test_every_call(name: str) -> None:
    call, route, sent, answered = CALLS[name]

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/v1/billing/{route}"
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        body = json.loads(request.content)
        assert body["tenant_id"] == "acme"
        assert sent.items() <= body.items()
        assert None not in body.values()
        return httpx.Response(200, json=answered)

    with tenant_context("acme"):
        result = both(call, answer)
    if answered is OPENED:
        assert result == Checkout("https://c", "cs_1", MOMENT, 14, None)
    elif "subscription" in answered:
        planned = PlannedChange("starter", "year", None, MOMENT)
        assert result == Subscription("active", "team", "month", 3, MOMENT, None, None, planned)


def test_none_of_the_calls_is_left_out_and_both_kinds_take_the_same() -> None:
    public = {name for name, _ in inspect.getmembers(Billing, inspect.isfunction) if not name.startswith("_")}
    assert set(CALLS) == public - {"close"}
    for name in public:
        one, other = (inspect.signature(getattr(kind, name)) for kind in (Billing, AsyncBilling))
        assert one == other, name


def test_no_subscription_is_none() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"subscription": None})

    with tenant_context("acme"):
        assert both(lambda billing: billing.subscription(), answer) is None


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (401, "unauthorized", ConfigurationInvalid),
        (402, "payment_failed", PaymentFailed),
        (404, "unknown_tenant", UnknownTenant),
        (404, "not_found", BillingRefused),
        (409, "already_subscribed", BillingRefused),
        (422, "return_url_refused", BillingRefused),
        (503, "stripe_unavailable", BillingUnavailable),
        (500, "x", BillingUnavailable),
    ],
)
def test_refusals(status: int, code: str, raised: type[Exception]) -> None:
    document = {"error": {"code": code, "message": "what", "hint": "what to do"}}
    billing = Billing(CONFIG, httpx.MockTransport(lambda _: httpx.Response(status, json=document)))
    with pytest.raises(raised) as refused:
        billing.resume("acme")
    assert TOKEN not in str(refused.value)
    if raised in (BillingRefused, PaymentFailed):
        assert refused.value.code == code  # type: ignore[attr-defined]
        assert str(refused.value) == "what. what to do"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"subscription": 3}', b'{"subscription": {"status": "x"}}'])
def test_an_answer_that_is_not_understood(content: bytes) -> None:
    billing = Billing(CONFIG, httpx.MockTransport(lambda _: httpx.Response(200, content=content)))
    with pytest.raises(BillingUnavailable, match="not understood"):
        billing.resume("acme")


def test_a_service_that_is_away_or_has_no_such_routes() -> None:
    def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no")

    with pytest.raises(BillingUnavailable, match="ConnectError"):
        Billing(CONFIG, httpx.MockTransport(away)).resume("acme")
    with pytest.raises(ConfigurationInvalid, match="routes"):
        Billing(CONFIG, httpx.MockTransport(lambda _: httpx.Response(404, text="nginx"))).resume("acme")
    with pytest.raises(BillingUnavailable):
        Billing(CONFIG, httpx.MockTransport(lambda _: httpx.Response(502, text="nginx"))).resume("acme")


def test_the_tenant_is_the_contexts() -> None:
    billing = Billing(CONFIG, httpx.MockTransport(lambda _: httpx.Response(500)))
    with pytest.raises(NoTenant):
        billing.resume()
    with tenant_context("acme"), pytest.raises(TenantConflict):
        billing.resume("globex")
