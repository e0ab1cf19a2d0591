"""/v1/billing_portal/sessions. No page: ``POST /_local/portal/{id}`` plays the customer."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import ENDED
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.ids import new_id
from localcloud.stripe.resources import (
    customers,
    invoices,
    payment_methods,
    portal_configurations,
    subscription_schedules,
)
from localcloud.stripe.routing import route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import change
from localcloud.stripe.subscriptions.cancellation import cancel_now
from localcloud.stripe.subscriptions.pricing import cost

KIND = "billing_portal.session"
#: The flows that are about one subscription.
_OF_SUBSCRIPTION = ("subscription_cancel", "subscription_update", "subscription_update_confirm")


@route(
    "POST",
    "/v1/billing_portal/sessions",
    "billing_portal.SessionCreateParams",
    "configuration customer flow_data.after_completion flow_data.subscription_cancel.subscription "
    "flow_data.subscription_update flow_data.subscription_update_confirm flow_data.type locale return_url",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    if "customer" not in params:
        raise missing_param("customer")
    customer = customers.live(account, params["customer"], param="customer")
    if "configuration" in params:
        configuration = account.find(portal_configurations.KIND, params["configuration"], param="configuration")
    else:
        configuration = portal_configurations.default(account)
    if not configuration["active"]:
        raise invalid(f"The configuration {configuration['id']} is not active.", param="configuration")
    identifier = new_id(KIND)
    session = account.store.add(
        {
            "id": identifier,
            "object": KIND,
            "after_expiration": None,
            "configuration": configuration["id"],
            "created": account.now(customer["test_clock"]),
            "customer": customer["id"],
            "customer_account": None,
            "flow": _flow(account, customer, configuration, params.get("flow_data")),
            "livemode": False,
            "locale": params.get("locale"),
            "on_behalf_of": None,
            "return_url": params.get("return_url", configuration["default_return_url"]),
            "url": f"https://billing.stripe.com/p/session/{identifier}",
        }
    )
    account.emit("billing_portal.session.created", session, test_clock=customer["test_clock"])
    return session


def _flow(account: Account, customer: Object, configuration: Object, given: dict[str, Any] | None) -> Object | None:
    if given is None:
        return None
    kind = given["type"]
    flow: Object = dict.fromkeys(("subscription_cancel", "subscription_update", "subscription_update_confirm"))
    flow.update(type=kind, after_completion=_after_completion(given.get("after_completion")))
    _enabled(configuration, "subscription_update" if kind == "subscription_update_confirm" else kind)
    if kind in _OF_SUBSCRIPTION:
        if kind not in given:
            raise missing_param(f"flow_data[{kind}]")
        where = f"flow_data[{kind}][subscription]"
        subscription = account.find("subscription", given[kind]["subscription"], param=where)
        if subscription["customer"] != customer["id"]:
            raise invalid("The subscription is another customer's.", param=where)
        flow[kind] = dict(given[kind])
        if kind == "subscription_cancel":
            flow[kind].setdefault("retention", None)
        elif kind == "subscription_update_confirm":
            flow[kind].setdefault("discounts", None)
    return flow


def _after_completion(given: dict[str, Any] | None) -> Object:
    given = given or {"type": "portal_homepage"}
    confirmation = given.get("hosted_confirmation")
    return {
        "hosted_confirmation": None if confirmation is None else {"custom_message": None, **confirmation},
        "redirect": given.get("redirect"),
        "type": given["type"],
    }


def _enabled(configuration: Object, feature: str) -> Object:
    found: Object = configuration["features"][feature]
    if not found["enabled"]:
        raise invalid(f"The feature {feature} is disabled in the portal configuration {configuration['id']}.")
    return found


# -- what the customer does there


def act(account: Account, identifier: str, action: str, body: dict[str, Any]) -> Object:
    """Perform one of ``ACTIONS`` as the session's customer; the object that it changed. 400 for what the configuration
    does not allow, 402 when a card declines."""
    session = account.find(KIND, identifier)
    flow = session["flow"]
    if flow is not None and action not in _IN_FLOW[flow["type"]]:
        raise invalid(f"This session is for {flow['type']} only.", param="action")
    if action not in ACTIONS:
        raise invalid(f"action must be one of {', '.join(ACTIONS)}", param="action")
    configuration = account.find(portal_configurations.KIND, session["configuration"])
    return ACTIONS[action](account, session, configuration, body)


def _subscription(account: Account, session: Object, body: dict[str, Any]) -> Object:
    """The one that the session or the body names, or the customer's only one."""
    flow = session["flow"] or {"type": ""}
    named = flow[flow["type"]]["subscription"] if flow["type"] in _OF_SUBSCRIPTION else body.get("subscription")
    standing = [
        subscription
        for subscription in account.store.where("subscription", "customer", session["customer"])
        if subscription["status"] not in ENDED and named in (None, subscription["id"])
    ]
    if len(standing) != 1:
        raise invalid(f"subscription must name one of the customer's: {len(standing)} fit", param="subscription")
    return standing[0]


