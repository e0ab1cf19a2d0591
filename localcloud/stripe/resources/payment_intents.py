"""/v1/payment_intents: those of invoices; none is made by hand."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

KIND = "payment_intent"


@route("GET", "/v1/payment_intents/{intent}", "PaymentIntentRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], intent: str) -> Object:
    return account.find(KIND, intent, noun="payment_intent")


@route("GET", "/v1/payment_intents", "PaymentIntentListParams", f"{PAGING} created customer")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    documents = None
    if "customer" in params:
        account.find("customer", params["customer"], param="customer")
        documents = account.store.where(KIND, "customer", params["customer"])
    return page(account, KIND, params, "/v1/payment_intents", documents=documents)
