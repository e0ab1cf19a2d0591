"""A shop on an in-process Stripe, with a wall clock that the test moves."""

from __future__ import annotations

import json
from typing import Any

from localcloud.stripe.inprocess import Delivery, InProcess

DAY, HOUR = 86400, 3600
#: 2027-01-31 12:00:00 UTC: the 31st shows what months do to periods.
START = 1_801_396_800
#: The first period of a monthly subscription that begins at ``START``: until 28 February.
MONTH = 28 * DAY

Object = dict[str, Any]


class Shop:
    def __init__(self, seed: int = 0) -> None:
        self.now: float = START
        self.events: list[Object] = []
        self.stripe = InProcess(lambda: self.now, deliver=self._take, seed=seed)
        self.product = self.post("/v1/products", name="Team")["id"]
        self.monthly = self.price(unit_amount=3100)
        self.dear = self.price(unit_amount=62000)
        self.events.clear()

    def _take(self, delivery: Delivery) -> bool:
        self.events.append(json.loads(delivery.body()))
        return True

    def get(self, path: str, **params: Any) -> Object:
        return self.stripe.call("GET", path, params)

    def post(self, path: str, **params: Any) -> Object:
        return self.stripe.call("POST", path, params)

    def delete(self, path: str, **params: Any) -> Object:
        return self.stripe.call("DELETE", path, params)

    def control(self, path: str, **body: Any) -> Object:
        return self.stripe.control("POST", path, body)

    def all(self, path: str, **params: Any) -> list[Object]:
        """All of a list, oldest first."""
        found: list[Object] = []
        while True:
            page = self.get(path, limit=100, **params)
            found += page["data"]
            if not page["has_more"]:
                return found[::-1]
            params["starting_after"] = found[-1]["id"]

    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.stripe.catch_up()

    def until(self, moment: int) -> None:
        """Let the time be ``moment`` seconds after ``START``."""
        self.wait(START + moment - int(self.now))

    def price(self, **more: Any) -> str:
        params = {"product": self.product, "currency": "usd", "recurring": {"interval": "month"}, **more}
        identifier: str = self.post("/v1/prices", **params)["id"]
        return identifier

    def customer(self, card: str | None = "pm_card_visa", **more: Any) -> str:
        identifier: str = self.post("/v1/customers", name="Acme", **more)["id"]
        if card is not None:
            self.pay_with(identifier, card)
        return identifier

    def pay_with(self, customer: str, card: str) -> str:
        method: str = self.post(f"/v1/payment_methods/{card}/attach", customer=customer)["id"]
        self.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": method})
        return method

    def subscribe(self, customer: str | None = None, *prices: str, **more: Any) -> Object:
        params = {"items": [{"price": price} for price in prices or (self.monthly,)], **more}
        return self.post("/v1/subscriptions", customer=customer or self.customer(), **params)

    def subscription(self, identifier: str) -> Object:
        return self.get(f"/v1/subscriptions/{identifier}")

    def change(self, subscription: Object, price: str | None = None, **more: Any) -> Object:
        """Another price or quantity for the first item."""
        own: Object = {name: more.pop(name) for name in ("quantity", "discounts") if name in more}
        item: Object = {"id": subscription["items"]["data"][0]["id"], **own, **({"price": price} if price else {})}
        return self.post(f"/v1/subscriptions/{subscription['id']}", items=[item], **more)

    def invoices(self, subscription: str) -> list[Object]:
        return self.all("/v1/invoices", subscription=subscription)

    def latest(self, subscription: str) -> Object:
        invoice: Object = self.get(f"/v1/subscriptions/{subscription}", expand=["latest_invoice"])["latest_invoice"]
        return invoice

    def charge(self, customer: str) -> Object:
        return self.all("/v1/charges", customer=customer)[-1]

    def types(self) -> list[str]:
        """What was announced since the last look."""
        found = [event["type"] for event in self.events]
        self.events.clear()
        return found

    def previous(self, type: str) -> Object:
        """``previous_attributes`` of the last event of a type."""
        found = [event["data"]["previous_attributes"] for event in self.events if event["type"] == type]
        previous: Object = found[-1]
        return previous
