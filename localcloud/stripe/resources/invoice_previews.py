"""/v1/invoices/create_preview"""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.resources import customers
from localcloud.stripe.routing import route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import previews

_UPDATES = (
    "billing_cycle_anchor", "cancel_at", "cancel_at_period_end", "items", "metadata", "proration_behavior",
    "proration_date", "trial_end",
)  # fmt: skip


@route(
    "POST",
    "/v1/invoices/create_preview",
    "InvoiceCreatePreviewParams",
    "automatic_tax.enabled currency customer customer_details.address customer_details.tax_exempt discounts "
    "preview_mode subscription subscription_details.billing_cycle_anchor subscription_details.cancel_at "
    "subscription_details.cancel_at_period_end subscription_details.cancel_now subscription_details.items.deleted "
    "subscription_details.items.discounts subscription_details.items.id subscription_details.items.metadata "
    "subscription_details.items.price subscription_details.items.price_data subscription_details.items.quantity "
    "subscription_details.metadata subscription_details.proration_behavior subscription_details.proration_date "
    "subscription_details.trial_end",
)
def create_preview(account: Account, params: dict[str, Any]) -> Object:
    details = params.get("subscription_details") or {}
    changes = {name: details[name] for name in _UPDATES if name in details}
    for name in ("automatic_tax", "discounts"):
        if name in params:
            changes[name] = params[name]
    if "subscription" not in params:
        return _of_new(account, params, changes)
    subscription = account.find("subscription", params["subscription"], param="subscription")
    if params.get("customer") not in (None, subscription["customer"]):
        raise invalid("The subscription is another customer's.", param="customer")
    if details.get("cancel_now"):
        prorate = details.get("proration_behavior", "create_prorations") != "none"
        return previews.of_cancellation(account, subscription, prorate=prorate)
    return previews.of_change(account, subscription, changes, recurring=params.get("preview_mode") == "recurring")


def _of_new(account: Account, params: dict[str, Any], changes: dict[str, Any]) -> Object:
    """Of a customer that is there or is described."""
    if "items" not in changes:
        raise missing_param("subscription_details[items]")
    changes.pop("proration_date", None)
    if "currency" in params:
        changes["currency"] = params["currency"]
    if "customer" in params:
        customer = customers.live(account, params["customer"], param="customer")
        return previews.of_creation(account, customer, changes)
    with account.imagining():
        described = params.get("customer_details") or {}
        customer = customers.create(account, {k: v for k, v in described.items() if k in ("address", "tax_exempt")})
        return previews.of_creation(account, customer, changes)