def _cancel(account: Account, session: Object, configuration: Object, body: dict[str, Any]) -> Object:
    feature = _enabled(configuration, "subscription_cancel")
    subscription = _subscription(account, session, body)
    details: dict[str, Any] = {}
    if feature["cancellation_reason"]["enabled"]:
        feedback = body.get("feedback")
        if feedback is not None and feedback not in feature["cancellation_reason"]["options"]:
            raise invalid(
                f"feedback must be one of {', '.join(feature['cancellation_reason']['options'])}", param="feedback"
            )
        details = {name: body[name] for name in ("feedback", "comment") if body.get(name) is not None}
    if feature["mode"] == "at_period_end":
        params = {"cancel_at_period_end": True, "cancellation_details": details}
        change.update_subscription(account, subscription, params)
    else:
        account.store.edit(subscription)["cancellation_details"].update(details)
        cancel_now(account, subscription)
    return subscription


def _renew(account: Account, session: Object, configuration: Object, body: dict[str, Any]) -> Object:
    """Take a cancellation at the end of the period back."""
    _enabled(configuration, "subscription_cancel")
    subscription = _subscription(account, session, body)
    change.update_subscription(account, subscription, {"cancel_at_period_end": False})
    return subscription


def _update(account: Account, session: Object, configuration: Object, body: dict[str, Any]) -> Object:
    """Another price, or quantity, of a subscription of one item."""
    feature = _enabled(configuration, "subscription_update")
    subscription = _subscription(account, session, body)
    if len(subscription["items"]["data"]) != 1:
        raise invalid("The portal changes only subscriptions of one item.", param="subscription")
    (item,) = subscription["items"]["data"]
    wanted = _wanted(session, body)
    _check_update(account, feature, item, wanted)
    params: dict[str, Any] = {
        "items": [{"id": item["id"], **wanted}],
        "proration_behavior": feature["proration_behavior"],
        "payment_behavior": "error_if_incomplete",
    }
    if subscription["status"] == "trialing" and feature["trial_update_behavior"] == "end_trial":
        params["trial_end"] = "now"
    elif _waits(account, feature, item, wanted):
        _schedule(account, subscription, item, wanted)
        return subscription
    change.update_subscription(account, subscription, params)
    return subscription


def _wanted(session: Object, body: dict[str, Any]) -> dict[str, Any]:
    flow = session["flow"]
    if flow is not None and flow["type"] == "subscription_update_confirm":
        body = flow["subscription_update_confirm"]["items"][0]
    wanted: dict[str, Any] = {name: body[name] for name in ("price", "quantity") if name in body}
    quantity = wanted.get("quantity", 1)
    if not wanted or not isinstance(quantity, int) or isinstance(quantity, bool):
        raise invalid("Give a price, or a quantity that is an integer, or both.", param="price")
    return wanted


def _check_update(account: Account, feature: Object, item: Object, wanted: dict[str, Any]) -> None:
    price = account.find("price", wanted["price"] if "price" in wanted else item["price"], param="price")
    product = next((entry for entry in feature["products"] if entry["product"] == price["product"]), None)
    allowed = feature["default_allowed_updates"]
    if price["id"] != item["price"] and (
        "price" not in allowed or product is None or price["id"] not in product["prices"]
    ):
        raise invalid(f"The portal's configuration does not offer the price {price['id']}.", param="price")
    if "quantity" in wanted and wanted["quantity"] != item.get("quantity"):
        bounds = {"enabled": False} if product is None else product["adjustable_quantity"]
        if "quantity" not in allowed or not bounds["enabled"]:
            raise invalid("The portal's configuration does not let quantities be changed.", param="quantity")
        most = bounds["maximum"] if bounds["maximum"] is not None else wanted["quantity"]
        if not bounds["minimum"] <= wanted["quantity"] <= most:
            raise invalid(f"quantity must be from {bounds['minimum']} to {most}", param="quantity")


def _waits(account: Account, feature: Object, item: Object, wanted: dict[str, Any]) -> bool:
    """Whether the configuration lets this change begin with the next period."""
    conditions = {entry["type"] for entry in feature["schedule_at_period_end"]["conditions"]}
    old = account.find("price", item["price"])
    new = account.find("price", wanted["price"] if "price" in wanted else item["price"])
    quantity = int(item.get("quantity") or 0)
    less = cost(new, int(wanted.get("quantity", quantity))) < cost(old, quantity)
    length = {"day": 1, "week": 7, "month": 30, "year": 365}
    days = [each["recurring"]["interval_count"] * length[each["recurring"]["interval"]] for each in (old, new)]
    return ("decreasing_item_amount" in conditions and less) or (
        "shortening_interval" in conditions and days[1] < days[0]
    )


def _schedule(account: Account, subscription: Object, item: Object, wanted: dict[str, Any]) -> None:
    if subscription["schedule"] is not None:
        schedule = account.find("subscription_schedule", subscription["schedule"])
    else:
        schedule = subscription_schedules.create(account, {"from_subscription": subscription["id"]})
    current = schedule["current_phase"]
    present = {"price": item["price"], **({"quantity": item["quantity"]} if "quantity" in item else {})}
    following = {**present, **wanted}
    if "price" in wanted and "quantity" not in wanted:
        following.pop("quantity", None)
    phases = [{"items": [present], **current}, {"items": [following], "proration_behavior": "none"}]
    subscription_schedules.update(account, {"phases": phases}, schedule["id"])


def _payment_method(account: Account, session: Object, configuration: Object, body: dict[str, Any]) -> Object:
    """A new card, which becomes the one that invoices are charged to."""
    _enabled(configuration, "payment_method_update")
    card = body.get("payment_method")
    if not isinstance(card, str):
        raise invalid("payment_method must be a string", param="payment_method")
    customer = account.find("customer", session["customer"])
    method = payment_methods.attach(account, card, customer)
    with account.updating(customer):
        customer["invoice_settings"]["default_payment_method"] = method["id"]
    for subscription in account.store.where("subscription", "customer", customer["id"]):
        if subscription["status"] not in ENDED and subscription["default_payment_method"] is not None:
            with account.updating(subscription, "customer.subscription.updated"):
                subscription["default_payment_method"] = method["id"]
    return method


def _customer(account: Account, session: Object, configuration: Object, body: dict[str, Any]) -> Object:
    feature = _enabled(configuration, "customer_update")
    changes = {name: value for name, value in body.items() if name != "action"}
    forbidden = set(changes) - set(feature["allowed_updates"])
    if forbidden:
        raise invalid(f"The portal's configuration does not let {sorted(forbidden)[0]} be changed.")
    return customers.update(account, changes, session["customer"])


def _pay(account: Account, session: Object, configuration: Object, body: dict[str, Any]) -> Object:
    """An open invoice is paid from the list of invoices."""
    _enabled(configuration, "invoice_history")
    invoice = account.find("invoice", str(body.get("invoice")), param="invoice")
    if invoice["customer"] != session["customer"]:
        raise invalid("The invoice is another customer's.", param="invoice")
    return invoices.pay(account, {}, invoice["id"])


ACTIONS = {
    "cancel": _cancel,
    "renew": _renew,
    "update": _update,
    "payment_method": _payment_method,
    "customer": _customer,
    "pay": _pay,
}
_IN_FLOW = {
    "subscription_cancel": ("cancel",),
    "subscription_update": ("update",),
    "subscription_update_confirm": ("update",),
    "payment_method_update": ("payment_method",),
    "customer_update": ("customer",),
}
