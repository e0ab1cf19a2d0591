"""/v1/subscriptions"""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, no_such
from localcloud.stripe.lists import page
from localcloud.stripe.resources import customers
from localcloud.stripe.routing import route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import change, entitlements, invoices
from localcloud.stripe.subscriptions.cancellation import ENDED, cancel_now
from localcloud.stripe.subscriptions.creation import create_subscription
from localcloud.stripe.subscriptions.items import prorations
from localcloud.stripe.subscriptions.lifecycle import UPDATED, collect, cycle_lines, start_cycle, take_pending_lines

#: Parameters the API has and this server doesn't act on: refused, never silently ignored.
UNSUPPORTED = (
    "add_invoice_items", "application_fee_percent", "automatic_tax", "backdate_start_date",
    "billing_cycle_anchor_config", "billing_schedules", "billing_thresholds", "currency_options",
    "customer_account", "default_source", "default_tax_rates", "discounts", "managed_payments", "on_behalf_of",
    "pending_invoice_item_interval", "transfer_data", "trial_from_plan",
)  # fmt: skip


def _refuse_unsupported(params: dict[str, Any]) -> None:
    for name in UNSUPPORTED:
        if params.get(name):
            raise invalid(f"This server does not implement the parameter {name}", param=name)


@route("POST", "/v1/subscriptions", "SubscriptionCreateParams")
def create(account: Account, params: dict[str, Any]) -> Object:
    _refuse_unsupported(params)
    customer = customers.live(account, params["customer"], param="customer") if "customer" in params else None
    if customer is None:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    return create_subscription(account, customer, params)


@route("GET", "/v1/subscriptions/{subscription}", "SubscriptionRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], subscription: str) -> Object:
    return account.find("subscription", subscription)


@route("POST", "/v1/subscriptions/{subscription}", "SubscriptionUpdateParams")
def update(account: Account, params: dict[str, Any], subscription: str) -> Object:
    _refuse_unsupported(params)
    found = account.find("subscription", subscription)
    change.update_subscription(account, found, params)
    return found


@route("DELETE", "/v1/subscriptions/{subscription}", "SubscriptionCancelParams")
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


@route("POST", "/v1/subscriptions/{subscription}/resume", "SubscriptionResumeParams")
def resume(account: Account, params: dict[str, Any], subscription: str) -> Object:
    found = account.find("subscription", subscription)
    if found["status"] != "paused":
        raise invalid("Only subscriptions with status `paused` can be resumed.", param="id")
    now = account.now(found["test_clock"])
    with account.updating(found, UPDATED):
        if params.get("billing_cycle_anchor", "now") == "now":
            start_cycle(account, found, now)
        found["status"] = "active"
        lines = cycle_lines(account, found, found["items"]["data"])
        invoice = invoices.draft(account, found, lines, "subscription_update", (now, now))
    account.emit("customer.subscription.resumed", found)
    invoices.finalize(account, invoice)
    if invoice["status"] == "open" and not collect(account, invoice):
        with account.updating(found, UPDATED):
            found["status"] = "past_due"
    entitlements.refresh(account, found["customer"])
    return found


@route("GET", "/v1/subscriptions", "SubscriptionListParams")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    status = params.get("status")
    price = params.get("price")

    def wanted(subscription: Object) -> bool:
        if status == "all":
            return True
        if status == "ended":
            return subscription["status"] in ENDED
        if status is None:
            return subscription["status"] != "canceled"
        return bool(subscription["status"] == status)

    def keep(subscription: Object) -> bool:
        items = subscription["items"]["data"]
        return bool(
            wanted(subscription)
            and params.get("customer") in (None, subscription["customer"])
            and params.get("collection_method") in (None, subscription["collection_method"])
            and ("test_clock" not in params or subscription["test_clock"] == params["test_clock"])
            and (price is None or any(item["price"] == price for item in items))
            and _in_range(params.get("current_period_end"), [item["current_period_end"] for item in items])
            and _in_range(params.get("current_period_start"), [item["current_period_start"] for item in items])
        )

    return page(account, "subscription", params, "/v1/subscriptions", keep)


def _in_range(given: Any, values: list[int]) -> bool:
    if given is None:
        return True
    if isinstance(given, int):
        return given in values
    return any(
        value > given.get("gt", value - 1)
        and value >= given.get("gte", value)
        and value < given.get("lt", value + 1)
        and value <= given.get("lte", value)
        for value in values
    )
