"""Features, the products that have them, and who is entitled to them."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.stripe.errors import ApiError
from tests.unit.localcloud.stripe.shop import MONTH, Shop

SUMMARY = "entitlements.active_entitlement_summary.updated"


def feature(shop: Shop, key: str) -> str:
    identifier: str = shop.post("/v1/entitlements/features", lookup_key=key, name=key.upper())["id"]
    return identifier


def attach(shop: Shop, product: str, feature: str) -> str:
    identifier: str = shop.post(f"/v1/products/{product}/features", entitlement_feature=feature)["id"]
    return identifier


def held(shop: Shop, customer: str) -> list[str]:
    found = shop.all("/v1/entitlements/active_entitlements", customer=customer)
    return sorted(entitlement["lookup_key"] for entitlement in found)


def test_several_products_sell_their_features_once(shop: Shop) -> None:
    other = shop.post("/v1/products", name="Add-on")["id"]
    price = shop.price(product=other, unit_amount=100)
    sso, export, audit = (feature(shop, key) for key in ("sso", "export", "audit"))
    for product, entry in ((shop.product, sso), (shop.product, export), (other, export), (other, audit)):
        attach(shop, product, entry)
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.monthly, price)
    assert held(shop, customer) == ["audit", "export", "sso"]
    summary = next(event for event in shop.events if event["type"] == SUMMARY)["data"]["object"]
    assert (summary["customer"], len(summary["entitlements"]["data"])) == (customer, 3)
    shop.types()
    items = subscription["items"]["data"]
    shop.delete(f"/v1/subscription_items/{items[1]['id']}")
    assert held(shop, customer) == ["export", "sso"]
    assert shop.types().count(SUMMARY) == 1
    entitlement = shop.all("/v1/entitlements/active_entitlements", customer=customer)[0]
    one = shop.get(f"/v1/entitlements/active_entitlements/{entitlement['id']}", expand=["feature"])
    assert one["feature"]["lookup_key"] == entitlement["lookup_key"]
    shop.delete(f"/v1/subscriptions/{subscription['id']}")
    assert held(shop, customer) == []


def test_what_is_attached_or_detached_counts_from_the_next_period(shop: Shop) -> None:
    link = attach(shop, shop.product, feature(shop, "sso"))
    customer = shop.customer()
    shop.subscribe(customer)
    attach(shop, shop.product, feature(shop, "export"))
    shop.delete(f"/v1/products/{shop.product}/features/{link}")
    assert held(shop, customer) == ["sso"]
    shop.until(MONTH)
    assert held(shop, customer) == ["export"]


def test_features_are_renamed_and_archived(shop: Shop) -> None:
    sso = feature(shop, "sso")
    link = attach(shop, shop.product, sso)
    shop.post(f"/v1/entitlements/features/{sso}", name="Single sign-on", metadata={"a": "b"})
    (found,) = shop.all(f"/v1/products/{shop.product}/features")
    assert found["entitlement_feature"]["name"] == "Single sign-on"
    assert shop.get(f"/v1/products/{shop.product}/features/{link}") == found
    shop.post(f"/v1/entitlements/features/{sso}", active=False)
    path = "/v1/entitlements/features"
    assert (shop.all(path), [each["id"] for each in shop.all(path, archived=True)]) == ([], [sso])
    other = shop.post("/v1/products", name="Other")["id"]
    cases: list[tuple[Any, str]] = [
        (lambda: attach(shop, other, sso), "archived"),
        (lambda: attach(shop, other, "feat_none"), "No such feature"),
        (lambda: feature(shop, "sso"), "already exists"),
        (lambda: shop.get(f"/v1/products/{other}/features/{link}"), "No such product_feature"),
        (lambda: shop.delete(f"/v1/products/{other}/features/{link}"), "No such product_feature"),
    ]
    for call, message in cases:
        with pytest.raises(ApiError, match=message):
            call()
    audit = feature(shop, "audit")
    attach(shop, other, audit)
    with pytest.raises(ApiError, match="already attached"):
        attach(shop, other, audit)
    assert shop.post(f"/v1/entitlements/features/{sso}", active=True)["active"] is True
