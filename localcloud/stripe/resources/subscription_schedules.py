"""/v1/subscription_schedules"""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import ENDED
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.resources import customers
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import phases
from localcloud.stripe.subscriptions.cancellation import cancel_now

KIND = "subscription_schedule"
_PHASES = (
    "phases.automatic_tax.enabled phases.billing_cycle_anchor phases.collection_method phases.currency "
    "phases.default_payment_method phases.description phases.discounts phases.duration phases.end_date "
    "phases.invoice_settings.days_until_due phases.items.discounts phases.items.metadata phases.items.price "
    "phases.items.price_data phases.items.quantity phases.metadata phases.proration_behavior phases.start_date "
    "phases.trial phases.trial_end"
)


@route(
    "POST",
    "/v1/subscription_schedules",
    "SubscriptionScheduleCreateParams",
    f"billing_mode.type customer end_behavior from_subscription metadata start_date {_PHASES}",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    if "from_subscription" in params:
        return _from_subscription(account, params)
    if "customer" not in params:
        raise missing_param("customer")
    if not params.get("phases"):
        raise missing_param("phases")
    customer = customers.live(account, params["customer"], param="customer")
    now = account.now(customer["test_clock"])
    start = params.get("start_date", "now")
    start = now if start == "now" else start
    if start < now:
        raise invalid("Backdated schedules are not supported by this server.", param="start_date")
    schedule = _document(account, customer, params)
    schedule["phases"] = phases.from_params(account, params["phases"], start)
    account.store.add(schedule)
    account.emit("subscription_schedule.created", schedule)
    if start == now:
        phases.begin(account, schedule)
    return schedule


def _from_subscription(account: Account, params: dict[str, Any]) -> Object:
    others = set(params) - {"from_subscription"}
    if others:
        name = sorted(others)[0]
        raise invalid(f"You cannot set `{name}` if `from_subscription` is set.", param=name)
    subscription = account.find("subscription", params["from_subscription"], param="from_subscription")
    if subscription["status"] in ENDED:
        raise invalid("You cannot create a schedule from a canceled subscription.", param="from_subscription")
    if subscription["schedule"] is not None:
        raise invalid(
            "You cannot migrate a subscription that is already attached to a schedule: "
            f"{subscription['id']} is already attached to {subscription['schedule']}.",
            param="from_subscription",
        )
    customer = account.find("customer", subscription["customer"])
    schedule = _document(account, customer, params)
    phase = phases.of_subscription(subscription)
    schedule.update(
        phases=[phase],
        status="active",
        subscription=subscription["id"],
        current_phase={"start_date": phase["start_date"], "end_date": phase["end_date"]},
    )
    if subscription["cancel_at"] is not None:
        schedule["end_behavior"] = "cancel"
        phase["end_date"] = schedule["current_phase"]["end_date"] = subscription["cancel_at"]
    account.store.add(schedule)
    account.emit("subscription_schedule.created", schedule)
    with account.updating(subscription, "customer.subscription.updated"):
        subscription.update(schedule=schedule["id"], cancel_at=None, cancel_at_period_end=False)
    return schedule


def _document(account: Account, customer: Object, params: dict[str, Any]) -> Object:
    return {
        "id": new_id(KIND),
        "object": KIND,
        "application": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "canceled_at": None,
        "completed_at": None,
        "created": account.now(customer["test_clock"]),
        "current_phase": None,
        "customer": customer["id"],
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "custom_fields": None,
                "days_until_due": None,
                "description": None,
                "footer": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": _end_behavior(params, "release"),
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata")),
        "phases": [],
        "released_at": None,
        "released_subscription": None,
        "status": "not_started",
        "subscription": None,
        "test_clock": customer["test_clock"],
    }


def _end_behavior(params: dict[str, Any], default: str) -> str:
    value = str(params.get("end_behavior", default))
    if value not in ("release", "cancel"):
        raise invalid("end_behavior must be release or cancel", param="end_behavior")
    return value


@route("GET", "/v1/subscription_schedules/{schedule}", "SubscriptionScheduleRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], schedule: str) -> Object:
    return account.find(KIND, schedule, noun="subscription schedule")


@route(
    "POST",
    "/v1/subscription_schedules/{schedule}",
    "SubscriptionScheduleUpdateParams",
    f"end_behavior metadata proration_behavior {_PHASES}",
)
def update(account: Account, params: dict[str, Any], schedule: str) -> Object:
    """New phases replace those that are not over; what is new in the current one reaches the subscription now."""
    found = _open(account, schedule)
    present: Object | None = None
    with account.updating(found, phases.UPDATED):
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
        found["end_behavior"] = _end_behavior(params, found["end_behavior"])
        if "phases" in params:
            present = _replace(account, found, params["phases"])
    if present is not None:
        phases.apply(account, found, present, params.get("proration_behavior", "create_prorations"))
        if found["status"] == "active" and present["end_date"] <= account.now(found["test_clock"]):
            phases.advance(account, found)
    return found


def _replace(account: Account, schedule: Object, given: list[dict[str, Any]]) -> Object | None:
    """Returns the current phase, which must be among the new ones."""
    now = account.now(schedule["test_clock"])
    current = schedule["current_phase"]
    start = schedule["phases"][0]["start_date"] if current is None else current["start_date"]
    over = [phase for phase in schedule["phases"] if phase["start_date"] < start]
    wanted = [dict(entry) for entry in given]
    for entry in wanted:
        for name in ("start_date", "end_date", "trial_end"):
            if entry.get(name) == "now":
                entry[name] = now
    # Phases that are over may be given again, as the answers show them.
    known = [phase["start_date"] for phase in over]
    while wanted and wanted[0].get("start_date") in known:
        wanted.pop(0)
    if not wanted:
        raise invalid("The current phase must be among the phases.", param="phases")
    if wanted[0].get("start_date", start) != start and current is not None:
        raise invalid(
            f"The first phase must be the current one, which started at {start}.", param="phases[0][start_date]"
        )
    made = phases.from_params(account, wanted, wanted[0].get("start_date", start))
    schedule["phases"] = over + made
    if current is None:
        return None
    schedule["current_phase"] = {"start_date": made[0]["start_date"], "end_date": made[0]["end_date"]}
    return made[0]


def _open(account: Account, identifier: str) -> Object:
    found = account.find(KIND, identifier, noun="subscription schedule")
    if found["status"] not in ("not_started", "active"):
        raise invalid(f"You cannot change a subscription schedule that is currently in the `{found['status']}` status.")
    return found


@route("POST", "/v1/subscription_schedules/{schedule}/release", "SubscriptionScheduleReleaseParams")
def release(account: Account, params: dict[str, Any], schedule: str) -> Object:
    found = _open(account, schedule)
    phases.release(account, found)
    return found


@route("POST", "/v1/subscription_schedules/{schedule}/cancel", "SubscriptionScheduleCancelParams")
def cancel(account: Account, params: dict[str, Any], schedule: str) -> Object:
    """Cancels its subscription too."""
    found = _open(account, schedule)
    if found["status"] == "active":
        cancel_now(account, account.find("subscription", found["subscription"]))
    else:
        now = account.now(found["test_clock"])
        account.store.edit(found).update(status="canceled", canceled_at=now)
        account.emit("subscription_schedule.canceled", found)
    return found


@route("GET", "/v1/subscription_schedules", "SubscriptionScheduleListParams", f"{PAGING} created customer scheduled")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    documents = None
    if "customer" in params:
        account.find("customer", params["customer"], param="customer")
        documents = account.store.where(KIND, "customer", params["customer"])

    def keep(schedule: Object) -> bool:
        return not params.get("scheduled") or schedule["status"] == "not_started"

    return page(account, KIND, params, "/v1/subscription_schedules", keep, documents=documents)
