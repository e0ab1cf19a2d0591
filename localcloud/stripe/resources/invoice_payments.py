"""/v1/invoice_payments: which payment intent pays which invoice."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

KIND = "invoice_payment"


@route("GET", "/v1/invoice_payments/{payment}", "InvoicePaymentRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], payment: str) -> Object:
    return account.find(KIND, payment, noun="invoice_payment")


@route(
    "GET",
    "/v1/invoice_payments",
    "InvoicePaymentListParams",
    f"{PAGING} created invoice payment.payment_intent payment.type status",
)
def list_all(account: Account, params: dict[str, Any]) -> Object:
    documents = None
    intent = (params.get("payment") or {}).get("payment_intent")
    if intent is not None:
        account.find("payment_intent", intent, param="payment[payment_intent]")
        documents = account.store.where(KIND, "payment_intent", intent)
    elif "invoice" in params:
        account.find("invoice", params["invoice"], param="invoice")
        documents = account.store.where(KIND, "invoice", params["invoice"])

    def keep(payment: Object) -> bool:
        return all(params.get(name) in (None, payment[name]) for name in ("invoice", "status"))

    return page(account, KIND, params, "/v1/invoice_payments", keep, documents=documents)
