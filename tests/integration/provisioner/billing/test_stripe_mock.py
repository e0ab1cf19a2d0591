"""Every request our code makes is one that Stripe's API description knows: its own mock checks them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from provisioner.billing import catalogue
from provisioner.billing.account_check import missing_prices
from provisioner.billing.gateway import BillingGateway
from provisioner.billing.gateway_stripe import StripeGateway
from provisioner.billing.storefront import Storefront
from provisioner.errors import ConfigurationInvalid, Reject

ROOT = Path(__file__).parents[4]
PLANS = catalogue.load(ROOT / "example" / "plans.toml")
KEY = "sk_test_123"


async def first(found: AsyncIterator[Any], count: int = 3) -> list[Any]:
    """The mock's lists never end when they are paged through: some of them are enough."""
    result = []
    async for item in found:
        result.append(item)
        if len(result) == count:
            break
    return result


GATEWAY: dict[str, Callable[[StripeGateway], Awaitable[Any]]] = {
    "subscription": lambda gateway: gateway.subscription("sub_123"),
    "subscriptions_of": lambda gateway: gateway.subscriptions_of("cus_123"),
    "subscriptions": lambda gateway: first(gateway.subscriptions()),
    "events": lambda gateway: first(
        gateway.events(
            since=1_800_000_000, types=["customer.subscription.updated", "invoice.paid"], undelivered_only=True
        )
    ),
    "event": lambda gateway: gateway.event("evt_123"),
    "prices": lambda gateway: gateway.prices([f"key_{number}" for number in range(23)]),
    "product": lambda gateway: gateway.product("prod_123"),
    "now": lambda gateway: gateway.now("clock_123"),
    "invoices_of": lambda gateway: gateway.invoices_of("cus_123", "open"),
    "dispute": lambda gateway: gateway.dispute("du_123"),
    "charge": lambda gateway: gateway.charge("ch_123"),
    "invoice_of_payment": lambda gateway: gateway.invoice_of_payment("pi_123"),
    "disputes": lambda gateway: first(gateway.disputes(since=1_800_000_000)),
    "refunds": lambda gateway: first(gateway.refunds(since=1_800_000_000)),
    "close": lambda gateway: gateway.close(),
}


#: What a call's answer is made of, where its name does not say it.
KINDS = {
    "subscriptions": "subscription",
    "events": "event",
    "subscriptions_of": "subscription",
    "invoices_of": "invoice",
    "invoice_of_payment": "invoice",
    "disputes": "dispute",
    "refunds": "refund",
}


def test_the_list_of_calls_is_complete() -> None:
    """A method that is added to the gateway or the storefront has to be tried against the mock."""

    def public(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}

    assert set(GATEWAY) == public(StripeGateway) >= public(BillingGateway)
    assert set(STOREFRONT) == public(Storefront)


@pytest.mark.parametrize("name", GATEWAY)
def test_the_gateway(stripe_mock_url: str, name: str) -> None:
    async def call() -> Any:
        gateway = StripeGateway(KEY, stripe_mock_url, max_retries=0)
        try:
            return await GATEWAY[name](gateway)
        finally:
            await gateway.close()

    found = asyncio.run(call())
    kind = KINDS.get(name, name)
    if isinstance(found, list):
        assert found
        assert {item["object"] for item in found} == {kind}
    elif isinstance(found, dict) and "object" in found:
        assert found["object"] == kind
    if name.startswith("subscription"):
        for document in found if isinstance(found, list) else [found]:
            assert isinstance(document["customer"], dict), "the customer is expanded"


def test_the_check_of_the_account(stripe_mock_url: str) -> None:
    async def call() -> list[tuple[str, str, str]]:
        gateway = StripeGateway(KEY, stripe_mock_url, max_retries=0)
        try:
            return await missing_prices(gateway, PLANS)
        finally:
            await gateway.close()

    found = asyncio.run(call())  # the mock sells something of its own
    assert {key for key, _, _ in found} == {
        f"plans.{plan.name}.prices[{index}].lookup_key"
        for plan in PLANS.plans.values()
        for index in range(len(plan.prices))
    }


