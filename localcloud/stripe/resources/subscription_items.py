"""/v1/subscription_items: the items of a subscription, one by one."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import no_such
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import phases
from localcloud.stripe.subscriptions.change import update_subscription

_SUBSCRIPTION_WIDE = ("proration_behavior", "proration_date", "payment_behavior")


def _find(account: Account, identifier: str) -> tuple[Object, Object]:
    for subscription in account.store.all("subscription"):
        for item in subscription["items"]["data"]:
            if item["id"] == identifier:
                return subscription, item
    raise no_such("subscription_item", identifier)


def _update(account: Account, subscription: Object, params: dict[str, Any]) -> None:
    update_subscription(account, subscription, params)
    phases.follow(account, subscription)


def _split(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    wide = {name: params[name] for name in _SUBSCRIPTION_WIDE if name in params}
    return wide, {name: value for name, value in params.items() if name not in _SUBSCRIPTION_WIDE}


@route("GET", "/v1/subscription_items/{item}", "SubscriptionItemRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], item: str) -> Object:
    return _find(account, item)[1]


@route(
    "POST",
    "/v1/subscription_items",
    "SubscriptionItemCreateParams",
    "subscription price price_data quantity metadata proration_behavior proration_date payment_behavior",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    subscription = account.find("subscription", params.pop("subscription"), param="subscription")
    wide, own = _split(params)
    _update(account, subscription, {**wide, "items": [own]})
    created: Object = subscription["items"]["data"][-1]
    return created


@route(
    "POST",
    "/v1/subscription_items/{item}",
    "SubscriptionItemUpdateParams",
    "price price_data quantity metadata proration_behavior proration_date payment_behavior off_session",
)
def update(account: Account, params: dict[str, Any], item: str) -> Object:
    subscription, _ = _find(account, item)
    wide, own = _split(params)
    _update(account, subscription, {**wide, "items": [{**own, "id": item}]})
    return _find(account, item)[1]


@route(
    "DELETE",
    "/v1/subscription_items/{item}",
    "SubscriptionItemDeleteParams",
    "proration_behavior proration_date payment_behavior clear_usage",
)
def delete(account: Account, params: dict[str, Any], item: str) -> Object:
    subscription, _ = _find(account, item)
    wide, _ = _split(params)
    _update(account, subscription, {**wide, "items": [{"id": item, "deleted": True}]})
    return {"id": item, "object": "subscription_item", "deleted": True}


@route("GET", "/v1/subscription_items", "SubscriptionItemListParams", f"{PAGING} subscription")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    subscription = account.find("subscription", params["subscription"], param="subscription")
    items = list(reversed(subscription["items"]["data"]))  # shown in the order of the subscription
    return page(account, "subscription_item", params, "/v1/subscription_items", documents=items)
