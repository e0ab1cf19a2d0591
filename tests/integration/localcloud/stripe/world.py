"""A local Stripe and what a test does with it through the unmodified ``stripe`` library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import stripe

ROOT = Path(__file__).parents[4]
API_KEY = "sk_test_integration"
DAY = 86400
#: 2027-01-31 12:00:00 UTC: the 31st shows what months do to periods.
START = 1_801_396_800
GOOD, FAILING, DECLINED = "pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_chargeDeclined"


@dataclass
class StripeProcess:
    """``python -m localcloud.stripe`` on a free port of the loopback interface."""

    arguments: Sequence[str] = ()
    url: str = ""
    stderr: int | None = None
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> StripeProcess:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "localcloud.stripe", *self.arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the local Stripe did not start: exit code {self.process.wait(10)}"
        self.url = json.loads(line)["url"]
        return self

    def stop(self, *, kill: bool = False) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.kill() if kill else self.process.terminate()
        code = self.process.wait(20)
        self.process.stdout.close()
        return code

    def __enter__(self) -> StripeProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.returncode is None:
            self.stop()


def client_of(url: str, *, retries: int = 0, **options: Any) -> stripe.StripeClient:
    """The unmodified library, without its own retries: a test wants to see the first answer."""
    return stripe.StripeClient(API_KEY, base_addresses={"api": url}, max_network_retries=retries, **options)


def close(client: stripe.StripeClient) -> None:
    transport: Any = client._requestor._client
    transport.close()


class Shop:
    """What most tests sell: two monthly prices and a yearly one, to customers on test clocks of their own."""

    def __init__(self, url: str, client: stripe.StripeClient) -> None:
        self.url = url
        self.client = client
        self.v1 = client.v1
        product = self.v1.products.create({"name": "Team"})
        other = self.v1.products.create({"name": "Enterprise"})
        self.product, self.other_product = product.id, other.id
        self.monthly = self.price(product.id, 3100)
        self.dear = self.price(other.id, 62000)
        self.yearly = self.price(product.id, 36500, interval="year")

    def price(self, product: str, amount: int, *, interval: str = "month", **more: Any) -> str:
        params: Any = {
            "product": product,
            "currency": "usd",
            "unit_amount": amount,
            "recurring": {"interval": interval},
            **more,
        }
        return self.v1.prices.create(params).id

    def clock(self, at: int = START) -> str:
        return self.v1.test_helpers.test_clocks.create({"frozen_time": at}).id

    def advance(self, clock: str, *, to: int) -> None:
        assert self.v1.test_helpers.test_clocks.advance(clock, {"frozen_time": to}).status == "ready"

    def customer(self, clock: str | None = None, card: str | None = GOOD, **more: Any) -> stripe.Customer:
        params: Any = {"name": "Acme", **more}
        if clock is not None:
            params["test_clock"] = clock
        customer = self.v1.customers.create(params)
        return customer if card is None else self.pay_with(customer.id, card)

    def pay_with(self, customer: str, card: str) -> stripe.Customer:
        method = self.v1.payment_methods.attach(card, {"customer": customer})
        return self.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method.id}})

    def subscribe(self, customer: str, price: str | None = None, **more: Any) -> stripe.Subscription:
        params: Any = {"customer": customer, "items": [{"price": price or self.monthly}], **more}
        return self.v1.subscriptions.create(params)

    def subscription(self, identifier: str) -> stripe.Subscription:
        return self.v1.subscriptions.retrieve(identifier)

    def item(self, subscription: stripe.Subscription) -> stripe.SubscriptionItem:
        return subscription["items"].data[0]  # type: ignore[no-any-return]

    def events(self, customer: str, *types: str) -> list[dict[str, Any]]:
        """A customer's events of the types (all when none is given), oldest first."""
        found = []
        for event in self.v1.events.list({"limit": 100}).auto_paging_iter():
            document = event.to_dict()
            subject = document["data"]["object"]
            if customer in (subject.get("customer"), subject.get("id")) and (not types or event.type in types):
                found.append(document)
        return found[::-1]

    def types(self, customer: str) -> list[str]:
        return [event["type"] for event in self.events(customer)]

    def control(self, method: str, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
        return control(self.url, method, path, document)


def control(url: str, method: str, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    response = httpx.request(
        method, url + path, json=document, headers={"Authorization": f"Bearer {API_KEY}"}, trust_env=False
    )
    answer: dict[str, Any] = response.json()
    assert response.status_code == 200, answer
    return answer


def eventually(condition: Callable[[], bool], what: str, patience_s: float = 20.0) -> None:
    """Waits for something that nobody announces; fails with ``what``."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(what)
        time.sleep(0.02)
