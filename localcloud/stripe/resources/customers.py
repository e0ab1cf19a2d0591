"""/v1/customers"""

from __future__ import annotations

from typing import Any

from localcloud.stripe import searching
from localcloud.stripe.account import Account
from localcloud.stripe.due import ENDED
from localcloud.stripe.errors import invalid, no_such
from localcloud.stripe.fields import assign, deleted, merge_metadata, none_if_empty
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.resources.payment_methods import attach
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions.cancellation import cancel_now

_PLAIN = (
    "address", "business_name", "description", "email", "individual_name", "name", "phone", "shipping",
    "preferred_locales",
)  # fmt: skip


@route(
    "POST",
    "/v1/customers",
    "CustomerCreateParams",
    "address balance business_name description email individual_name "
    "invoice_settings.default_payment_method invoice_settings.footer invoice_settings.custom_fields "
    "metadata name payment_method phone preferred_locales shipping tax_exempt test_clock",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    clock = params.get("test_clock")
    if clock is not None:
        account.find("test_helpers.test_clock", clock, param="test_clock")
    identifier = new_id("customer")
    customer: Object = {
        "id": identifier,
        "object": "customer",
        "address": None,
        "balance": params.get("balance", 0),
        "business_name": None,
        "created": account.now(clock),
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "individual_name": None,
        "invoice_prefix": identifier[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata")),
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": params.get("tax_exempt", "none") or "none",
        "test_clock": clock,
    }
    assign(customer, params, *_PLAIN)
    account.store.add(customer)
    if "payment_method" in params:
        attach(account, params["payment_method"], customer)
    _set_invoice_settings(account, customer, params)
    account.emit("customer.created", customer)
    return customer


def _set_invoice_settings(account: Account, customer: Object, params: dict[str, Any]) -> None:
    given = params.get("invoice_settings") or {}
    for name, value in given.items():
        if name == "default_payment_method" and value:
            method = account.find("payment_method", value, param="invoice_settings[default_payment_method]")
            if method["customer"] != customer["id"]:
                raise invalid(
                    "The customer does not have a payment method with the ID "
                    f"{value}. The payment method must be attached to the customer.",
                    param="invoice_settings[default_payment_method]",
                    code="resource_missing",
                )
        customer["invoice_settings"][name] = none_if_empty(value)


def live(account: Account, identifier: str, *, param: str | None = None) -> Object:
    """The customer unless it was deleted."""
    customer = account.find("customer", identifier, param=param)
    if customer.get("deleted"):
        raise no_such("customer", identifier, param=param or "id", status=400 if param else 404)
    return customer


@route("GET", "/v1/customers/{customer}", "CustomerRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], customer: str) -> Object:
    found = account.find("customer", customer)
    return deleted(found) if found.get("deleted") else found


@route(
    "POST",
    "/v1/customers/{customer}",
    "CustomerUpdateParams",
    "address balance business_name description email individual_name "
    "invoice_settings.default_payment_method invoice_settings.footer invoice_settings.custom_fields "
    "metadata name phone preferred_locales shipping tax_exempt",
)
def update(account: Account, params: dict[str, Any], customer: str) -> Object:
    found = live(account, customer)
    with account.updating(found):
        assign(found, params, *_PLAIN)
        if "balance" in params:
            found["balance"] = params["balance"]
        if params.get("tax_exempt"):
            found["tax_exempt"] = params["tax_exempt"]
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
        _set_invoice_settings(account, found, params)
    return found


@route("DELETE", "/v1/customers/{customer}", "CustomerDeleteParams")
def delete(account: Account, params: dict[str, Any], customer: str) -> Object:
    found = live(account, customer)
    for subscription in account.store.where("subscription", "customer", customer):
        if subscription["status"] not in ENDED:
            cancel_now(account, subscription)
    account.emit("customer.deleted", found)
    account.store.edit(found)["deleted"] = True
    return deleted(found)


SEARCHED = frozenset({"created", "email", "name", "phone"})


@route("GET", "/v1/customers/search", "CustomerSearchParams", "limit page query")
def search(account: Account, params: dict[str, Any]) -> Object:
    return searching.search(account, "customer", params, "/v1/customers/search", SEARCHED)


@route("GET", "/v1/customers", "CustomerListParams", f"{PAGING} created email test_clock")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    email, clock = params.get("email"), params.get("test_clock")

    def keep(customer: Object) -> bool:
        return (
            not customer.get("deleted")
            and (email is None or customer["email"] == email)
            and customer["test_clock"] == clock
        )

    documents = None if email is None else account.store.where("customer", "email", email)
    return page(account, "customer", params, "/v1/customers", keep, documents=documents)
