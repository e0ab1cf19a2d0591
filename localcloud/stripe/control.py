"""/_local/...: what Stripe has no API for: time, faults, deliveries, customers. JSON both ways, with the API key.

``control`` performs one without HTTP.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.stripe import api_faults
from localcloud.stripe.account import Account
from localcloud.stripe.app import authenticate
from localcloud.stripe.delivery import DEFAULT_FAULTS, DEFAULT_RETRY
from localcloud.stripe.dispatch import date_header
from localcloud.stripe.due import DAY, DEFAULT_UPCOMING_DAYS
from localcloud.stripe.errors import ApiError, invalid, unrecognized_url
from localcloud.stripe.payments import disputing, refunding
from localcloud.stripe.render import render
from localcloud.stripe.resources import checkout, payment_methods, portal
from localcloud.stripe.subscriptions import schedule
from localcloud.stripe.subscriptions.invoices import DEFAULT_DUNNING
from localcloud.stripe.subscriptions.taxes import DEFAULT_TAX


@dataclass(frozen=True)
class Command:
    """A call of a control route: the ids of its path, its query and its JSON body."""

    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


Control = Callable[[Account, Command], dict[str, Any]]

MAX_ADVANCE_S = 10 * 366 * 86400
#: Billing steps between which deliveries and other requests get their turn.
STEPS_AT_ONCE = 20


def control(account: Account, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer of a control route, without HTTP. ``ApiError`` as everywhere."""
    plain, _, query = path.partition("?")
    for pattern, known, handler in TABLE:
        match = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern), plain)
        if match and known == method:
            return handler(account, Command(match.groupdict(), dict(parse_qsl(query)), body or {}))
    raise unrecognized_url(method, path)


def routes(account: Account) -> list[Route]:
    return [
        Route(path, _endpoint(account, handler, checked=path != "/_local/health"), methods=[method])
        for path, method, handler in TABLE
    ]


def _endpoint(account: Account, handler: Control, *, checked: bool) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            if checked:
                authenticate(request)
            command = Command(request.path_params, request.query_params, _json(body))
            if handler is _advance:
                answer = await _advance_in_parts(account, command)
            else:
                answer = handler(account, command)
            return JSONResponse(answer, headers=date_header(account))
        except ApiError as error:
            return JSONResponse(error.body(), status_code=error.status, headers=date_header(account))

    return endpoint


def _json(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("The body must be a JSON object") from None
    if not isinstance(document, dict):
        raise invalid("The body must be a JSON object")
    return document


def _health(account: Account, command: Command) -> dict[str, Any]:
    return {"ok": True}


def _clock(account: Account, command: Command) -> dict[str, Any]:
    return {"now": account.now(), "offset": account.setting("clock_offset", 0)}


def _target(account: Account, command: Command) -> int:
    seconds = command.body.get("seconds")
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 < seconds <= MAX_ADVANCE_S:
        raise invalid(f"seconds must be an integer from 1 to {MAX_ADVANCE_S}", param="seconds")
    return account.now() + seconds


def _advance(account: Account, command: Command) -> dict[str, Any]:
    target, steps = _target(account, command), 0
    while (count := _advance_once(account, target)) == STEPS_AT_ONCE:
        steps += count
    return {**_clock(account, command), "steps": steps + count}


async def _advance_in_parts(account: Account, command: Command) -> dict[str, Any]:
    """As ``_advance``, with other requests and deliveries in between."""
    target, steps = _target(account, command), 0
    while (count := _advance_once(account, target)) == STEPS_AT_ONCE:
        steps += count
        await asyncio.sleep(0)
    return {**_clock(account, command), "steps": steps + count}


def _advance_once(account: Account, target: int) -> int:
    with account.transaction():
        return schedule.advance_account(account, target, limit=STEPS_AT_ONCE)


def _faults(account: Account, command: Command) -> dict[str, Any]:
    return {**DEFAULT_FAULTS, **account.setting("faults", {})}


def _set_faults(account: Account, command: Command) -> dict[str, Any]:
    """Replaces all faults: what isn't given is off."""
    checked = _checked(command.body, DEFAULT_FAULTS)
    with account.transaction():
        account.set_setting("faults", checked)
    return checked


def _api_faults(account: Account, command: Command) -> dict[str, Any]:
    setting = api_faults.current(account)
    shown = {name: value for name, value in setting.items() if not name.startswith("_")}
    return {**shown, "outage": api_faults.outage(account)}


def _set_api_faults(account: Account, command: Command) -> dict[str, Any]:
    """Replaces all faults of the API: what isn't given is off."""
    checked = api_faults.check(command.body)
    with account.transaction():
        api_faults.store(account, checked)
    return _api_faults(account, command)


def _settings(account: Account, command: Command) -> dict[str, Any]:
    return {
        "retry": {**DEFAULT_RETRY, **account.setting("retry", {})},
        "dunning": account.setting("dunning", DEFAULT_DUNNING),
        "tax": account.setting("tax", DEFAULT_TAX),
        "upcoming_days": account.setting("upcoming_days", DEFAULT_UPCOMING_DAYS),
    }


def _set_settings(account: Account, command: Command) -> dict[str, Any]:
    body = command.body
    known = _settings(account, command)
    unknown = set(body) - set(known)
    if unknown:
        raise invalid(f"Unknown setting {sorted(unknown)[0]}: there are {', '.join(known)}")
    with account.transaction():
        if "retry" in body:
            account.set_setting("retry", _checked(body["retry"], DEFAULT_RETRY))
        if "dunning" in body:
            account.set_setting("dunning", _dunning(body["dunning"]))
        if "tax" in body:
            account.set_setting("tax", _tax(body["tax"]))
        if "upcoming_days" in body:
            account.set_setting("upcoming_days", _days(body["upcoming_days"]))
            for subscription in account.store.all("subscription"):
                account.store.edit(subscription)["_upcoming_lead"] = body["upcoming_days"] * DAY
    return _settings(account, command)


def _days(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= 45:
        raise invalid("upcoming_days must be a number of days from 0 (no notice) to 45", param="upcoming_days")
    return given


def _tax(given: Any) -> dict[str, Any]:
    """Percentages as text, so that they stay exact."""
    percentage = given.get("percentage", DEFAULT_TAX["percentage"]) if isinstance(given, dict) else None
    countries = given.get("countries", {}) if isinstance(given, dict) else None
    if not isinstance(countries, dict) or not all(
        isinstance(value, str) and re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,4})?", value)
        for value in (percentage, *countries.values())
    ):
        raise invalid('tax must be {"percentage": "20", "countries": {"DE": "19"}}', param="tax")
    return {"percentage": percentage, "countries": countries}


