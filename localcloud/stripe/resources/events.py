"""/v1/events: kept for 30 days."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, no_such
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object


@route("GET", "/v1/events/{event}", "EventRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], event: str) -> Object:
    found = account.find("event", event)
    if not account.keeps(found):
        raise no_such("event", event)
    return found


@route("GET", "/v1/events", "EventListParams", f"{PAGING} created type types delivery_success")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    if "type" in params and "types" in params:
        raise invalid("You may only specify one of these parameters: type, types.", param="type")
    delivered = params.get("delivery_success")

    def keep(event: Object) -> bool:
        kind = event["type"]
        if "type" in params and not _matches(params["type"], kind):
            return False
        if "types" in params and not any(_matches(pattern, kind) for pattern in params["types"]):
            return False
        if delivered is not None and (account.pending_webhooks(event) == 0) != delivered:
            return False
        return account.keeps(event)

    return page(account, "event", params, "/v1/events", keep)


def _matches(pattern: str, kind: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern
