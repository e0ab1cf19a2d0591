"""Stripe's API for the catalogue: plain JSON through the ``stripe`` library, synchronous, for people at a shell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import stripe

from provisioner.billing.errors import translated
from provisioner.billing.gateway import Document
from provisioner.billing.gateway_stripe import PAGE, make_client
from provisioner.errors import ConfigurationInvalid


class CatalogueApi:
    """Raises what ``BillingGateway`` does: ``StripeUnavailable``, ``OperatorNeeded``, ``NotFound``."""

    def __init__(self, client: stripe.StripeClient, *, livemode: bool) -> None:
        self._client = client
        self.livemode = livemode

    @classmethod
    def connect(
        cls, api_key: str, api_base: str | None = None, *, timeout_s: float = 20.0, max_retries: int = 3
    ) -> CatalogueApi:
        """``close`` it."""
        client = make_client(api_key, api_base, timeout_s=timeout_s, max_retries=max_retries)
        return cls(client, livemode="_live_" in api_key[:8])

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Document:
        return self._ask("get", path, params or {}, f"reading {path}")

    def list(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Document]:
        """Every object of a list; a page is fetched when it is needed."""
        cursor: Document = {}
        while True:
            page = self.get(path, {**(params or {}), **cursor, "limit": PAGE})
            yield from page["data"]
            if not page["has_more"] or not page["data"]:
                return
            cursor = {"starting_after": page["data"][-1]["id"]}

    def post(self, path: str, params: Mapping[str, Any], *, idempotency_key: str | None = None) -> Document:
        options = {} if idempotency_key is None else {"idempotency_key": idempotency_key}
        return self._ask("post", path, {**params, **options}, f"writing {path}")

    def delete(self, path: str) -> Document:
        return self._ask("delete", path, {}, f"deleting {path}")

    def account_id(self) -> str:
        """Of the account that the key belongs to."""
        return str(self.get("/v1/account")["id"])

    def close(self) -> None:
        client: Any = self._client._requestor._client
        client.close()

    def _ask(self, method: str, path: str, params: Mapping[str, Any], doing: str) -> Document:
        with translated(doing):
            answer = self._client.raw_request(method, path, **params)
        document: Document = json.loads(answer.body)
        return document


def part(identifier: str) -> str:
    """An id as one part of a path, whatever is in it."""
    return quote(identifier, safe="")


def content_key(purpose: str, *content: Any) -> str:
    """An idempotency key that the same request always has, and no other."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return f"tenantry-{purpose}-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def require_mode(api: CatalogueApi, *, live: bool) -> None:
    """``ConfigurationInvalid`` unless the key's mode is the one that was asked for: live mode is always said."""
    if api.livemode and not live:
        raise ConfigurationInvalid(
            "TENANTRY_STRIPE_API_KEY is a live mode key, and --live was not given",
            hint="Repeat the command with --live to change what customers pay, or use a key of test mode",
        )
    if live and not api.livemode:
        raise ConfigurationInvalid(
            "--live was given, and TENANTRY_STRIPE_API_KEY is a test mode key",
            hint="Leave --live out, or use a live mode key",
        )
