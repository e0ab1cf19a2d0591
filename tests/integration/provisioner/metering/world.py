"""Metering's world for tests: a real registry, and the local Stripe in process under a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from localcloud.stripe import metering as stripe_metering
from localcloud.stripe.errors import ApiError
from localcloud.stripe.inprocess import InProcess
from provisioner.billing.meters import BilledMeter, MeterEvent, Outcome, Receipt
from provisioner.errors import StripeUnavailable

HOUR = timedelta(hours=1)
FORMULAS = {"sum": "sum", "count": "sum", "last": "last"}


class Clock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at.timestamp()


@dataclass
class InProcessMeters:
    """A ``MeterGateway`` on the local Stripe. ``fault`` is asked before each event: None, "refuse" (nothing arrives)
    or "lose" (it arrives, and the answer does not)."""

    stripe: InProcess
    fault: Callable[[MeterEvent], str | None] = field(default=lambda event: None)
    lag: Callable[[int], int] = field(default=lambda value: value)

    async def send(self, event: MeterEvent) -> Receipt:
        fault = self.fault(event)
        if fault == "refuse":
            raise StripeUnavailable("Stripe could not be reached (a test)")
        receipt = self._send(event)
        if fault == "lose":
            raise StripeUnavailable("the connection ended before the answer (a test)")
        return receipt

    def _send(self, event: MeterEvent) -> Receipt:
        try:
            self.stripe.call(
                "POST",
                "/v1/billing/meter_events",
                {
                    "event_name": event.meter,
                    "identifier": event.identifier,
                    "payload": {"stripe_customer_id": event.customer_id, "value": str(event.value)},
                    "timestamp": int(event.at.timestamp()),
                },
            )
        except ApiError as error:
            if error.code == "duplicate_meter_event":
                return Receipt(Outcome.KNOWN)
            if error.code in ("no_meter", "archived_meter"):
                return Receipt(Outcome.NO_METER, error.message)
            return Receipt(Outcome.REFUSED, f"{error.code}: {error.message}")
        return Receipt(Outcome.TAKEN)

    async def hours(self, meter_id: str, customer_id: str, since: datetime, until: datetime) -> Mapping[datetime, int]:
        found: dict[datetime, int] = {}
        params: dict[str, Any] = {
            "customer": customer_id,
            "start_time": int(since.timestamp()),
            "end_time": int(until.timestamp()),
            "value_grouping_window": "hour",
            "limit": 100,
        }
        while True:
            page = self.stripe.call("GET", f"/v1/billing/meters/{meter_id}/event_summaries", params)
            for each in page["data"]:
                found[datetime.fromtimestamp(each["start_time"], UTC)] = self.lag(each["aggregated_value"])
            if not page["has_more"]:
                return found
            params = {**params, "starting_after": page["data"][-1]["id"]}

    async def meters(self) -> Mapping[str, BilledMeter]:
        found = self.stripe.call("GET", "/v1/billing/meters", {"limit": 100})["data"]
        return {
            each["event_name"]: BilledMeter(
                each["id"], each["event_name"], each["default_aggregation"]["formula"], each["status"] == "active"
            )
            for each in found
        }

    async def close(self) -> None:
        pass


class World:
    """Tenants with customers of the local Stripe, meters on both sides, and usage entered in SQL."""

    def __init__(self, database_url: str, meters: Mapping[str, str], tenants: int = 1) -> None:
        self.database_url = database_url
        now = datetime.now(UTC)
        self.clock = Clock(now.replace(minute=0, second=0, microsecond=0) - timedelta(days=10))
        self.stripe = InProcess(self.clock)
        self.gateway = InProcessMeters(self.stripe)
        self.customers: dict[str, str] = {}
        self.kept = psycopg.connect(database_url, autocommit=True)
        self._keys = 0
        with psycopg.connect(database_url) as connection:
            for name, aggregation in meters.items():
                self._meter(connection, name, aggregation)
            for number in range(tenants):
                self.tenant(connection, f"tenant-{number}")

    def _meter(self, connection: psycopg.Connection[Any], name: str, aggregation: str) -> None:
        connection.execute(
            "INSERT INTO registry.meter (name, title, aggregation) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            [name, name, aggregation],
        )
        params = {
            "display_name": name,
            "event_name": name,
            "default_aggregation": {"formula": FORMULAS[aggregation]},
        }
        self.stripe.call("POST", "/v1/billing/meters", params)

    def tenant(self, connection: psycopg.Connection[Any], tenant_id: str, plan: str | None = None) -> str:
        customer: str = self.stripe.call("POST", "/v1/customers", {"metadata": {"tenant_id": tenant_id}})["id"]
        connection.execute(
            "INSERT INTO registry.tenant (tenant_id, stripe_customer_id, plan) VALUES (%s, %s, %s) "
            "ON CONFLICT (tenant_id) DO UPDATE SET stripe_customer_id = excluded.stripe_customer_id",
            [tenant_id, customer, plan],
        )
        self.customers[tenant_id] = customer
        return customer

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database_url, autocommit=True)

    def use(
        self,
        value: int,
        *,
        tenant: str = "tenant-0",
        meter: str = "calls",
        at: datetime | None = None,
        records: int = 1,
        kind: str = "usage",
    ) -> None:
        """Enter usage of the moment ``at`` (now): what ``record_usage`` makes of a record, whatever the date is."""
        at = at or self.clock.at
        self._keys += 1
        self.kept.execute(
            "SELECT registry.add_usage(ARRAY[ROW(%(tenant)s, %(meter)s, %(key)s, %(kind)s, %(customer)s, "
            "(SELECT registry.usage_bucket(%(at)s, max(starts_at), max(ends_at)) FROM registry.usage_period "
            "WHERE tenant_id = %(tenant)s), %(records)s, %(value)s, %(value)s, %(at)s, NULL, now())"
            "::registry.usage_entry])",
            {
                "tenant": tenant,
                "meter": meter,
                "key": f"k{self._keys}",
                "kind": kind,
                "customer": self.customers[tenant],
                "at": at,
                "records": records,
                "value": value,
            },
        )

    def billed(self, tenant: str = "tenant-0", meter: str = "calls") -> int | None:
        """What Stripe makes of all its events."""
        found = self.stripe.call("GET", "/v1/billing/meters", {"limit": 100})["data"]
        identifier = next(each["id"] for each in found if each["event_name"] == meter)
        now = int(self.clock())
        span = (now - 90 * 86400, now + 90 * 86400)
        return stripe_metering.aggregate(self.stripe.account, identifier, self.customers[tenant], span)

    def states(self) -> list[str]:
        rows = self.kept.execute("SELECT state FROM registry.usage_report ORDER BY report_id").fetchall()
        return [row[0] for row in rows]

    def open_hours(self) -> int:
        row = self.kept.execute(
            "SELECT (SELECT count(*) FROM registry.usage_hour WHERE quantity IS DISTINCT FROM planned) "
            "+ (SELECT count(*) FROM registry.usage_report WHERE state IN ('planned', 'sending'))"
        ).fetchone()
        assert row is not None
        return int(row[0])
