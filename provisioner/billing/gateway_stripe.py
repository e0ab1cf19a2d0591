"""``BillingGateway`` on the ``stripe`` library: pinned version, asynchronous, retried with jitter by the library."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import stripe
from stripe import HTTPXClient

from provisioner.billing.errors import translated
from provisioner.billing.gateway import Document
from provisioner.billing.stripe_time import StripeTime
from provisioner.errors import ConfigurationInvalid

PAGE = 100
LOOKUP_KEYS_PER_REQUEST = 10  # Stripe's maximum
EXPANDED = ("customer",)


def make_client(api_key: str, api_base: str | None, *, timeout_s: float, max_retries: int) -> stripe.StripeClient:
    """A client of the library for Stripe (``api_base`` None) or for what speaks its API elsewhere."""
    if not re.fullmatch(r"(sk|rk)_(test|live)_\w+", api_key):
        raise ConfigurationInvalid(
            "TENANTRY_STRIPE_API_KEY is no secret or restricted key of Stripe",
            hint="It starts with sk_test_, rk_test_, sk_live_ or rk_live_",
        )
    return stripe.StripeClient(
        api_key,
        base_addresses={"api": api_base.rstrip("/")} if api_base else None,
        max_network_retries=max_retries,
        http_client=_Transport(timeout=timeout_s, allow_sync_methods=True),
    )


class _Transport(HTTPXClient):
    """The library hands httpx its form as ``data``, which httpx deprecated in favour of ``content`` for bytes."""

    def _get_request_args_kwargs(self, method: str, url: str, headers: Mapping[str, str], post_data: Any) -> Any:
        args, kwargs = super()._get_request_args_kwargs(method, url, headers, None)
        del kwargs["data"]
        return args, {**kwargs, "content": post_data}


async def close(client: stripe.StripeClient) -> None:
    """Its connections of both kinds, for which the library has no call of its own."""
    transport: Any = client._requestor._client
    transport.close()
    await transport.close_async()


async def every(
    get: Callable[[str, Document], Awaitable[Document]], path: str, params: Document
) -> AsyncIterator[Document]:
    """Every object of a list; a page is fetched when it is needed."""
    cursor: Document = {}
    while True:
        page = await get(path, {**params, **cursor, "limit": PAGE})
        for document in page["data"]:
            yield document
        if not page["has_more"] or not page["data"]:
            return
        cursor = {"starting_after": page["data"][-1]["id"]}


class StripeGateway:
    """Belongs to the event loop that first uses it. ``close`` it there."""

    def __init__(
        self, api_key: str, api_base: str | None = None, *, timeout_s: float = 20.0, max_retries: int = 3
    ) -> None:
        self._client = make_client(api_key, api_base, timeout_s=timeout_s, max_retries=max_retries)
        self._livemode = "_live_" in api_key[:8]
        self._time = StripeTime()

    @property
    def livemode(self) -> bool:
        return self._livemode

    async def subscription(self, subscription_id: str) -> Document:
        with translated(f"loading subscription {subscription_id}"):
            found = await self._get(f"/v1/subscriptions/{_part(subscription_id)}", {"expand": list(EXPANDED)})
            return await self._complete(found)

    async def subscriptions_of(self, customer_id: str) -> list[Document]:
        return [document async for document in self._subscriptions({"customer": customer_id})]

    def subscriptions(self) -> AsyncIterator[Document]:
        return self._subscriptions({})

    async def _subscriptions(self, filters: Document) -> AsyncIterator[Document]:
        params = {**filters, "status": "all", "expand": [f"data.{name}" for name in EXPANDED]}
        with translated("listing subscriptions"):
            async for found in self._list("/v1/subscriptions", params):
                yield await self._complete(found)

    async def _complete(self, subscription: Document) -> Document:
        """A subscription embeds only the first page of its items."""
        if subscription["items"].get("has_more"):
            items = self._list("/v1/subscription_items", {"subscription": subscription["id"]})
            data = [item async for item in items]
            subscription["items"] = {**subscription["items"], "data": data, "has_more": False}
        return subscription

    async def events(
        self, *, since: int, types: Sequence[str] = (), undelivered_only: bool = False
    ) -> AsyncIterator[Document]:
        params: Document = {"created": {"gte": since}}
        if types:
            params["types"] = list(types)
        if undelivered_only:
            params["delivery_success"] = False
        with translated("listing events"):
            async for found in self._list("/v1/events", params):
                yield found

    async def event(self, event_id: str) -> Document:
        with translated(f"loading event {event_id}"):
            return await self._get(f"/v1/events/{_part(event_id)}", {})

    async def prices(self, lookup_keys: Sequence[str]) -> Mapping[str, Document]:
        found: dict[str, Document] = {}
        for start in range(0, len(lookup_keys), LOOKUP_KEYS_PER_REQUEST):
            wanted = list(lookup_keys[start : start + LOOKUP_KEYS_PER_REQUEST])
            with translated("looking prices up"):
                async for price in self._list("/v1/prices", {"lookup_keys": wanted, "expand": ["data.product"]}):
                    if price["lookup_key"] is not None:
                        found[price["lookup_key"]] = price
        return found

    async def product(self, product_id: str) -> Document:
        with translated(f"loading product {product_id}"):
            return await self._get(f"/v1/products/{_part(product_id)}", {})

    async def now(self, test_clock: str | None = None) -> datetime:
        if self._livemode:  # an answer never moves it, but one may stop it: a leap of this clock would delete data
            if self._time.differs:  # it may have been put right since
                await self._ask_time()
            self._time.check()
            return datetime.now(UTC)
        if test_clock is not None:
            with translated(f"looking at test clock {test_clock}"):
                clock = await self._get(f"/v1/test_helpers/test_clocks/{_part(test_clock)}", {})
            return datetime.fromtimestamp(int(clock["frozen_time"]), UTC)
        if not self._time.known:
            await self._ask_time()
        return self._time.now()

    async def _ask_time(self) -> None:
        with translated("asking Stripe for its time"):
            await self._get("/v1/events", {"limit": 1})

    async def invoices_of(self, customer_id: str, status: str) -> list[Document]:
        with translated(f"listing the invoices of {customer_id}"):
            return [found async for found in self._list("/v1/invoices", {"customer": customer_id, "status": status})]

    async def dispute(self, dispute_id: str) -> Document:
        with translated(f"loading dispute {dispute_id}"):
            return await self._get(f"/v1/disputes/{_part(dispute_id)}", {"expand": ["charge"]})

    async def charge(self, charge_id: str) -> Document:
        with translated(f"loading charge {charge_id}"):
            return await self._get(f"/v1/charges/{_part(charge_id)}", {"expand": ["refunds"]})

    async def invoice_of_payment(self, payment_intent: str) -> Document | None:
        params: Document = {
            "payment": {"type": "payment_intent", "payment_intent": payment_intent},
            "expand": ["data.invoice"],
        }
        with translated(f"looking up what {payment_intent} paid for"):
            page = await self._get("/v1/invoice_payments", params)
        for payment in page["data"]:
            invoice: Document = payment["invoice"]
            return invoice
        return None

    async def disputes(self, *, since: int) -> AsyncIterator[Document]:
        with translated("listing disputes"):
            async for found in self._list("/v1/disputes", {"created": {"gte": since}, "expand": ["data.charge"]}):
                yield found

    async def refunds(self, *, since: int) -> AsyncIterator[Document]:
        with translated("listing refunds"):
            async for found in self._list("/v1/refunds", {"created": {"gte": since}}):
                yield found

    async def _get(self, path: str, params: Document) -> Document:
        """The answer's JSON as it came: the library's objects take six times as long, and have decimals in them."""
        answer = await self._client.raw_request_async("get", path, **params)
        self._time.observe(answer.headers.get("date"))
        document: Document = json.loads(answer.body)
        return document

    def _list(self, path: str, params: Document) -> AsyncIterator[Document]:
        return every(self._get, path, params)

    async def close(self) -> None:
        await close(self._client)


def _part(identifier: str) -> str:
    """An id as one part of a path, whatever is in it."""
    return quote(identifier, safe="")
