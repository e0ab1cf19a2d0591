"""Deleting a customer in Stripe: its subscriptions end with it, invoices stay as tax law wants them."""

from __future__ import annotations

from provisioner.billing.errors import translated
from provisioner.billing.gateway_stripe import make_client
from provisioner.errors import NotFound


async def delete_customer(api_key: str, api_base: str | None, customer_id: str) -> None:
    """Nothing happens if it is gone already. Raises StripeUnavailable, OperatorNeeded."""
    client = make_client(api_key, api_base, timeout_s=20.0, max_retries=3)
    try:
        with translated(f"deleting customer {customer_id}"):
            await client.v1.customers.delete_async(customer_id)
    except NotFound:
        return
