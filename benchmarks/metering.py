"""Usage from the SDK to Stripe: exact through crashes, lost answers, duplicates and an outage; and how fast.

Units are recorded by the SDK, hour by hour. After each hour a reporter is killed in the middle of its work (SIGKILL),
while Stripe loses answers; some usage comes late, some twice. In the middle Stripe is gone for 30 hours of its time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg_pool import AsyncConnectionPool

from benchmarks import report
from benchmarks.cloud import open_cloud
from benchmarks.report import Bar, Report, progress
from localcloud.home import REPOSITORY
from provisioner.billing.meters_stripe import StripeMeters
from provisioner.metering.reconciliation import Reconciler
from provisioner.operate import Pool
from tenantry import Config
from tenantry.metering import Meter

KEY = "sk_test_bench"
METER = "bench_units"
HOUR_S = 3600
RECORD_BAR_US = 20.0
LATE = 0.01  #: of the records, into an hour that may have been reported
KEYED = 0.02  #: of the records have an idempotency key, and are recorded once more


@dataclass
class Scale:
    tenants: int = 1000
    hours: int = 50
    units: int = 10_000_000
    crashes: int = 50
    records: int = 20  #: a tenant and hour
    events_before_crash: int = 2400  #: at most


@dataclass
class Rig:
    """Tenants, their customers at Stripe, and what was recorded for each."""

    database_url: str
    stripe_url: str
    spool: Path
    scale: Scale
    seed: int = 1
    recorded: dict[str, int] = field(default_factory=dict)
    customers: dict[str, str] = field(default_factory=dict)
    crashes: int = 0
    crashes_at_work: int = 0
    record_s: float = 0.0
    deliver_s: float = 0.0
    calls: int = 0
    duplicates: int = 0
    meter_id: str = ""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.began = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=self.scale.hours)
        self.http = httpx.Client(
            base_url=self.stripe_url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60, trust_env=False
        )

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(path, json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def post(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        answer = self.http.post(path, data=form)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def prepare(self) -> None:
        meter = {"display_name": "Units", "event_name": METER, "default_aggregation[formula]": "sum"}
        self.meter_id = self.post("/v1/billing/meters", meter)["id"]
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO registry.meter (name, title, aggregation) VALUES (%s, 'Units', 'sum')", [METER]
            )
            for number in range(self.scale.tenants):
                tenant = f"bench-{number}"
                self.customers[tenant] = self.post("/v1/customers", {"metadata[tenant_id]": tenant})["id"]
                self.recorded[tenant] = 0
                connection.execute(
                    "INSERT INTO registry.tenant (tenant_id, stripe_customer_id) VALUES (%s, %s)",
                    [tenant, self.customers[tenant]],
                )

    def meter(self) -> Meter:
        config = Config(
            database_url=self.database_url,
            api_url="http://bench",
            application_token="none",
            spool_dir=str(self.spool),
            usage_interval=3600.0,
        )
        meter = Meter(config)
        meter.start = lambda: None  # type: ignore[method-assign]  # delivered when the benchmark says so
        return meter

    def record_hour(self, hour: int) -> None:
        """Every tenant's usage of an hour, by way of the SDK; delivered twice."""
        meter = self.meter()
        share = self.scale.units // (self.scale.tenants * self.scale.hours)
        begin = self.began.timestamp() + hour * HOUR_S
        records: list[tuple[str, int, float, str | None]] = []
        for tenant in self.recorded:
            left = share
            for number in range(self.scale.records, 0, -1):
                value = left if number == 1 else self.chance.randint(0, 2 * left // number)
                left -= value
                late = self.chance.randrange(hour) if hour and self.chance.random() < LATE else 0
                at = begin - late * HOUR_S + self.chance.random() * (HOUR_S - 1)
                key = f"{hour}-{number}" if self.chance.random() < KEYED else None
                records.append((tenant, value, at, key))
            self.recorded[tenant] += share
        began = time.perf_counter()
        for tenant, value, at, key in records:
            meter.record(METER, value, tenant_id=tenant, timestamp=at, idempotency_key=key)
        self.record_s += time.perf_counter() - began
        self.calls += len(records)
        for tenant, value, at, key in records:
            if key is not None:
                meter.record(METER, value, tenant_id=tenant, timestamp=at, idempotency_key=key)
        meter._spool.seal()
        copies = [(path, path.read_bytes()) for path in self.spool.rglob("*.sealed")]
        began = time.perf_counter()
        if not meter.flush():
            raise RuntimeError(meter.statistics.failure)
        self.deliver_s += time.perf_counter() - began
        for path, content in copies:  # as if the answer had been lost, and the process with it
            path.write_bytes(content)
        again = self.meter()
        if not again.flush():
            raise RuntimeError(again.statistics.failure)
        self.duplicates += again.statistics.duplicates + meter.statistics.duplicates
        if again.statistics.delivered or meter.statistics.quarantined:
            raise RuntimeError(f"{again.statistics} {meter.statistics}")
        meter.close()
        again.close()

    def child(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.metering_child", self.database_url, self.stripe_url, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
        )

    def crash(self) -> None:
        """Start a reporter and kill it after some events (or while it waits, if there are fewer)."""
        wanted = self.chance.randrange(1, 2 * self.scale.events_before_crash)
        process = self.child("forever")
        assert process.stdout is not None
        seen = 0
        with process.stdout as output:
            while seen < wanted:
                chunk = os.read(output.fileno(), 1)
                if chunk in (b"", b"\n"):
                    break
                seen += 1
            process.kill()
            process.wait()
        self.crashes += 1
        self.crashes_at_work += seen == wanted

    def report_all(self) -> None:
        process = self.child()
        assert process.stdout is not None
        with process.stdout as output:
            output.read()
        if process.wait() != 0:
            raise RuntimeError("the reporter failed")

    def advance(self, hours: int) -> None:
        self.control("/_local/clock/advance", {"seconds": hours * HOUR_S})

    def faults(self, **faults: Any) -> None:
        self.control("/_local/api_faults", faults)

    def outage(self, hours: int = 30) -> None:
        """Answers are lost, then Stripe is gone; afterwards its identifiers are forgotten."""
        self.faults(lose_answer=0.5, seed=self.seed)
        self.crash()
        self.faults(outage="error_503")
        self.crash()
        self.advance(hours)
        self.crash()
        self.faults()

    def run(self) -> None:
        scale = self.scale
        for hour in range(scale.hours):
            progress(f"hour {hour + 1} of {scale.hours}")
            self.record_hour(hour)
            self.advance(1)
            if hour == scale.hours // 2:
                self.outage()
            else:
                self.faults(lose_answer=0.02, seed=hour)
                for _ in range(max(1, round((scale.crashes - self.crashes) / (scale.hours - hour)))):
                    self.crash()
        self.faults()

    def drain(self) -> float:
        """Report the rest; seconds that it took."""
        began = time.perf_counter()
        for _ in range(60):
            self.report_all()
            if not self.open():
                return time.perf_counter() - began
            self.advance(1)
        raise RuntimeError(f"{self.open()} hours or reports are open still")

    def open(self) -> int:
        return int(
            self._one(
                "SELECT (SELECT count(*) FROM registry.usage_hour WHERE quantity IS DISTINCT FROM planned) "
                "+ (SELECT count(*) FROM registry.usage_report WHERE state IN ('planned', 'sending'))"
            )
        )

    def _one(self, statement: str) -> Any:
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]

    def events(self) -> dict[str, int]:
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(
                "SELECT state, count(*) FROM registry.usage_report GROUP BY state ORDER BY state"
            ).fetchall()
        again = self._one("SELECT coalesce(sum(attempts - 1), 0) FROM registry.usage_report WHERE attempts > 1")
        return {**{str(state): int(count) for state, count in rows}, "sent again": int(again)}

    def differences(self) -> dict[str, tuple[int, int]]:
        """Tenant -> (recorded, what Stripe has), where they are not the same; asked of Stripe, not of our ledger."""
        until = (int(time.time()) // 60 + 60 * 24 * 400) * 60
        found = {}
        for tenant, customer in self.customers.items():
            answer = self.http.get(
                f"/v1/billing/meters/{self.meter_id}/event_summaries",
                params={"customer": customer, "start_time": str(until - 86400 * 800), "end_time": str(until)},
            )
            answer.raise_for_status()
            total = int(answer.json()["data"][0]["aggregated_value"])
            if total != self.recorded[tenant]:
                found[tenant] = (self.recorded[tenant], total)
        return found

    def reconciled(self) -> int:
        """Hours in which our own reconciliation finds a difference."""
        self.advance(2)
        now = datetime.now(UTC) + timedelta(seconds=self.http.get("/_local/clock").json()["offset"])

        async def run() -> int:
            pool: Pool = AsyncConnectionPool(self.database_url, min_size=1, max_size=2, open=False)
            meters = StripeMeters(KEY, self.stripe_url)
            async with pool:
                try:
                    found = await Reconciler(pool, meters).run(now)
                finally:
                    await meters.close()
            return len(found.findings) + len(found.skipped)

        return asyncio.run(run())


def measure(arguments: argparse.Namespace, result: Report) -> None:
    scale = (
        Scale(tenants=100, hours=12, units=120_000, crashes=12, events_before_crash=120) if arguments.quick else Scale()
    )
    with open_cloud(arguments.home) as cloud:
        from provisioner.registry.migrate import migrate

        migrate(cloud.database_url, cloud.settings.get("PULUMI_BACKEND_URL", cloud.database_url))
        stripe_url = cloud.settings["TENANTRY_STRIPE_API_BASE"]
        spool = Path(tempfile.mkdtemp(prefix="tenantry-bench-spool-"))
        try:
            with Rig(cloud.database_url, stripe_url, spool, scale) as rig:
                _measure(rig, result)
        finally:
            shutil.rmtree(spool, ignore_errors=True)


def _measure(rig: Rig, result: Report) -> None:
    rig.prepare()
    began = time.perf_counter()
    rig.run()
    progress("the rest")
    drained = rig.drain()
    progress("comparing with Stripe")
    differences = rig.differences()
    units = sum(rig.recorded.values())
    per_call = 1e6 * rig.record_s / rig.calls
    result.bars += [
        Bar("tenants whose total at Stripe is not what was recorded", float(len(differences)), 0.0, "tenants"),
        Bar("units too many or too few", float(sum(abs(a - b) for a, b in differences.values())), 0.0, "units"),
        Bar("hours in which the reconciliation finds a difference", float(rig.reconciled()), 0.0, "hours"),
        Bar("reporters killed", float(rig.crashes), float(rig.scale.crashes), "crashes", at_least=True),
        Bar("one record(), on disk when it returns", per_call, RECORD_BAR_US, "us"),
    ]
    result.notes |= {
        "units": units,
        "tenants": rig.scale.tenants,
        "record() calls": rig.calls,
        "recorded and in the ledger, units/s": units / (rig.record_s + rig.deliver_s),
        "recorded and in the ledger, records/s": rig.calls / (rig.record_s + rig.deliver_s),
        "duplicates recognised by the ledger": rig.duplicates,
        "killed while events were on their way": rig.crashes_at_work,
        "reports": rig.events(),
        "seconds, all of it": round(time.perf_counter() - began, 1),
        "seconds, the last reports": round(drained, 1),
    }


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--home", default=os.environ.get("TENANTRY_BENCH_HOME"), help="data directory of the local cloud"
    )


if __name__ == "__main__":
    sys.exit(report.main("metering", __doc__, measure, options))
