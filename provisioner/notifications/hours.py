"""When customers may be written to: their own working days and hours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_SATURDAY = 5
_FAR = 10  #: days; every rule leaves some time in them
_SPARE = timedelta(hours=1)  #: before quiet hours: who sends looks now and then


@dataclass(frozen=True)
class Hours:
    """``weekends``: whether Saturdays and Sundays are as good as other days. ``quiet``: from, until, in local time; may
    pass midnight; None: no hour is quiet."""

    weekends: bool = True
    quiet: tuple[time, time] | None = None

    def allow(self, moment: datetime, zone: tzinfo) -> bool:
        return self.next(moment, zone) == moment

    def next(self, moment: datetime, zone: tzinfo) -> datetime:
        """The first allowed time that is not before ``moment``, UTC."""
        day = moment.astimezone(zone).date()
        for offset in range(_FAR):
            for start, end in self._open(day + timedelta(days=offset), zone):
                if moment < end:
                    return max(moment, start)
        return moment

    def before(self, moment: datetime, zone: tzinfo) -> datetime:
        """``moment`` if it is allowed, else the same time of the last allowed day before it, else shortly before the
        quiet hours that precede it; UTC."""
        local = moment.astimezone(zone)
        for offset in range(_FAR):
            day = local.date() - timedelta(days=offset)
            same = _utc(day, local.time(), zone)
            for start, end in reversed(list(self._open(day, zone))):
                if start <= moment < end:
                    return moment
                if end <= moment:
                    return same if start <= same < end else max(start, end - _SPARE)
        return moment

    def _open(self, day: date, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
        """The allowed intervals of a day, in order, each with its end left out."""
        if not self.weekends and day.weekday() >= _SATURDAY:
            return
        midnight, following = _utc(day, time.min, zone), _utc(day + timedelta(days=1), time.min, zone)
        if self.quiet is None:
            yield midnight, following
            return
        begins, ends = (_utc(day, clock, zone) for clock in self.quiet)
        intervals = [(ends, begins)] if begins > ends else [(midnight, begins), (ends, following)]
        yield from ((start, end) for start, end in intervals if start < end)


def _utc(day: date, clock: time, zone: tzinfo) -> datetime:
    # A time that a change of the clocks skips is read as if it had not been skipped.
    return datetime.combine(day, clock, zone).astimezone(UTC)
