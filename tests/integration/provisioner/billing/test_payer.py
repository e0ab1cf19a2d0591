"""What messages ask of Stripe: requests that its API description knows, answers that the local Stripe gives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from localcloud.stripe.server import LocalStripe
from provisioner.billing.gateway_stripe import make_client
from provisioner.billing.payer import FakePayerGateway, PayerGateway, StripePayerGateway
from provisioner.errors import NotFound
from provisioner.notifications import reading

Ask = Callable[[PayerGateway], Awaitable[Any]]

QUESTIONS: dict[str, Ask] = {
    "payment_method": lambda gateway: gateway.payment_method("pm_123"),
    "renewal": lambda gateway: gateway.renewal("sub_123"),
    "payments_of": lambda gateway: gateway.payments_of("in_123"),
}


def asked(gateway: PayerGateway, question: Ask) -> Any:
    async def inside() -> Any:
        try:
            return await question(gateway)
        finally:
            await gateway.close()

    return asyncio.run(inside())


@pytest.mark.parametrize("name", QUESTIONS)
def test_stripe_knows_every_request(stripe_mock_url: str, name: str) -> None:
    answer = asked(StripePayerGateway("sk_test_123", stripe_mock_url, max_retries=0), QUESTIONS[name])
    assert answer
    if name == "payments_of":
        assert isinstance(reading.waits_for_customer(answer), bool)


@pytest.mark.parametrize("name", ["payment_method", "renewal"])
def test_what_is_not_there_is_not_found(local_stripe: LocalStripe, name: str) -> None:
    for gateway in (
        StripePayerGateway(local_stripe.api_key, local_stripe.url, max_retries=0),
        FakePayerGateway(),
    ):
        with pytest.raises(NotFound):
            asked(gateway, QUESTIONS[name])


def test_a_customers_card_and_the_amount_of_its_renewal(local_stripe: LocalStripe) -> None:
    client = make_client(local_stripe.api_key, local_stripe.url, timeout_s=20, max_retries=0)
    v1 = client.v1
    product = v1.products.create({"name": "Team"})
    price = v1.prices.create(
        {"product": product.id, "currency": "eur", "unit_amount": 9900, "recurring": {"interval": "year"}}
    )
    customer = v1.customers.create({"email": "ada@example.com", "metadata": {"tenant_id": "acme"}})
    method = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
    subscription = v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}]})
    transport: Any = client._requestor._client
    transport.close()

    async def question(gateway: PayerGateway) -> Any:
        (document,) = await gateway.subscriptions_of(customer.id)
        identifier = reading.default_payment_method(document)
        assert identifier is not None
        card = reading.card_of(await gateway.payment_method(identifier))
        renewal = await gateway.renewal(subscription.id)
        payments = await gateway.payments_of(document["latest_invoice"])
        return card, renewal, reading.waits_for_customer(payments)

    card, renewal, waits = asked(StripePayerGateway(local_stripe.api_key, local_stripe.url, max_retries=0), question)
    assert (card.brand, card.last4) == ("Visa", "4242")
    assert (renewal["amount_due"], renewal["currency"]) == (9900, "eur")
    assert waits is False
