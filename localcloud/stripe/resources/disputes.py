"""/v1/disputes. ``POST /_local/disputes`` plays the customer's bank: it opens them and decides."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.lists import page
from localcloud.stripe.payments import disputing
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

KIND = "dispute"


@route("GET", "/v1/disputes/{dispute}", "DisputeRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], dispute: str) -> Object:
    return account.find(KIND, dispute)


@route("POST", "/v1/disputes/{dispute}", "DisputeUpdateParams", "evidence metadata submit")
def update(account: Account, params: dict[str, Any], dispute: str) -> Object:
    found = account.find(KIND, dispute)
    if "metadata" in params:
        account.store.edit(found)["metadata"] = merge_metadata(found["metadata"], params["metadata"])
    if "evidence" in params or params.get("submit"):
        disputing.add_evidence(account, found, params.get("evidence") or {}, submit=params.get("submit", True))
    return found


@route("POST", "/v1/disputes/{dispute}/close", "DisputeCloseParams")
def close(account: Account, params: dict[str, Any], dispute: str) -> Object:
    """The merchant gives in: the dispute is lost."""
    found = account.find(KIND, dispute)
    disputing.close(account, found, "lost")
    return found


@route("GET", "/v1/disputes", "DisputeListParams", f"{PAGING} charge created payment_intent")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    documents = None
    if "charge" in params:
        account.find("charge", params["charge"], param="charge")
        documents = account.store.where(KIND, "charge", params["charge"])

    def keep(dispute: Object) -> bool:
        return params.get("payment_intent") in (None, dispute["payment_intent"])

    return page(account, KIND, params, "/v1/disputes", keep, documents=documents)
