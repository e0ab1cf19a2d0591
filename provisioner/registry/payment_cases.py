"""Payments that were taken back: disputes and refunds, as they were last seen in Stripe."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from psycopg import AsyncConnection

from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("payment_cases"))


class CaseKind(StrEnum):
    DISPUTE = "dispute"
    REFUND = "refund"


@dataclass(frozen=True)
class PaymentCase:
    """A row of ``registry.payment_case``. Times are Unix seconds, ``amount`` in the currency's smallest unit."""

    case_id: str
    kind: CaseKind
    customer_id: str
    subscription_id: str | None
    status: str
    amount: int
    currency: str
    created: int  #: of a refund: when the last of it was made
    period_end: int | None


async def clock(connection: AsyncConnection) -> datetime:
    """The registry's time: for ``put``, taken before Stripe is asked."""
    cursor = await connection.execute(_sql("clock"))
    row = await cursor.fetchone()
    assert row is not None
    at: datetime = row[0]
    return at


async def put(connection: AsyncConnection, case: PaymentCase, *, looked_at: datetime) -> bool:
    """Record what a look at Stripe that began at ``looked_at`` saw; False if one that began later was recorded."""
    cursor = await connection.execute(_sql("put"), {**asdict(case), "looked_at": looked_at})
    return cursor.rowcount == 1
