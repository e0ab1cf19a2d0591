"""What customers used, by meter: events while they can be recognised or taken back, sums ever after.

A ``billing.meter_event`` is kept for 24 hours, as long as its identifier is unique and it can be cancelled. What it
counts is kept in ``_meter_usage`` documents, one a meter, customer and UTC day, by the second: invoices and summaries
read these alone, so that memory grows with the seconds in which something was reported, not with what was reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import DAY
from localcloud.stripe.store import Object

EVENT = "billing.meter_event"
USAGE = "_meter_usage"
UNIQUE_S = DAY  #: an identifier is recognised, and an event can be cancelled, for so long

#: Of one second: number of events, sum of their values, value of the last one
Second = list[int]


def usage(account: Account, meter: str, customer: str, period: tuple[int, int]) -> int:
    """The meter's aggregate (sum, count or last) of its events with ``start <= timestamp < end``.

    A negative sum is billed as 0, as Stripe does.
    """
    found = aggregate(account, meter, customer, period)
    return max(0, found or 0)


def aggregate(account: Account, meter: str, customer: str, period: tuple[int, int]) -> int | None:
    """None without any event in the period."""
    seconds = [second for _, second in sorted(_seconds(account, meter, customer, period))]
    if not seconds:
        return None
    match account.find("billing.meter", meter)["default_aggregation"]["formula"]:
        case "count":
            return sum(second[0] for second in seconds)
        case "last":
            return seconds[-1][2]
        case _:
            return sum(second[1] for second in seconds)


def _seconds(account: Account, meter: str, customer: str, period: tuple[int, int]) -> Iterator[tuple[int, Second]]:
    start, end = period
    for day in range(start // DAY, (end - 1) // DAY + 1):
        document = account.store.get(USAGE, _usage_id(meter, customer, day))
        if document is not None:
            for timestamp, second in document["seconds"].items():
                if start <= int(timestamp) < end:
                    yield int(timestamp), second


def known(account: Account, identifier: str, now: int) -> Object | None:
    """The event with an identifier, while Stripe would recognise it."""
    found = account.store.get(EVENT, identifier)
    return found if found is not None and now - found["created"] < UNIQUE_S else None


def add(account: Account, event: Object) -> Object:
    """Count an event; one with the same identifier must be forgotten by now."""
    former = account.store.get(EVENT, event["id"])
    if former is not None:
        account.store.remove(former)
    _forget_old_events(account)
    account.store.add(event)
    day = event["timestamp"] // DAY
    identifier = _usage_id(event["_meter"], event["_customer"], day)
    document = account.store.get(USAGE, identifier)
    if document is None:
        document = account.store.add(
            {"object": USAGE, "id": identifier, "_customer": event["_customer"], "seconds": {}}
        )
    else:
        account.store.edit(document)
    second = document["seconds"].setdefault(str(event["timestamp"]), [0, 0, 0])
    second[:] = [second[0] + 1, second[1] + event["_value"], event["_value"]]
    return event


def take_back(account: Account, event: Object) -> None:
    """Cancel an event: it counts no more. Its identifier stays taken."""
    account.store.edit(event)["_cancelled"] = True
    timestamp = event["timestamp"]
    identifier = _usage_id(event["_meter"], event["_customer"], timestamp // DAY)
    document = account.store.edit(account.find(USAGE, identifier))
    rest = [
        other["_value"]
        for other in account.store.where(EVENT, "customer", event["_customer"])
        if other["timestamp"] == timestamp and other["_meter"] == event["_meter"] and not other.get("_cancelled")
    ]
    count, total, last = document["seconds"][str(timestamp)]
    if count == 1:
        del document["seconds"][str(timestamp)]
    else:
        document["seconds"][str(timestamp)] = [count - 1, total - event["_value"], rest[-1] if rest else last]


def summaries(
    account: Account, meter: str, customer: str, period: tuple[int, int], window_s: int | None
) -> list[dict[str, Any]]:
    """``billing.meter_event_summary`` documents, newest first: of windows with events, or one of the whole period."""
    start, end = period
    if window_s is None:
        starts = [start]
    else:
        found = {timestamp // window_s * window_s for timestamp, _ in _seconds(account, meter, customer, period)}
        starts = sorted(found, reverse=True)
    return [
        {
            "id": f"mtrusg_test_{meter}{customer}{begin}",
            "object": "billing.meter_event_summary",
            "aggregated_value": aggregate(account, meter, customer, (begin, until)) or 0,
            "end_time": until,
            "livemode": False,
            "meter": meter,
            "start_time": begin,
        }
        for begin in starts
        for until in [end if window_s is None else min(begin + window_s, end)]
    ]


def _usage_id(meter: str, customer: str, day: int) -> str:
    return f"{meter}/{customer}/{day}"


def _forget_old_events(account: Account) -> None:
    while (oldest := account.store.oldest(EVENT)) is not None:
        customer = account.store.get("customer", oldest["_customer"])
        clock = None if customer is None else customer.get("test_clock")
        if account.now(clock) - oldest["created"] < UNIQUE_S:
            return
        account.store.remove(oldest)
