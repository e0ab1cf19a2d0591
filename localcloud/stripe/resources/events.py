"""/v1/events: kept for 30 days."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, no_such
from localcloud.stripe.lists import page
from localcloud.stripe.routing import route
from localcloud.stripe.store import Object

RETENTION_S = 30 * 86400


def _kept(account: Account, event: Object) -> bool:
    clock = event["data"]["object"].get("test_clock")
    return bool(event["created"] > account.now(clock) - RETENTION_S)


@route("GET", "/v1/events/{event}", "EventRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], event: str) -> Object:
    found = account.find("event", event)
    if not _kept(account, found):
        raise no_such("event", event)
    return found


@route("GET", "/v1/events", "EventListParams")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    if "type" in params and "types" in params:
        raise invalid("You may only specify one of these parameters: type, types.", param="type")
    delivered = params.get("delivery_success")
    failed = {item["event"] for item in account.store.all("_delivery") if item["state"] != "delivered"}

    def keep(event: Object) -> bool:
        kind = event["type"]
        if not _kept(account, event):
            return False
        if "type" in params and not _matches(params["type"], kind):
            return False
        if "types" in params and not any(_matches(pattern, kind) for pattern in params["types"]):
            return False
        return delivered is None or (event["id"] not in failed) == delivered

    return page(account, "event", params, "/v1/events", keep)


def _matches(pattern: str, kind: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern
