"""Every request that selling makes is one that Stripe's API description knows: its own mock checks them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from provisioner.billing.gateway_stripe import StripeGateway
from provisioner.billing.sales import StripeSales
from provisioner.selling import change, checkout
from provisioner.selling.portal import Flow, Portal
from provisioner.selling.seller import Feedback
from provisioner.selling.standing import NEXT_PLAN, Selection, standing
from tests.unit.provisioner.selling.plans import PRICES, START, catalogue, item, subscription

KEY = "sk_test_123"
PLANS = catalogue()
PAGES = checkout.Pages("https://app.example.com/ok", "https://app.example.com/no", True, "de")


def found(**changes: Any) -> Any:
    document = subscription(
        {**item("metered_monthly"), "discounts": ["di_1"]},
        item("metered_calls_monthly"),
        discounts=["di_2"],
        default_tax_rates=["txr_1"],
        automatic_tax={"enabled": True},
        **changes,
    )
    return standing("acme", [document], PLANS, livemode=False)


def session(days: int, *, tax: bool) -> dict[str, Any]:
    plans = replace(PLANS, automatic_tax=tax)
    chosen = Selection("free_trial" if days else "metered", "month")
    return checkout._params(plans, PRICES, "acme", "cus_123", chosen, PAGES, days)


ITEMS = change.changed_items(found(), Selection("team", "year", 3), PLANS, PRICES)
PHASES = change.phases(
    found(),
    {"phases": [{"start_date": START}]},
    change.later_items(found(), Selection("team", "year", 3), PLANS, PRICES),
    "year",
)

CALLS: dict[str, list[Callable[[StripeSales], Awaitable[Any]]]] = {
    "customer": [lambda sales: sales.customer("cus_123")],
    "create_customer": [
        lambda sales: sales.create_customer(
            {"email": "a@b.co", "name": "A", "metadata": {"tenant_id": "acme", "tenantry_signup": "1"}}, key="k"
        )
    ],
    "update_customer": [lambda sales: sales.update_customer("cus_123", {"email": "a@b.co", "name": "A"})],
    "customers_with_email": [lambda sales: sales.customers_with_email("ada@example.com")],
    "delete_customer": [lambda sales: sales.delete_customer("cus_123")],
    "priced": [lambda sales: sales.priced([f"key_{number}" for number in range(12)])],
    "create_checkout": [
        lambda sales: sales.create_checkout(session(0, tax=True), key="k1"),
        lambda sales: sales.create_checkout(session(14, tax=False), key="k2"),
    ],
    "checkout": [lambda sales: sales.checkout("cs_123")],
    "open_checkouts": [lambda sales: sales.open_checkouts("cus_123")],
    "expire_checkout": [lambda sales: sales.expire_checkout("cs_123")],
    "portal_configurations": [lambda sales: sales.portal_configurations()],
    "create_portal": [
        lambda sales: Portal(sales).open("cus_123", "https://app.example.com", None, None),
        *(
            lambda sales, flow=flow: Portal(sales).open(
                "cus_123", "https://x.example", flow, None if flow is Flow.PAYMENT_METHOD_UPDATE else "sub_123"
            )
            for flow in Flow
        ),
    ],
    "scheduled_subscriptions_of": [lambda sales: first_page(sales)],
    "update_subscription": [
        lambda sales: sales.update_subscription(
            "sub_123",
            {"items": ITEMS, "proration_behavior": "always_invoice", "payment_behavior": "error_if_incomplete"},
        ),
        *(
            lambda sales, feedback=feedback: sales.update_subscription(
                "sub_123",
                {"cancel_at_period_end": True, "cancellation_details": {"feedback": feedback, "comment": "too much"}},
            )
            for feedback in Feedback
        ),
        lambda sales: sales.update_subscription("sub_123", {"cancel_at": ""}),
        lambda sales: sales.update_subscription("sub_123", {"cancel_at_period_end": False}),
        lambda sales: sales.update_subscription("sub_123", {"trial_end": START, "proration_behavior": "none"}),
    ],
    "cancel_subscription": [
        lambda sales: sales.cancel_subscription(
            "sub_123",
            {"invoice_now": True, "prorate": False, "cancellation_details": {"feedback": "unused", "comment": "c"}},
        )
    ],
    "resume_subscription": [lambda sales: sales.resume_subscription("sub_123", {})],
    "preview": [
        lambda sales: sales.preview(
            {
                "subscription": "sub_123",
                "subscription_details": {"items": ITEMS, "proration_behavior": "always_invoice"},
            }
        ),
        lambda sales: sales.preview(
            {
                "customer": "cus_123",
                "subscription_details": {"items": change.full_items(Selection("metered", "month"), PLANS, PRICES)},
            }
        ),
    ],
    "create_schedule": [lambda sales: sales.create_schedule("sub_123")],
    "update_schedule": [
        lambda sales: sales.update_schedule(
            "sub_sched_123",
            {
                "phases": PHASES,
                "end_behavior": "release",
                "proration_behavior": "none",
                "metadata": {NEXT_PLAN: "team"},
            },
        )
    ],
    "release_schedule": [lambda sales: sales.release_schedule("sub_sched_123")],
}


async def first_page(sales: StripeSales) -> Any:
    """The mock's lists never end when they are paged through."""
    params = {"customer": "cus_123", "status": "all", "limit": 1, "expand": ["data.customer", "data.schedule"]}
    return await sales._get("/v1/subscriptions", params)


def test_the_list_of_calls_is_complete() -> None:
    """A method that is added to the gateway has to be tried against the mock."""

    def public(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}

    assert set(CALLS) == public(StripeSales) - public(StripeGateway)


@pytest.mark.parametrize("name", CALLS)
def test_the_mock_takes_it(stripe_mock_url: str, name: str) -> None:
    async def call() -> list[int]:
        sales = StripeSales(KEY, stripe_mock_url, max_retries=0)
        statuses: list[int] = []

        async def keep(response: httpx.Response) -> None:
            statuses.append(response.status_code)

        transport: Any = sales._client._requestor._client
        transport._client_async.event_hooks = {"response": [keep]}
        if name == "priced":  # the mock's lists never end
            sales._list = only_first(sales)  # type: ignore[method-assign]
        try:
            for each in CALLS[name]:
                await each(sales)
        finally:
            await sales.close()
        return statuses

    statuses = asyncio.run(call())
    assert set(statuses) == {200}
    assert len(statuses) >= len(CALLS[name])


def only_first(sales: StripeSales) -> Any:
    async def listed(path: str, params: dict[str, Any]) -> Any:
        for document in (await sales._get(path, params))["data"][:1]:
            yield document

    return listed
