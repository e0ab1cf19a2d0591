"""/v1/payment_methods: cards only, made from Stripe's test ids and tokens."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.cards import TEST_CARDS, Card, Refusal, card_of
from localcloud.stripe.errors import declined, invalid, missing_param, no_such
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

_TOKENS = {
    "tok_visa": "pm_card_visa",
    "tok_mastercard": "pm_card_mastercard",
    "tok_chargeCustomerFail": "pm_card_chargeCustomerFail",
    "tok_createDispute": "pm_card_createDispute",
}


def _card(account: Account, card: Card, params: dict[str, Any]) -> Object:
    details = params.get("billing_details") or {}
    method: Object = {
        "id": new_id("payment_method"),
        "object": "payment_method",
        "allow_redisplay": params.get("allow_redisplay", "unspecified"),
        "billing_details": {
            "address": dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "card": {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": card.brand,
            "exp_month": 8,
            "exp_year": 2035,
            "fingerprint": f"local{card.brand}{card.last4}",
            "funding": "credit",
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": account.now(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata")),
        "type": "card",
    }
    _set_details(method, details)
    return account.store.add(method)


def _set_details(method: Object, details: dict[str, Any]) -> None:
    for name, value in details.items():
        if isinstance(value, dict):
            method["billing_details"][name].update(value)
        else:
            method["billing_details"][name] = value or None


def attach(account: Account, identifier: str, customer: Object, *, param: str = "payment_method") -> Object:
    """Attach a payment method; one of Stripe's test ids is copied first, as in Stripe. 402 for a card that declines."""
    card = TEST_CARDS.get(identifier)
    if card is not None:
        method = _card(account, card, {})
    else:
        method = account.find("payment_method", identifier, param=param)
        card = card_of(method)
    if method["customer"] not in (None, customer["id"]):
        raise invalid(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_already_attached",
        )
    if not card.attaches:
        refusal = card.refusal or Refusal("generic_decline")
        raise declined(refusal.code, refusal.decline_code)
    account.store.edit(method)["customer"] = customer["id"]
    account.emit("payment_method.attached", method, test_clock=customer["test_clock"])
    return method


@route(
    "POST",
    "/v1/payment_methods",
    "PaymentMethodCreateParams",
    "type card.token billing_details metadata allow_redisplay",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    if params.get("type", "card") != "card":
        raise invalid("This server has payment methods of type card only", param="type")
    token = (params.get("card") or {}).get("token")
    if token is None:
        raise invalid(
            "Sending credit card numbers directly to this server is not supported: give card[token], for example "
            "tok_visa",
            param="card[token]",
        )
    if token not in _TOKENS:
        raise invalid(f"No such token: '{token}'", param="card[token]", code="resource_missing")
    return _card(account, TEST_CARDS[_TOKENS[token]], params)


@route("GET", "/v1/payment_methods/{method}", "PaymentMethodRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], method: str) -> Object:
    return account.find("payment_method", method)


@route(
    "POST",
    "/v1/payment_methods/{method}",
    "PaymentMethodUpdateParams",
    "allow_redisplay billing_details card.exp_month card.exp_year metadata",
)
def update(account: Account, params: dict[str, Any], method: str) -> Object:
    found = account.find("payment_method", method)
    if found["customer"] is None:
        raise invalid("You must save this PaymentMethod to a customer before you can update it.")
    return update_card(account, found, params.get("card") or {}, "payment_method.updated", params)


def update_card(
    account: Account, method: Object, dates: dict[str, Any], event: str, params: dict[str, Any] | None = None
) -> Object:
    """Set ``exp_month`` and ``exp_year`` (and what else an update gives); announced as ``event``."""
    month, year = dates.get("exp_month", 1), dates.get("exp_year", 2000)
    if not isinstance(month, int) or not 1 <= month <= 12:
        raise invalid("Your card's expiration month is invalid.", param="card[exp_month]", code="invalid_expiry_month")
    if not isinstance(year, int) or not 2000 <= year <= 2100:
        raise invalid("Your card's expiration year is invalid.", param="card[exp_year]", code="invalid_expiry_year")
    given = params or {}
    clock = None if method["customer"] is None else account.find("customer", method["customer"])["test_clock"]
    with account.updating(method, event, test_clock=clock):
        method["card"].update(dates)
        method["metadata"] = merge_metadata(method["metadata"], given.get("metadata"))
        method["allow_redisplay"] = given.get("allow_redisplay", method["allow_redisplay"])
        _set_details(method, given.get("billing_details") or {})
    return method


@route("POST", "/v1/payment_methods/{method}/attach", "PaymentMethodAttachParams", "customer")
def attach_to(account: Account, params: dict[str, Any], method: str) -> Object:
    if "customer" not in params:
        raise missing_param("customer")
    customer = account.find("customer", params["customer"], param="customer")
    if customer.get("deleted"):
        raise no_such("customer", customer["id"], param="customer", status=400)
    return attach(account, method, customer, param="id")


@route("POST", "/v1/payment_methods/{method}/detach", "PaymentMethodDetachParams")
def detach(account: Account, params: dict[str, Any], method: str) -> Object:
    found = account.find("payment_method", method)
    if found["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer so detachment is impossible.")
    customer = account.find("customer", found["customer"])
    if customer["invoice_settings"]["default_payment_method"] == method:
        with account.updating(customer):
            customer["invoice_settings"]["default_payment_method"] = None
    for subscription in account.store.where("subscription", "customer", customer["id"]):
        if subscription["default_payment_method"] == method:
            account.store.edit(subscription)["default_payment_method"] = None
    account.store.edit(found)["customer"] = None
    account.emit("payment_method.detached", found, {"customer": customer["id"]}, customer["test_clock"])
    return found


@route("GET", "/v1/payment_methods", "PaymentMethodListParams", f"{PAGING} customer type")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    customer, kind = params.get("customer"), params.get("type")

    def keep(method: Object) -> bool:
        return method["customer"] == customer and kind in (None, method["type"])

    documents = None
    if customer is not None:
        account.find("customer", customer, param="customer")
        documents = account.store.where("payment_method", "customer", customer)
    return page(account, "payment_method", params, "/v1/payment_methods", keep, documents=documents)


@route("GET", "/v1/customers/{customer}/payment_methods", "CustomerPaymentMethodListParams", f"{PAGING} type")
def list_of_customer(account: Account, params: dict[str, Any], customer: str) -> Object:
    account.find("customer", customer)
    url = f"/v1/customers/{customer}/payment_methods"
    documents = account.store.where("payment_method", "customer", customer)
    return page(
        account,
        "payment_method",
        params,
        url,
        lambda method: params.get("type") in (None, method["type"]),
        documents=documents,
    )
