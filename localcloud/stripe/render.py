"""From the stored document to what the API shows: embedded objects, expansion, and differences for events.

Stored documents refer to others by id. The API embeds some of them always (a subscription item's price) and others
on request (``expand[]``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from localcloud.stripe.errors import invalid
from localcloud.stripe.fields import coupon_is_valid, deleted
from localcloud.stripe.store import Object, copy_of

if TYPE_CHECKING:
    from localcloud.stripe.account import Account

MAX_EXPANSION_DEPTH = 4

#: kind -> field -> kind that the field's id refers to.
EXPANDABLE: dict[str, dict[str, str]] = {
    "customer": {"test_clock": "test_helpers.test_clock", "default_source": "card"},
    "customer.invoice_settings": {"default_payment_method": "payment_method"},
    "product": {"default_price": "price"},
    "price": {"product": "product"},
    "plan": {"product": "product"},
    "payment_method": {"customer": "customer"},
    "subscription": {
        "customer": "customer",
        "default_payment_method": "payment_method",
        "latest_invoice": "invoice",
        "test_clock": "test_helpers.test_clock",
        "pending_setup_intent": "setup_intent",
        "schedule": "subscription_schedule",
        "discounts": "discount",
    },
    "invoice": {
        "customer": "customer",
        "default_payment_method": "payment_method",
        "test_clock": "test_helpers.test_clock",
        "discounts": "discount",
    },
    "invoice.parent.subscription_details": {"subscription": "subscription"},
    "invoiceitem": {"customer": "customer"},
    "line_item": {"discounts": "discount", "subscription": "subscription"},
    "line_item.discount_amounts": {"discount": "discount"},
    "invoice.total_discount_amounts": {"discount": "discount"},
    "subscription_item": {"discounts": "discount"},
    "discount": {"customer": "customer", "promotion_code": "promotion_code"},
    "discount.source": {"coupon": "coupon"},
    "promotion_code": {"customer": "customer"},
    "promotion_code.promotion": {"coupon": "coupon"},
    "payment_intent": {"customer": "customer", "latest_charge": "charge", "payment_method": "payment_method"},
    "charge": {"customer": "customer", "payment_intent": "payment_intent"},
    "refund": {"charge": "charge", "payment_intent": "payment_intent"},
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
    "invoice_payment": {"invoice": "invoice"},
    "invoice_payment.payment": {"payment_intent": "payment_intent", "charge": "charge"},
    "subscription_schedule": {
        "customer": "customer",
        "subscription": "subscription",
        "test_clock": "test_helpers.test_clock",
    },
    "subscription_schedule.phases.items": {"price": "price"},
    "checkout.session.discounts": {"coupon": "coupon", "promotion_code": "promotion_code"},
    "billing_portal.session": {"configuration": "billing_portal.configuration"},
    # No ids: what is asked for is there already.
    "billing_portal.configuration.features.subscription_update": {"products": ""},
    "checkout.session": {"customer": "customer", "subscription": "subscription", "invoice": "invoice"},
    "entitlements.active_entitlement": {"feature": "entitlements.feature"},
}


def _payments(account: Account, invoice: Object) -> Object:
    return _list(account.store.where("invoice_payment", "invoice", invoice["id"]), "/v1/invoice_payments")


def _refunds(account: Account, charge: Object) -> Object:
    found = account.store.where("refund", "charge", charge["id"])[::-1]
    return _list(found, f"/v1/charges/{charge['id']}/refunds")


def _list(documents: list[Object], url: str) -> Object:
    shown = [
        copy_of({name: value for name, value in document.items() if not name.startswith("_")}) for document in documents
    ]
    return {"object": "list", "data": shown, "has_more": False, "url": url}


#: kind -> fields that Stripe leaves out where others are null
ABSENT_IF_NULL: dict[str, tuple[str, ...]] = {
    "checkout.session": (
        "branding_settings", "excluded_payment_method_types", "name_collection", "presentment_details",
        "redirect_on_completion", "return_url",
    ),
    "customer": ("business_name", "individual_name"),
    "invoice": ("threshold_reason",),
    "subscription": ("presentment_details",),
}  # fmt: skip

#: kind -> field that is shown on request only -> its value
INCLUDABLE: dict[str, dict[str, Callable[[Account, Object], Any]]] = {
    "price": {"tiers": lambda account, price: copy_of(account.find("price", price["id"])["_tiers"])},
    "plan": {"tiers": lambda account, plan: copy_of(account.find("price", plan["id"])["_tiers"])},
    "coupon": {"applies_to": lambda account, coupon: copy_of(account.find("coupon", coupon["id"])["_applies_to"])},
    "charge": {"refunds": _refunds},
    "invoice": {"payments": _payments},
}


def render(account: Account, document: Object) -> Object:
    """The document as the API shows it, references unexpanded. The argument stays untouched."""
    shown: Object = copy_of(view(account, document))
    return shown


def view(account: Account, document: Object) -> Object:
    """What ``render`` shows, sharing parts with the stored documents: to be read or written out, not to be changed."""
    if document.get("deleted"):
        return deleted(document)
    shown: Object = {name: value for name, value in document.items() if name[:1] != "_"}
    for name in ABSENT_IF_NULL.get(document["object"], ()):
        if shown.get(name) is None:
            shown.pop(name, None)
    match document["object"]:
        case "subscription":
            items = [_with_price(account, item) for item in shown["items"]["data"]]
            shown["items"] = {**shown["items"], "data": items}
            if len(items) == 1:  # fields of the time before a subscription had several items
                shown["plan"] = items[0]["plan"]
                if "quantity" in items[0]:
                    shown["quantity"] = items[0]["quantity"]
        case "subscription_item":
            shown = _with_price(account, shown)
        case "subscription_schedule":
            shown["phases"] = [_without_own(phase) for phase in shown["phases"]]
        case "product_feature":
            shown["entitlement_feature"] = view(account, account.find("entitlements.feature", document["_feature"]))
        case "coupon":
            shown["valid"] = coupon_is_valid(document, account.now())
        case "event":
            shown["pending_webhooks"] = account.pending_webhooks(document)
            shown["data"] = json.loads(document["_data"])
        case "billing.meter_event":
            del shown["id"]
    return shown


def event_body(account: Account, event: Object) -> bytes:
    """The JSON text that is sent to webhook endpoints: what ``render`` shows, without parsing it first."""
    shell = json.dumps(
        {
            **{name: value for name, value in event.items() if name[:1] != "_"},
            "pending_webhooks": account.pending_webhooks(event),
        }
    )
    return f'{shell[:-1]}, "data": {event["_data"]}}}'.encode()


def _without_own(phase: Object) -> Object:
    return {name: value for name, value in phase.items() if name[:1] != "_"}


def _with_price(account: Account, item: Object) -> Object:
    price = view(account, account.find("price", item["price"]))
    recurring = price["recurring"]
    plan = {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }
    return {**item, "price": price, "plan": plan}


def expand(account: Account, shown: Object, paths: list[str]) -> Object:
    """Replace ids by objects along ``paths`` (``customer``, ``items.data.price.product``), in place."""
    for index, path in enumerate(paths):
        parts = path.split(".")
        if len(parts) > MAX_EXPANSION_DEPTH:
            raise invalid(
                f"You cannot expand more than {MAX_EXPANSION_DEPTH} levels of a property. "
                f"The property that is too deep is {path}.",
                param=f"expand[{index}]",
            )
        if not _expand(account, shown, parts, shown.get("object", "")):
            raise invalid(
                f"This property cannot be expanded ({path}). You may want to try expanding something else.",
                param=f"expand[{index}]",
            )
    return shown


def _expand(account: Account, node: Any, parts: list[str], where: str) -> bool:
    """Whether the path leads to something that can be expanded (an empty list or null on the way counts)."""
    if not parts:
        return True
    if isinstance(node, list):
        results = [_expand(account, item, parts, where) for item in node]
        return all(results)
    if node is None:
        return True
    if not isinstance(node, dict):
        return False
    where = node.get("object") or where
    name, rest = parts[0], parts[1:]
    include = INCLUDABLE.get(where, {}).get(name)
    if include is not None and name not in node:
        included = include(account, node)
        if included is None:  # a price without tiers: asked for in vain
            return True
        node[name] = included
        return _expand(account, node[name], rest, f"{where}.{name}")
    if name not in node:
        return name in EXPANDABLE.get(where, {})
    value = node[name]
    target = EXPANDABLE.get(where, {}).get(name)
    if target is not None and isinstance(value, str):
        found = account.store.get(target, value)
        if found is None:
            return True
        value = node[name] = render(account, found)
    if target is not None and isinstance(value, list):
        documents = [account.store.get(target, item) if isinstance(item, str) else None for item in value]
        value = node[name] = [
            item if document is None else render(account, document)
            for item, document in zip(value, documents, strict=True)
        ]
    if target is None and not rest:
        return isinstance(value, dict) and value.get("object") in ("list", "price", "plan")
    return _expand(account, value, rest, f"{where}.{name}")


def difference(before: Object, after: Object) -> Object:
    """``previous_attributes``: the former values of what changed; nested hashes hold only what changed in them."""
    changed: Object = {}
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            if old.get("object") == "list":
                changed[name] = {"data": old["data"]}
            elif old.get("id") != new.get("id"):
                changed[name] = old
            else:
                changed[name] = difference(old, new)
        else:
            changed[name] = old
    return changed
