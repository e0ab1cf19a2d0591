"""What tenants use, in the ledger, and the real reporter telling it to Stripe: through outages and lost answers."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import stripe as library
from psycopg import AsyncConnection

from localcloud.simulation.clock import DAY, VirtualClock
from localcloud.stripe.api_faults import ConnectionLost
from localcloud.stripe.errors import ApiError
from localcloud.stripe.inprocess import InProcess
from provisioner.billing.meters_stripe import StripeMeters
from provisioner.metering.reporter import Reporter
from provisioner.operate import Pool

METER = "simulated_calls"
ANSWER_LOST = 0.03
USED_BY = 0.02  #: of the customers, a step
AGAIN = 0.1  #: of what is recorded is recorded once more under the same key
LATE_DAYS = 20  #: some of it is of so many days ago at most
_OPEN = """
SELECT (SELECT count(*) FROM registry.usage_hour WHERE quantity IS DISTINCT FROM planned)
     + (SELECT count(*) FROM registry.usage_report WHERE state IN ('planned', 'sending'))
"""


@dataclass(frozen=True)
class _Answer:
    body: str


class _Client:
    """The part of the library's client that ``StripeMeters`` uses, on the local Stripe in process."""

    def __init__(self, stripe: InProcess, chance: random.Random) -> None:
        self._stripe = stripe
        self._chance = chance
        self.down = False
        self.reliable = False

    async def raw_request_async(self, method: str, path: str, **params: Any) -> _Answer:
        if self.down:
            raise _unreachable("an outage of the simulation")
        try:
            document = self._stripe.call(method.upper(), path, params)
        except ConnectionLost as error:
            raise _unreachable(str(error)) from None
        except ApiError as error:
            raise _refused(error) from None
        if not self.reliable and method == "post" and self._chance.random() < ANSWER_LOST:
            raise _unreachable("the answer was lost")
        return _Answer(json.dumps(document))


def _unreachable(why: str) -> Exception:
    error: Exception = library.APIConnectionError(why)  # type: ignore[no-untyped-call]
    return error


def _refused(error: ApiError) -> Exception:
    refusal: Exception = library.InvalidRequestError(  # type: ignore[no-untyped-call]
        error.message, None, code=error.code, http_status=error.status, json_body=error.body()
    )
    return refusal


class _Meters(StripeMeters):
    def __init__(self, client: _Client) -> None:
        self._client = client  # type: ignore[assignment]


@dataclass
class Usage:
    pool: Pool
    stripe: InProcess
    clock: VirtualClock
    chance: random.Random
    database_url: str
    recorded: Counter[str] = field(default_factory=Counter)  #: customer -> units
    entries: int = 0
    meter: str = ""

    def __post_init__(self) -> None:
        self._client = _Client(self.stripe, self.chance)
        self._reporter = Reporter(self.database_url, _Meters(self._client), "simulation")

    async def prepare(self) -> None:
        document = self.stripe.call(
            "POST",
            "/v1/billing/meters",
            {"display_name": "Calls", "event_name": METER, "default_aggregation": {"formula": "sum"}},
        )
        self.meter = str(document["id"])
        async with self.pool.connection() as connection:
            await connection.execute(
                "INSERT INTO registry.meter (name, title, aggregation) VALUES (%s, 'Calls', 'sum')", [METER]
            )

    async def use(self, customers: list[tuple[str, str]]) -> None:
        """``customers``: (tenant, customer) of those that may use something now."""
        async with self.pool.connection() as connection:
            for tenant, customer in customers:
                if self.chance.random() >= USED_BY:
                    continue
                self.entries += 1
                value = self.chance.randint(1, 10_000)
                late = self.chance.randint(0, LATE_DAYS) * DAY if self.chance.random() < 0.1 else 0
                at = self.clock.moment - timedelta(seconds=late + 3 * 3600)
                key = f"entry-{self.entries}"
                for _ in range(2 if self.chance.random() < AGAIN else 1):
                    await _add(connection, tenant, customer, key, at, value)
                self.recorded[customer] += value

    async def report(self, *, down: bool) -> None:
        self._client.down = down
        await self._reporter.run(self.clock.moment)

    async def settle(self) -> None:
        """Until everything was told. Time goes on meanwhile: what is lost is decided by Stripe's totals after a day."""
        self._client.reliable = True
        for _ in range(60):
            self.clock.advance(3 * 3600)
            await self.report(down=False)
            async with self.pool.connection() as connection:
                row = await (await connection.execute(_OPEN)).fetchone()
            if row is not None and row[0] == 0:
                return

    def differences(self) -> dict[str, tuple[int, int]]:
        """Customer -> (recorded, what Stripe counted), where they are not the same: Stripe's own numbers."""
        found = {}
        end = (self.clock.now // DAY + 2) * DAY
        for customer, units in sorted(self.recorded.items()):
            answer = self.stripe.call(
                "GET",
                f"/v1/billing/meters/{self.meter}/event_summaries",
                {"customer": customer, "start_time": end - 1200 * DAY, "end_time": end},
            )
            counted = sum(int(each["aggregated_value"]) for each in answer["data"])
            if counted != units:
                found[customer] = (units, counted)
        return found


async def _add(connection: AsyncConnection, tenant: str, customer: str, key: str, at: datetime, value: int) -> None:
    await connection.execute(
        "SELECT registry.add_usage(ARRAY[ROW(%(tenant)s, %(meter)s, %(key)s, 'usage', %(customer)s, "
        "date_trunc('hour', %(at)s::timestamptz, 'UTC'), 1, %(value)s, %(value)s, %(at)s::timestamptz, NULL, now())"
        "::registry.usage_entry])",
        {"tenant": tenant, "meter": METER, "key": key, "customer": customer, "at": at, "value": value},
    )
