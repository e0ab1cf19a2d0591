"""/v1/subscriptions"""

from __future__ import annotations

from typing import Any

from localcloud.stripe import searching
from localcloud.stripe.account import Account
from localcloud.stripe.due import ENDED
from localcloud.stripe.errors import invalid, missing_param, no_such
from localcloud.stripe.lists import page
from localcloud.stripe.render import render
from localcloud.stripe.resources import customers
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import change, invoices, pausing, phases
from localcloud.stripe.subscriptions.cancellation import cancel_now
from localcloud.stripe.subscriptions.creation import create_subscription
from localcloud.stripe.subscriptions.items import prorations
from localcloud.stripe.subscriptions.lifecycle import take_pending_lines


@route(
    "POST",
    "/v1/subscriptions",
    "SubscriptionCreateParams",
    "automatic_tax.enabled billing_cycle_anchor billing_mode.type billing_mode.flexible.proration_discounts cancel_at "
    "cancel_at_period_end collection_method currency customer days_until_due default_payment_method "
    "description discounts items.discounts items.price items.price_data items.quantity items.metadata metadata "
    "off_session payment_behavior payment_settings.payment_method_types payment_settings.save_default_payment_method "
    "proration_behavior trial_end trial_period_days trial_settings.end_behavior.missing_payment_method",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    if "customer" not in params:
        raise missing_param("customer")
    if params.get("payment_behavior") == "pending_if_incomplete":
        raise invalid("`pending_if_incomplete` is for updates of subscriptions only.", param="payment_behavior")
    return create_subscription(account, customers.live(account, params["customer"], param="customer"), params)


@route("GET", "/v1/subscriptions/{subscription}", "SubscriptionRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], subscription: str) -> Object:
    return account.find("subscription", subscription)


@route(
    "POST",
    "/v1/subscriptions/{subscription}",
    "SubscriptionUpdateParams",
    "automatic_tax.enabled billing_cycle_anchor.type cancel_at cancel_at_period_end cancellation_details "
    "collection_method days_until_due default_payment_method description discounts items.discounts items.id "
    "items.price items.price_data items.quantity items.metadata items.deleted metadata off_session pause_collection "
    "payment_behavior payment_settings.payment_method_types payment_settings.save_default_payment_method "
    "proration_behavior proration_date trial_end trial_settings.end_behavior.missing_payment_method",
)
def update(account: Account, params: dict[str, Any], subscription: str) -> Object:
    found = account.find("subscription", subscription)
    change.update_subscription(account, found, params)
    phases.follow(account, found)
    return found


@route(
    "DELETE", "/v1/subscriptions/{subscription}", "SubscriptionCancelParams", "cancellation_details invoice_now prorate"
)
def cancel(account: Account, params: dict[str, Any], subscription: str) -> Object:
    found = account.find("subscription", subscription)
    if found["status"] in ENDED:
        raise no_such("subscription", subscription)
    for name, value in (params.get("cancellation_details") or {}).items():
        account.store.edit(found)["cancellation_details"][name] = value or None
    lines: list[Object] = []
    now = account.now(found["test_clock"])
    if params.get("prorate"):
        items = account.store.edit(found)["items"]
        kept, items["data"] = items["data"], []
        lines = prorations(account, found, kept, now)
        items["data"] = kept
    if params.get("invoice_now"):
        lines = take_pending_lines(account, found) + lines
        if lines:
            invoice = invoices.draft(account, found, lines, "subscription_update", (now, now))
            invoices.finalize(account, invoice)
            if invoice["status"] == "open":
                invoices.charge(account, invoice, invoices.payment_method_of(account, found))
    cancel_now(account, found)
    return found


@route(
    "POST",
    "/v1/subscriptions/{subscription}/resume",
    "SubscriptionResumeParams",
    "billing_cycle_anchor.type payment_behavior proration_behavior",
)
def resume(account: Account, params: dict[str, Any], subscription: str) -> Object:
    found = account.find("subscription", subscription)
    pausing.resume(account, found, params)
    return found


@route(
    "POST",
    "/v1/subscriptions/{subscription}/pause",
    "SubscriptionPauseParams",
    "type invoicing_behavior bill_for.outstanding_usage_through.type bill_for.unused_time_from.type",
)
def pause(account: Account, params: dict[str, Any], subscription: str) -> Object:
    found = account.find("subscription", subscription)
    pausing.pause(account, found, params)
    return found


@route(
    "GET",
    "/v1/subscriptions",
    "SubscriptionListParams",
    f"{PAGING} created collection_method current_period_end current_period_start customer price status test_clock",
)
def list_all(account: Account, params: dict[str, Any]) -> Object:
    if "customer" in params:
        account.find("customer", params["customer"], param="customer")
    status = params.get("status")
    price = params.get("price")

    def wanted(subscription: Object) -> bool:
        if status == "all":
            return True
        if status == "ended":
            return str(subscription["status"]) in ENDED
        if status is None:
            return bool(subscription["status"] != "canceled")
        return bool(subscription["status"] == status)

    def keep(subscription: Object) -> bool:
        items = subscription["items"]["data"]
        return bool(
            wanted(subscription)
            and params.get("collection_method") in (None, subscription["collection_method"])
            and ("test_clock" not in params or subscription["test_clock"] == params["test_clock"])
            and (price is None or any(item["price"] == price for item in items))
            and _in_range(params.get("current_period_end"), [item["current_period_end"] for item in items])
            and _in_range(params.get("current_period_start"), [item["current_period_start"] for item in items])
        )

    documents = None
    if "customer" in params:
        documents = account.store.where("subscription", "customer", params["customer"])
    return page(account, "subscription", params, "/v1/subscriptions", keep, documents=documents)


SEARCHED = frozenset({"canceled_at", "created", "status"})


@route("GET", "/v1/subscriptions/search", "SubscriptionSearchParams", "limit page query")
def search(account: Account, params: dict[str, Any]) -> Object:
    return searching.search(account, "subscription", params, "/v1/subscriptions/search", SEARCHED)


def _in_range(given: Any, values: list[int]) -> bool:
    if given is None:
        return True
    if isinstance(given, int):
        return given in values
    return any(
        bool(
            value > given.get("gt", value - 1)
            and value >= given.get("gte", value)
            and value < given.get("lt", value + 1)
            and value <= given.get("lte", value)
        )
        for value in values
    )


@route("DELETE", "/v1/subscriptions/{subscription}/discount", "SubscriptionDeleteDiscountParams")
def delete_discount(account: Account, params: dict[str, Any], subscription: str) -> Object:
    """Takes every discount away."""
    found = account.find("subscription", subscription)
    if not found["discounts"]:
        raise no_such("discount", subscription)
    last = account.find("discount", found["discounts"][-1])
    change.update_subscription(account, found, {"discounts": ""})
    return {**render(account, last), "deleted": True}
