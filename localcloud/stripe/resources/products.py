"""/v1/products"""

from __future__ import annotations

import re
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid
from localcloud.stripe.fields import assign, deleted, merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.resources import prices
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

_PLAIN = ("description", "package_dimensions", "shippable", "statement_descriptor", "tax_code", "unit_label", "url")


@route(
    "POST",
    "/v1/products",
    "ProductCreateParams",
    "active default_price_data.currency default_price_data.unit_amount "
    "default_price_data.unit_amount_decimal default_price_data.recurring default_price_data.metadata "
    "default_price_data.tax_behavior description id images marketing_features metadata name "
    "package_dimensions shippable statement_descriptor tax_code type unit_label url",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    identifier = params.get("id") or new_id("product")
    if account.store.get("product", identifier) is not None:
        raise invalid("Product already exists.", param="id", code="resource_already_exists")
    if not re.fullmatch(r"[A-Za-z0-9_\-.]{1,255}", identifier):
        raise invalid(f"Invalid product ID: {identifier[:100]}", param="id")
    now = account.now()
    product: Object = {
        "id": identifier,
        "object": "product",
        "active": params.get("active", True),
        "created": now,
        "default_price": None,
        "description": None,
        "images": params.get("images") or [],
        "livemode": False,
        "marketing_features": params.get("marketing_features") or [],
        "metadata": merge_metadata({}, params.get("metadata")),
        "name": params["name"],
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "tax_details": None,
        "type": params.get("type", "service"),
        "unit_label": None,
        "updated": now,
        "url": None,
    }
    assign(product, params, *_PLAIN)
    account.store.add(product)
    if "default_price_data" in params:
        price = prices.create(account, {**params["default_price_data"], "product": identifier})
        product["default_price"] = price["id"]
    account.emit("product.created", product)
    return product


@route("GET", "/v1/products/{product}", "ProductRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], product: str) -> Object:
    return account.find("product", product)


@route(
    "POST",
    "/v1/products/{product}",
    "ProductUpdateParams",
    "active default_price description images marketing_features metadata name package_dimensions "
    "shippable statement_descriptor tax_code unit_label url",
)
def update(account: Account, params: dict[str, Any], product: str) -> Object:
    found = account.find("product", product)
    with account.updating(found):
        assign(found, params, *_PLAIN, "active", "name")
        if "images" in params:
            found["images"] = params["images"] or []
        if "marketing_features" in params:
            found["marketing_features"] = params["marketing_features"] or []
        if params.get("default_price"):
            found["default_price"] = account.find("price", params["default_price"], param="default_price")["id"]
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
        found["updated"] = account.now()
    return found


@route("DELETE", "/v1/products/{product}", "ProductDeleteParams")
def delete(account: Account, params: dict[str, Any], product: str) -> Object:
    found = account.find("product", product)
    if any(price["product"] == product for price in account.store.all("price")):
        raise invalid("This product cannot be deleted because it has one or more user-created prices.", param="id")
    account.emit("product.deleted", found)
    account.store.remove(found)
    return deleted(found)


@route("GET", "/v1/products", "ProductListParams", f"{PAGING} created active ids shippable type url")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    def keep(product: Object) -> bool:
        return (
            params.get("active") in (None, product["active"])
            and ("ids" not in params or product["id"] in params["ids"])
            and params.get("shippable") in (None, product["shippable"])
            and params.get("url") in (None, product["url"])
            and params.get("type") in (None, product["type"])
        )

    return page(account, "product", params, "/v1/products", keep)
