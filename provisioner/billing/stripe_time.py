"""Stripe's time, as its answers' ``Date`` headers tell it: what a test account's dates are measured by, and what this
machine's clock is held against before a live account's are."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from provisioner.errors import RetryLater

#: A header has whole seconds and its answer took some time: less than this is no difference.
NOISE = timedelta(seconds=5)
#: A clock that is further off than this would end access, or data, that is paid for.
TOLERANCE = timedelta(hours=1)


class ClockDiffers(RetryLater):
    """Stripe's answers are of another time than this machine's: no date is judged by either."""

    code = "clock_differs"


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

    @property
    def differs(self) -> bool:
        """Whether the two clocks were further apart than ``TOLERANCE`` at the last answer."""
        return abs(self._ahead) > TOLERANCE

    def check(self) -> None:
        """``ClockDiffers`` if they were."""
        if self.differs:
            way = "behind" if self._ahead > timedelta(0) else "ahead of"
            raise ClockDiffers(
                f"this machine's clock is {abs(self._ahead)} {way} Stripe's: no date can be judged by it",
                hint="Check NTP on this machine; it is tried again by itself",
            )

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC) + self._ahead
