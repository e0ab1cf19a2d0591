"""/v1/test_helpers/test_clocks: time that moves for the customers that were created on a clock."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import DAY
from localcloud.stripe.errors import invalid
from localcloud.stripe.fields import deleted
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import schedule

KIND = "test_helpers.test_clock"
#: What goes with a customer, found by the index that names it.
_OF_CUSTOMER = (
    "billing.meter_event", "charge", "entitlements.active_entitlement", "invoice", "payment_intent", "payment_method",
    "subscription_schedule", "_meter_usage",
)  # fmt: skip


@route("POST", "/v1/test_helpers/test_clocks", "test_helpers.TestClockCreateParams", "frozen_time name")
def create(account: Account, params: dict[str, Any]) -> Object:
    now = account.now()
    clock = account.store.add(
        {
            "id": new_id(KIND),
            "object": KIND,
            "created": now,
            "deletes_after": now + 30 * DAY,
            "frozen_time": params["frozen_time"],
            "livemode": False,
            "name": params.get("name"),
            "status": "ready",
            "status_details": {},
        }
    )
    account.emit("test_helpers.test_clock.created", clock)
    return clock


@route("GET", "/v1/test_helpers/test_clocks/{clock}", "test_helpers.TestClockRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], clock: str) -> Object:
    return account.find(KIND, clock)


@route("POST", "/v1/test_helpers/test_clocks/{clock}/advance", "test_helpers.TestClockAdvanceParams", "frozen_time")
def advance(account: Account, params: dict[str, Any], clock: str) -> Object:
    """Done before it answers: the clock is ``ready`` at once (Stripe's is ``advancing`` for a while)."""
    found = account.store.edit(account.find(KIND, clock))
    target = params["frozen_time"]
    if target <= found["frozen_time"]:
        raise invalid("The test clock's frozen time must be advanced to a later time.", param="frozen_time")

    schedule.run_clock(account, found, target)
    account.emit("test_helpers.test_clock.ready", found)
    return found


@route("DELETE", "/v1/test_helpers/test_clocks/{clock}", "test_helpers.TestClockDeleteParams")
def delete(account: Account, params: dict[str, Any], clock: str) -> Object:
    """Deletes the clock's customers and their subscriptions with it."""
    found = account.find(KIND, clock)
    for customer in [customer for customer in account.store.all("customer") if customer["test_clock"] == clock]:
        for subscription in account.store.where("subscription", "customer", customer["id"]):
            for line in account.store.where("_pending_line", "subscription", subscription["id"]):
                account.store.remove(line)
            account.store.remove(subscription)
        for kind in _OF_CUSTOMER:
            for document in account.store.where(kind, "customer", customer["id"]):
                account.store.remove(document)
        account.store.remove(customer)
    account.emit("test_helpers.test_clock.deleted", found)
    account.store.remove(found)
    return deleted(found)


@route("GET", "/v1/test_helpers/test_clocks", "test_helpers.TestClockListParams", PAGING)
def list_all(account: Account, params: dict[str, Any]) -> Object:
    return page(account, KIND, params, "/v1/test_helpers/test_clocks")
