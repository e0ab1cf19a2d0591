"""/v1/checkout/sessions for subscriptions. No page: ``POST /_local/checkout/{id}/complete`` plays the customer."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import DAY
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


@route(
    "POST",
    "/v1/checkout/sessions",
    "checkout.SessionCreateParams",
    "mode line_items.price line_items.price_data line_items.quantity customer customer_email "
    "client_reference_id success_url cancel_url return_url ui_mode locale metadata "
    "subscription_data.metadata subscription_data.trial_period_days subscription_data.trial_end "
    "subscription_data.description subscription_data.trial_settings.end_behavior.missing_payment_method "
    "expires_at payment_method_collection",
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
    return account.store.add(_document(params, prices, now))


#: Fields of a session that this server never fills.
_UNUSED = (
    "adaptive_pricing", "after_expiration", "allow_promotion_codes", "allowed_payment_method_types",
    "billing_address_collection", "branding_settings", "client_secret", "collected_information", "consent",
    "consent_collection", "currency_conversion", "customer_account", "customer_creation", "discounts",
    "excluded_payment_method_types", "integration_identifier", "invoice_creation", "managed_payments",
    "name_collection", "optional_items", "origin_context", "payment_intent", "payment_link",
    "payment_method_configuration_details", "permissions", "presentment_details", "recovered_from",
    "redirect_on_completion", "saved_payment_method_options", "setup_intent", "shipping_address_collection",
    "shipping_cost", "submit_type", "tax_id_collection", "wallet_options",
)  # fmt: skip


def _document(params: dict[str, Any], prices: list[tuple[Object, int]], now: int) -> Object:
    identifier = new_id(KIND)
    total = sum((price["unit_amount"] or 0) * quantity for price, quantity in prices)
    return {
        "id": identifier,
        "object": KIND,
        "_items": [{"price": price["id"], "quantity": quantity} for price, quantity in prices],
        "_subscription_data": params.get("subscription_data") or {},
        **dict.fromkeys(_UNUSED),
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": now,
        "currency": prices[0][0]["currency"],
        "custom_fields": [],
        "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
        "customer": params.get("customer"),
        "customer_details": None,
        "customer_email": params.get("customer_email"),
        "expires_at": params.get("expires_at", now + DAY),
        "invoice": None,
        "livemode": False,
        "locale": params.get("locale"),
        "metadata": merge_metadata({}, params.get("metadata")),
        "mode": "subscription",
        "payment_method_collection": params.get("payment_method_collection", "always"),
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "return_url": params.get("return_url"),
        "shipping_options": [],
        "status": "open",
        "subscription": None,
        "success_url": params.get("success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": params.get("ui_mode", "hosted_page"),
        "url": f"https://checkout.stripe.com/c/pay/{identifier}",
    }


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


@route("GET", "/v1/checkout/sessions/{session}/line_items", "checkout.SessionListLineItemsParams", PAGING)
def list_items(account: Account, params: dict[str, Any], session: str) -> Object:
    found = account.find(KIND, session, noun="checkout.session")
    items = [_line_item(account, session, index, item) for index, item in enumerate(found["_items"])]
    url = f"/v1/checkout/sessions/{session}/line_items"
    return page(account, "item", params, url, documents=list(reversed(items)))


def _line_item(account: Account, session: str, index: int, item: Object) -> Object:
    price = account.find("price", item["price"])
    amount = (price["unit_amount"] or 0) * item["quantity"]
    return {
        "id": f"li_{session.removeprefix('cs_test_')}{index}",
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": account.find("product", price["product"])["name"],
        "discounts": [],
        "metadata": {},
        "price": dict(price),
        "quantity": item["quantity"],
        "taxes": [],
    }


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
        customer_details={
            "address": customer["address"],
            "business_name": customer["business_name"],
            "email": customer["email"],
            "individual_name": customer["individual_name"],
            "name": customer["name"],
            "phone": customer["phone"],
            "tax_exempt": customer["tax_exempt"],
            "tax_ids": [],
        },
        url=None,
    )
    account.emit("checkout.session.completed", session, test_clock=customer["test_clock"])
    return session
