"""Payments that were taken back: disputes and refunds, as they were last seen in Stripe."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
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
    created: int
    period_end: int | None


async def put(connection: AsyncConnection, case: PaymentCase) -> bool:
    """Record what Stripe says now; True if that is news."""
    cursor = await connection.execute(_sql("put"), asdict(case))
    return cursor.rowcount == 1
