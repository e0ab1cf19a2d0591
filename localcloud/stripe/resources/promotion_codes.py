"""/v1/promotion_codes: words that customers type in to redeem a coupon."""

from __future__ import annotations

import re
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.resources import coupons, customers
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

KIND = "promotion_code"


@route(
    "POST",
    "/v1/promotion_codes",
    "PromotionCodeCreateParams",
    "active code customer expires_at max_redemptions metadata promotion.coupon promotion.type "
    "restrictions.first_time_transaction restrictions.minimum_amount restrictions.minimum_amount_currency",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    if "coupon" not in params["promotion"]:
        raise missing_param("promotion[coupon]")
    coupon = coupons.live(account, params["promotion"]["coupon"], param="promotion[coupon]")
    if "customer" in params:
        customers.live(account, params["customer"], param="customer")
    identifier = new_id(KIND)
    code = params.get("code", identifier[-8:].upper())
    if not re.fullmatch(r"[A-Za-z0-9_\-]{1,500}", code):
        raise invalid("Promotion codes consist of letters, digits and dashes.", param="code")
    if any(other["active"] and other["code"].upper() == code.upper() for other in account.store.all(KIND)):
        raise invalid(
            f"An active promotion code with `code: {code}` already exists.",
            param="code",
            code="resource_already_exists",
        )
    restrictions = params.get("restrictions") or {}
    made = account.store.add(
        {
            "id": identifier,
            "object": KIND,
            "active": params.get("active", True),
            "code": code,
            "created": account.now(),
            "customer": params.get("customer"),
            "customer_account": None,
            "expires_at": params.get("expires_at"),
            "livemode": False,
            "max_redemptions": params.get("max_redemptions"),
            "metadata": merge_metadata({}, params.get("metadata")),
            "promotion": {"coupon": coupon["id"], "type": "coupon"},
            "restrictions": {
                "first_time_transaction": restrictions.get("first_time_transaction", False),
                "minimum_amount": restrictions.get("minimum_amount"),
                "minimum_amount_currency": restrictions.get("minimum_amount_currency"),
            },
            "times_redeemed": 0,
        }
    )
    account.emit("promotion_code.created", made)
    return made


@route("GET", "/v1/promotion_codes/{code}", "PromotionCodeRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], code: str) -> Object:
    return account.find(KIND, code, noun="promotion code")


@route("POST", "/v1/promotion_codes/{code}", "PromotionCodeUpdateParams", "active metadata")
def update(account: Account, params: dict[str, Any], code: str) -> Object:
    found = account.find(KIND, code, noun="promotion code")
    with account.updating(found):
        found["active"] = params.get("active", found["active"])
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
    return found


@route("GET", "/v1/promotion_codes", "PromotionCodeListParams", f"{PAGING} active code coupon created customer")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    def keep(found: Object) -> bool:
        return (
            params.get("active") in (None, found["active"])
            and ("code" not in params or params["code"].upper() == found["code"].upper())
            and params.get("coupon") in (None, found["promotion"]["coupon"])
            and params.get("customer") in (None, found["customer"])
        )

    return page(account, KIND, params, "/v1/promotion_codes", keep)
