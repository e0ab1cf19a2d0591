"""/v1/coupons: what takes a percentage or an amount off; never changed but in name and metadata."""

from __future__ import annotations

import re
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, missing_param, no_such
from localcloud.stripe.fields import deleted, merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object


@route(
    "POST",
    "/v1/coupons",
    "CouponCreateParams",
    "amount_off applies_to.products currency duration duration_in_months id max_redemptions metadata name percent_off "
    "redeem_by",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    identifier = params.get("id") or new_id("coupon")
    known = account.store.get("coupon", identifier)
    if known is not None and not known.get("deleted"):
        raise invalid("Coupon already exists.", param="id", code="resource_already_exists")
    if not re.fullmatch(r"[A-Za-z0-9_\-]{1,200}", identifier):
        raise invalid(f"Invalid coupon ID: {identifier[:100]}", param="id")
    _check_amounts(params)
    duration = params.get("duration", "once")
    months = params.get("duration_in_months")
    if (duration == "repeating") != (months is not None):
        raise invalid(
            "`duration_in_months` must be given for `duration=repeating`, and for no other.", param="duration_in_months"
        )
    if months is not None and months < 1:
        raise invalid("This value must be greater than or equal to 1.", param="duration_in_months")
    applies = params.get("applies_to")
    for index, product in enumerate((applies or {}).get("products", [])):
        account.find("product", product, param=f"applies_to[products][{index}]")
    if known is not None:
        account.store.remove(known)
    coupon = account.store.add(
        {
            "id": identifier,
            "object": "coupon",
            "_applies_to": applies,
            "amount_off": params.get("amount_off"),
            "created": account.now(),
            "currency": params["currency"].lower() if "amount_off" in params else None,
            "duration": duration,
            "duration_in_months": months,
            "livemode": False,
            "max_redemptions": params.get("max_redemptions"),
            "metadata": merge_metadata({}, params.get("metadata")),
            "name": params.get("name"),
            "percent_off": params.get("percent_off"),
            "redeem_by": params.get("redeem_by"),
            "times_redeemed": 0,
            "valid": True,
        }
    )
    account.emit("coupon.created", coupon)
    return coupon


def _check_amounts(params: dict[str, Any]) -> None:
    if ("percent_off" in params) == ("amount_off" in params):
        raise invalid("You must pass exactly one of percent_off and amount_off.", param="percent_off")
    if "percent_off" in params and not 0 < params["percent_off"] <= 100:
        raise invalid("Invalid percent_off: it must be above 0 and at most 100.", param="percent_off")
    if "amount_off" in params:
        if params["amount_off"] < 1:
            raise invalid("This value must be greater than or equal to 1.", param="amount_off")
        if "currency" not in params:
            raise missing_param("currency")


def live(account: Account, identifier: str, *, param: str | None = None) -> Object:
    """The coupon unless it was deleted."""
    coupon = account.find("coupon", identifier, param=param)
    if coupon.get("deleted"):
        raise no_such("coupon", identifier, param=param or "id", status=400 if param else 404)
    return coupon


@route("GET", "/v1/coupons/{coupon}", "CouponRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], coupon: str) -> Object:
    return live(account, coupon)


@route("POST", "/v1/coupons/{coupon}", "CouponUpdateParams", "metadata name")
def update(account: Account, params: dict[str, Any], coupon: str) -> Object:
    found = live(account, coupon)
    with account.updating(found):
        found["name"] = params.get("name", found["name"])
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
    return found


@route("DELETE", "/v1/coupons/{coupon}", "CouponDeleteParams")
def delete(account: Account, params: dict[str, Any], coupon: str) -> Object:
    """Nobody can redeem it any more; who holds a discount of it keeps that."""
    found = live(account, coupon)
    account.emit("coupon.deleted", found)
    account.store.edit(found)["deleted"] = True
    return deleted(found)


@route("GET", "/v1/coupons", "CouponListParams", f"{PAGING} created")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    return page(account, "coupon", params, "/v1/coupons", lambda coupon: not coupon.get("deleted"))
