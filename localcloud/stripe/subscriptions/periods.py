"""Billing periods: calendar arithmetic from an anchor, so that the 31st bills on the 30th of a short month."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

_LONGEST_S = {"day": 86400, "week": 7 * 86400, "month": 31 * 86400, "year": 366 * 86400}


def add_interval(anchor: int, interval: str, count: int) -> int:
    """``anchor`` (Unix seconds) plus ``count`` intervals; a day that the month lacks becomes its last day."""
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in ("day", "week"):
        return int((start + timedelta(days=count * (7 if interval == "week" else 1))).timestamp())
    months = start.year * 12 + start.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def period_after(anchor: int, interval: str, count: int, moment: int) -> tuple[int, int]:
    """The period ``(start, end)`` of a cycle anchored at ``anchor`` that holds ``moment``: start <= moment < end.

    A moment before the anchor gives the stub ``(moment, anchor)``.
    """
    if moment < anchor:
        return moment, anchor
    step = (moment - anchor) // (_LONGEST_S[interval] * count)  # it began then at the latest
    while add_interval(anchor, interval, count * (step + 1)) <= moment:
        step += 1
    return add_interval(anchor, interval, count * step), add_interval(anchor, interval, count * (step + 1))
