"""Sells plans on the local Stripe: without its webhooks, so that the benchmark sends them and knows when."""

from __future__ import annotations

import http.client
import json
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from benchmarks import deliveries
from benchmarks.cloud import Cloud
from localcloud.home import REPOSITORY
from provisioner.billing import catalogue as catalogues
from provisioner.billing.storefront import Storefront
from provisioner.cli.stripe_control import LocalControl

EVERY = 10**9  #: deliveries that the local Stripe drops


class Sales:
    """``announced``: Stripe sends its webhooks itself."""

    def __init__(self, cloud: Cloud, *, announced: bool = False) -> None:
        self._cloud = cloud
        key, base = cloud.settings["TENANTRY_STRIPE_API_KEY"], cloud.settings["TENANTRY_STRIPE_API_BASE"]
        LocalControl(base, key).post("/_local/faults", {} if announced else {"drop_next": EVERY})
        self._front = Storefront(key, base, catalogues.load(REPOSITORY / "example" / "plans.toml"))
        self._front.seed()

    def close(self) -> None:
        self._front.close()

    def sell(self, tenant_id: str, plan: str) -> dict[str, Any]:
        """The event that Stripe would send for a new subscription; it was not sent."""
        subscription = self._front.subscribe(tenant_id, plan)
        return self._event("customer.subscription.created", str(subscription["id"]))

    def change(self, tenant_id: str, plan: str) -> dict[str, Any]:
        subscription = self._front.change(tenant_id, plan)
        return self._event("customer.subscription.updated", str(subscription["id"]))

    def _event(self, kind: str, subscription_id: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self._cloud.settings['TENANTRY_STRIPE_API_BASE']}/v1/events?limit=20&type={kind}",
            headers={"Authorization": "Bearer " + self._cloud.settings["TENANTRY_STRIPE_API_KEY"]},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            events: list[dict[str, Any]] = json.load(answer)["data"]
        return next(event for event in events if event["data"]["object"]["id"] == subscription_id)

    def post(self, event: dict[str, Any]) -> None:
        """Send an event to the webhook; returns when it is answered."""
        body = json.dumps(event).encode()
        url = urlsplit(self._cloud.settings["TENANTRY_API_URL"])
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=30)
        try:
            header = deliveries.signature(body, self._cloud.settings["TENANTRY_STRIPE_WEBHOOK_SECRETS"])
            connection.request("POST", deliveries.PATH, body, {"Stripe-Signature": header})
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(f"the webhook answered {answer.status}: {answer.read(300)!r}")
        finally:
            connection.close()
