"""What messages to a customer need of Stripe beyond what decisions do: cards, previews, payments that wait."""

from __future__ import annotations

import json
from typing import Protocol

from provisioner.billing.errors import translated
from provisioner.billing.fake import FakeGateway
from provisioner.billing.gateway import BillingGateway, Document
from provisioner.billing.gateway_stripe import StripeGateway, _part


class PayerGateway(BillingGateway, Protocol):
    """Raises as ``BillingGateway`` does."""

    async def payment_method(self, payment_method_id: str) -> Document: ...

    async def renewal(self, subscription_id: str) -> Document:
        """The invoice that the subscription's next period will begin with, as it would be now."""
        ...

    async def payments_of(self, invoice_id: str) -> list[Document]:
        """An invoice's payments, with their payment intents expanded."""
        ...


class StripePayerGateway(StripeGateway):
    async def payment_method(self, payment_method_id: str) -> Document:
        with translated(f"loading payment method {payment_method_id}"):
            return await self._get(f"/v1/payment_methods/{_part(payment_method_id)}", {})

    async def renewal(self, subscription_id: str) -> Document:
        with translated(f"previewing the renewal of {subscription_id}"):
            answer = await self._client.raw_request_async(
                "post", "/v1/invoices/create_preview", subscription=subscription_id
            )
            document: Document = json.loads(answer.body)
            return document

    async def payments_of(self, invoice_id: str) -> list[Document]:
        params: Document = {"invoice": invoice_id, "expand": ["data.payment.payment_intent"]}
        with translated(f"listing the payments of {invoice_id}"):
            page = await self._get("/v1/invoice_payments", {**params, "limit": 10})
            documents: list[Document] = page["data"]
            return documents


class FakePayerGateway(FakeGateway):
    """``FakeGateway`` with cards, previews and payments; what a test puts in the dictionaries is what it answers."""

    def __init__(self, *, livemode: bool = False) -> None:
        super().__init__(livemode=livemode)
        self.payment_methods: dict[str, Document] = {}
        self.renewals: dict[str, Document] = {}
        self.payments: dict[str, list[Document]] = {}

    async def payment_method(self, payment_method_id: str) -> Document:
        return self._get(self.payment_methods, payment_method_id, "payment_method")

    async def renewal(self, subscription_id: str) -> Document:
        return self._get(self.renewals, subscription_id, "subscription")

    async def payments_of(self, invoice_id: str) -> list[Document]:
        self._reach()
        return self.payments.get(invoice_id, [])
