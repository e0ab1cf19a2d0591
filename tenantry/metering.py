"""Usage: recorded in microseconds, kept on disk, delivered to the control plane exactly once. ``docs/metering.md``

sdk.meter.record("api_calls")                                  # of the tenant in the context
sdk.meter.record("gigabytes", 12, idempotency_key=f"export-{export.id}")
"""

from __future__ import annotations

import difflib
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg

from tenantry.config import Config
from tenantry.context import require_tenant
from tenantry.deadline import deadline
from tenantry.errors import InvalidUsage, NoTenant, SpoolFull, UnknownMeter
from tenantry.placement import TENANT_ID
from tenantry.routing import backoff, connection_string_parameters
from tenantry.spool import Spool, Summary, line, summarise

log = logging.getLogger(__name__)

LARGEST = 10**12  #: of one record
EARLIEST_S = 34 * 86400  #: Stripe takes what is 35 days old at most
LATEST_S = 300.0
METER_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
KEY = re.compile(r"[!-~]{1,200}")  #: printable ASCII without blanks
BATCH = 1000
SYNC_EVERY_S = 1.0
METERS_EVERY_S = 60.0
DELIVERY_TIMEOUT_S = 30.0
_RECORD = (
    "SELECT accepted, duplicates, quarantined "
    "FROM tenantry_v1.record_usage(%s, %s, %s, %s::bigint[], %s::numeric[], %s::numeric[], %s::float8[])"
)
_METERS = "SELECT name FROM tenantry_v1.meter"
_KNOWN_TENANTS = 100_000


@dataclass
class MeterStatistics:
    """Since the process began. ``unrecorded``: records that found the spool full and are lost, if the application
    did not keep them. ``refused``: lines that could not be delivered, kept in files beside the spool."""

    recorded: int = 0
    delivered: int = 0
    duplicates: int = 0
    quarantined: int = 0
    refused: int = 0
    unrecorded: int = 0
    waiting_bytes: int = 0
    failure: str = ""  #: why the last delivery failed; empty: it did not


