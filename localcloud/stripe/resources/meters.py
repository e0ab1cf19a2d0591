"""/v1/billing/meters and their event summaries, /v1/billing/meter_events and their adjustments"""

from __future__ import annotations

import re
from typing import Any

from localcloud.stripe import metering
from localcloud.stripe.account import Account
from localcloud.stripe.due import DAY, HOUR
from localcloud.stripe.errors import ApiError, invalid, missing_param, no_such
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

EARLIEST_S, LATEST_S = 35 * DAY, 300
KIND = "billing.meter"
WINDOWS = {"hour": HOUR, "day": DAY}
BAD_VALUE = "meter_event_invalid_value"


@route(
    "POST",
    "/v1/billing/meters",
    "billing.MeterCreateParams",
    "customer_mapping default_aggregation display_name event_name event_time_window value_settings",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    name = params["event_name"]
    if any(meter["event_name"] == name and meter["status"] == "active" for meter in account.store.all(KIND)):
        raise invalid(f"A meter with event_name '{name}' already exists.", code="resource_already_exists")
    now = account.now()
    mapping = params.get("customer_mapping") or {"event_payload_key": "stripe_customer_id", "type": "by_id"}
    return account.store.add(
        {
            "id": new_id(KIND),
            "object": KIND,
            "created": now,
            "customer_mapping": mapping,
            "default_aggregation": params["default_aggregation"],
            "display_name": params["display_name"],
            "event_name": name,
            "event_time_window": params.get("event_time_window"),
            "livemode": False,
            "status": "active",
            "status_transitions": {"deactivated_at": None},
            "updated": now,
            "value_settings": params.get("value_settings") or {"event_payload_key": "value"},
        }
    )


@route("GET", "/v1/billing/meters/{meter}", "billing.MeterRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], meter: str) -> Object:
    return account.find(KIND, meter)


@route("POST", "/v1/billing/meters/{meter}", "billing.MeterUpdateParams", "display_name")
def update(account: Account, params: dict[str, Any], meter: str) -> Object:
    found = account.store.edit(account.find(KIND, meter))
    found["display_name"] = params.get("display_name", found["display_name"])
    found["updated"] = account.now()
    return found


@route("POST", "/v1/billing/meters/{meter}/deactivate", "billing.MeterDeactivateParams")
def deactivate(account: Account, params: dict[str, Any], meter: str) -> Object:
    found = account.store.edit(account.find(KIND, meter))
    found.update(status="inactive", updated=account.now())
    found["status_transitions"]["deactivated_at"] = account.now()
    return found


@route("POST", "/v1/billing/meters/{meter}/reactivate", "billing.MeterReactivateParams")
def reactivate(account: Account, params: dict[str, Any], meter: str) -> Object:
    found = account.store.edit(account.find(KIND, meter))
    found.update(status="active", updated=account.now())
    found["status_transitions"]["deactivated_at"] = None
    return found


@route("GET", "/v1/billing/meters", "billing.MeterListParams", f"{PAGING} status")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    status = params.get("status")
    return page(account, KIND, params, "/v1/billing/meters", lambda meter: status in (None, meter["status"]))


@route(
    "GET",
    "/v1/billing/meters/{meter}/event_summaries",
    "billing.MeterListEventSummariesParams",
    f"{PAGING} customer start_time end_time value_grouping_window",
)
def list_summaries(account: Account, params: dict[str, Any], meter: str) -> Object:
    found = account.find(KIND, meter)
    customer = account.find("customer", params["customer"], param="customer")
    window = WINDOWS.get(params.get("value_grouping_window", ""))
    unit, word = (60, "minute") if window is None else (window, params["value_grouping_window"])
    for name in ("start_time", "end_time"):
        if params[name] % unit:
            raise invalid(f"{name} must be aligned with {word} boundaries.", param=name)
    if params["start_time"] >= params["end_time"]:
        raise invalid("start_time must be before end_time.", param="start_time")
    period = (params["start_time"], params["end_time"])
    documents = metering.summaries(account, found["id"], customer["id"], period, window)[::-1]
    url = f"/v1/billing/meters/{found['id']}/event_summaries"
    return page(account, "billing.meter_event_summary", params, url, documents=documents)


@route("POST", "/v1/billing/meter_events", "billing.MeterEventCreateParams", "event_name identifier payload timestamp")
def create_event(account: Account, params: dict[str, Any]) -> Object:
    """Identifiers are unique over 24 hours; timestamps lie 35 days back to 5 minutes ahead; values are whole numbers,
    negative ones too: they correct. https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api"""
    meter = _meter_of_events(account, params["event_name"])
    payload = params["payload"]
    customer = account.find(
        "customer", payload.get(meter["customer_mapping"]["event_payload_key"], ""), param="payload"
    )
    value = payload.get(meter["value_settings"]["event_payload_key"])
    if value is None and meter["default_aggregation"]["formula"] != "count":
        key = meter["value_settings"]["event_payload_key"]
        raise invalid(f"The payload has no {key}.", param="payload", code="meter_event_value_not_found")
    if not re.fullmatch(r"-?[0-9]{1,15}", value or "1"):
        shown = str(value)[:50]
        raise invalid(f"Invalid value in the payload: {shown}: must be a whole number", param="payload", code=BAD_VALUE)
    now = account.now(customer["test_clock"])
    timestamp = params.get("timestamp", now)
    if not now - EARLIEST_S <= timestamp <= now + LATEST_S:
        raise invalid(
            "The timestamp must be within the past 35 calendar days and at most 5 minutes in the future.",
            param="timestamp",
            code="timestamp_too_far_in_past" if timestamp < now else "timestamp_in_future",
        )
    identifier = params.get("identifier") or new_id(metering.EVENT)
    if metering.known(account, identifier, now) is not None:
        raise ApiError(
            400,
            f"An event already exists with identifier {identifier[:100]}.",
            code="duplicate_meter_event",
            param="identifier",
        )
    return metering.add(
        account,
        {
            "id": identifier,
            "object": metering.EVENT,
            "_customer": customer["id"],
            "_meter": meter["id"],
            "_value": int(value or "1"),
            "created": now,
            "event_name": params["event_name"],
            "identifier": identifier,
            "livemode": False,
            "payload": payload,
            "timestamp": timestamp,
        },
    )


def _meter_of_events(account: Account, event_name: str) -> Object:
    named = [meter for meter in account.store.all(KIND) if meter["event_name"] == event_name]
    for meter in named:
        if meter["status"] == "active":
            return meter
    raise invalid(
        f"No active meter found matching the event_name '{event_name[:100]}'",
        param="event_name",
        code="archived_meter" if named else "no_meter",
    )


@route(
    "POST",
    "/v1/billing/meter_event_adjustments",
    "billing.MeterEventAdjustmentCreateParams",
    "event_name type cancel.identifier",
)
def adjust(account: Account, params: dict[str, Any]) -> Object:
    """Takes an event back, within 24 hours of its arrival."""
    identifier = (params.get("cancel") or {}).get("identifier")
    if identifier is None:
        raise missing_param("cancel[identifier]")
    event = account.store.get(metering.EVENT, identifier)
    if event is None or event["event_name"] != params["event_name"] or event.get("_cancelled"):
        raise no_such("billing meter event", identifier, param="cancel[identifier]", status=400)
    clock = account.find("customer", event["_customer"])["test_clock"]
    if account.now(clock) - event["created"] > metering.UNIQUE_S:
        raise invalid("Meter events can be cancelled within 24 hours only.", param="cancel[identifier]")
    metering.take_back(account, event)
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": params["event_name"],
        "livemode": False,
        "status": "complete",
        "type": "cancel",
    }
