"""One contract for every ``BillingGateway``: the adapter of the library, on a local Stripe, and the shipped fake."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol

import httpx
import pytest
import stripe

from localcloud.stripe.server import LocalStripe
from provisioner.billing import fake
from provisioner.billing.fake import FakeGateway
from provisioner.billing.gateway import BillingGateway, Document
from provisioner.billing.gateway_stripe import StripeGateway, make_client
from provisioner.errors import ConfigurationInvalid, NotFound, StripeUnavailable

CREATED = 1_801_396_800
Ask = Callable[[BillingGateway], Awaitable[Any]]


class World(Protocol):
    """Something a gateway reads, and a way to put things there. Ids are what the world gives."""

    def price(self, lookup_key: str | None, *, active: bool = True) -> str: ...

    def customer(self, tenant_id: str) -> str: ...

    def subscription(self, customer: str, *lookup_keys: str) -> str: ...

    def end(self, subscription: str) -> None: ...

    def delete_customer(self, customer: str) -> None: ...

    def ask(self, question: Ask) -> Any: ...


class StripeWorld:
    def __init__(self, local: LocalStripe) -> None:
        self.local = local
        self.client = make_client(local.api_key, local.url, timeout_s=20, max_retries=0)
        self.v1 = self.client.v1
        self.product = self.v1.products.create({"name": "Plan"}).id

    def price(self, lookup_key: str | None, *, active: bool = True) -> str:
        params: Any = {
            "product": self.product,
            "currency": "usd",
            "unit_amount": 100,
            "recurring": {"interval": "month"},
            "active": active,
        }
        if lookup_key is not None:
            params["lookup_key"] = lookup_key
        return self.v1.prices.create(params).id

    def customer(self, tenant_id: str) -> str:
        customer = self.v1.customers.create({"metadata": {"tenant_id": tenant_id}})
        method = self.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
        self.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
        return customer.id

    def subscription(self, customer: str, *lookup_keys: str) -> str:
        prices = self.v1.prices.list({"lookup_keys": list(lookup_keys)}).data
        params: Any = {"customer": customer, "items": [{"price": price.id} for price in prices]}
        return self.v1.subscriptions.create(params).id

    def end(self, subscription: str) -> None:
        self.v1.subscriptions.cancel(subscription)

    def delete_customer(self, customer: str) -> None:
        self.v1.customers.delete(customer)

    def ask(self, question: Ask) -> Any:
        async def asked() -> Any:
            gateway = StripeGateway(self.local.api_key, self.local.url, max_retries=0)
            try:
                return await question(gateway)
            finally:
                await gateway.close()

        return asyncio.run(asked())

    def close(self) -> None:
        transport: Any = self.client._requestor._client
        transport.close()


class FakeWorld:
    def __init__(self) -> None:
        self.gateway = FakeGateway()
        self._count = 0
        self._customers: dict[str, Document] = {}
        self._prices: dict[str, Document] = {}
        self._subscriptions: dict[str, Document] = {}

    def _next(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count}"

    def _announce(self, kind: str, subject: Document) -> None:
        identifier = self._next("evt")
        self.gateway.put_event(fake.event_document(identifier, kind, subject, created=CREATED + self._count))

    def price(self, lookup_key: str | None, *, active: bool = True) -> str:
        document = fake.price_document(lookup_key, self._next("price"), active=active)
        self.gateway.put_price(document)
        if lookup_key is not None:
            self._prices[lookup_key] = document
        return str(document["id"])

    def customer(self, tenant_id: str) -> str:
        document = fake.customer_document(self._next("cus"), {"tenant_id": tenant_id})
        self._customers[document["id"]] = document
        self.gateway.put_customer(document)
        self._announce("customer.created", document)
        return str(document["id"])

    def subscription(self, customer: str, *lookup_keys: str) -> str:
        document = fake.subscription_document(
            self._next("sub"), None, lookup_keys[0], customer=self._customers[customer], created=CREATED + self._count
        )
        first = document["items"]["data"][0]
        document["items"]["data"] = [
            {**first, "id": self._next("si"), "price": self._prices[key]} for key in lookup_keys
        ]
        self._subscriptions[document["id"]] = document
        self.gateway.put_subscription(document)
        self._announce("customer.subscription.created", document)
        return str(document["id"])

    def end(self, subscription: str) -> None:
        document = {**self._subscriptions[subscription], "status": "canceled"}
        self._subscriptions[subscription] = document
        self.gateway.put_subscription(document)
        self._announce("customer.subscription.deleted", document)

    def delete_customer(self, customer: str) -> None:
        for identifier, document in list(self._subscriptions.items()):
            if document["customer"]["id"] == customer:
                self.end(identifier)
        self.gateway.delete_customer(customer)

    def ask(self, question: Ask) -> Any:
        async def asked() -> Any:
            return await question(self.gateway)

        return asyncio.run(asked())

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(params=["stripe", "fake"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    local: LocalStripe = request.getfixturevalue("local_stripe")
    made = StripeWorld(local)
    yield made
    made.close()


async def all_of(found: AsyncIterator[Document]) -> list[Document]:
    return [document async for document in found]


def test_a_subscription_has_its_customer_its_items_and_their_periods(world: World) -> None:
    price = world.price("team_monthly")
    customer = world.customer("acme")
    identifier = world.subscription(customer, "team_monthly")
    found = world.ask(lambda gateway: gateway.subscription(identifier))
    assert (found["id"], found["object"], found["status"], found["livemode"]) == (
        identifier,
        "subscription",
        "active",
        False,
    )
    assert (found["customer"]["id"], found["customer"]["metadata"]) == (customer, {"tenant_id": "acme"})
    (item,) = found["items"]["data"]
    assert (item["price"]["id"], item["price"]["lookup_key"]) == (price, "team_monthly")
    assert item["current_period_start"] < item["current_period_end"]


def test_an_answer_is_plain_json_and_the_askers_own(world: World) -> None:
    world.price("k")
    identifier = world.subscription(world.customer("acme"), "k")
    found = world.ask(lambda gateway: gateway.subscription(identifier))
    assert type(found) is dict
    assert type(found["items"]["data"][0]["price"]) is dict
    assert json.loads(json.dumps(found)) == found
    events = world.ask(lambda gateway: all_of(gateway.events(since=0)))
    assert json.loads(json.dumps(events)) == events
    found["status"] = "changed by the asker"
    assert world.ask(lambda gateway: gateway.subscription(identifier))["status"] == "active"


def test_all_items_are_there_however_many(world: World) -> None:
    keys = [f"k{number}" for number in range(10)]
    for key in keys:
        world.price(key)
    identifier = world.subscription(world.customer("acme"), *keys)
    found = world.ask(lambda gateway: gateway.subscription(identifier))
    assert {item["price"]["lookup_key"] for item in found["items"]["data"]} == set(keys)
    assert found["items"]["has_more"] is False


def test_a_customers_subscriptions_are_all_of_them_newest_first(world: World) -> None:
    world.price("k")
    customer, other = world.customer("acme"), world.customer("globex")
    first, second = world.subscription(customer, "k"), world.subscription(customer, "k")
    world.subscription(other, "k")
    world.end(first)
    found = world.ask(lambda gateway: gateway.subscriptions_of(customer))
    assert [(document["id"], document["status"]) for document in found] == [(second, "active"), (first, "canceled")]
    assert {document["customer"]["id"] for document in found} == {customer}


def test_a_customer_without_subscriptions_has_none(world: World) -> None:
    customer = world.customer("acme")
    assert world.ask(lambda gateway: gateway.subscriptions_of(customer)) == []


def test_a_deleted_customers_subscriptions_have_ended(world: World) -> None:
    world.price("k")
    customer = world.customer("acme")
    identifier = world.subscription(customer, "k")
    world.delete_customer(customer)
    found = world.ask(lambda gateway: gateway.subscriptions_of(customer))
    assert [(document["id"], document["status"]) for document in found] == [(identifier, "canceled")]
    assert found[0]["customer"]["deleted"] is True


def test_everything_is_listed_over_many_pages(world: World) -> None:
    world.price("k")
    customer = world.customer("acme")
    made = [world.subscription(customer, "k") for _ in range(105)]
    world.end(made[3])
    found = world.ask(lambda gateway: all_of(gateway.subscriptions()))
    assert [document["id"] for document in found] == made[::-1]
    assert all(document["customer"]["metadata"] == {"tenant_id": "acme"} for document in found)


def test_events_are_filtered_by_time_and_type(world: World) -> None:
    world.price("k")
    customer = world.customer("acme")
    identifier = world.subscription(customer, "k")
    types = ["customer.created", "customer.subscription.created"]

    def events(since: int, *wanted: str) -> list[Document]:
        found: list[Document] = world.ask(lambda gateway: all_of(gateway.events(since=since, types=list(wanted))))
        return found

    found = events(0, *types)
    assert [event["type"] for event in found] == types[::-1], "newest first"
    assert [event["data"]["object"]["id"] for event in found] == [identifier, customer]
    assert [event["type"] for event in events(0, "customer.subscription.*")][-1] == "customer.subscription.created"
    assert {event["type"] for event in events(0)} >= set(types)
    assert events(found[0]["created"] + 1, *types) == []
    assert events(found[0]["created"], types[1])[0]["id"] == found[0]["id"]
    loaded = world.ask(lambda gateway: gateway.event(found[0]["id"]))
    assert (loaded["id"], loaded["object"], loaded["data"]["object"]["id"]) == (found[0]["id"], "event", identifier)


def test_prices_are_found_by_lookup_key_active_or_not(world: World) -> None:
    wanted = {f"k{number}": world.price(f"k{number}", active=number != 4) for number in range(25)}
    world.price(None)
    found = world.ask(lambda gateway: gateway.prices([*wanted, "nobody_has_this"]))
    assert {key: price["id"] for key, price in found.items()} == wanted
    assert [key for key, price in found.items() if not price["active"]] == ["k4"]
    assert all(price["product"]["object"] == "product" for price in found.values()), "the product is expanded"
    product = found["k0"]["product"]["id"]
    assert world.ask(lambda gateway: gateway.product(product))["active"] is True
    assert world.ask(lambda gateway: gateway.prices([])) == {}


@pytest.mark.parametrize(
    "question",
    [
        lambda gateway: gateway.subscription("sub_none"),
        lambda gateway: gateway.subscriptions_of("cus_none"),
        lambda gateway: gateway.event("evt_none"),
        lambda gateway: gateway.product("prod_none"),
    ],
    ids=["subscription", "subscriptions_of", "event", "product"],
)
def test_what_does_not_exist_is_not_found(world: World, question: Ask) -> None:
    with pytest.raises(NotFound, match="none"):
        world.ask(question)


def test_a_test_key_is_not_live(world: World) -> None:
    async def livemode(gateway: BillingGateway) -> bool:
        return gateway.livemode

    assert world.ask(livemode) is False


EVERY: list[Ask] = [
    lambda gateway: gateway.subscription("sub_1"),
    lambda gateway: gateway.subscriptions_of("cus_1"),
    lambda gateway: all_of(gateway.subscriptions()),
    lambda gateway: all_of(gateway.events(since=0)),
    lambda gateway: gateway.event("evt_1"),
    lambda gateway: gateway.prices(["k"]),
    lambda gateway: gateway.product("prod_1"),
]


@pytest.mark.parametrize("question", EVERY)
@pytest.mark.parametrize("kind", ["stripe", "fake"])
def test_a_stripe_that_is_away_is_unavailable(kind: str, question: Ask) -> None:
    async def asked() -> None:
        gateway: Any
        if kind == "fake":
            gateway = FakeGateway()
            gateway.unavailable = True
        else:
            gateway = StripeGateway("sk_test_local", "http://127.0.0.1:9", max_retries=0)
        try:
            with pytest.raises(StripeUnavailable):
                await question(gateway)
        finally:
            await gateway.close()

    asyncio.run(asked())


def test_a_refused_key_is_the_operators_to_correct(local_stripe: LocalStripe) -> None:
    async def asked() -> None:
        gateway = StripeGateway("sk_live_notforhere", local_stripe.url, max_retries=0)
        assert gateway.livemode is True
        try:
            with pytest.raises(ConfigurationInvalid) as refused:
                await gateway.subscription("sub_1")
        finally:
            await gateway.close()
        assert "notforhere" not in str(refused.value)
        assert "TENANTRY_STRIPE_API_KEY" in refused.value.hint

    asyncio.run(asked())


@pytest.mark.parametrize("key", ["", "pk_test_x", "sk_test_", "hunter2", "sk_test_x y"])
def test_what_is_no_secret_key_is_refused_before_anything_is_sent_and_not_repeated(key: str) -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        StripeGateway(key)
    assert not key or key not in refused.value.message


def test_every_request_asks_for_the_version_this_code_reads(local_stripe: LocalStripe) -> None:
    assert stripe.api_version == "2026-10-28.endive"
    asked: list[tuple[str, str | None]] = []

    async def keep(request: httpx.Request) -> None:
        asked.append((request.url.path, request.headers.get("stripe-version")))

    async def main() -> None:
        gateway = StripeGateway(local_stripe.api_key, local_stripe.url, max_retries=0)
        transport: Any = gateway._client._requestor._client
        transport._client_async.event_hooks = {"request": [keep]}
        try:
            for question in EVERY:
                with contextlib.suppress(NotFound):
                    await question(gateway)
        finally:
            await gateway.close()

    asyncio.run(main())
    assert len(asked) == len(EVERY)
    assert {version for _, version in asked} == {"2026-10-28.endive"}


def test_an_id_is_one_part_of_a_path(local_stripe: LocalStripe) -> None:
    async def main() -> None:
        gateway = StripeGateway(local_stripe.api_key, local_stripe.url, max_retries=0)
        try:
            for identifier in ("../customers", "sub_1?expand=x", "sub_1/../../prices", "%2e%2e/events"):
                with pytest.raises(NotFound):
                    await gateway.subscription(identifier)
        finally:
            await gateway.close()

    asyncio.run(main())
