"""/v1/billing_portal/configurations: what customers may do in the portal."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.fields import merge_metadata, none_if_empty
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object, copy_of
from localcloud.stripe.subscriptions.items import price_of

KIND = "billing_portal.configuration"
#: The account's own, for sessions that name none.
DEFAULT = "bpc_local"
REASONS = (
    "too_expensive", "missing_features", "switched_service", "unused", "customer_service", "too_complex",
    "low_quality", "other",
)  # fmt: skip

_PARAMS = (
    "business_profile.headline business_profile.privacy_policy_url business_profile.terms_of_service_url "
    "default_return_url metadata name features.customer_update features.invoice_history "
    "features.payment_method_update.enabled features.subscription_cancel.cancellation_reason.enabled "
    "features.subscription_cancel.cancellation_reason.options features.subscription_cancel.enabled "
    "features.subscription_cancel.mode features.subscription_cancel.proration_behavior "
    "features.subscription_update.default_allowed_updates features.subscription_update.enabled "
    "features.subscription_update.products features.subscription_update.proration_behavior "
    "features.subscription_update.schedule_at_period_end features.subscription_update.trial_update_behavior"
)

_NOTHING: Object = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False, "payment_method_configuration": None},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": False, "options": list(REASONS)},
        "enabled": False,
        "mode": "at_period_end",
        "proration_behavior": "none",
    },
    "subscription_update": {
        "billing_cycle_anchor": None,
        "default_allowed_updates": [],
        "enabled": False,
        "products": None,
        "proration_behavior": "none",
        "schedule_at_period_end": {"conditions": []},
        "trial_update_behavior": "end_trial",
    },
}


def default(account: Account) -> Object:
    """The account's own configuration: cards, invoices, and cancelling at the end of the period."""
    found = account.store.get(KIND, DEFAULT)
    if found is None:
        found = account.store.add(_document(account, DEFAULT, {}))
        found["is_default"] = True
        for name in ("invoice_history", "payment_method_update", "subscription_cancel"):
            found["features"][name]["enabled"] = True
    return found


def _document(account: Account, identifier: str, params: dict[str, Any]) -> Object:
    profile = params.get("business_profile") or {}
    return {
        "id": identifier,
        "object": KIND,
        "active": True,
        "application": None,
        "business_profile": {
            name: none_if_empty(profile.get(name))
            for name in ("headline", "privacy_policy_url", "terms_of_service_url")
        },
        "created": account.now(),
        "default_return_url": none_if_empty(params.get("default_return_url")),
        "features": copy_of(_NOTHING),
        "is_default": False,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": merge_metadata({}, params.get("metadata")),
        "name": none_if_empty(params.get("name")),
        "updated": account.now(),
    }


@route("POST", "/v1/billing_portal/configurations", "billing_portal.ConfigurationCreateParams", _PARAMS)
def create(account: Account, params: dict[str, Any]) -> Object:
    made = _document(account, new_id(KIND), params)
    _set_features(account, made["features"], params["features"])
    account.store.add(made)
    account.emit("billing_portal.configuration.created", made)
    return made


def _set_features(account: Account, features: Object, given: dict[str, Any]) -> None:
    for name, values in given.items():
        feature = features[name]
        for key, value in values.items():
            if isinstance(feature.get(key), dict):
                feature[key].update(
                    {
                        inner: none_if_empty(item) or [] if inner in ("options", "conditions") else item
                        for inner, item in value.items()
                    }
                )
            elif key in ("allowed_updates", "default_allowed_updates"):
                feature[key] = value or []
            else:
                feature[key] = none_if_empty(value)
    updates = features["subscription_update"]
    if updates["enabled"] and not updates["products"]:
        raise missing_param("features[subscription_update][products]")
    for index, product in enumerate(updates["products"] or []):
        where = f"features[subscription_update][products][{index}]"
        account.find("product", product["product"], param=f"{where}[product]")
        product.setdefault("adjustable_quantity", {"enabled": False})
        product["adjustable_quantity"] = {"maximum": None, "minimum": 1, **product["adjustable_quantity"]}
        for number, price in enumerate(product["prices"]):
            found = price_of(account, {"price": price}, f"{where}[prices][{number}]")
            if found["product"] != product["product"]:
                raise invalid(f"The price {price} is another product's.", param=f"{where}[prices][{number}]")


@route("GET", "/v1/billing_portal/configurations/{configuration}", "billing_portal.ConfigurationRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], configuration: str) -> Object:
    return account.find(KIND, configuration)


@route(
    "POST",
    "/v1/billing_portal/configurations/{configuration}",
    "billing_portal.ConfigurationUpdateParams",
    f"active {_PARAMS}",
)
def update(account: Account, params: dict[str, Any], configuration: str) -> Object:
    found = account.find(KIND, configuration)
    if found["is_default"] and params.get("active") is False:
        raise invalid("The default configuration can't be deactivated.", param="active")
    with account.updating(found, "billing_portal.configuration.updated"):
        found["active"] = params.get("active", found["active"])
        for name in ("default_return_url", "name"):
            if name in params:
                found[name] = none_if_empty(params[name])
        for name, value in (params.get("business_profile") or {}).items():
            found["business_profile"][name] = none_if_empty(value)
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
        _set_features(account, found["features"], params.get("features") or {})
        found["updated"] = account.now()
    return found


@route(
    "GET",
    "/v1/billing_portal/configurations",
    "billing_portal.ConfigurationListParams",
    f"{PAGING} active is_default",
)
def list_all(account: Account, params: dict[str, Any]) -> Object:
    default(account)

    def keep(found: Object) -> bool:
        return all(params.get(name) in (None, found[name]) for name in ("active", "is_default"))

    return page(account, KIND, params, "/v1/billing_portal/configurations", keep)
