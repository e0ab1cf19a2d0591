"""/v1/billing/meters, /v1/billing/meter_events and their adjustments"""

from __future__ import annotations

import re
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import DAY
from localcloud.stripe.errors import ApiError, invalid, missing_param, no_such
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

EARLIEST_S, LATEST_S = 35 * DAY, 300
KIND = "billing.meter"


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


@route("POST", "/v1/billing/meter_events", "billing.MeterEventCreateParams", "event_name identifier payload timestamp")
def create_event(account: Account, params: dict[str, Any]) -> Object:
    """Identifiers are unique (Stripe: over at least 24 hours); timestamps lie 35 days back to 5 minutes ahead."""
    meter = next(
        (
            meter
            for meter in account.store.all(KIND)
            if meter["event_name"] == params["event_name"] and meter["status"] == "active"
        ),
        None,
    )
    if meter is None:
        raise invalid(f"No active meter found matching the event_name '{params['event_name']}'", param="event_name")
    payload = params["payload"]
    customer = account.find(
        "customer", payload.get(meter["customer_mapping"]["event_payload_key"], ""), param="payload"
    )
    value = payload.get(meter["value_settings"]["event_payload_key"], "1")
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise invalid(f"Invalid value in the payload: {value[:50]}: must be a whole number", param="payload")
    now = account.now(customer["test_clock"])
    timestamp = params.get("timestamp", now)
    if not now - EARLIEST_S <= timestamp <= now + LATEST_S:
        raise invalid(
            "The timestamp must be within the past 35 calendar days and at most 5 minutes in the future.",
            param="timestamp",
        )
    identifier = params.get("identifier") or new_id("billing.meter_event")
    if account.store.get("billing.meter_event", identifier) is not None:
        raise ApiError(
            400,
            f"An event already exists with identifier {identifier[:100]}.",
            code="duplicate_meter_event",
            param="identifier",
        )
    return account.store.add(
        {
            "id": identifier,
            "object": "billing.meter_event",
            "_customer": customer["id"],
            "_value": value,
            "created": now,
            "event_name": params["event_name"],
            "identifier": identifier,
            "livemode": False,
            "payload": payload,
            "timestamp": timestamp,
        }
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
    event = account.store.get("billing.meter_event", identifier)
    if event is None or event["event_name"] != params["event_name"]:
        raise no_such("billing meter event", identifier, param="cancel[identifier]", status=400)
    clock = account.find("customer", event["_customer"])["test_clock"]
    if account.now(clock) - event["created"] > DAY:
        raise invalid("Meter events can be cancelled within 24 hours only.", param="cancel[identifier]")
    account.store.remove(event)
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": params["event_name"],
        "livemode": False,
        "status": "complete",
        "type": "cancel",
    }
