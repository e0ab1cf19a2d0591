"""/v1/prices: their amounts never change; lookup keys can move from one to another."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.fields import assign, merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

_LONGEST = {"day": 1095, "week": 156, "month": 36, "year": 3}


@route(
    "POST",
    "/v1/prices",
    "PriceCreateParams",
    "active billing_scheme currency lookup_key metadata nickname product product_data recurring.interval "
    "recurring.interval_count recurring.usage_type recurring.meter tax_behavior transfer_lookup_key "
    "tiers tiers_mode transform_quantity unit_amount unit_amount_decimal",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    scheme = params.get("billing_scheme", "per_unit")
    product = _product(account, params)
    tiers = _tiers(params, scheme)
    amount, decimal = (None, None) if tiers is not None else _amount(params)
    recurring = _recurring(account, params.get("recurring"))
    price: Object = {
        "id": new_id("price"),
        "object": "price",
        "_tiers": tiers,
        "active": params.get("active", True),
        "billing_scheme": scheme,
        "created": account.now(),
        "currency": _currency(params["currency"]),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": merge_metadata({}, params.get("metadata")),
        "nickname": params.get("nickname"),
        "product": product,
        "recurring": recurring,
        "tax_behavior": params.get("tax_behavior", "unspecified"),
        "tiers_mode": params.get("tiers_mode"),
        "transform_quantity": params.get("transform_quantity"),
        "type": "recurring" if recurring else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": decimal,
    }
    account.store.add(price)
    _set_lookup_key(account, price, params)
    account.emit("price.created", price)
    return price


def _product(account: Account, params: dict[str, Any]) -> str:
    if "product_data" in params:
        from localcloud.stripe.resources import products

        return str(products.create(account, params["product_data"])["id"])
    if "product" not in params:
        raise missing_param("product")
    return str(account.find("product", params["product"], param="product")["id"])


def _currency(value: str) -> str:
    if len(value) != 3 or not value.isascii() or not value.isalpha():
        raise invalid(f"Invalid currency: {value[:20]}. It must be a three-letter ISO code.", param="currency")
    return value.lower()


def _amount(params: dict[str, Any]) -> tuple[int | None, str]:
    if "unit_amount" in params and "unit_amount_decimal" in params:
        raise invalid("You may only specify one of these parameters: unit_amount, unit_amount_decimal.")
    if "unit_amount" in params:
        if params["unit_amount"] < 0:
            raise invalid("This value must be greater than or equal to 0.", param="unit_amount")
        return params["unit_amount"], str(params["unit_amount"])
    if "unit_amount_decimal" in params:
        return _decimal(params["unit_amount_decimal"], "unit_amount_decimal")
    raise missing_param("unit_amount")


def _decimal(given: Any, param: str) -> tuple[int | None, str]:
    """An amount as the whole number that it may be, and as the decimal that it is in plain notation."""
    value = Decimal(str(given))
    if value < 0:
        raise invalid("This value must be greater than or equal to 0.", param=param)
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return (int(value) if value == int(value) else None), text


def _tiers(params: dict[str, Any], scheme: str) -> list[Object] | None:
    """The tiers as they are kept: growing, the last one without a bound. None for a price that has none."""
    if scheme != "tiered":
        for name in ("tiers", "tiers_mode"):
            if name in params:
                raise invalid(f"`{name}` is for prices with `billing_scheme=tiered` only.", param=name)
        return None
    for name in ("tiers", "tiers_mode"):
        if not params.get(name):
            raise missing_param(name)
    for name in ("unit_amount", "unit_amount_decimal", "transform_quantity"):
        if name in params:
            raise invalid(f"`{name}` can't be combined with `billing_scheme=tiered`.", param=name)
    found: list[Object] = []
    for index, given in enumerate(params["tiers"]):
        where = f"tiers[{index}]"
        last = index == len(params["tiers"]) - 1
        if (given["up_to"] == "inf") != last:
            raise invalid("The last tier, and no other, must have `up_to=inf`.", param=f"{where}[up_to]")
        if not last and given["up_to"] <= (found[-1]["up_to"] if found else 0):
            raise invalid("Tiers must be given in ascending order of `up_to`.", param=f"{where}[up_to]")
        tier: Object = {"up_to": None if last else given["up_to"]}
        for name in ("flat_amount", "unit_amount"):
            if name in given and f"{name}_decimal" in given:
                raise invalid(f"You may only specify one of these parameters: {name}, {name}_decimal.", param=where)
            value = given.get(name, given.get(f"{name}_decimal"))
            tier[name], tier[f"{name}_decimal"] = (None, None) if value is None else _decimal(value, f"{where}[{name}]")
        if tier["flat_amount_decimal"] is None and tier["unit_amount_decimal"] is None:
            raise missing_param(f"{where}[unit_amount]")
        found.append(tier)
    return found


def _recurring(account: Account, given: dict[str, Any] | None) -> Object | None:
    if given is None:
        return None
    count = given.get("interval_count", 1)
    if not 1 <= count <= _LONGEST[given["interval"]]:
        raise invalid("Prices can be billed at most every three years.", param="recurring[interval_count]")
    usage = given.get("usage_type", "licensed")
    meter = given.get("meter")
    if usage == "metered" and meter is None:
        raise invalid("Metered prices need a meter.", param="recurring[meter]", code="parameter_missing")
    if meter is not None:
        account.find("billing.meter", meter, param="recurring[meter]")
    return {
        "interval": given["interval"],
        "interval_count": count,
        "meter": meter,
        "trial_period_days": None,
        "usage_type": usage,
    }


def _set_lookup_key(account: Account, price: Object, params: dict[str, Any]) -> None:
    key = params.get("lookup_key")
    if key is None:
        return
    if len(key) > 200:
        raise invalid("Lookup keys can be up to 200 characters long", param="lookup_key")
    for other in account.store.all("price"):
        if other["lookup_key"] == key and other["id"] != price["id"] and key:
            if not params.get("transfer_lookup_key"):
                raise invalid(
                    f"A price (`{other['id']}`) already uses that lookup key. Use `transfer_lookup_key` to move it.",
                    param="lookup_key",
                    code="resource_already_exists",
                )
            with account.updating(other):
                other["lookup_key"] = None
    price["lookup_key"] = key or None


@route("GET", "/v1/prices/{price}", "PriceRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], price: str) -> Object:
    return account.find("price", price)


@route(
    "POST",
    "/v1/prices/{price}",
    "PriceUpdateParams",
    "active lookup_key metadata nickname tax_behavior transfer_lookup_key",
)
def update(account: Account, params: dict[str, Any], price: str) -> Object:
    found = account.find("price", price)
    with account.updating(found):
        assign(found, params, "active", "nickname", "tax_behavior")
        _set_lookup_key(account, found, params)
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
    return found


@route("GET", "/v1/prices", "PriceListParams", f"{PAGING} created active currency lookup_keys product recurring type")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    keys = params.get("lookup_keys")
    if keys is not None and len(keys) > 10:
        raise invalid("You can only filter on up to 10 lookup keys", param="lookup_keys")
    recurring = params.get("recurring", {})

    def keep(price: Object) -> bool:
        return (
            params.get("active") in (None, price["active"])
            and (keys is None or price["lookup_key"] in keys)
            and params.get("product") in (None, price["product"])
            and params.get("currency") in (None, price["currency"])
            and params.get("type") in (None, price["type"])
            and all((price["recurring"] or {}).get(name) == value for name, value in recurring.items())
        )

    return page(account, "price", params, "/v1/prices", keep)
