"""/v1/refunds"""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.lists import page
from localcloud.stripe.payments import refunding
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

KIND = "refund"


@route("POST", "/v1/refunds", "RefundCreateParams", "amount charge metadata payment_intent reason")
def create(account: Account, params: dict[str, Any]) -> Object:
    if "payment_intent" in params:
        intent = account.find("payment_intent", params["payment_intent"], param="payment_intent")
        if intent["status"] != "succeeded":
            raise invalid(f"PaymentIntent {intent['id']} has no successful charge to refund.", param="payment_intent")
        identifier = intent["latest_charge"]
        if params.get("charge") not in (None, identifier):
            raise invalid("The charge is not the payment intent's.", param="charge")
    elif "charge" in params:
        identifier = params["charge"]
    else:
        raise missing_param("charge")
    return refunding.refund(account, account.find("charge", identifier, param="charge"), params)


@route("GET", "/v1/refunds/{refund}", "RefundRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], refund: str) -> Object:
    return account.find(KIND, refund)


@route("POST", "/v1/refunds/{refund}", "RefundUpdateParams", "metadata")
def update(account: Account, params: dict[str, Any], refund: str) -> Object:
    found = account.find(KIND, refund)
    with account.updating(found):
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
    return found


@route("GET", "/v1/refunds", "RefundListParams", f"{PAGING} charge created payment_intent")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    documents = None
    for index in ("charge", "payment_intent"):
        if index in params:
            account.find(index, params[index], param=index)
            documents = account.store.where(KIND, index, params[index])

    def keep(refund: Object) -> bool:
        return all(params.get(name) in (None, refund[name]) for name in ("charge", "payment_intent"))

    return page(account, KIND, params, "/v1/refunds", keep, documents=documents)
