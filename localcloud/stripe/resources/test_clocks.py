"""/v1/test_helpers/test_clocks: time that moves for the customers that were created on a clock."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid
from localcloud.stripe.fields import deleted
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import schedule

KIND = "test_helpers.test_clock"
DAY = 86400


@route("POST", "/v1/test_helpers/test_clocks", "test_helpers.TestClockCreateParams")
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


@route("POST", "/v1/test_helpers/test_clocks/{clock}/advance", "test_helpers.TestClockAdvanceParams")
def advance(account: Account, params: dict[str, Any], clock: str) -> Object:
    """Done before it answers: the clock is ``ready`` at once (Stripe's is ``advancing`` for a while)."""
    found = account.store.edit(account.find(KIND, clock))
    target = params["frozen_time"]
    if target <= found["frozen_time"]:
        raise invalid("The test clock's frozen time must be advanced to a later time.", param="frozen_time")

    def move(moment: int) -> None:
        found["frozen_time"] = max(found["frozen_time"], moment)

    schedule.run_due(account, clock, target, move)
    move(target)
    account.emit("test_helpers.test_clock.ready", found)
    return found


@route("DELETE", "/v1/test_helpers/test_clocks/{clock}", "test_helpers.TestClockDeleteParams")
def delete(account: Account, params: dict[str, Any], clock: str) -> Object:
    """Deletes the clock's customers and their subscriptions with it."""
    found = account.find(KIND, clock)
    for kind in ("subscription", "invoice", "customer"):
        for document in account.store.all(kind):
            if document["test_clock"] == clock:
                account.store.remove(document)
    account.emit("test_helpers.test_clock.deleted", found)
    account.store.remove(found)
    return deleted(found)


@route("GET", "/v1/test_helpers/test_clocks", "test_helpers.TestClockListParams")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    return page(account, KIND, params, "/v1/test_helpers/test_clocks")
