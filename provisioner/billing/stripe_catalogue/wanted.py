"""What Stripe should hold, as the catalogue says it: parameters of Stripe's API. Pure.

Ids that only exist once something was created are ``Ref``s until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from provisioner.billing.catalogue import ALL_FEATURES, Catalogue, Plan
from provisioner.billing.meters import FORMULAS
from provisioner.billing.pricing import Coupon, CouponDuration, Meter, PlanPrice, TaxBehavior
from provisioner.billing.terms import PortalCancellation
from provisioner.billing.translate import PLAN_KEY

#: In the metadata of features, coupons, meters' products and the portal configuration: they are the catalogue's.
MANAGED_KEY = "tenantry_catalogue"
#: In a price's metadata: the lookup key that it was made for, also after a successor took it over.
LOOKUP_KEY = "tenantry_lookup_key"
#: In a price's metadata: the model, since Stripe doesn't tell a flat price from one a seat.
MODEL_KEY = "tenantry_model"
#: In the metadata of the product that a meter's use is invoiced as.
METER_KEY = "tenantry_meter"

#: Stripe's, of a portal configuration.
MAX_PORTAL_PRODUCTS = 10
CANCELLATION_REASONS = (
    "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex",
    "too_expensive", "unused",
)  # fmt: skip


class Kind(StrEnum):
    """What the catalogue makes in Stripe, in the order in which it can be made."""

    METER = "meter"
    FEATURE = "feature"
    PRODUCT = "product"
    PRODUCT_FEATURE = "product feature"
    PRICE = "price"
    COUPON = "coupon"
    PORTAL = "portal configuration"


@dataclass(frozen=True, order=True)
class Ref:
    """Stands for the id of an object: of a meter or feature by its name, of a price by its lookup key."""

    kind: Kind
    name: str


def product_id(plan: Plan) -> str:
    return f"tenantry_{plan.name}"


def meter_product_id(meter: str) -> str:
    return f"tenantry_meter_{meter}"


def plan_product(plan: Plan) -> dict[str, Any]:
    """``unit_label`` is empty when the plan isn't paid by the seat: Stripe's word for none."""
    return {
        "name": plan.title,
        "unit_label": "seat" if plan.per_seat else "",
        "metadata": {PLAN_KEY: plan.name},
    }


def meter_product(meter: Meter) -> dict[str, Any]:
    """Use is a line of its own on the invoice, so it has a product of its own."""
    return {
        "name": meter.title,
        "unit_label": meter.unit,
        "metadata": {MANAGED_KEY: "meter", METER_KEY: meter.name},
    }


def meter_params(meter: Meter) -> dict[str, Any]:
    return {
        "display_name": meter.title,
        "event_name": meter.name,
        "default_aggregation": {"formula": FORMULAS[meter.aggregation]},
        "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
        "value_settings": {"event_payload_key": "value"},
    }


def features(catalogue: Catalogue) -> dict[str, str]:
    """Every feature that is declared or sold, by name -> title."""
    named = {name for plan in catalogue.plans.values() for name in plan.entitlements if name != ALL_FEATURES}
    return {name: catalogue.features.get(name, name) for name in sorted(named | set(catalogue.features))}


def feature_params(name: str, title: str) -> dict[str, Any]:
    return {"lookup_key": name, "name": title[:80], "metadata": {MANAGED_KEY: "feature"}}


def features_of(plan: Plan, catalogue: Catalogue) -> frozenset[str]:
    """``*`` is every feature that there is now: the next push adds the ones to come."""
    everything = features(catalogue)
    return frozenset(everything if ALL_FEATURES in plan.entitlements else plan.entitlements)


def price_metadata(plan: Plan, price: PlanPrice) -> dict[str, str]:
    return {PLAN_KEY: plan.name, LOOKUP_KEY: price.lookup_key, MODEL_KEY: price.model.value}


def has_amounts(price: PlanPrice) -> bool:
    """Whether the file says what it costs; else the price must be in Stripe already."""
    return price.unit_amount is not None or bool(price.tiers)


def price_params(plan: Plan, price: PlanPrice, product: str) -> dict[str, Any]:
    """To create it. Needs ``has_amounts``."""
    recurring: dict[str, Any] = {"interval": price.interval}
    if price.meter is not None:
        recurring |= {"usage_type": "metered", "meter": Ref(Kind.METER, price.meter)}
    params: dict[str, Any] = {
        "product": product,
        "currency": price.currency,
        "recurring": recurring,
        "lookup_key": price.lookup_key,
        "metadata": price_metadata(plan, price),
    }
    if price.tax_behavior is not TaxBehavior.UNSPECIFIED:
        params["tax_behavior"] = price.tax_behavior.value
    if price.model.tiered:
        params |= {
            "billing_scheme": "tiered",
            "tiers_mode": price.model.value,
            "tiers": [
                {
                    "up_to": "inf" if tier.up_to is None else tier.up_to,
                    "unit_amount_decimal": decimal(tier.unit_amount),
                    "flat_amount_decimal": decimal(tier.flat_amount),
                }
                for tier in price.tiers
            ],
        }
    else:
        assert price.unit_amount is not None
        if price.unit_amount == int(price.unit_amount):
            params["unit_amount"] = int(price.unit_amount)
        else:
            params["unit_amount_decimal"] = decimal(price.unit_amount)
    return params


def decimal(value: Decimal) -> str:
    """Without an exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def coupon_params(coupon: Coupon, products: Mapping[str, str]) -> dict[str, Any]:
    """``products``: plan -> product."""
    params: dict[str, Any] = {
        "id": coupon.name,
        "name": coupon.title,
        "duration": coupon.duration.value,
        "metadata": {MANAGED_KEY: "coupon"},
    }
    if coupon.duration is CouponDuration.REPEATING:
        params["duration_in_months"] = coupon.months
    if coupon.percent_off is not None:
        params["percent_off"] = float(coupon.percent_off)
    else:
        params |= {"amount_off": coupon.amount_off, "currency": coupon.currency}
    if coupon.plans:
        params["applies_to"] = {"products": sorted(products[plan] for plan in coupon.plans)}
    return params


