"""Tells Stripe what was used: one event an hour, tenant and meter, and never one that may be there already.

Our ledger decides, not Stripe's: a report is written down before it is sent, and what became of it after. In between
nobody knows whether Stripe has it. Within 20 hours the same event is sent again: Stripe recognises its identifier for
24. Later it is Stripe's own total of the hour that says whether it arrived, and only what is missing is sent, under a
new identifier.

Any number of reporters may run: the one whose connection holds the lock works, and writes through that connection.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
import structlog
from psycopg import AsyncConnection

from provisioner.billing.meters import FORMULAS, BilledMeter, MeterEvent, MeterGateway, Outcome
from provisioner.billing.pricing import Aggregation
from provisioner.errors import StripeUnavailable, TenantryError
from provisioner.registry import metering as ledger
from provisioner.registry.metering import Claimed, LostHour, MeterRecord, Told

log = structlog.get_logger(__name__)

HOUR = timedelta(hours=1)
SETTLE = timedelta(minutes=2)  #: after an hour's end, before it is reported: SDKs deliver within seconds
RECOGNISED = timedelta(hours=20)  #: of the 24 hours for which Stripe recognises an identifier at least
RETRY = timedelta(minutes=1)  #: between two attempts to send a report
VISIBLE = timedelta(hours=1)  #: until what Stripe took is in its totals: it counts asynchronously
OLDEST = timedelta(days=34, hours=12)  #: of the 35 days that an event's timestamp may lie back
FINAL = timedelta(hours=1)  #: after a period's end, before its invoice is final and takes no more usage
BATCH = 200
PATIENCE = 5  #: failures in a row, before Stripe is left alone until the next run
CONCURRENCY = 8  #: Stripe allows one request at a time for a customer and meter, and 1,000 a second
BUDGET_S = 45.0  #: of real time; the next run goes on
_LOCK = 7_203_114_905  # advisory lock; any number, as long as it stays the same


@dataclass
class ReportRun:
    """What a run did. ``unavailable``: Stripe stopped answering, the rest waits for the next run."""

    planned: int = 0
    sent: int = 0
    refused: int = 0
    arrived: int = 0  #: hours whose lost reports Stripe turned out to have
    resent: int = 0  #: hours whose lost reports are reported anew
    undecided: int = 0  #: hours in which Stripe has less than it certainly took
    unanswered: int = 0  #: events whose answers did not come: they may have arrived
    unavailable: bool = False
    unbillable: dict[str, str] = field(default_factory=dict)  #: meter -> why nothing of it can be reported


@dataclass(frozen=True)
class Reporter:
    """``salt`` tells the identifiers of several installations of one Stripe account apart."""

    database_url: str
    gateway: MeterGateway
    salt: str

    async def run(self, now: datetime) -> ReportRun | None:
        """Report what is due at ``now`` (Stripe's time). None while another reporter works."""
        async with self._locked() as connection:
            if connection is None:
                return None
            run = ReportRun()
            try:
                await self._work(connection, now, run)
            except StripeUnavailable as error:
                run.unavailable = True
                log.warning("usage.stripe_unavailable", code=error.code, message=error.message)
            if run.unbillable:
                log.error("usage.unbillable", meters=run.unbillable)
            return run

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[AsyncConnection | None]:
        async with await AsyncConnection.connect(
            self.database_url, autocommit=True, connect_timeout=10, application_name="tenantry-usage"
        ) as connection:
            row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])).fetchone()
            if row is None or not row[0]:
                yield None
                return
            try:
                yield connection
            finally:
                # closing alone would keep it until the server has noticed
                with suppress(psycopg.Error):
                    await connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])

    async def _work(self, connection: AsyncConnection, now: datetime, run: ReportRun) -> None:
        ends = time.monotonic() + BUDGET_S
        billed = await self.gateway.meters()
        known = await ledger.meters(connection)
        run.unbillable.update(unbillable(known, billed))
        await self._resolve(connection, now, billed, run)
        while time.monotonic() < ends:
            run.planned += (
                planned := await ledger.plan(
                    connection,
                    now=now,
                    settle=SETTLE,
                    oldest=now - OLDEST,
                    final=now - FINAL,
                    salt=self.salt,
                    limit=BATCH * 10,
                )
            )
            if not await self._send_all(connection, now, run, ends) and not planned:
                return

    async def _send_all(self, connection: AsyncConnection, now: datetime, run: ReportRun, ends: float) -> int:
        sent = 0
        while time.monotonic() < ends:
            claimed = await ledger.claim(
                connection,
                now=now,
                recognised_since=now - RECOGNISED,
                retry_before=now - RETRY,
                skipped=list(run.unbillable),
                limit=BATCH,
            )
            if not claimed:
                break
            sent += len(claimed)
            await self._send(connection, now, claimed, run)
        return sent

    async def _send(
        self, connection: AsyncConnection, now: datetime, claimed: Sequence[Claimed], run: ReportRun
    ) -> None:
        """Send each and settle all. Several failures in a row end the sending, so that few outcomes are unknown."""
        results: dict[int, tuple[str, str | None]] = {}
        in_a_row = 0
        ended: TenantryError | None = None
        streams = [
            list(group)
            for _, group in itertools.groupby(
                sorted(claimed, key=lambda each: (each.customer_id, each.meter, each.report_id)),
                key=lambda each: (each.customer_id, each.meter),
            )
        ]
        queue = iter(streams)
        tried: set[int] = set()

        async def sender() -> None:
            nonlocal in_a_row, ended
            for stream in queue:
                for report in stream:
                    if ended or report.meter in run.unbillable:
                        break
                    tried.add(report.report_id)
                    try:
                        results[report.report_id] = await self._sent(report, run)
                        in_a_row = 0
                    except StripeUnavailable as error:
                        run.unanswered += 1
                        in_a_row += 1
                        ended = error if in_a_row >= PATIENCE else ended
                    except TenantryError as error:
                        ended = error

        await asyncio.gather(*(sender() for _ in range(CONCURRENCY)))
        for report in claimed:
            if report.report_id not in results and report.report_id not in tried and report.attempts == 1:
                results[report.report_id] = ("planned", None)
        settled = [(identifier, state, why) for identifier, (state, why) in results.items() if state != "sending"]
        await ledger.settle(connection, settled, now=now)
        if ended is not None:
            raise ended

    async def _sent(self, report: Claimed, run: ReportRun) -> tuple[str, str | None]:
        event = MeterEvent(report.meter, report.customer_id, int(report.value), report.at, report.identifier)
        receipt = await self.gateway.send(event)
        match receipt.outcome:
            case Outcome.TAKEN | Outcome.KNOWN:
                run.sent += 1
                return "sent", None
            case Outcome.NO_METER:
                run.unbillable[report.meter] = receipt.reason
                # an earlier attempt may have been taken, before the meter was archived
                return ("planned", receipt.reason) if report.attempts == 1 else ("sending", None)
            case Outcome.REFUSED:
                if report.attempts > 1:
                    return "sending", None  # an earlier attempt may have been taken: Stripe's totals will tell
                run.refused += 1
                log.error("usage.refused", tenant_id=report.tenant_id, meter=report.meter, reason=receipt.reason)
                return "refused", receipt.reason

    async def _resolve(
        self, connection: AsyncConnection, now: datetime, billed: Mapping[str, BilledMeter], run: ReportRun
    ) -> None:
        lost = await ledger.lost(connection, recognised_since=now - RECOGNISED, visible_before=now - VISIBLE)
        for (customer_id, meter), group in itertools.groupby(lost, key=lambda each: (each.customer_id, each.meter)):
            hours = list(group)
            if meter not in billed:
                continue
            since, until = hours[0].hour, hours[-1].hour + HOUR
            counted = await self.gateway.hours(billed[meter].meter_id, customer_id, since, until)
            told = await ledger.told(connection, customer_id, meter, since, until)
            for hour in hours:
                if hour.hour in told:
                    await self._decide(connection, now, hour, told[hour.hour], counted.get(hour.hour, 0), run)

    async def _decide(
        self, connection: AsyncConnection, now: datetime, hour: LostHour, told: Told, counted: int, run: ReportRun
    ) -> None:
        if told.touched_at > now - VISIBLE:
            return  # something of the hour was sent a moment ago: Stripe's total may lack it
        arrived, unknown = counted - int(told.known), int(told.unknown)
        lost = ["sending"]
        async with connection.transaction():
            if hour.aggregation == Aggregation.LAST:
                # the same value for the same moment again changes nothing
                run.resent += 1
                await ledger.abandon(connection, hour, hour.hour, lost, now=now, why="the answer was lost")
            elif arrived == unknown:
                run.arrived += 1
                await ledger.confirm(connection, hour, hour.hour, lost, now=now)
            elif arrived * unknown < 0 or (arrived and not unknown):
                run.undecided += 1
                await ledger.find(connection, hour, hour.hour, int(told.known), counted, now=now)
            elif abs(arrived) > abs(unknown):
                # somebody else reports on the meter as well: never bill twice, and say so
                run.arrived += 1
                await ledger.confirm(connection, hour, hour.hour, lost, now=now)
                await ledger.find(connection, hour, hour.hour, int(told.known) + unknown, counted, now=now)
            else:
                run.resent += 1
                await ledger.abandon(connection, hour, hour.hour, lost, now=now, why="Stripe has not got it")
                if arrived:
                    await ledger.observe(
                        connection, hour, hour.hour, arrived, now=now, why="of several lost answers, this arrived"
                    )


def unbillable(known: Sequence[MeterRecord], billed: Mapping[str, BilledMeter]) -> dict[str, str]:
    """Meter of the catalogue -> why Stripe can't bill it."""
    found = {}
    for meter in known:
        stripe = billed.get(meter.name)
        formula = FORMULAS[Aggregation(meter.aggregation)]
        if stripe is None or not stripe.active:
            if meter.active:
                found[meter.name] = "Stripe has no active meter of that name; run: tenantry catalogue push"
        elif stripe.formula != formula:
            found[meter.name] = (
                f"Stripe's meter {stripe.meter_id} aggregates by {stripe.formula}, and hourly reports need {formula}; "
                "a meter can't be changed: name another one in plans.toml"
            )
    return found
