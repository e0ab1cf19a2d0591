"""Customers of a test account that live by a test clock of Stripe's: their time is not the account's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from provisioner.billing.gateway import BillingGateway
from provisioner.errors import NotFound


async def times_of(
    gateway: BillingGateway, documents: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, datetime]:
    """customer -> its time, for those with a clock; ``documents``: customer -> its subscriptions. A clock that was
    deleted meanwhile is left out: the customer went with it."""
    found: dict[str, datetime] = {}
    times: dict[str, datetime | None] = {}
    for customer, bought in documents.items():
        expanded = bought[0].get("customer") if bought else None
        clock = expanded.get("test_clock") if isinstance(expanded, dict) else None
        if not isinstance(clock, str):
            continue
        if clock not in times:
            try:
                times[clock] = await gateway.now(clock)
            except NotFound:
                times[clock] = None
        at = times[clock]
        if at is not None:
            found[customer] = at
    return found