def portal_plans(catalogue: Catalogue) -> list[Plan]:
    """Those that a customer may change to in the portal, which can't change subscriptions with metered prices."""
    if not catalogue.portal.plan_changes:
        return []
    plans = [plan for plan in catalogue.plans.values() if not any(price.metered for price in plan.prices)]
    return plans if len(plans) <= MAX_PORTAL_PRODUCTS else []


def portal_params(catalogue: Catalogue, sold_as: Mapping[str, str]) -> dict[str, Any]:
    """``sold_as``: lookup key -> product of the price. What is empty is sent as ``""``: it takes away what was
    there."""
    portal, plans = catalogue.portal, portal_plans(catalogue)
    seats = any(plan.per_seat for plan in plans)
    cancels = portal.cancellation is not PortalCancellation.OFF
    cancel: dict[str, Any] = {"enabled": cancels}
    if cancels:
        cancel |= {
            "mode": portal.cancellation.value,
            "proration_behavior": "none",
            "cancellation_reason": {"enabled": True, "options": list(CANCELLATION_REASONS)},
        }
    update: dict[str, Any] = {"enabled": bool(plans)}
    if plans:
        update |= {
            "default_allowed_updates": ["price", "promotion_code", *(["quantity"] if seats else [])],
            "proration_behavior": "create_prorations",
            "products": [entry for plan in plans for entry in _portal_products(plan, sold_as)],
            # Who pays less, or by a shorter interval, does so when what is paid for has run out.
            "schedule_at_period_end": {
                "conditions": [{"type": "decreasing_item_amount"}, {"type": "shortening_interval"}]
            },
        }
    profile: dict[str, Any] = {"headline": portal.headline or ""}
    if portal.privacy_policy_url:
        profile["privacy_policy_url"] = portal.privacy_policy_url
    if portal.terms_of_service_url:
        profile["terms_of_service_url"] = portal.terms_of_service_url
    return {
        "business_profile": profile,
        "default_return_url": portal.return_url or "",
        "metadata": {MANAGED_KEY: "portal"},
        "features": {
            "customer_update": {"enabled": True, "allowed_updates": ["address", "email", "name", "tax_id"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": cancel,
            "subscription_update": update,
        },
    }


def _portal_products(plan: Plan, sold_as: Mapping[str, str]) -> list[dict[str, Any]]:
    """One for each product that the plan's prices are of: one, unless they were made by hand."""
    adjustable: dict[str, Any] = {"enabled": plan.per_seat}
    if plan.per_seat:
        adjustable["minimum"] = 1
        if plan.limits.get("seats"):
            adjustable["maximum"] = plan.limits["seats"]
    prices: dict[str, list[Ref]] = {}
    for price in plan.prices:
        prices.setdefault(sold_as[price.lookup_key], []).append(Ref(Kind.PRICE, price.lookup_key))
    return [{"product": product, "prices": refs, "adjustable_quantity": adjustable} for product, refs in prices.items()]
