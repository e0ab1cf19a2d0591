"""``BillingGateway`` on the ``stripe`` library: pinned version, asynchronous, retried with jitter by the library."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import stripe
from stripe import HTTPXClient

from provisioner.billing.errors import translated
from provisioner.billing.gateway import Document
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


class StripeGateway:
    """Belongs to the event loop that first uses it. ``close`` it there."""

    def __init__(
        self, api_key: str, api_base: str | None = None, *, timeout_s: float = 20.0, max_retries: int = 3
    ) -> None:
        self._client = make_client(api_key, api_base, timeout_s=timeout_s, max_retries=max_retries)
        self._livemode = "_live_" in api_key[:8]

    @property
    def livemode(self) -> bool:
        return self._livemode

    async def subscription(self, subscription_id: str) -> Document:
        with translated(f"loading subscription {subscription_id}"):
            found = await self._client.v1.subscriptions.retrieve_async(subscription_id, {"expand": list(EXPANDED)})
        return await self._complete(found.to_dict())

    async def subscriptions_of(self, customer_id: str) -> list[Document]:
        return [document async for document in self._subscriptions({"customer": customer_id})]

    def subscriptions(self) -> AsyncIterator[Document]:
        return self._subscriptions({})

    async def _subscriptions(self, filters: dict[str, Any]) -> AsyncIterator[Document]:
        params: Any = {**filters, "status": "all", "limit": PAGE, "expand": [f"data.{name}" for name in EXPANDED]}
        with translated("listing subscriptions"):
            page = await self._client.v1.subscriptions.list_async(params)
            async for found in page.auto_paging_iter():
                yield await self._complete(found.to_dict())

    async def _complete(self, subscription: Document) -> Document:
        """A subscription embeds only the first page of its items."""
        if subscription["items"].get("has_more"):
            with translated(f"listing the items of subscription {subscription['id']}"):
                page = await self._client.v1.subscription_items.list_async(
                    {"subscription": subscription["id"], "limit": PAGE}
                )
                data = [item.to_dict() async for item in page.auto_paging_iter()]
            subscription["items"] = {**subscription["items"], "data": data, "has_more": False}
        return subscription

    async def events(
        self, *, since: int, types: Sequence[str] = (), undelivered_only: bool = False
    ) -> AsyncIterator[Document]:
        params: Any = {"created": {"gte": since}, "limit": PAGE}
        if types:
            params["types"] = list(types)
        if undelivered_only:
            params["delivery_success"] = False
        with translated("listing events"):
            page = await self._client.v1.events.list_async(params)
            async for found in page.auto_paging_iter():
                yield found.to_dict()

    async def event(self, event_id: str) -> Document:
        with translated(f"loading event {event_id}"):
            return (await self._client.v1.events.retrieve_async(event_id)).to_dict()

    async def prices(self, lookup_keys: Sequence[str]) -> Mapping[str, Document]:
        found: dict[str, Document] = {}
        for start in range(0, len(lookup_keys), LOOKUP_KEYS_PER_REQUEST):
            wanted = list(lookup_keys[start : start + LOOKUP_KEYS_PER_REQUEST])
            with translated("looking prices up"):
                page = await self._client.v1.prices.list_async(
                    {"lookup_keys": wanted, "limit": PAGE, "expand": ["data.product"]}
                )
                async for price in page.auto_paging_iter():
                    if price.lookup_key is not None:
                        found[price.lookup_key] = price.to_dict()
        return found

    async def product(self, product_id: str) -> Document:
        with translated(f"loading product {product_id}"):
            return (await self._client.v1.products.retrieve_async(product_id)).to_dict()

    async def close(self) -> None:
        client: Any = self._client._requestor._client
        client.close()
        await client.close_async()
