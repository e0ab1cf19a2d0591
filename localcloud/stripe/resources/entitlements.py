"""/v1/entitlements/features, /v1/entitlements/active_entitlements and /v1/products/{id}/features"""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, no_such
from localcloud.stripe.fields import deleted, merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions.entitlements import of_customer

FEATURE = "entitlements.feature"


@route("POST", "/v1/entitlements/features", "entitlements.FeatureCreateParams", "lookup_key name metadata")
def create(account: Account, params: dict[str, Any]) -> Object:
    key = params["lookup_key"]
    if any(feature["lookup_key"] == key for feature in account.store.all(FEATURE)):
        raise invalid(f"A feature with lookup_key `{key}` already exists.", param="lookup_key")
    return account.store.add(
        {
            "id": new_id(FEATURE),
            "object": FEATURE,
            "active": True,
            "livemode": False,
            "lookup_key": key,
            "metadata": merge_metadata({}, params.get("metadata")),
            "name": params["name"],
        }
    )


@route("GET", "/v1/entitlements/features/{feature}", "entitlements.FeatureRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], feature: str) -> Object:
    return account.find(FEATURE, feature)


@route("POST", "/v1/entitlements/features/{feature}", "entitlements.FeatureUpdateParams", "active name metadata")
def update(account: Account, params: dict[str, Any], feature: str) -> Object:
    found = account.store.edit(account.find(FEATURE, feature))
    found["name"] = params.get("name", found["name"])
    found["active"] = params.get("active", found["active"])
    found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
    return found


@route("GET", "/v1/entitlements/features", "entitlements.FeatureListParams", f"{PAGING} lookup_key archived")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    key, archived = params.get("lookup_key"), params.get("archived", False)

    def keep(feature: Object) -> bool:
        return key in (None, feature["lookup_key"]) and feature["active"] != archived

    return page(account, FEATURE, params, "/v1/entitlements/features", keep)


@route("POST", "/v1/products/{product}/features", "ProductFeatureCreateParams", "entitlement_feature")
def attach(account: Account, params: dict[str, Any], product: str) -> Object:
    """Reaches existing subscriptions with their next period, as in Stripe: no entitlement changes here."""
    account.find("product", product)
    feature = account.find(FEATURE, params["entitlement_feature"], param="entitlement_feature")
    if not feature["active"]:
        raise invalid("This feature is archived: it cannot be attached to a product.", param="entitlement_feature")
    for link in account.store.where("product_feature", "product", product):
        if link["_feature"] == feature["id"]:
            raise invalid("This feature is already attached to this product.", param="entitlement_feature")
    return account.store.add(
        {
            "id": new_id("product_feature"),
            "object": "product_feature",
            "_feature": feature["id"],
            "_product": product,
            "entitlement_feature": feature["id"],
            "livemode": False,
        }
    )


@route("GET", "/v1/products/{product}/features", "ProductFeatureListParams", PAGING)
def list_of_product(account: Account, params: dict[str, Any], product: str) -> Object:
    account.find("product", product)
    url = f"/v1/products/{product}/features"
    links = account.store.where("product_feature", "product", product)
    return page(account, "product_feature", params, url, documents=links)


@route("GET", "/v1/products/{product}/features/{link}", "ProductFeatureRetrieveParams")
def retrieve_link(account: Account, params: dict[str, Any], product: str, link: str) -> Object:
    found = account.find("product_feature", link)
    if found["_product"] != product:
        raise no_such("product_feature", link)
    return found


@route("DELETE", "/v1/products/{product}/features/{link}", "ProductFeatureDeleteParams")
def detach(account: Account, params: dict[str, Any], product: str, link: str) -> Object:
    found = account.find("product_feature", link)
    if found["_product"] != product:
        raise no_such("product_feature", link)
    account.store.remove(found)
    return deleted(found)


@route(
    "GET",
    "/v1/entitlements/active_entitlements/{entitlement}",
    "entitlements.ActiveEntitlementRetrieveParams",
)
def retrieve_active(account: Account, params: dict[str, Any], entitlement: str) -> Object:
    return account.find("entitlements.active_entitlement", entitlement)


@route("GET", "/v1/entitlements/active_entitlements", "entitlements.ActiveEntitlementListParams", f"{PAGING} customer")
def list_active(account: Account, params: dict[str, Any]) -> Object:
    account.find("customer", params["customer"], param="customer")
    documents = of_customer(account, params["customer"])
    url = "/v1/entitlements/active_entitlements"
    return page(account, "entitlements.active_entitlement", params, url, documents=documents)
