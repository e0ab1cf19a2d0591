"""Active entitlements: the features of the products that a customer's live subscriptions sell."""

from __future__ import annotations

from localcloud.stripe.account import Account
from localcloud.stripe.ids import new_id
from localcloud.stripe.store import Object

#: A trial that ends in ``paused`` takes its entitlements away without an event, as in Stripe.
GRANTING = ("trialing", "active", "past_due")


def refresh(account: Account, customer: str, *, announce: bool = True) -> None:
    """Recompute a customer's entitlements; ``entitlements.active_entitlement_summary.updated`` when they changed."""
    before = of_customer(account, customer)
    wanted = _features(account, customer)
    held = {entitlement["feature"] for entitlement in before}
    if held == set(wanted):
        return
    previous = {"entitlements": {"data": [_shown(item) for item in before]}}
    for entitlement in before:
        if entitlement["feature"] not in wanted:
            account.store.remove(entitlement)
    for feature in wanted:
        if feature not in held:
            account.store.add(
                {
                    "id": new_id("entitlements.active_entitlement"),
                    "object": "entitlements.active_entitlement",
                    "feature": feature,
                    "livemode": False,
                    "lookup_key": account.find("entitlements.feature", feature)["lookup_key"],
                    "_customer": customer,
                }
            )
    if not announce:
        return
    summary = {
        "object": "entitlements.active_entitlement_summary",
        "customer": customer,
        "entitlements": {
            "object": "list",
            "data": [_shown(item) for item in of_customer(account, customer)],
            "has_more": False,
            "url": f"/v1/customer/{customer}/entitlements",
        },
        "livemode": False,
    }
    clock = account.find("customer", customer)["test_clock"]
    account.emit("entitlements.active_entitlement_summary.updated", summary, previous, clock)


def of_customer(account: Account, customer: str) -> list[Object]:
    """The stored active entitlements, oldest first."""
    return account.store.where("entitlements.active_entitlement", "customer", customer)


def renew(account: Account, subscription: Object, items: list[Object]) -> None:
    """New periods of these items begin: what was attached to their products meanwhile counts from now on."""
    sold = account.store.edit(subscription).setdefault("_features", {})
    for item in items:
        sold.pop(item["id"], None)


def _shown(entitlement: Object) -> Object:
    return {name: value for name, value in entitlement.items() if not name.startswith("_")}


def _features(account: Account, customer: str) -> list[str]:
    found: list[str] = []
    for subscription in account.store.where("subscription", "customer", customer):
        if subscription["status"] in GRANTING:
            for item in subscription["items"]["data"]:
                found += _of_item(account, subscription, item)
    return list(dict.fromkeys(found))


def _of_item(account: Account, subscription: Object, item: Object) -> list[str]:
    """The features its product had when the item's present period, or its present price, began."""
    sold = subscription.get("_features", {}).get(item["id"])
    if sold is None or sold["price"] != item["price"]:
        product = account.find("price", item["price"])["product"]
        links = account.store.where("product_feature", "product", product)
        sold = {"price": item["price"], "features": [link["_feature"] for link in links]}
        account.store.edit(subscription).setdefault("_features", {})[item["id"]] = sold
    features: list[str] = sold["features"]
    return features
