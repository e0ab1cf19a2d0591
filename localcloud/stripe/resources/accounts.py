"""/v1/account: whose key it is. An account of its own for each life of the local cloud."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.ids import new_id
from localcloud.stripe.routing import route
from localcloud.stripe.store import Object


@route("GET", "/v1/account", "AccountRetrieveCurrentParams")
def retrieve_current(account: Account, params: dict[str, Any]) -> Object:
    for found in account.store.all("account"):
        return found
    return account.store.add(
        {
            "id": new_id("account"),
            "object": "account",
            "business_type": None,
            "charges_enabled": True,
            "country": "US",
            "created": account.now(),
            "default_currency": "usd",
            "details_submitted": True,
            "email": None,
            "payouts_enabled": True,
            "settings": None,
            "type": "standard",
        }
    )
