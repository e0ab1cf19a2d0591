"""Time that passes only when the simulation says so."""

from __future__ import annotations

from datetime import UTC, datetime

DAY = 86400
EPOCH = 1_801_000_000  #: 2027-01-26; Unix seconds when every simulation begins


class VirtualClock:
    """Unix seconds; never goes back."""

    def __init__(self, now: int = EPOCH) -> None:
        self.now = now

    def __call__(self) -> float:
        return float(self.now)

    def advance(self, seconds: int) -> None:
        assert seconds >= 0
        self.now += seconds

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)
