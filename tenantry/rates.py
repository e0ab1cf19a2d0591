"""How many calls of a rate are left: windows that slide, and shares of them that a process holds. No I/O, no locking.

A window slides: what was taken in the window before still counts by the share of it that a window ending now covers.
So no window that begins at a multiple of its length ever sees more than the amount, and any other one sees no more if
the calls before came evenly (at worst, all at once at the end of one window, up to twice the amount less what the first
part of the next one allows).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tenantry.entitlements import Rate

#: of its amount that a process holds at most: calls that others are refused while it doesn't make them
SHARE = 0.05
QUICK = 1.0  #: seconds: a share that was used up sooner is doubled
SLOW = 5.0  #: one that lasted longer is halved


@dataclass(frozen=True)
class Wanted:
    """``calls`` that are asked of a shared store."""

    rate: Rate
    calls: int


@dataclass(frozen=True)
class Taken:
    """What a store answered. ``remaining``: beyond what was granted. ``ends_in``: seconds by which it must be spent;
    ``free_in``: seconds until another call is free, 0 if one is."""

    granted: int
    remaining: int
    ends_in: float
    free_in: float


class Window:
    """The calls of one rate, counted here alone."""

    __slots__ = ("before", "number", "seconds", "taken")

    def __init__(self) -> None:
        self.number = 0
        self.seconds = 0
        self.taken = 0
        self.before = 0

    def take(self, rate: Rate, wanted: int, now: float, *, partly: bool = True) -> Taken:
        """Take ``wanted`` calls at ``now`` (Unix seconds), or as many as are left if ``partly``. 0 only looks."""
        seconds = rate.seconds
        number = int(now // seconds)
        if self.seconds != seconds:
            # the plan changed: what counted counts on, so that a change is no way to more
            rest = self.number + 1 - now / self.seconds if self.seconds else 0.0
            self.before = math.ceil(self.taken + self.before * min(1.0, rest)) if rest > 0 else 0
            self.taken, self.seconds = 0, seconds
        elif number > self.number:
            self.before, self.taken = (self.taken if number == self.number + 1 else 0), 0
        else:
            number = self.number  # the clock went back: the later window stays
        self.number = number
        rest = min(1.0, max(0.0, number + 1 - now / seconds))
        free = math.floor(rate.amount - self.taken - self.before * rest)
        granted = wanted if wanted <= free else max(0, free) if partly else 0
        self.taken += granted
        remaining = max(0, free - granted)
        return Taken(granted, remaining, rest * seconds, 0.0 if remaining else self._free_in(rate, rest))

    def _free_in(self, rate: Rate, rest: float) -> float:
        ends_in = rest * rate.seconds
        if rate.amount == 0:
            return ends_in
        if self.taken + 1 <= rate.amount and self.before:  # the window before fades first
            return max(0.0, ends_in - (rate.amount - self.taken - 1) * rate.seconds / self.before)
        # then the present one becomes it
        return ends_in + rate.seconds * max(0.0, 1 - (rate.amount - 1) / max(self.taken, 1))


class Share:
    """The calls of one rate that this process has taken from a shared store and not yet made."""

    __slots__ = ("ends_at", "free_at", "rate", "remaining", "size", "taken_at", "tokens")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.tokens = 0
        self.remaining = 0
        self.ends_at = 0.0  # monotonic seconds, as all times here
        self.free_at = 0.0
        self.taken_at = -math.inf
        self.size = 1

    def fit(self, rate: Rate, now: float) -> None:
        """Forget what has ended, and what was another plan's."""
        if self.rate != rate:
            self.rate = rate
            self.tokens, self.free_at = 0, 0.0
            self.size = min(self.size, self._largest())
        elif now >= self.ends_at:
            self.tokens = 0

    @property
    def low(self) -> bool:
        """Whether it is time to fetch more, before somebody must wait for it."""
        return self.tokens * 4 <= self.size and self.remaining > 0

    def wanted(self, calls: int, now: float) -> Wanted:
        lasted = now - self.taken_at
        if lasted < QUICK:
            self.size = min(self.size * 2, self._largest())
        elif lasted > SLOW:
            self.size = max(1, self.size // 2)
        return Wanted(self.rate, max(self.size, calls - self.tokens))

    def add(self, wanted: Wanted, taken: Taken, asked_at: float, now: float) -> None:
        if wanted.rate != self.rate:
            return  # of another plan by now: lost, which only errs to the safe side
        # the store's seconds began at the earliest when it was asked: never spent after their window
        ends_at = asked_at + taken.ends_in
        if now >= self.ends_at:
            self.tokens = 0
        self.tokens += taken.granted if now < ends_at else 0
        self.remaining = taken.remaining
        self.ends_at = ends_at
        self.taken_at = now
        self.free_at = now + taken.free_in if taken.granted < wanted.calls else 0.0

    def _largest(self) -> int:
        return max(1, int(self.rate.amount * SHARE))
