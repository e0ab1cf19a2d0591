"""/v1/checkout/sessions for subscriptions. No page: ``POST /_local/checkout/{id}/complete`` plays the customer."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.resources import customers, payment_methods
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions.creation import create_subscription
from localcloud.stripe.subscriptions.items import price_of

KIND = "checkout.session"
DAY = 86400


@route(
    "POST",
    "/v1/checkout/sessions",
    "checkout.SessionCreateParams",
    "mode line_items.price line_items.price_data line_items.quantity customer customer_email "
    "client_reference_id success_url cancel_url return_url ui_mode locale metadata "
    "subscription_data.metadata subscription_data.trial_period_days subscription_data.trial_end "
    "subscription_data.description subscription_data.trial_settings.end_behavior.missing_payment_method "
    "expires_at payment_method_types payment_method_collection",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    if params.get("mode") != "subscription":
        raise invalid("This server has checkout sessions of mode subscription only", param="mode")
    if not params.get("line_items"):
        raise missing_param("line_items")
    prices = [
        (price_of(account, item, f"line_items[{index}]"), item.get("quantity", 1))
        for index, item in enumerate(params["line_items"])
    ]
    clock = None
    if "customer" in params:
        clock = customers.live(account, params["customer"], param="customer")["test_clock"]
    now = account.now(clock)
    identifier = new_id(KIND)
    total = sum((price["unit_amount"] or 0) * quantity for price, quantity in prices)
    return account.store.add(
        {
            "id": identifier,
            "object": KIND,
            "_items": [{"price": price["id"], "quantity": quantity} for price, quantity in prices],
            "_subscription_data": params.get("subscription_data") or {},
            "amount_subtotal": total,
            "amount_total": total,
            "cancel_url": params.get("cancel_url"),
            "client_reference_id": params.get("client_reference_id"),
            "created": now,
            "currency": prices[0][0]["currency"],
            "customer": params.get("customer"),
            "customer_email": params.get("customer_email"),
            "expires_at": params.get("expires_at", now + DAY),
            "invoice": None,
            "livemode": False,
            "metadata": merge_metadata({}, params.get("metadata")),
            "mode": "subscription",
            "payment_status": "unpaid",
            "status": "open",
            "subscription": None,
            "success_url": params.get("success_url"),
            "ui_mode": "hosted_page",
            "url": f"https://checkout.stripe.com/c/pay/{identifier}",
        }
    )


@route("GET", "/v1/checkout/sessions/{session}", "checkout.SessionRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], session: str) -> Object:
    return account.find(KIND, session, noun="checkout.session")


@route("POST", "/v1/checkout/sessions/{session}/expire", "checkout.SessionExpireParams")
def expire(account: Account, params: dict[str, Any], session: str) -> Object:
    found = _open(account, session)
    account.store.edit(found).update(status="expired", url=None)
    account.emit("checkout.session.expired", found)
    return found


@route("GET", "/v1/checkout/sessions", "checkout.SessionListParams", f"{PAGING} created customer subscription status")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    def keep(session: Object) -> bool:
        return all(params.get(name) in (None, session[name]) for name in ("customer", "subscription", "status"))

    return page(account, KIND, params, "/v1/checkout/sessions", keep)


def _open(account: Account, identifier: str) -> Object:
    found = account.find(KIND, identifier, noun="checkout.session")
    if found["status"] != "open":
        raise invalid(f"This Session is {found['status']}, not open.")
    return found


def complete(account: Account, identifier: str, card: str) -> Object:
    """What happens when the customer pays with ``card``: customer, subscription, ``checkout.session.completed``."""
    session = account.store.edit(_open(account, identifier))
    if session["customer"] is None:
        session["customer"] = customers.create(account, {"email": session["customer_email"]})["id"]
    customer = account.find("customer", session["customer"])
    method = payment_methods.attach(account, card, customer)
    data = session["_subscription_data"]
    params = {
        "items": session["_items"],
        "default_payment_method": method["id"],
        "payment_behavior": "error_if_incomplete",
        "metadata": data.get("metadata") or {},
    }
    for name in ("trial_period_days", "trial_end", "description", "trial_settings"):
        if name in data:
            params[name] = data[name]
    subscription = create_subscription(account, customer, params)
    session.update(
        status="complete",
        payment_status="no_payment_required" if subscription["status"] == "trialing" else "paid",
        subscription=subscription["id"],
        invoice=subscription["latest_invoice"],
        url=None,
    )
    account.emit("checkout.session.completed", session, test_clock=customer["test_clock"])
    return session