def _dunning(given: Any) -> dict[str, Any]:
    days = given.get("retry_days", DEFAULT_DUNNING["retry_days"]) if isinstance(given, dict) else None
    then = given.get("then", DEFAULT_DUNNING["then"]) if isinstance(given, dict) else None
    if not isinstance(days, list) or not all(isinstance(day, int) and 0 < day <= 60 for day in days):
        raise invalid("dunning.retry_days must be a list of days from 1 to 60", param="dunning")
    if then not in ("cancel", "mark_unpaid", "leave"):
        raise invalid("dunning.then must be one of cancel, mark_unpaid, or leave", param="dunning")
    return {"retry_days": days, "then": then}


def _checked(given: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise invalid("must be a JSON object")
    result = dict(defaults)
    for name, value in given.items():
        if name not in defaults:
            raise invalid(f"Unknown key {name}: there are {', '.join(defaults)}", param=name)
        wanted = type(defaults[name])
        ok = (
            isinstance(value, bool)
            if wanted is bool
            else isinstance(value, int | float) and not isinstance(value, bool)
        )
        if not ok or (wanted is int and not isinstance(value, int)) or value < 0:
            raise invalid(f"{name} must be a {wanted.__name__}, not negative", param=name)
        result[name] = value
    return result


def _deliveries(account: Account, command: Command) -> dict[str, Any]:
    event, state = command.query.get("event"), command.query.get("state")
    with account.lock:
        data = [
            {name: item[name] for name in ("id", "event", "type", "endpoint", "state", "attempts")}
            for item in account.store.all("_delivery")
            if event in (None, item["event"]) and state in (None, item["state"])
        ]
        return {"data": json.loads(json.dumps(data))}


def _redeliver(account: Account, command: Command) -> dict[str, Any]:
    """Send an event to every enabled endpoint that wants it, whatever became of it before."""
    with account.transaction():
        event = account.find("event", command.ids["event"])
        queued = account.requeue(event)
    return {"event": event["id"], "deliveries": queued}


def _roll_secret(account: Account, command: Command) -> dict[str, Any]:
    """Sign with a new secret; with ``keep_old`` also with the former one, as during Stripe's overlap of 24 hours."""
    secret = command.body.get("secret")
    if not isinstance(secret, str) or not secret:
        raise invalid("secret must be a string", param="secret")
    with account.transaction():
        record = account.find("_endpoint_secret", command.ids["endpoint"], noun="webhook endpoint")
        former = record["secrets"][0]
        account.store.edit(record)["secrets"] = [secret, former] if command.body.get("keep_old") else [secret]
    return {"ok": True}


def _complete_checkout(account: Account, command: Command) -> dict[str, Any]:
    """The customer fills the checkout page in: see ``resources.checkout.Form``."""
    form = checkout.Form.from_json(command.body)
    with account.transaction():
        return render(account, checkout.complete(account, command.ids["session"], form))


def _act_in_portal(account: Account, command: Command) -> dict[str, Any]:
    """The customer does something in the billing portal: see ``resources.portal.ACTIONS``."""
    action = command.body.get("action")
    if not isinstance(action, str):
        raise invalid(f"action must be one of {', '.join(portal.ACTIONS)}", param="action")
    with account.transaction():
        return render(account, portal.act(account, command.ids["session"], action, command.body))


def _open_dispute(account: Account, command: Command) -> dict[str, Any]:
    """A customer disputes a payment: ``{"charge": "ch_...", "reason": "fraudulent", "amount": 900}``."""
    charge, reason = command.body.get("charge"), command.body.get("reason", "fraudulent")
    amount = command.body.get("amount")
    if not isinstance(charge, str) or not isinstance(reason, str):
        raise invalid("charge and reason must be strings", param="charge")
    if amount is not None and (not isinstance(amount, int) or isinstance(amount, bool)):
        raise invalid("amount must be an integer", param="amount")
    with account.transaction():
        found = account.find("charge", charge, param="charge")
        return render(account, disputing.open_dispute(account, found, reason, amount))


def _decide_dispute(account: Account, command: Command) -> dict[str, Any]:
    """The bank decides: ``{"status": "won"}``, or ``lost``."""
    status = command.body.get("status")
    if status not in ("won", "lost"):
        raise invalid("status must be won or lost", param="status")
    with account.transaction():
        dispute = account.find("dispute", command.ids["dispute"])
        disputing.close(account, dispute, status)
        return render(account, dispute)


def _fail_refund(account: Account, command: Command) -> dict[str, Any]:
    """The bank sends a refund back: ``{"reason": "lost_or_stolen_card"}``."""
    reason = command.body.get("reason", "unknown")
    if not isinstance(reason, str):
        raise invalid("reason must be a string", param="reason")
    with account.transaction():
        refund = account.find("refund", command.ids["refund"])
        refunding.fail(account, refund, reason)
        return render(account, refund)


def _change_card(account: Account, command: Command) -> dict[str, Any]:
    """What a bank does to a card: ``decline_code`` refuses its charges from now on (null: they succeed); ``exp_month``
    and ``exp_year`` are its new end, which Stripe learns by itself (``payment_method.automatically_updated``)."""
    body = command.body
    unknown = set(body) - {"decline_code", "exp_month", "exp_year"}
    if unknown:
        raise invalid(f"Unknown key {sorted(unknown)[0]}: there are decline_code, exp_month and exp_year")
    if not isinstance(body.get("decline_code"), str | None):
        raise invalid("decline_code must be a string or null", param="decline_code")
    with account.transaction():
        method = account.find("payment_method", command.ids["method"])
        if "decline_code" in body:
            account.store.edit(method)["_decline_code"] = body["decline_code"]
        dates: dict[str, Any] = {name: body[name] for name in ("exp_month", "exp_year") if name in body}
        if dates:
            payment_methods.update_card(account, method, dates, "payment_method.automatically_updated")
        return render(account, method)


#: path, method and what answers it
TABLE: list[tuple[str, str, Control]] = [
    ("/_local/health", "GET", _health),
    ("/_local/clock", "GET", _clock),
    ("/_local/clock/advance", "POST", _advance),
    ("/_local/faults", "GET", _faults),
    ("/_local/faults", "POST", _set_faults),
    ("/_local/api_faults", "GET", _api_faults),
    ("/_local/api_faults", "POST", _set_api_faults),
    ("/_local/settings", "GET", _settings),
    ("/_local/settings", "POST", _set_settings),
    ("/_local/deliveries", "GET", _deliveries),
    ("/_local/checkout/{session}/complete", "POST", _complete_checkout),
    ("/_local/disputes", "POST", _open_dispute),
    ("/_local/disputes/{dispute}", "POST", _decide_dispute),
    ("/_local/refunds/{refund}/fail", "POST", _fail_refund),
    ("/_local/payment_methods/{method}", "POST", _change_card),
    ("/_local/portal/{session}", "POST", _act_in_portal),
    ("/_local/redeliver/{event}", "POST", _redeliver),
    ("/_local/webhook_endpoints/{endpoint}/roll_secret", "POST", _roll_secret),
]