class Meter:
    """Thread-safe, and for asyncio too: ``record`` waits for nothing but a lock of microseconds.

    Delivery begins with the first record, on a daemon thread; ``start`` begins it at once, so that what an earlier
    process left is delivered by one that records nothing.
    """

    def __init__(
        self,
        config: Config,
        *,
        connect: Callable[[], psycopg.Connection[Any]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._clock = clock
        self._connect = connect or (lambda: _open(config))
        self._spool = Spool(spool_directory(config), max_bytes=config.spool_max_bytes)
        self._statistics = MeterStatistics()
        self._tenants: set[str] = set()
        self._meters: set[str] = set()
        self._meters_read_at = float("-inf")
        self._doubted = False
        self._start_lock = threading.Lock()
        self._shipping = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._complained_at = float("-inf")
        os.register_at_fork(after_in_child=self._forked)

    def record(
        self,
        meter: str,
        value: int = 1,
        *,
        tenant_id: str | None = None,
        idempotency_key: str | None = None,
        timestamp: float | datetime | None = None,
    ) -> None:
        """Count ``value`` units for the tenant (the context's, unless named). When it returns, a kill loses nothing.

        With ``idempotency_key`` the same key counts once a tenant and meter, however often it is recorded within 45
        days. ``timestamp``: Unix seconds or an aware datetime, at most 34 days back; now.

        Raises InvalidUsage, UnknownMeter, NoTenant, TenantConflict; SpoolFull if what waits for delivery has reached
        ``spool_max_bytes`` (with ``usage_when_full="drop"`` it is counted in ``statistics`` and logged instead).
        """
        tenant = require_tenant(tenant_id)
        if type(value) is not int or not 0 <= value <= LARGEST:
            raise _bad_value(value)
        at = self._clock()
        if timestamp is not None:
            at = _moment(timestamp, at)
        if tenant not in self._tenants:
            self._admit(tenant)
        if meter not in self._meters:
            self._check_meter(meter)
        if idempotency_key is not None and not KEY.fullmatch(idempotency_key):
            raise InvalidUsage(
                f"{idempotency_key[:50]!r} is no idempotency key", hint="1 to 200 printable ASCII characters, no blanks"
            )
        try:
            self._spool.append(line(tenant, meter, value, at, idempotency_key or ""))
        except SpoolFull as error:
            self._unrecorded(error)
            return
        self._statistics.recorded += 1
        if self._thread is None:
            self.start()

    @property
    def statistics(self) -> MeterStatistics:
        return MeterStatistics(**asdict(self._statistics))

    def start(self) -> None:
        """Begin to deliver, also what an earlier process left."""
        with self._start_lock:
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name="tenantry-usage", daemon=True)
                self._thread.start()

    def flush(self) -> bool:
        """Deliver now what was recorded up to here; whether nothing is left. For tests, and before a planned end."""
        self._spool.seal()
        return self._deliver()

    def close(self) -> None:
        """Try once to deliver what is left; what can't be stays on disk for the next process."""
        self._ended.set()
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout=DELIVERY_TIMEOUT_S)
            self.flush()
        self._spool.close()
        self._disconnect()

    # -- the thread

    def _run(self) -> None:
        attempt, due = 0, time.monotonic()
        while not self._ended.is_set():
            try:
                self._spool.sync()
                if time.monotonic() >= due:
                    self._spool.seal()
                    delivered = self._deliver()
                    attempt = 0 if delivered else attempt + 1
                    pause = self._config.usage_interval if delivered else 4 * backoff(attempt)
                    due = time.monotonic() + pause
            except Exception:  # whatever it is, usage must go on being delivered
                log.exception("usage can't be delivered")
                due = time.monotonic() + 20.0
            self._wake.wait(SYNC_EVERY_S)

    def _deliver(self) -> bool:
        with self._shipping, self._spool.taken() as segments:
            try:
                self._read_meters()
                for segment in segments:
                    summaries, damaged = summarise(segment.name, segment.read())
                    if damaged:
                        self._refuse(segment.name, damaged, "unreadable")
                    for start in range(0, len(summaries), BATCH):
                        self._send(segment.name, summaries[start : start + BATCH])
                    segment.delivered()
            except (psycopg.Error, OSError) as error:
                self._failed(error)
                return False
            finally:
                self._statistics.waiting_bytes = self._spool.measure()
            self._statistics.failure = ""
            return True

    def _send(self, segment: str, summaries: Sequence[Summary]) -> None:
        columns = (
            [each.key for each in summaries],
            [each.tenant_id for each in summaries],
            [each.meter for each in summaries],
            [each.records for each in summaries],
            [each.total for each in summaries],
            [each.last for each in summaries],
            [each.at for each in summaries],
        )
        try:
            row = self._ask(_RECORD, columns)[0]
        except psycopg.DataError as error:
            # one that the database can't even read takes no other with it
            if len(summaries) > 1:
                middle = len(summaries) // 2
                self._send(segment, summaries[:middle])
                self._send(segment, summaries[middle:])
                return
            self._refuse(segment, [repr(asdict(each)).encode() for each in summaries], type(error).__name__)
            return
        self._statistics.delivered += int(row[0])
        self._statistics.duplicates += int(row[1])
        if row[2]:
            self._statistics.quarantined += int(row[2])
            log.error("usage of %d records can't be counted: see `tenantry usage quarantined`", row[2])

    def _ask(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        with deadline(self._connection, DELIVERY_TIMEOUT_S):
            return self._connection.execute(statement.encode(), parameters).fetchall()

    def _read_meters(self) -> None:
        if self._doubted or time.monotonic() - self._meters_read_at >= METERS_EVERY_S:
            self._doubted = False
            self._meters = {str(row[0]) for row in self._ask(_METERS)}
            self._meters_read_at = time.monotonic()

    def _failed(self, error: BaseException) -> None:
        self._disconnect()
        first = (str(error).splitlines() or [""])[0] if isinstance(error, psycopg.Error) else str(error)
        self._statistics.failure = f"{type(error).__name__}: {first}"[:300]
        if time.monotonic() - self._complained_at > 60:
            self._complained_at = time.monotonic()
            log.warning("usage waits on disk, the control plane did not take it: %s", type(error).__name__)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _refuse(self, segment: str, lines: list[bytes], why: str) -> None:
        self._spool.refuse(segment, lines)
        self._statistics.refused += len(lines)
        log.error("%d records of usage are kept in %s, undelivered: %s", len(lines), self._spool.directory, why)

    # -- checks

    def _admit(self, tenant: str) -> None:
        if not TENANT_ID.fullmatch(tenant):
            raise NoTenant(f"{tenant[:50]!r} can't be a tenant's id", hint="pass a tenant's id")
        if len(self._tenants) >= _KNOWN_TENANTS:
            self._tenants = set()
        self._tenants.add(tenant)

    def _check_meter(self, meter: str) -> None:
        """A name that is not in the catalogue as it was last read. While none was read any name will do: the control
        plane quarantines what it does not know."""
        if not isinstance(meter, str) or not METER_NAME.fullmatch(meter):
            raise InvalidUsage(
                f"{str(meter)[:50]!r} can't be a meter's name", hint="use a name of [meters] in plans.toml"
            )
        if self._meters and time.monotonic() - self._meters_read_at < 2 * METERS_EVERY_S:
            self._doubted = True  # a meter may have come since: the next delivery reads them again
            near = difflib.get_close_matches(meter, self._meters, n=1)
            names = ", ".join(sorted(self._meters)) or "none"
            hint = f"did you mean {near[0]}?" if near else f"there are {names}"
            raise UnknownMeter(f"there is no meter {meter!r}", hint=hint)

    def _unrecorded(self, error: SpoolFull) -> None:
        self._statistics.unrecorded += 1
        if self._config.usage_when_full == "raise":
            raise error
        if time.monotonic() - self._complained_at > 60:
            self._complained_at = time.monotonic()
            log.error("usage is lost: %s", error)

    def _forked(self) -> None:
        """In a child: threads and connections are the parent's."""
        self._connection = self._thread = None
        self._start_lock, self._shipping = threading.Lock(), threading.Lock()
        self._wake, self._ended = threading.Event(), threading.Event()
        self._statistics = MeterStatistics()


def spool_directory(config: Config) -> Path:
    """One a control plane: what is recorded for one installation never reaches another."""
    base = config.spool_dir
    if base is None:
        state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
        base = os.path.join(state, "tenantry", "usage")
    return Path(base) / sha256(config.api_url.encode()).hexdigest()[:16]


def _open(config: Config) -> psycopg.Connection[Any]:
    parameters = connection_string_parameters(config) | {"application_name": "tenantry-usage"}
    return psycopg.connect(config.database_url, autocommit=True, prepare_threshold=None, **parameters)


def _bad_value(value: object) -> InvalidUsage:
    if isinstance(value, bool) or not isinstance(value, int):
        return InvalidUsage(
            f"{value!r} is no whole number of units", hint="Stripe takes whole numbers: count in a smaller unit"
        )
    if value < 0:
        return InvalidUsage(f"usage of {value} is negative", hint="to take usage back: tenantry usage correct")
    return InvalidUsage(f"usage of {value} is more than a record can hold ({LARGEST})", hint="count in a larger unit")


def _moment(timestamp: float | datetime, now: float) -> float:
    if isinstance(timestamp, datetime):
        if timestamp.tzinfo is None:
            raise InvalidUsage(f"{timestamp} has no time zone", hint="use an aware datetime, or Unix seconds")
        at = timestamp.timestamp()
    else:
        at = float(timestamp)
    if not math.isfinite(at):
        raise InvalidUsage(f"{timestamp} is no moment", hint="use Unix seconds or an aware datetime")
    if at < now - EARLIEST_S:
        raise InvalidUsage(f"usage of {timestamp} is more than 34 days old", hint="Stripe does not bill it any more")
    if at > now + LATEST_S:
        raise InvalidUsage(f"usage of {timestamp} is in the future", hint="at most 5 minutes ahead: check the clock")
    return at
