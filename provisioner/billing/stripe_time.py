"""Stripe's time, as its answers' ``Date`` headers tell it: what a test account's dates are measured by."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: A header has whole seconds and its answer took some time: less than this is no difference.
NOISE = timedelta(seconds=5)


class StripeTime:
    """How far Stripe's clock is from this machine's. An unreadable header is ignored."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._ahead = timedelta(0)
        self._header: str | None = None
        self.known = False  #: whether an answer has told it

    def observe(self, header: str | None) -> None:
        if header is None or header == self._header:
            return
        try:
            told = parsedate_to_datetime(header)
        except ValueError:
            return
        if told.tzinfo is None:
            return
        self.known = True
        self._header = header
        ahead = told - datetime.fromtimestamp(self._wall(), UTC)
        self._ahead = ahead if abs(ahead) > NOISE else timedelta(0)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC) + self._ahead
