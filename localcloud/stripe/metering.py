"""How much of a meter a customer used in a period."""

from __future__ import annotations

from localcloud.stripe.account import Account


def usage(account: Account, meter: str, customer: str, period: tuple[int, int]) -> int:
    """The meter's aggregate (sum, count or last) of its events with ``start <= timestamp < end``."""
    document = account.find("billing.meter", meter)
    values = [
        int(event["_value"])
        for event in sorted(
            account.store.where("billing.meter_event", "customer", customer), key=lambda event: int(event["timestamp"])
        )
        if event["event_name"] == document["event_name"] and period[0] <= event["timestamp"] < period[1]
    ]
    match document["default_aggregation"]["formula"]:
        case "count":
            return len(values)
        case "last":
            return values[-1] if values else 0
        case _:
            return sum(values)