class Requests:
    """A storefront whose transport keeps what it sends and how it was answered."""

    def __init__(self, url: str) -> None:
        self.front = Storefront(KEY, url, PLANS)
        self.log: list[tuple[str, str, int]] = []
        transport: Any = self.front._client._requestor._client
        transport._client.event_hooks = {"response": [self._keep]}

    def _keep(self, response: httpx.Response) -> None:
        self.log.append((response.request.method, response.request.url.path, response.status_code))


@pytest.fixture
def requests(stripe_mock_url: str) -> Iterator[Requests]:
    requests = Requests(stripe_mock_url)
    yield requests
    requests.front.close()


STOREFRONT: dict[str, tuple[Callable[[Storefront], Any], set[tuple[str, str]]]] = {
    # The rest of a push is in test_stripe_mock_catalogue.py: the mock's account is of live mode in places.
    "seed": (lambda front: front.seed(), {("GET", "/v1/products"), ("GET", "/v1/prices")}),
    "subscribe": (
        lambda front: front.subscribe("acme", "team", interval="year", trial_days=7),
        {("GET", "/v1/prices")},
    ),
    "change": (lambda front: front.change("acme", "enterprise"), {("GET", "/v1/customers")}),
    "cancel": (lambda front: front.cancel("acme"), {("GET", "/v1/customers")}),
    "pay_with": (lambda front: front.pay_with("acme", "pm_card_visa"), {("GET", "/v1/customers")}),
    "pay": (lambda front: front.pay("acme"), {("GET", "/v1/customers")}),
    "of_tenant": (lambda front: front.of_tenant("acme"), {("GET", "/v1/customers")}),
    "subscriptions": (lambda front: front.subscriptions(ended=True), {("GET", "/v1/subscriptions")}),
    "events": (lambda front: front.events(limit=1, undelivered_only=True), {("GET", "/v1/events")}),
    "close": (lambda front: front.close(), set()),
}


@pytest.mark.parametrize("name", STOREFRONT)
def test_the_storefront(requests: Requests, name: str) -> None:
    call, expected = STOREFRONT[name]
    # The mock's one customer is nobody's tenant, and its prices have lookup keys of their own.
    with contextlib.suppress(Reject, ConfigurationInvalid):
        call(requests.front)
    assert {status for _, _, status in requests.log} <= {200}
    assert {(method, path) for method, path, _ in requests.log} >= expected


def test_the_storefronts_requests_for_a_tenant_that_stands(requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mock's customers have no metadata, and its prices other lookup keys: with some that are taken for the
    tenant's and the plan's, the rest is asked too."""
    front = requests.front
    monkeypatch.setattr(front, "_plan_prices", lambda plan, interval: ["price_123", "price_456"])
    customer = front._client.v1.customers.retrieve("cus_123")
    monkeypatch.setattr(front, "_find_customer", lambda tenant_id: customer)
    subscription = front._client.v1.subscriptions.retrieve("sub_123").to_dict()
    monkeypatch.setattr(front, "_standing", lambda tenant_id: subscription)
    front.of_tenant("acme")
    front.pay_with("acme", "pm_card_visa")
    front.pay("acme")
    front.change("acme", "team_plus", interval="year")
    front.cancel("acme")
    front.cancel("acme", at_period_end=True)
    monkeypatch.setattr(front, "_subscriptions_of", lambda customer: [])
    front.subscribe("acme", "team", trial_days=3)
    front.subscribe("acme", "team", test_clock="clock_123")
    asked = {
        (method, path.replace(subscription["id"], "ID").replace(customer.id, "CUS")) for method, path, _ in requests.log
    }
    assert asked >= {
        ("GET", "/v1/subscriptions"),
        ("POST", "/v1/subscriptions"),
        ("POST", "/v1/subscriptions/ID"),
        ("DELETE", "/v1/subscriptions/ID"),
        ("POST", "/v1/payment_methods/pm_card_visa/attach"),
        ("POST", "/v1/customers"),
        ("POST", "/v1/customers/CUS"),
    }
    assert {status for _, _, status in requests.log} == {200}


def test_the_mock_refuses_what_stripe_does_not_know(stripe_mock_url: str) -> None:
    """Else the tests above would prove nothing."""
    answer = httpx.post(
        f"{stripe_mock_url}/v1/customers",
        data={"nme": "x"},
        headers={"Authorization": f"Bearer {KEY}"},
        trust_env=False,
    )
    assert answer.status_code == 400
