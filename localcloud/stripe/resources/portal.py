"""/v1/billing_portal/sessions: a link that leads nowhere on a laptop, with the checks of a real one."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import missing_param
from localcloud.stripe.ids import new_id
from localcloud.stripe.resources import customers
from localcloud.stripe.routing import route
from localcloud.stripe.store import Object

KIND = "billing_portal.session"


@route("POST", "/v1/billing_portal/sessions", "billing_portal.SessionCreateParams", "customer return_url locale")
def create(account: Account, params: dict[str, Any]) -> Object:
    if "customer" not in params:
        raise missing_param("customer")
    customer = customers.live(account, params["customer"], param="customer")
    identifier = new_id(KIND)
    return account.store.add(
        {
            "id": identifier,
            "object": KIND,
            "after_expiration": None,
            "configuration": "bpc_local",
            "created": account.now(customer["test_clock"]),
            "customer": customer["id"],
            "customer_account": None,
            "flow": None,
            "livemode": False,
            "locale": params.get("locale"),
            "on_behalf_of": None,
            "return_url": params.get("return_url"),
            "url": f"https://billing.stripe.com/p/session/{identifier}",
        }
    )
