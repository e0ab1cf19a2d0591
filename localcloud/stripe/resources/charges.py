"""/v1/charges: made by payment intents alone."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.fields import assign, merge_metadata
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

KIND = "charge"


@route("GET", "/v1/charges/{charge}", "ChargeRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], charge: str) -> Object:
    return account.find(KIND, charge)


@route("POST", "/v1/charges/{charge}", "ChargeUpdateParams", "description metadata receipt_email")
def update(account: Account, params: dict[str, Any], charge: str) -> Object:
    found = account.find(KIND, charge)
    with account.updating(found):
        assign(found, params, "description", "receipt_email")
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
    return found


@route("GET", "/v1/charges", "ChargeListParams", f"{PAGING} created customer payment_intent")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    documents = None
    for index in ("customer", "payment_intent"):
        if index in params:
            account.find(index, params[index], param=index)
            documents = account.store.where(KIND, index, params[index])

    def keep(charge: Object) -> bool:
        return all(params.get(name) in (None, charge[name]) for name in ("customer", "payment_intent"))

    return page(account, KIND, params, "/v1/charges", keep, documents=documents)
